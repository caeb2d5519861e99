"""``task=recommendation`` from rows to lists."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import kgscale
from kgscale.tasks.runs import RecommendationRun
from tests.cli.conftest import Command
from tests.pages import Read

USERS, ITEMS = 30, 40
SMALL = (
    "task=recommendation",
    "task.cuts=[5,10]",
    "encoder.dim=8",
    "encoder.num_layers=1",
    "strategy.fanout=[5]",
    "strategy.batch_size=64",
    "trainer.threads=1",
    "trainer.max_epochs=2",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Users of two tastes; items with names, and facts that tell which taste they are for."""
    folder, draw = tmp_path_factory.mktemp("likes"), random.Random(0)
    rows = {
        (user, draw.randrange(ITEMS // 2) * 2 + user % 2)
        for user in range(USERS)
        for _ in range(12)
    }
    lines = [f"{user}\t{item}\t{draw.randrange(1, 6)}\t{n}" for n, (user, item) in enumerate(rows)]
    (folder / "likes.tsv").write_text("\n".join(lines) + "\n")
    names = [f"{item}\tItem <{item}>, (no. {item})" for item in range(ITEMS)]
    (folder / "names.tsv").write_text("\n".join(names) + "\n")
    facts = [f"{item}\tkind\tkind {item % 2}" for item in range(ITEMS)]
    (folder / "facts.tsv").write_text("\n".join(facts) + "\n")
    return folder


@pytest.fixture
def given(data: Path, tmp_path: Path) -> list[str]:
    return [
        *SMALL,
        f"data.path={data / 'likes.tsv'}",
        f"data.item_names={data / 'names.tsv'}",
        f"root={tmp_path / 'runs'}",
    ]


def the_run(tmp_path: Path) -> Path:
    (run,) = (tmp_path / "runs" / "recommendation").iterdir()
    return run


def test_from_rows_to_lists(command: Command, given: list[str], tmp_path: Path) -> None:
    code, out, error = command(*given, "evaluation.test=true")
    assert (code, error) == (0, "")
    for words in ("Recall@10", "NDCG@10", "item-kNN", "popularity", "Recommended"):
        assert words in out
    run = the_run(tmp_path)
    page = Read((run / "report.html").read_text(encoding="utf-8"))
    for words in ("item-kNN", "NDCG@10", "that the fewest users have", "none of them sampled"):
        assert words in page["metrics"]
    # Names with signs of HTML are shown as they are.
    assert "(no. " in page["predictions"]
    assert "Item <" in page["predictions"]
    results = json.loads((run / "results.json").read_text())
    assert results["monitor"] == "ndcg@10"
    assert results["metrics"]["test"]["users"] == USERS
    cold = results["metrics"]["cold_items"]["test"]
    assert cold["items"] == ITEMS // 10
    assert "items that the fewest users have" in out
    assert set(results["metrics"]["baseline"]) == {"split", "popularity", "item-kNN"}
    code, out, error = command("evaluate", f"run={run}", "split=test")
    assert (code, error) == (0, "")
    found = json.loads((run / "evaluation-test.json").read_text())["overall"]
    assert found["recall@10"] == results["metrics"]["test"]["recall@10"]
    code, out, error = command("predict", f"run={run}", "user=7", "k=4")
    assert (code, error) == (0, "")
    table = pq.read_table(run / "answers" / "predictions.parquet").to_pydict()
    assert table["rank"] == [1, 2, 3, 4]
    assert table["user"] == ["user:7"] * 4
    assert all(name.startswith("Item <") for name in table["item_name"])
    assert table["score"] == sorted(table["score"], reverse=True)
    assert table["item_name"][0] in out
    assert command("predict", f"run={run}", "user=*", "k=3")[0] == 0
    assert len(pq.read_table(run / "answers" / "predictions.parquet")) == 3 * USERS


def test_nobody_gets_what_they_have(command: Command, given: list[str], tmp_path: Path) -> None:
    assert command(*given)[0] == 0
    run = kgscale.load(the_run(tmp_path))
    assert isinstance(run, RecommendationRun)
    has = {split: run.store.triples(split) for split in ("train", "valid", "test")}
    pairs = {(h, t) for triples in has.values() for h, _, t in triples.tolist()}
    new = run.recommend(["3"], k=ITEMS)
    ids = run.store.entity_ids([*new["user"], *new["item"]])
    listed = {(ids[u], ids[i]) for u, i in zip(new["user"], new["item"], strict=True)}
    assert listed
    assert not listed & pairs
    everything = run.recommend(["3"], k=ITEMS, known=True)
    assert len(everything["item"]) == ITEMS
    ids = run.store.entity_ids([*everything["user"], *everything["item"]])
    marks = zip(everything["user"], everything["item"], everything["known"], strict=True)
    assert all(((ids[user], ids[item]) in pairs) == known for user, item, known in marks)
    # What somebody has is no prediction.
    said = zip(everything["probability"], everything["known"], strict=True)
    assert all((probability is None) == known for probability, known in said)
    code, out, _ = command("predict", f"run={run.directory}", "user=3", f"k={ITEMS}", "known=true")
    assert code == 0
    assert "known" in out
    code, _, _ = command("predict", f"run={run.directory}", "user=*", f"k={ITEMS}", "known=true")
    table = pq.read_table(run.directory / "answers" / "predictions.parquet")
    assert len(table) == USERS * ITEMS
    assert sum(table["known"].to_pylist()) == len(pairs)


@pytest.mark.parametrize(
    "more",
    [
        ["strategy=full_batch"],
        ["strategy=cluster", "strategy.parts=2", "strategy.per_batch=1"],
        ["strategy=subgraph"],
        ["strategy=neighbor", "strategy.candidates=5", "task.popularity=0.75", "loss=softmax"],
        ["encoder=compgcn", "decoder=distmult", "loss=softmax"],
        ["encoder=embedding"],
    ],
)
def test_strategies_encoders_and_losses(
    command: Command, given: list[str], more: list[str]
) -> None:
    small = [text for text in given if not text.startswith("strategy.")]
    if more[0] == "encoder=embedding":
        small = [text for text in small if "num_layers" not in text]
    elif "strategy=neighbor" in more or more[0].startswith("encoder="):
        more = [*more, "strategy.fanout=[5]"]
    code, _, error = command(*small, *more)
    assert (code, error) == (0, "")


def test_users_with_few_items(command: Command, tmp_path: Path) -> None:
    """Nothing is held out, and there is nothing to measure."""
    (tmp_path / "few.tsv").write_text("a\t1\nb\t2\nc\t1\nd\t3\n")
    code, _, error = command(*SMALL, f"data.path={tmp_path / 'few.tsv'}", f"root={tmp_path}")
    assert (code, error) == (0, "")


def test_facts_about_items(command: Command, data: Path, given: list[str], tmp_path: Path) -> None:
    code, _, error = command(*given, f"data.facts={data / 'facts.tsv'}")
    assert (code, error) == (0, "")
    run = kgscale.load(the_run(tmp_path))
    assert run.store.num_relations == 2


def test_it_goes_on(command: Command, given: list[str], tmp_path: Path) -> None:
    assert command(*given)[0] == 0
    run = the_run(tmp_path)
    assert command(f"resume={run}", "trainer.max_epochs=4")[0] == 0
    longer = json.loads((run / "results.json").read_text())
    whole = tmp_path / "whole"
    assert command(*given, "trainer.max_epochs=4", f"root={whole}")[0] == 0
    (other,) = (whole / "recommendation").iterdir()
    assert json.loads((other / "results.json").read_text())["metrics"] == longer["metrics"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["user=nobody"], "no entity has the key or name 'nobody': nearest are 'user:"),
        (["user=item:3"], "'item:3' is no user of the graph"),
        (["head=3", "relation=interacts"], "predict needs user=… alone"),
    ],
)
def test_wrong_questions(
    command: Command, given: list[str], tmp_path: Path, arguments: list[str], words: str
) -> None:
    assert command(*given)[0] == 0
    code, _, error = command("predict", f"run={the_run(tmp_path)}", *arguments)
    assert code == 2
    assert words in error


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["task.relation=likes"], "no relation 'likes' between users and items"),
        (["task.users=person"], "no entity has the type 'person'"),
        (["task.cuts=[10,5]"], "task.cuts needs ascending positive ints"),
        (["task.popularity=-1"], "task.popularity needs a number of at least 0"),
        (["data.split_by=size"], "data.split_by"),
    ],
)
def test_wrong_settings(command: Command, given: list[str], more: list[str], words: str) -> None:
    code, _, error = command(*given, *more)
    assert code in (2, 3)
    assert words in error
    assert error.count("\n") == 1
