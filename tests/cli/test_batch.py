"""``predict queries=FILE``: what single questions get, a line at a time, whatever the memory."""

from __future__ import annotations

import csv
import gzip
import signal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import kgscale
from kgscale.errors import Interrupted
from kgscale.tasks.batch import answers as answers_module
from tests.cli.conftest import SMALL, STRANGE, Command

ENTITIES = [*STRANGE, *(f"entity {number}" for number in range(10))]
Row = dict[str, object]


def written(file: Path, lines: list[tuple[str, ...]]) -> Path:
    text = "".join("\t".join(line) + "\n" for line in lines)
    file.write_text(text, encoding="utf-8", newline="")
    return file


def answered(directory: Path) -> dict[int, list[Row]]:
    """The rows of each line, without its number."""
    found: dict[int, list[Row]] = {}
    for row in pq.read_table(directory / "batch.parquet").to_pylist():
        found.setdefault(row.pop("line"), []).append(row)
    return found


def rows(columns: dict[str, list[object]]) -> list[Row]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@pytest.fixture
def asked(tmp_path: Path) -> tuple[Path, list[tuple[str, str, str]]]:
    """Both ends asked about, by key, the same more than once, in no order."""
    lines = [
        (one, f"relation {number % 3}", "") if number % 3 else ("", "relation 1", one)
        for number, one in enumerate([*ENTITIES, *ENTITIES[::-3]])
    ]
    return written(tmp_path / "asked.tsv", [("head", "relation", "tail"), *lines]), lines


