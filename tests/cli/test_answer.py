"""``predict``, ``evaluate`` and ``doctor``."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import kgscale
from kgscale.durable import write_manifest
from tests.cli.conftest import SMALL, STRANGE, Command


@pytest.mark.parametrize(
    ("key", "end"), [(key, ("head", "tail")[at % 2]) for at, key in enumerate(STRANGE)]
)
def test_keys_are_taken_to_the_letter(
    command: Command, trained: Path, tmp_path: Path, key: str, end: str
) -> None:
    code, out, error = command(
        "predict", f"run={trained}", f"{end}={key}", "relation=relation 0", "k=3",
        f"output={tmp_path}",
    )  # fmt: skip
    assert (code, error) == (0, "")
    with (tmp_path / "predictions.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row[end] for row in rows] == [key] * 3
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    assert {row["known"] for row in rows} == {"False"}
    assert pq.read_table(tmp_path / "predictions.parquet")["rank"].to_pylist() == [1, 2, 3]
    assert out.rstrip().endswith(f"written: {tmp_path / 'predictions.tsv'}")


def test_known_facts_only_when_asked(command: Command, trained: Path, tmp_path: Path) -> None:
    own = ("predict", f"run={trained}", "head=entity 1", "relation=relation 0", "k=99")
    command(*own, f"output={tmp_path / 'new'}")
    command(*own, f"output={tmp_path / 'all'}", "known=true")
    new, everything = (
        pq.read_table(tmp_path / name / "predictions.parquet").to_pydict()
        for name in ("new", "all")
    )
    assert not any(new["known"])
    assert any(everything["known"])
    kept = [
        t for t, known in zip(everything["tail"], everything["known"], strict=True) if not known
    ]
    assert kept == new["tail"]


PREDICT: list[tuple[list[str], str]] = [
    (["head=entity 1"], "needs relation="),
    (["relation=relation 0"], "either head=… or tail=…"),
    (["head=entity 1", "tail=entity 2", "relation=relation 0"], "either head=… or tail=…"),
    (["head=entity 99", "relation=relation 0"], "nearest are 'entity 9'"),
    (["head=entity 1", "relation=relation O"], "nearest are 'relation 0'"),
    (["head=entity 1", "relation=relation 0", "k=0"], "k needs an int of at least 1"),
    (["head=entity 1", "relation=relation 0", "k=abc"], "k needs an int, got 'abc'"),
    (["head=entity 1", "relation=relation 0", "known=maybe"], "known needs true or false"),
    (["head=entity 1", "relation=relation 0", "memory=-1"], "memory needs"),
    (["head=", "relation=relation 0"], "head= has no value"),
    (["haed=x", "relation=relation 0"], "did you mean head"),
]


@pytest.mark.parametrize(("arguments", "words"), PREDICT, ids=[" ".join(a) for a, _ in PREDICT])
def test_wrong_questions(command: Command, trained: Path, arguments: list[str], words: str) -> None:
    code, _, error = command("predict", f"run={trained}", *arguments)
    assert code == 2
    assert words in error
    assert error.count("\n") == 1


def test_an_unwritable_output(command: Command, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, error = command(
        "predict", f"run={trained}", "head=entity 1", "relation=relation 0",
        f"output={tmp_path / 'file'}",
    )  # fmt: skip
    assert code == 4
    assert "output=DIR" in error


@pytest.mark.parametrize("name", ["predict", "evaluate"])
def test_what_is_no_run(command: Command, tmp_path: Path, name: str) -> None:
    own = ["relation=r", "head=h"] if name == "predict" else []
    code, _, error = command(name, *own)
    assert (code, "run=DIR" in error) == (2, True)
    code, _, error = command(name, f"run={tmp_path}", *own)
    assert (code, str(tmp_path) in error) == (3, True)


def test_a_damaged_model_is_told(command: Command, trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / "model" / "model.safetensors").write_bytes(b"nothing")
    code, _, error = command("evaluate", f"run={run}")
    assert code == 3
    assert "no readable model" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("where", ["inside", "relative"])
def test_a_store_that_came_with_a_run(
    command: Command, trained: Path, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stores are read as they are: a model from elsewhere may not bring its own."""
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    told = json.loads((run / "model" / "model.json").read_text())
    shutil.copytree(told["store"], run / "s")
    monkeypatch.chdir(tmp_path)
    told["store"] = str(run / "s") if where == "inside" else "run/s"
    (run / "model" / "model.json").write_text(json.dumps(told))
    for name in ("manifest.json", "README.md"):
        (run / "model" / name).unlink()
    write_manifest(run / "model", {"kind": "model", "schema": 2})
    code, _, error = command("evaluate", f"run={run}")
    assert code == 3
    assert "which came with the run" in error


