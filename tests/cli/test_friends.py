"""Friend recommendation from lines to lists."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

import kgscale
from kgscale.tasks import training
from kgscale.tasks.runs import RecommendationRun
from kgscale.training.fit import FitResult
from tests.cli.conftest import Command
from tests.pages import Read

PEOPLE, CIRCLES = 60, 4


@pytest.fixture
def circles(tmp_path: Path) -> list[str]:
    """Most friends are in one's own circle; some are told twice, the other way round, and one is
    said to be a friend of itself."""
    generator = torch.Generator().manual_seed(0)
    chance = torch.rand(PEOPLE, PEOPLE, generator=generator)
    pairs = [
        (a, b)
        for a in range(PEOPLE)
        for b in range(a)
        if chance[a, b] < (0.5 if a % CIRCLES == b % CIRCLES else 0.02)
    ]
    lines = [f"p{a}\tp{b}" for a, b in pairs] + [f"p{b}\tp{a}" for a, b in pairs[::2]]
    (tmp_path / "friends.tsv").write_text("\n".join([*lines, "p1\tp1"]) + "\n")
    return [
        "task=friend_recommendation",
        f"data.path={tmp_path / 'friends.tsv'}",
        "task.dim=16",
        "task.strangers=500",
        "trainer.max_epochs=40",
        "trainer.threads=1",
        "optimizer.lr=0.02",
        "evaluation.test=true",
        "predictions.count=3",
        f"root={tmp_path / 'outputs'}",
        f"store.root={tmp_path / 'stores'}",
    ]


def the_run(tmp_path: Path) -> Path:
    (run,) = (tmp_path / "outputs" / "friend_recommendation").iterdir()
    return run


@pytest.mark.parametrize(
    "more",
    [
        ["strategy=full_batch"],
        ["strategy=neighbor", "strategy.fanout=[10,10]", "strategy.batch_size=64"],
        pytest.param(
            ["strategy=subgraph", "encoder=embedding", "decoder=distmult"], marks=pytest.mark.slow
        ),
    ],
)
def test_from_lines_to_lists(
    command: Command, circles: list[str], tmp_path: Path, more: list[str]
) -> None:
    code, out, error = command(*circles, *more)
    assert (code, error) == (0, "")
    for words in ("as popular", "Adamic-Adar", "common neighbours", "joined to itself"):
        assert words in out
    run = the_run(tmp_path)
    page = Read((run / "report.html").read_text(encoding="utf-8"))
    for words in ("Adamic-Adar", "as popular", "NDCG@20", "told from strangers"):
        assert words in page["metrics"]
    assert "The first of predictions.tsv" in page["predictions"]
    results = json.loads((run / "results.json").read_text())
    test = results["metrics"]["test"]
    assert test["random"]["auc"] > 0.6
    assert test["matched"]["auc"] > 0.6
    shared = results["metrics"]["shared"]
    weighed = shared["ndcg@20"]
    assert weighed[str(shared["weight"])] == max(weighed.values())
    words = (
        "chosen by validation: NDCG@20" if shared["weight"] else "friends in common are left out"
    )
    assert words in " ".join(out.split())
    assert ("shared friends" in out) == bool(shared["weight"])
    assert set(results["metrics"]["baseline"]) == {
        *("split", "common neighbours", "Adamic-Adar", "degrees"),
        *(["vectors alone"] if shared["weight"] else []),
    }
    assert 0 < results["metrics"]["calibration"]["test"]["ece"] < 0.5
    code, out, error = command("predict", f"run={run}", "user=p3", "k=5")
    assert (code, error) == (0, "")
    listed = pq.read_table(run / "answers" / "predictions.parquet").to_pydict()
    assert listed["rank"] == [1, 2, 3, 4, 5]
    code, out, error = command("evaluate", f"run={run}", "split=test")
    assert (code, error) == (0, "")
    found = json.loads((run / "evaluation-test.json").read_text())["overall"]
    assert found["ndcg@20"] == test["ndcg@20"]
    assert "among as popular strangers" in " ".join(out.split())


@pytest.mark.parametrize("shared", [pytest.param(0.0, marks=pytest.mark.slow), 1.5])
def test_the_same_scores_are_opened_again(
    command: Command, circles: list[str], tmp_path: Path, shared: float
) -> None:
    asked = [f"task.shared={shared}", "predictions.count=20", "predictions.per_relation=3"]
    code, out, error = command(*circles, *asked, "trainer.max_epochs=3")
    assert (code, error) == (0, "")
    assert ("1.5 times log(1 + Adamic-Adar)" in out) == bool(shared)
    run = the_run(tmp_path)
    written = pq.read_table(run / "predictions.parquet").to_pydict()
    opened = kgscale.load(run)
    assert isinstance(opened, RecommendationRun)
    users = list(dict.fromkeys(written["user"]))
    again = opened.recommend(users, k=3)
    assert again["item"] == written["item"]
    assert again["score"] == pytest.approx(written["score"], rel=1e-4)
    assert opened.recommend(users[:1], k=3)["score"] == again["score"][:3]
    results = json.loads((run / "results.json").read_text())
    found = opened.evaluate("test")
    assert found["ndcg@20"] == results["metrics"]["test"]["ndcg@20"]
    assert found["random"]["auc"] == results["metrics"]["test"]["random"]["auc"]
    # It is explained by the same score.
    why = opened.explain(user=users[0], item=again["item"][0])
    assert why.score == pytest.approx(again["score"][0], rel=1e-4)
    if shared:
        assert any(len(names) == 5 for names in why.names)


def test_what_was_asked_for_is_measured_again(
    command: Command, circles: list[str], tmp_path: Path
) -> None:
    """By evaluate, with the lengths of lists and the strangers of the run."""
    own = ("task.cuts=[3,5]", "task.hits=[7]", "task.strangers=90", "task.shared=2")
    assert command(*circles, *own, "trainer.max_epochs=2")[0] == 0
    run = the_run(tmp_path)
    first = json.loads((run / "evaluation-test.json").read_text())
    assert first["overall"]["random"].keys() == {"auc", "hits@7", "strangers"}
    (run / "evaluation-test.json").unlink()
    assert command("evaluate", f"run={run}", "split=test")[0] == 0
    assert json.loads((run / "evaluation-test.json").read_text()) == first
    for page in (run / "report.html", run / "model" / "README.md"):
        assert "2 log(1 + Adamic-Adar) of friends in common" in page.read_text("utf-8")


def test_a_given_weight_outlives_an_interruption(
    command: Command, circles: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = training.fit

    def cut_short(*given: Any, **more: Any) -> FitResult:
        return replace(whole(*given, **more), interrupted=130)

    monkeypatch.setattr(training, "fit", cut_short)
    assert command(*circles, "task.shared=4", "trainer.max_epochs=1")[0] == 130
    run = kgscale.load(the_run(tmp_path))
    assert isinstance(run, RecommendationRun)
    assert run.weight == 4


def test_a_friend_in_common_of_any_split_is_a_reason(
    command: Command, tmp_path: Path, circles: list[str]
) -> None:
    """a and z have one friend in common, who is known from valid and test alone."""
    folder = tmp_path / "splits"
    folder.mkdir()
    (folder / "train.tsv").write_text("".join(f"a\tx{n}\nz\ty{n}\nm\tw{n}\n" for n in range(5)))
    (folder / "valid.tsv").write_text("a\tm\n")
    (folder / "test.tsv").write_text("m\tz\n")
    own = (f"data.path={folder}", "task.shared=3", "trainer.max_epochs=1")
    assert command(*circles, *own)[0] == 0
    run = kgscale.load(the_run(tmp_path))
    assert isinstance(run, RecommendationRun)
    why = run.explain(user="a", item="z")
    assert why.names[0][::2] == ["a", "m", "z"]
    assert why.reasons[0].loss == pytest.approx(3 * math.log1p(1 / math.log(7)), rel=0.01)
    found = run.recommend(["a"], k=20)
    assert why.score == pytest.approx(found["score"][found["item"].index("z")], rel=1e-4)


def test_a_relation_of_others_too_is_refused(
    command: Command, circles: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "mixed.tsv"
    path.write_text("".join(f"p{n}\tfriend\tp{n + 1}\n" for n in range(30)) + "p1\tfriend\tbot\n")
    kinds = "".join(f"p{n}\tuser\n" for n in range(31)) + "bot\tmachine\n"
    (tmp_path / "kinds.tsv").write_text(kinds)
    own = (f"data.path={path}", "data.relation=null", f"data.types={tmp_path / 'kinds.tsv'}")
    code, _, error = command(*circles, *own, "task.users=user")
    assert (code, error.count("\n")) == (3, 1)
    assert "which is no 'user'" in error
    assert not list((tmp_path / "outputs").glob("*/*"))


def test_nobody_is_recommended_to_itself_or_to_friends(
    command: Command, circles: list[str], tmp_path: Path
) -> None:
    assert command(*circles, "trainer.max_epochs=1")[0] == 0
    run = kgscale.load(the_run(tmp_path))
    assert isinstance(run, RecommendationRun)
    store = run.store
    splits = [store.triples(split) for split in ("train", "valid", "test")]
    pairs = [{frozenset(row[::2]) for row in part.tolist()} for part in splits]
    # No pair is in two splits, whichever way it is written.
    assert sum(map(len, pairs)) == len(set().union(*pairs)) == sum(map(len, splits))
    everybody = [f"p{n}" for n in range(PEOPLE)]
    found = run.recommend(everybody, k=PEOPLE)
    ids = store.entity_ids(everybody)
    listed = {
        frozenset((ids[a], ids[b])) for a, b in zip(found["user"], found["item"], strict=True)
    }
    assert all(len(pair) == 2 for pair in listed)
    assert not listed & set().union(*pairs)
    assert len(listed | set().union(*pairs)) == PEOPLE * (PEOPLE - 1) // 2


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["data.undirected=false"], 3, "set data.undirected=true"),
        (["decoder=complex"], 2, "set decoder=dot or distmult"),
        (["task.items=other"], 2, "friends are of one type"),
        (["task.relation=foe"], 3, "the graph has no relation 'foe'"),
        (["task.hits=[0]"], 2, "task.hits needs ascending positive ints"),
        (["task.shared=-1"], 2, "task.shared needs auto or a number of at least 0, got -1"),
        (["task.shared=often"], 2, "task.shared"),
        (["task.strangers=0"], 2, "task.strangers needs an int of at least 1"),
    ],
)
def test_refused(
    command: Command, circles: list[str], more: list[str], code: int, words: str
) -> None:
    found, _, error = command(*circles, *more)
    assert found == code
    assert words in error
    assert error.count("\n") == 1
