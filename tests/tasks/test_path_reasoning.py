"""Path reasoning from settings to a run directory."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

import kgscale
from kgscale.cli import compose
from kgscale.cli.main import main
from kgscale.errors import ConfigError, ResourceError
from kgscale.tasks.measure import measure_step, plan_step
from kgscale.tasks.runs import PathRun
from tests.pages import Read

SMALL = (
    "task.dim=16",
    "task.num_layers=3",
    "trainer.threads=1",
    "predictions.count=2",
    "predictions.pairs=20",
)
RULES = ("data=synthetic", "data.kind=rules", "data.edges=2000")
Train = Callable[..., PathRun]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    def call(*overrides: str) -> PathRun:
        own = (f"root={tmp_path / 'outputs'}", f"store.root={tmp_path / 'stores'}")
        run = kgscale.train("task=path_reasoning", *SMALL, *own, *overrides, quiet=True)
        assert isinstance(run, PathRun)
        return run

    return call


@pytest.mark.parametrize(
    "choice", [(), ("strategy.aware=true", "strategy.reserved=0.3"), ("reasoner.profile=true",)]
)
def test_it_learns_planted_rules_and_answers(train: Train, choice: tuple[str, ...]) -> None:
    """What follows by a rule from other triples is found by their path; no vector could say it."""
    run = train(
        *RULES,
        *choice,
        "strategy.size=100",
        "strategy.visits=3",
        "trainer.max_epochs=4",
        "evaluation.test=true",
        "evaluation.validate_on=30",
    )
    results = json.loads((run.directory / "results.json").read_text())
    test = results["metrics"]["test"]
    assert test["mrr"] > 2 * results["metrics"]["baseline"]["popularity"]["mrr"]
    assert 0.5 < test["coverage"] <= 1
    assert results["reasoner"] == "PathReasoner"
    page = Read((run.directory / "report.html").read_text(encoding="utf-8"))
    assert "of the answers lie in the subgraph" in page["metrics"]
    assert page["relations"]
    assert page["curves"]
    again = kgscale.load(run.directory)
    assert isinstance(again, PathRun)
    assert again.evaluate("test").overall()["mrr"] == pytest.approx(test["mrr"])
    head, relation, tail = run.store.triples("train")[0].tolist()
    asked = {
        "head": run.store.entity_keys([head])[0],
        "relation": run.store.relation_keys([relation])[0],
    }
    found = again.predict(**asked, k=50, known=True)
    assert run.store.entity_keys([tail])[0] in found["tail"]
    assert sum(found["score"]) == pytest.approx(1, abs=0.2)
    assert (run.directory / "predictions.tsv").read_text().count("\n") == 3


def test_another_graph_is_answered_by_what_was_learned(train: Train, tmp_path: Path) -> None:
    """Who is somebody's boss has that one as a report; entities there have other names."""
    for folder, people in (("here", "abcdefghijklmnop"), ("there", "zyxwvutsr")):
        (tmp_path / folder).mkdir()
        pairs = list(itertools.pairwise(people))
        lines = [f"{a}\tboss_of\t{b}" for a, b in pairs]
        back = [f"{b}\treports_to\t{a}" for a, b in pairs]
        kept = back if folder == "here" else back[:2]
        (tmp_path / folder / "in_train.tsv").write_text("\n".join([*lines, *kept]) + "\n")
        asked = (back if folder == "here" else back[2:])[-4:]
        for split in ("valid", "test"):
            (tmp_path / folder / f"in_{split}.tsv").write_text("\n".join(asked) + "\n")
    run = train(
        "data=triples",
        f"data.path={tmp_path / 'here'}",
        "data.prefix=in_",
        f"data.inductive={{path: {tmp_path / 'there'}, prefix: in_}}",
        "strategy.size=8",
        "strategy.aware=true",
        "trainer.max_epochs=12",
        "trainer.patience=12",
        "evaluation.test=true",
    )
    metrics = json.loads((run.directory / "results.json").read_text())["metrics"]["inductive"]
    assert metrics["test"]["mrr"] > 0.8
    assert metrics["test"]["queries"] == 8
    assert metrics["test"]["among_negatives"]["mrr"] >= metrics["test"]["mrr"]


