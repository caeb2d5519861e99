"""What is odd about a data set, from files to a verdict, tables, pictures and JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kgscale.graph.store import GraphStore
from kgscale.tasks.audit import report
from tests.cli.conftest import SMALL, Command

RING = [(f"e{n}", f"e{(n + 1) % 40}") for n in range(40)]


def audited(root: Path) -> dict[str, Any]:
    (file,) = (root / "audit").glob("*/audit.json")
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    for picture in ("degrees.png", "relations.png"):
        assert (file.parent / picture).read_bytes()[:4] == b"\x89PNG"
    assert (file.parent / "config.yaml").is_file()
    return content


def kinds(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {finding["kind"]: finding for finding in content["findings"]}


def put(folder: Path, **splits: list[tuple[str, str, str]]) -> Path:
    folder.mkdir(exist_ok=True)
    for split, rows in splits.items():
        text = "".join("\t".join(row) + "\n" for row in rows)
        (folder / f"{split}.tsv").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """``s`` is ``r`` backwards; test has a fact of train, four told ones and an unknown entity."""
    train = [(h, "r", t) for h, t in RING[4:]] + [(t, "s", h) for h, t in RING]
    test = [(h, "r", t) for h, t in RING[:4]] + [("new", "r", "e1"), train[0]]
    return put(tmp_path / "odd", train=train, valid=[("e0", "r", "e20")], test=test)


@pytest.fixture
def fair(tmp_path: Path) -> Path:
    train = [(h, "r", t) for h, t in RING]
    held = [(f"e{n}", "r", f"e{(7 * n + 12) % 40}") for n in range(40)]
    return put(tmp_path / "fair", train=train, valid=held[::2], test=held[1::2])


def test_a_verdict_first_and_what_to_do(command: Command, odd: Path, tmp_path: Path) -> None:
    out_ = tmp_path / "out"
    code, out, error = command("audit", "data=triples", f"data.path={odd}", f"root={out_}")
    assert (code, error) == (0, "")
    content = audited(out_)
    found = kinds(content)
    assert found["shared"]["count"] == 1
    assert (found["told"]["count"], found["told"]["share"]) == (4, 0.8)
    assert found["inverse"]["count"] == 1
    assert found["unseen"]["count"] == 1
    assert "few" in found
    assert content["held_out"]["test"]["inverse"] == 4
    assert content["shared"] == {"train and valid": 0, "train and test": 1, "valid and test": 0}
    assert content["ingest"]["lines"] == content["ingest"]["accepted"] == 83
    rows = {row["key"]: row for row in content["relations"]}
    assert (rows["r"]["train"], rows["r"]["test"], rows["r"]["told"]) == (36, 5, 4)
    assert "can't be trusted" in content["verdict"]
    # In words first, what weighs most before the rest, then tables.
    places = [
        out.index(text) for text in ("verdict on odd", "train and test", "train tells 4 of 5")
    ]
    places += [out.index(text) for text in ("Held-out facts", "Relations that say the same")]
    assert places == sorted(places)
    assert out.count("what to do:") == len(content["findings"])
    assert "read: 83 lines, 83 accepted" in out
    (directory,) = (out_ / "audit").iterdir()
    assert f"written: {directory / 'audit.json'}" in out.replace("\n", "")


def test_nothing_odd_is_said_of_a_fair_graph(command: Command, fair: Path, tmp_path: Path) -> None:
    own = ("data=triples", f"data.path={fair}", f"root={tmp_path / 'out'}")
    assert command("audit", *own)[0] == 0
    content = audited(tmp_path / "out")
    # But that it is small.
    assert set(kinds(content)) == {"few"}
    code, out, error = command(*own, *SMALL)
    assert (code, error) == (0, "")
    assert "audit:" not in out
    (run,) = (tmp_path / "out" / "link_prediction").iterdir()
    told = json.loads((run / "results.json").read_text())["audit"]
    assert told["verdict"] == content["verdict"]
    assert told["findings"] == content["findings"]


def test_training_says_what_matters_and_is_not_slowed(
    command: Command, odd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ("data=triples", f"data.path={odd}", f"root={tmp_path / 'out'}", *SMALL)
    more = f"store.root={tmp_path / 'stores'}"
    code, out, _ = command(*own, more)
    assert code == 0
    said = [line for line in out.splitlines() if line.startswith("audit: ")]
    assert "python -m kgscale audit" in said[0]
    assert any("train tells 4 of 5 facts of test" in line for line in said)
    (run,) = (tmp_path / "out" / "link_prediction").iterdir()
    assert json.loads((run / "results.json").read_text())["prepared_seconds"] == 0
    # It is kept with the store, and not made before a training on a large graph.
    (store,) = (tmp_path / "stores").glob("odd-*")
    assert len(list(store.glob("derived/survey-*"))) == 1
    monkeypatch.setattr(report, "SHORT", 10)
    opened = GraphStore.open(store)
    assert report.short(opened, links=True) is not None
    for kept in store.glob("derived/survey-*/*"):
        kept.unlink()
    assert report.short(opened, links=True) is None
    (line,) = report.short_lines(None)
    assert "of more than 10 facts" in line
    assert report.short_content(None) is None


def test_relations_with_one_answer_are_told_apart_from_products(
    command: Command, tmp_path: Path
) -> None:
    """Of four test facts two are of ``in``, whose tail is always the same, and one of ``all``."""
    train = [(h, "r", t) for h, t in RING] + [(f"e{n}", "in", "land") for n in range(20)]
    train += [(f"e{a}", "all", f"e{b}") for a in range(4) for b in range(10, 14)][:-1]
    test = [("e20", "in", "land"), ("e21", "in", "land"), ("e3", "all", "e13"), ("e0", "r", "e9")]
    folder = put(tmp_path / "data", train=train, valid=[("e22", "in", "land")], test=test)
    own = ("data=triples", f"data.path={folder}", f"root={tmp_path / 'out'}")
    code, out, error = command("audit", *own)
    assert (code, error) == (0, "")
    content = audited(tmp_path / "out")
    found = kinds(content)
    assert found["cartesian"]["count"] == 1
    constant = found["constant"]
    assert (constant["count"], constant["share"], constant["weight"]) == (1, 0.5, "mind")
    assert constant["words"] == (
        "1 relation with a single head or tail: 'in'; 2 of 4 facts of test are of these"
    )
    assert "report them apart" in constant["remedy"]
    assert constant["words"] in " ".join(out.split())
    rows = {row["key"]: row for row in content["relations"]}
    assert [key for key, row in rows.items() if row["constant"]] == ["in"]
    (line,) = (line for line in out.splitlines() if line.split()[:2] == ["in", "23"])
    assert line.split()[-1] == "constant"
    # A training keeps it, and says it no more than others that are only to be known.
    code, out, error = command(*own, *SMALL)
    assert (code, error) == (0, "")
    assert "single head or tail" not in out
    (run,) = (tmp_path / "out" / "link_prediction").iterdir()
    told = json.loads((run / "results.json").read_text())["audit"]
    assert constant in told["findings"]


def test_labels_alone_are_judged_where_they_are_asked(command: Command, tmp_path: Path) -> None:
    """Links of such a graph are nobody's question."""
    rows = [(f"p{n}", "member_of", f"g{n % 2}") for n in range(30)]
    rows += [(t, "has", h) for h, _, t in rows]
    folder = put(tmp_path / "people", graph=rows)
    labels = "".join(f"p{n}\tg{n % 2}\n" for n in range(30))
    (folder / "labels.tsv").write_text(labels)
    own = (f"data.path={folder / 'graph.tsv'}", f"data.labels={folder / 'labels.tsv'}")
    own = ("data=triples", "task=node_classification", *own, "data.split=[1,0,0]")
    code, out, _ = command("audit", *own, f"root={tmp_path / 'out'}")
    assert code == 0
    content = audited(tmp_path / "out")
    assert kinds(content)["label_in_graph"]["count"] == 30
    assert kinds(content)["label_in_graph"]["weight"] == "wrong"
    assert {one["key"] for one in content["labels"]["joined_by"]} == {"member_of", "has"}
    assert set(kinds(content)) <= {"label_in_graph", "components"}
    assert "'member_of'" in out