def test_answers_that_are_a_link(command: Command, trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    shutil.rmtree(run / "answers", ignore_errors=True)
    (run / "answers").symlink_to(tmp_path)
    code, _, error = command("predict", f"run={run}", "relation=relation 0", "head=entity 0")
    assert code == 2
    assert "is a link" in error


@pytest.mark.parametrize(
    "arguments",
    [["--settings"], ["--settings", "x", "a", "b"], ["--settings", "x", "--parent", "a"]],
)
def test_what_only_the_program_says_to_itself(command: Command, arguments: list[str]) -> None:
    code, _, error = command("train", *arguments)
    assert code == 2
    assert "for processes that a training starts" in error


@pytest.mark.parametrize("split", ["valid", "test"])
def test_evaluate_repeats_the_runs_numbers(command: Command, trained: Path, split: str) -> None:
    results = json.loads((trained / "results.json").read_text())["metrics"][split]
    code, out, error = command("evaluate", f"run={trained}", f"split={split}")
    assert (code, error) == (0, "")
    written = json.loads((trained / f"evaluation-{split}.json").read_text())
    assert written["overall"] == results
    assert f"Full filtered ranking of {split}" in out


def test_evaluate_wants_a_split(command: Command, trained: Path) -> None:
    code, _, error = command("evaluate", f"run={trained}", "split=dev")
    assert (code, "split needs one of" in error) == (2, True)


def test_doctor(command: Command, trained: Path) -> None:
    code, out, error = command("doctor")
    assert (code, error) == (0, "")
    for word in ("torch", "cores", "memory", "graph stores", "extra demo"):
        assert word in out
    store = json.loads((trained / "model" / "model.json").read_text())["store"]
    assert command("doctor", f"store={store}")[0] == 0


def test_doctor_finds_a_broken_store(command: Command, trained: Path, tmp_path: Path) -> None:
    store = json.loads((trained / "model" / "model.json").read_text())["store"]
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    file = copy / "train_source.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    code, out, _ = command("doctor", f"store={copy}")
    assert code == 3
    assert "broken" in out


def test_settings_of_a_command_can_be_shown(command: Command) -> None:
    code, out, _ = command("predict", "--cfg", "job", "head=a: b", "k=3")
    assert code == 0
    assert "k: 3" in out
    assert "head: 'a: b'" in out


EVIL = (
    "../../etc/passwd",
    "/etc/passwd",
    "'; DROP TABLE entity; --",
    "<script>alert(1)</script>",
    "[bold red]x[/bold red]",
    "[/]",
    "\x1b[31mred\x1b[0m",
    "\u202egnp.exe",
    "$(touch pwned)",
    "${oc.env:HOME}",
    "{0}%s%n",
    "-rf",
    "x" * 5000,
)


def test_names_that_mean_something_elsewhere_stay_data(command: Command, tmp_path: Path) -> None:
    """Paths, SQL, HTML, markup, a terminal's commands, a shell's, a template's, and 5 KB."""
    lines = [f"{a}\t{EVIL[at % 5]}\t{b}\n" for at, a in enumerate(EVIL) for b in EVIL if a != b]
    data = tmp_path / "here" / "evil.tsv"
    data.parent.mkdir()
    data.write_text("".join(lines), encoding="utf-8")
    own = ("data=triples", f"data.path={data}", f"root={tmp_path / 'here' / 'runs'}", *SMALL)
    code, told, _ = command(
        *own, f"store.root={tmp_path / 'here' / 'stores'}", "evaluation.test=true"
    )
    assert code == 0
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert "x" * 600 not in told
    (run,) = (tmp_path / "here" / "runs").glob("*/*")
    found = pq.read_table(run / "predictions.parquet")
    assert {*found["head"].to_pylist(), *found["tail"].to_pylist()} <= set(EVIL)
    store = kgscale.load(run).store
    assert sorted(store.entity_keys(list(range(store.num_entities)))) == sorted(EVIL)
    for name in ("../../etc/passwd", "x" * 5000, "[/]"):
        code, _, error = command("predict", f"run={run}", f"head={name}", f"relation={EVIL[0]}")
        assert (code, error) == (0, "")
    assert [file.name for file in tmp_path.iterdir()] == ["here"]