def test_what_is_asked_of_another_graph_is_no_way_through_it(train: Train, tmp_path: Path) -> None:
    """Its own held-out triples would join every asked pair; its train has nothing near them."""
    for folder, people in (("here", "abcdefgh"), ("there", "zyxwvuts")):
        (tmp_path / folder).mkdir()
        lines = [f"{a}\tboss_of\t{b}\n" for a, b in itertools.pairwise(people)]
        back = [f"{b}\treports_to\t{a}\n" for a, b in itertools.pairwise(people)]
        (tmp_path / folder / "train.tsv").write_text("".join(lines + back))
        far = [f"far{at}\tboss_of\tnear{at}\n" for at in range(4)]
        held = {"valid": far, "test": [f"near{at}\treports_to\tfar{at}\n" for at in range(4)]}
        for split, asked in held.items():
            (tmp_path / folder / f"{split}.tsv").write_text("".join(asked))
    run = train(
        "data=triples",
        f"data.path={tmp_path / 'here'}",
        f"data.inductive={{path: {tmp_path / 'there'}}}",
        "strategy.size=8",
        "trainer.max_epochs=1",
        "evaluation.test=true",
    )
    metrics = json.loads((run.directory / "results.json").read_text())["metrics"]["inductive"]
    assert metrics["valid"]["coverage"] == metrics["test"]["coverage"] == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("strategy=neighbor", "strategy=paths, or task=link_prediction"),
        ("inputs.learned=none", "leave inputs as they are"),
        ("encoder=rgcn", "encoder is a setting of task=link_prediction or node_classification"),
    ],
)
def test_what_makes_no_sense_is_refused(train: Train, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train(*RULES, override)


def test_other_tasks_have_no_use_for_paths() -> None:
    with pytest.raises(ConfigError, match=r"evaluation\.rest changes nothing with task=link"):
        kgscale.train("evaluation.rest=somewhere", quiet=True)
    with pytest.raises(ConfigError, match="task=path_reasoning, or strategy=subgraph"):
        kgscale.train("strategy=paths", quiet=True)


def test_another_run_orders_what_subgraphs_lack(train: Train, tmp_path: Path) -> None:
    own = (f"root={tmp_path / 'outputs'}", f"store.root={tmp_path / 'stores'}", *RULES)
    short = ("trainer.max_epochs=1", "trainer.threads=1", "predictions.count=0")
    vectors = kgscale.train(*own, *short, "encoder.dim=8", quiet=True)
    few = ("strategy.size=5", "strategy.visits=20")
    run = train(*RULES, *short, *few, f"evaluation.rest={vectors.directory}")
    valid = json.loads((run.directory / "results.json").read_text())["metrics"]["valid"]
    assert valid["coverage"] < 0.9
    assert valid["mean_rank"] < valid["without_rest"]["mean_rank"]
    again = ("evaluate", f"run={run.directory}", f"rest={vectors.directory}")
    assert main([*again]) == 0
    found = json.loads((run.directory / "evaluation-valid.json").read_text())
    assert found["overall"]["mrr"] == pytest.approx(valid["mrr"])
    assert found["coverage"] == pytest.approx(valid["coverage"])
    assert main([*again, "blend=0.5"]) == 0
    blended = json.loads((run.directory / "evaluation-valid.json").read_text())
    assert blended["without_rest"] == found["without_rest"]
    assert blended["overall"]["mrr"] != found["overall"]["mrr"]
    assert main(["evaluate", f"run={run.directory}", "blend=0.5"]) == 2
    assert main(["evaluate", f"run={vectors.directory}", f"rest={vectors.directory}"]) == 2
    with pytest.raises(ConfigError, match=r"evaluation\.blend is a weight of evaluation\.rest"):
        train(*RULES, *short, *few, "evaluation.blend=0.5")
    with pytest.raises(ConfigError, match="is no run of link prediction"):
        train(*RULES, *short, *few, f"evaluation.rest={run.directory}")
    with pytest.raises(ConfigError, match="was trained on another graph"):
        train(*RULES, "data.seed=1", *short, *few, f"evaluation.rest={vectors.directory}")


def test_what_cannot_fit_is_refused(train: Train) -> None:
    with pytest.raises(ResourceError, match=r"smaller are strategy\.batch_size, strategy\.size"):
        train(*RULES, "trainer.memory=1MB")


@pytest.mark.slow
@pytest.mark.parametrize("more", ["aggregate=sum", "aggregate=both", "profile=true"])
@pytest.mark.parametrize("size", [100, 400])
def test_estimates_are_near_what_steps_take(more: str, size: int, tmp_path: Path) -> None:
    own = (f"reasoner.{more}", f"strategy.size={size}", f"store.root={tmp_path}")
    settings = compose.settings(
        ["task=path_reasoning", *RULES[:2], "data.edges=20000", "trainer.threads=1", *own]
    )
    need = plan_step(settings).need
    assert need is not None
    assert 1 / 1.5 < need.step.peak / measure_step(settings).memory < 1.5