@pytest.mark.parametrize(("memory", "known"), [(1, False), (256, True)])
def test_links_as_one_by_one(
    command: Command,
    trained: Path,
    tmp_path: Path,
    asked: tuple[Path, list[tuple[str, str, str]]],
    known: bool,
    memory: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To the bit, also where questions come in many parts."""
    file, lines = asked
    monkeypatch.setattr(answers_module, "QUERIES", 4 if memory == 1 else 1 << 14)
    own = (f"output={tmp_path}", "k=7", f"known={known}", f"memory={memory}", "tsv=true")
    code, out, error = command("predict", f"run={trained}", f"queries={file}", *own)
    assert (code, error) == (0, "")
    assert f"answers to {len(lines)} questions" in out
    found, run = answered(tmp_path), kgscale.load(trained)
    groups = pq.ParquetFile(tmp_path / "batch.parquet").num_row_groups
    assert groups == (-(-len(lines) // 4) if memory == 1 else 1)
    for line, (head, relation, tail) in enumerate(lines, start=2):
        end = {"head": head} if head else {"tail": tail}
        assert found.get(line, []) == rows(run.predict(relation=relation, k=7, known=known, **end))
    with (tmp_path / "batch.tsv").open(encoding="utf-8", newline="") as text:
        texts = list(csv.DictReader(text, delimiter="\t"))
    assert [row["tail"] for row in texts] == [row["tail"] for one in found.values() for row in one]
    assert not (tmp_path / "batch-rejected.tsv").exists()


def test_files_of_all_kinds(command: Command, trained: Path, tmp_path: Path) -> None:
    pairs = [(one, "relation 0") for one in ENTITIES[-4:]]
    table = pa.table(
        {"relation": [r for _, r in pairs], "head": [h for h, _ in pairs], "more": 4 * [1]}
    )
    pq.write_table(table, tmp_path / "a.parquet")
    text = "head,note,relation\n" + "".join(f'{h},"x",{r}\n' for h, r in pairs)
    (tmp_path / "b.csv").write_text(text)
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "d.csv").write_text(text.replace(pairs[0][0], f'"{pairs[0][0]}"'))
    found = []
    for name, own in (
        ("a.parquet", ()),
        ("b.csv", ()),
        ("c.csv.gz", ()),
        ("d.csv", ("quote='\"'",)),
    ):
        asked = (f"run={trained}", f"queries={tmp_path / name}", f"output={tmp_path}", *own)
        assert command("predict", *asked)[0] == 0
        found.append([rows for _, rows in sorted(answered(tmp_path).items())])
    assert found[0] == found[1] == found[2] == found[3]
    assert len(found[0]) == 4


def test_lines_that_ask_nothing(command: Command, trained: Path, tmp_path: Path) -> None:
    good = [("entity 1", "relation 0", "")] * 30
    bad = [
        ("nobody", "relation 0", ""),
        ("entity 1", "relation 9", ""),
        ("entity 1", "relation 0", "entity 2"),
        ("", "relation 0", ""),
        ("entity 1", "", ""),
    ]
    file = written(tmp_path / "asked.tsv", [("head", "relation", "tail"), *good, *bad])
    own = ("predict", f"run={trained}", f"queries={file}", f"output={tmp_path}")
    code, out, error = command(*own)
    assert (code, error) == (0, "")
    listed = (tmp_path / "batch-rejected.tsv").read_text().splitlines()
    assert listed[0] == "file\tline\treason\tvalue"
    assert [line.split("\t")[1] for line in sorted(listed[1:])] == ["32", "33", "34", "35", "36"]
    for reason in (
        "no entity has this key or name",
        "no relation has",
        "not both or none",
        "empty",
    ):
        assert reason in out
    assert "as line 32: 'nobody\\trelation 0\\t'" in out
    written(file, [("head", "relation", "tail"), *good, *bad * 3])
    (tmp_path / "batch-rejected.tsv").unlink()
    before = (tmp_path / "batch.parquet").read_bytes()
    code, _, error = command(*own)
    assert code == 3
    for words in ("asked.tsv line ", "15 of 45 lines", "max_rejected (now 0.001"):
        assert words in error
    assert "data.max_rejected" not in error
    assert (tmp_path / "batch.parquet").read_bytes() == before
    assert command(*own, "max_rejected=0.4")[0] == 0
    assert {file.name for file in tmp_path.iterdir()} == {
        "asked.tsv", "batch.parquet", "batch-rejected.tsv"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "own", "code", "words"),
    [
        ([("head", "tail"), ("a", "b")], (), 3, "no column relation but 'head', 'tail'"),
        ([("relation",), ("a",)], (), 3, "no column head or tail"),
        ([("head", "relation")], (), 3, "asks nothing"),
        ([("head", "relation")], ("head=x",), 2, "leave out"),
        ([("head", "relation")], ("quote=ab",), 2, "quote must be"),
        ([("head", "relation")], ("max_rejected=2",), 2, "max_rejected"),
        ([("head", "relation")], ("abstain=2",), 2, "abstain"),
    ],
)
def test_files_that_ask_nothing(
    command: Command,
    trained: Path,
    tmp_path: Path,
    lines: list[tuple[str, ...]],
    own: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    file = written(tmp_path / "asked.tsv", lines)
    asked = (f"run={trained}", f"queries={file}", f"output={tmp_path}", *own)
    found, _, error = command("predict", *asked)
    assert (found, words in error) == (code, True), error
    assert error.count("\n") == 1
    assert not (tmp_path / "batch.parquet").exists()


def test_no_file(command: Command, trained: Path, tmp_path: Path) -> None:
    for name, words in (("gone.tsv", "does not exist"), ("a.json", "none of .tsv")):
        if name == "a.json":
            (tmp_path / name).write_text("{}")
        code, _, error = command("predict", f"run={trained}", f"queries={tmp_path / name}")
        assert (code, words in error) == (3, True), error
    code, _, error = command(
        "predict", f"run={trained}", "relation=relation 0", "head=a", "tsv=true"
    )
    assert (code, "queries=FILE" in error) == (2, True)


def test_an_interrupt_leaves_what_was_there(
    command: Command,
    trained: Path,
    tmp_path: Path,
    asked: tuple[Path, list[tuple[str, str, str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = ("predict", f"run={trained}", f"queries={asked[0]}", f"output={tmp_path}")
    assert command(*own)[0] == 0
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    monkeypatch.setattr(answers_module, "QUERIES", 4)
    told: list[str] = []

    def sure(table: pa.Table, least: float) -> pa.Table:
        told.append("part")
        if len(told) == 3:
            raise Interrupted(signal.SIGINT)
        return table

    monkeypatch.setattr(answers_module, "_sure", sure)
    code, _, error = command(*own)
    assert (code, "interrupted" in error) == (130, True)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_what_is_less_probable_is_left_out(
    command: Command, trained: Path, tmp_path: Path, asked: tuple[Path, object]
) -> None:
    own = ("predict", f"run={trained}", f"queries={asked[0]}", f"output={tmp_path}")
    assert command(*own)[0] == 0
    every = pq.read_table(tmp_path / "batch.parquet")["probability"].to_pylist()
    least = sorted(every)[len(every) // 2]
    code, out, _ = command(*own, f"abstain={least}")
    assert code == 0
    kept = pq.read_table(tmp_path / "batch.parquet")["probability"].to_pylist()
    assert kept == [one for one in every if one >= least]
    left = len(every) - len(kept)
    assert (f"left out as less probable: {left:,} answers" in out) == (left > 0)


def run_of(command: Command, tmp_path: Path, *own: str) -> Path:
    code, _, error = command(*own, f"root={tmp_path / 'outputs'}", "trainer.threads=1")
    assert (code, error) == (0, "")
    (run,) = (tmp_path / "outputs").glob("*/*")
    return run


def test_paths_as_one_by_one(command: Command, data: Path, tmp_path: Path) -> None:
    run = run_of(
        command,
        tmp_path,
        *("task=path_reasoning", "data=triples", f"data.path={data}", "reasoner.dim=4"),
        *("strategy.size=12", "strategy.batch_size=16", "trainer.max_epochs=1"),
        "predictions.pairs=64",
    )
    lines = [("entity 1", "relation 0"), ("entity 2", "relation 1"), ("entity 1", "relation 0")]
    file = written(tmp_path / "asked.tsv", [("head", "relation"), *lines])
    own = (f"run={run}", f"queries={file}", f"output={tmp_path}", "k=3")
    assert command("predict", *own)[0] == 0
    found, opened = answered(tmp_path), kgscale.load(run)
    for line, (head, relation) in enumerate(lines, start=2):
        assert found[line] == rows(opened.predict(head=head, relation=relation, k=3))


def test_users_as_one_by_one(command: Command, tmp_path: Path) -> None:
    likes = [(f"u{n}", f"i{n % 3 + 3 * k}") for n in range(30) for k in range(4) if (n + k) % 5]
    run = run_of(
        command,
        tmp_path,
        *("task=recommendation", f"data.path={written(tmp_path / 'likes.tsv', likes)}"),
        f"data.user_names={written(tmp_path / 'users.tsv', [('u29', 'Alice')])}",
        f"data.item_names={written(tmp_path / 'items.tsv', [('i2', 'Alice')])}",
        *("encoder.dim=8", "strategy=full_batch", "trainer.max_epochs=3"),
    )
    # As an item is called, too.
    users = ["u3", "user:u7", "Alice", "u3"]
    file = written(
        tmp_path / "asked.tsv", [("user",), *((one,) for one in [*users, "item:i1", "no"])]
    )
    own = (f"run={run}", f"queries={file}", f"output={tmp_path}", "k=4")
    code, out, error = command("predict", *own)
    assert (code, error) == (0, "")
    assert "no user of the graph: 1, as line 6: 'item:i1'" in out
    assert "no entity has this key or name: 1, as line 7: 'no'" in out
    found, opened = answered(tmp_path), kgscale.load(run)
    for line, user in enumerate(users, start=2):
        assert found[line] == rows(opened.predict(user=user, k=4))


@pytest.mark.parametrize("numbers", [False, True])
def test_entities_as_one_by_one(command: Command, tmp_path: Path, numbers: bool) -> None:
    lives = [(f"p{n}", "lives_in", f"t{n % 4}") for n in range(60)]
    what = [(f"p{n}", f"{100 * (n % 4)}" if numbers else f"word {n % 4}") for n in range(60)]
    kinds = [(f"p{n}", "person") for n in range(60)] + [(f"t{n}", "town") for n in range(4)]
    run = run_of(
        command,
        tmp_path,
        "task=node_regression" if numbers else "task=node_classification",
        *("data=triples", f"data.path={written(tmp_path / 'lives.tsv', lives)}"),
        f"data.types={written(tmp_path / 'kinds.tsv', kinds)}",
        f"data.labels={written(tmp_path / 'what.tsv', what)}",
        *(f"data.label_numbers={numbers}", "data.split=[1,0,0]", "inputs.learned=all"),
        "encoder=sage",
        *("strategy=full_batch", *SMALL[:1], "trainer.max_epochs=3"),
    )
    lines = [(f"p{n}",) for n in (5, 17, 59, 5)]
    file = written(tmp_path / "asked.tsv", [("entity",), *lines])
    own = (f"run={run}", f"queries={file}", f"output={tmp_path}", "k=2")
    code, _, error = command("predict", *own)
    assert (code, error) == (0, "")
    found, opened = answered(tmp_path), kgscale.load(run)
    for line, (entity,) in enumerate(lines, start=2):
        assert found[line] == rows(opened.predict(entity=entity, k=2))