def test_friends_are_not_accused_of_knowing_each_other(command: Command, tmp_path: Path) -> None:
    pairs = [(f"u{n}", f"u{(n + k) % 30}") for n in range(30) for k in (1, 2, 5)]
    text = "".join(f"{a}\t{b}\n{b}\t{a}\n" for a, b in pairs)
    (tmp_path / "friends.tsv").write_text(text)
    own = ("task=friend_recommendation", f"data.path={tmp_path / 'friends.tsv'}")
    code, out, _ = command("audit", *own, f"root={tmp_path / 'out'}")
    assert code == 0
    content = audited(tmp_path / "out")
    assert content["undirected"]
    assert not {"told", "symmetric", "inverse"} & set(kinds(content))
    assert content["held_out"]["test"]["reverse"] == 0
    assert "symmetric" not in out


def test_a_graph_of_other_entities_that_are_not(command: Command, tmp_path: Path) -> None:
    train = [(h, "r", t) for h, t in RING]
    other = [(h, r, f"x{t}") for h, r, t in train[:9]] + [("x1", "q", "x2")]
    folder = put(tmp_path / "one", train=train, ind_train=other)
    own = ("data=triples", f"data.path={folder}", "data.split=[1,0,0]")
    other_ = f"data.inductive={{path: '{folder}', prefix: ind_}}"
    code, _, error = command("audit", *own, other_, f"root={tmp_path / 'out'}")
    assert (code, error) == (0, "")
    found = kinds(audited(tmp_path / "out"))
    assert found["other_shares_entities"]["count"] == 9
    assert found["other_has_relations"]["count"] == 1


def test_names_steer_nothing(command: Command, tmp_path: Path) -> None:
    """Neither the terminal nor the text of a picture."""
    names = ["[bold]r[/bold]", "\x1b[31mred", "$\\frac{a}$"]
    rows = [(f"h{a}", r, f"t{b}") for r in names for a in range(4) for b in range(4)]
    folder = put(tmp_path / "names", train=rows)
    own = ("data=triples", f"data.path={folder}", "data.split=[1,0,0]")
    code, out, _ = command("audit", *own, f"root={tmp_path / 'o'}")
    assert code == 0
    assert "\x1b" not in out
    assert "[bold]r[/bold]" in out
    assert kinds(audited(tmp_path / "o"))["duplicate"]["count"] == 3


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        (("audit.overlap=1.5",), 2, "audit.overlap is a share"),
        (("audit.least=0",), 2, "audit.least needs"),
        (("audit.overlp=0.5",), 2, "audit.overlap"),
        (("data.path=/nowhere",), 3, "/nowhere"),
        (("task=leaderboard",), 2, "task"),
    ],
)
def test_mistakes_are_told(
    command: Command, fair: Path, tmp_path: Path, given: tuple[str, ...], code: int, words: str
) -> None:
    own = ("data=triples", f"data.path={fair}", f"root={tmp_path / 'out'}")
    found, _, error = command("audit", *own, *given)
    assert found == code
    assert words in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()
