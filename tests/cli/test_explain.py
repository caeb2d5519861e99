"""Reasons from a run directory to a table, files and a picture."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import kgscale
from tests.cli.conftest import SMALL, Command

TRIPLE = ("head=entity 1", "relation=relation 0", "tail=entity 2")
KINDS = {
    "messages": ("encoder=compgcn", "strategy=neighbor", "strategy.fanout=[5]", *SMALL),
    "messages that divide": ("encoder=lightgcn", "strategy=full_batch", *SMALL[:1], *SMALL[2:]),
    "vectors": ("encoder=embedding", *SMALL),
    "maps": ("encoder=sign", "strategy=precomputed", *SMALL),
    "paths": (
        "task=path_reasoning",
        "reasoner.dim=4",
        "strategy.size=12",
        "strategy.batch_size=16",
        *SMALL[2:],
    ),
}


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened, delimiter="\t"))


def train(command: Command, tmp_path: Path, *overrides: str) -> Path:
    code, _, error = command(*overrides, f"root={tmp_path / 'outputs'}")
    assert (code, error) == (0, "")
    (run,) = (tmp_path / "outputs").glob("*/*")
    return run


@pytest.mark.parametrize("kind", KINDS)
def test_why_a_link(command: Command, data: Path, tmp_path: Path, kind: str) -> None:
    run = train(command, tmp_path, "data=triples", f"data.path={data}", *KINDS[kind])
    code, out, error = command("explain", f"run={run}", *TRIPLE, "k=4")
    assert (code, error) == (0, "")
    assert "entity 1 -[relation 0]-> entity 2" in out
    assert "loss without it" in out
    # Influence functions and reasoners leave nothing as it is.
    assert ("learned vectors stay as they are" in out) == (kind not in ("vectors", "paths"))
    found = rows(run / "answers" / "explanation.tsv")
    assert 1 <= len(found) <= 4
    assert [row["rank"] for row in found] == [str(n + 1) for n in range(len(found))]
    losses = [float(row["loss"]) for row in found]
    assert losses == sorted(losses, reverse=True)
    assert {row["triples"] for row in found}.isdisjoint({"entity 1, relation 0, entity 2"})
    assert all("entity 1" in row["reason"] or "entity 2" in row["reason"] for row in found)
    assert (run / "answers" / "explanation.png").read_bytes()[:4] == b"\x89PNG"
    assert len(pq.read_table(run / "answers" / "explanation.parquet")) == len(found)
    again = kgscale.load(run).explain(head="entity 1", relation="relation 0", tail="entity 2", k=4)
    assert again.columns()["loss"] == pytest.approx(losses)


@pytest.fixture
def people(tmp_path: Path) -> tuple[str, ...]:
    """Who lives in a town speaks its language, and earns its wage."""
    lives = [f"p{n}\tlives_in\tt{n % 4}\np{n}\tknows\tp{(n * 7 + 1) % 80}" for n in range(80)]
    types = [f"p{n}\tperson" for n in range(80)] + [f"t{n}\ttown" for n in range(4)]
    for name, lines in (
        ("graph", lives),
        ("types", types),
        ("speaks", [f"p{n}\tlanguage {n % 4}" for n in range(80)]),
        ("earns", [f"p{n}\t{100 * (n % 4)}" for n in range(80)]),
    ):
        (tmp_path / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    return (
        "data=triples",
        f"data.path={tmp_path / 'graph.tsv'}",
        f"data.types={tmp_path / 'types.tsv'}",
        "data.split=[1,0,0]",
        "strategy=full_batch",
        "encoder=sage",
        "encoder.dim=16",
        "encoder.num_layers=1",
        "encoder.dropout=0",
        "inputs.learned=all",
        "trainer.threads=1",
        "trainer.max_epochs=60",
        f"store.root={tmp_path / 'stores'}",
    )


def test_why_a_label(command: Command, people: tuple[str, ...], tmp_path: Path) -> None:
    labels = f"data.labels={tmp_path / 'speaks.tsv'}"
    run = train(command, tmp_path, "task=node_classification", *people, labels)
    code, out, _ = command("explain", f"run={run}", "entity=p5", "label=language 1", "k=3")
    assert code == 0
    assert "p5: language 1" in out
    (first, *_) = rows(run / "answers" / "explanation.tsv")
    assert first["reason"] == "p5 -[lives_in]-> t1"
    assert first["triples"] == "p5, lives_in, t1"
    assert float(first["loss"]) > 0
    # Without a label it is the likeliest.
    assert "p5: language 1" in command("explain", f"run={run}", "entity=p5")[1]
    code, _, error = command("explain", f"run={run}", "entity=p5", "label=language1")
    assert code == 2
    assert "did you mean 'language 1'?" in error


def test_why_a_number(command: Command, people: tuple[str, ...], tmp_path: Path) -> None:
    labels = f"data.labels={tmp_path / 'earns.tsv'}", "data.label_numbers=true"
    run = train(command, tmp_path, "task=node_regression", *people, *labels)
    assert command("explain", f"run={run}", "entity=p7")[0] == 0
    found = rows(run / "answers" / "explanation.tsv")
    assert found[0]["reason"] == "p7 -[lives_in]-> t3"
    sizes = [abs(float(row["loss"])) for row in found]
    assert sizes == sorted(sizes, reverse=True)


def test_features_alone_have_no_reasons(command: Command, tmp_path: Path) -> None:
    own = ("task=node_classification", "data=synthetic", "data.edges=1600", "strategy=precomputed")
    more = ("encoder=sign", "strategy.hops=0", *SMALL, f"store.root={tmp_path / 'stores'}")
    run = train(command, tmp_path, *own, *more)
    code, _, error = command("explain", f"run={run}", "entity=paper:3")
    assert code == 2
    assert "features alone" in error


def test_why_an_item(command: Command, tmp_path: Path) -> None:
    lines = [f"u{n}\ti{n % 3 + 3 * k}" for n in range(30) for k in range(4) if (n + k) % 5]
    (tmp_path / "likes.tsv").write_text("\n".join(lines) + "\n")
    run = train(
        command,
        tmp_path,
        "task=recommendation",
        f"data.path={tmp_path / 'likes.tsv'}",
        "task.dim=8",
        "strategy=full_batch",
        "trainer.threads=1",
        "trainer.max_epochs=20",
        f"store.root={tmp_path / 'stores'}",
    )
    code, out, error = command("explain", f"run={run}", "user=u4", "item=i4", "k=5")
    assert (code, error) == (0, "")
    assert "user:u4" in out
    assert rows(run / "answers" / "explanation.tsv")
    for asked, words in (
        (("user=u4",), "user=…, item=…"),
        (("user=u4", "item=user:u5"), "is no item"),
        (("user=u4", "item=<b>x</b>, [1]"), "'<b>x</b>, [1]'"),
        (("user=nobody", "item=i4"), "nearest are"),
    ):
        code, _, error = command("explain", f"run={run}", *asked)
        assert code == 2
        assert words in error
        assert "Traceback" not in error


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ((), "explain needs head=…, relation=…, tail=…"),
        (("head=entity 1",), "got head="),
        ((*TRIPLE, "entity=entity 1"), "got head=, relation=, tail=, entity="),
        ((*TRIPLE[:2], "tail=entity 99"), "nearest are"),
        ((*TRIPLE, "k=0"), "k needs"),
        ((*TRIPLE, "candidates=0"), "candidates needs"),
        ((*TRIPLE, "candidate=3"), "candidates"),
    ],
)
def test_wrong_questions(
    command: Command, trained: Path, asked: tuple[str, ...], words: str
) -> None:
    code, _, error = command("explain", f"run={trained}", *asked)
    assert code == 2
    assert words in error
    assert "Traceback" not in error


def test_an_entity_without_facts(command: Command, tmp_path: Path, data: Path) -> None:
    """It is told so, and the picture is drawn all the same."""
    folder = tmp_path / "data"
    folder.mkdir()
    for split in ("train", "valid", "test"):
        text = (data / f"{split}.tsv").read_text(encoding="utf-8")
        more = "alone\trelation 0\tonly\n" if split == "test" else ""
        (folder / f"{split}.tsv").write_text(text + more, encoding="utf-8")
    own = ("data=triples", f"data.path={folder}", "encoder=embedding", *SMALL)
    run = train(command, tmp_path, *own)
    code, out, _ = command(
        "explain", f"run={run}", "head=alone", "relation=relation 0", "tail=only"
    )
    assert code == 0
    assert "no fact of train" in out
    assert (run / "answers" / "explanation.png").exists()
