"""Node classification from settings to a run directory."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kgscale
from kgscale.cli import main
from kgscale.errors import ConfigError, DataError
from kgscale.models.encoders.precomputed import NARS
from kgscale.tasks.runs import NodeRun

SMALL = ("encoder.dim=16", "trainer.threads=1", "predictions.count=3")
STRATEGIES = {
    "neighbor": ("strategy.fanout=[4,4]", "strategy.batch_size=64"),
    "full_batch": (),
    "cluster": ("strategy.parts=8", "strategy.per_batch=4", "strategy.method=ldg"),
    "random_nodes": ("strategy.batch_size=200",),
    "subgraph": ("strategy.size=16", "strategy.batch_size=64"),
    "precomputed": ("encoder=sign", "strategy.paths=metapaths", "strategy.label_hops=2"),
}
Train = Callable[..., NodeRun]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    def call(*overrides: str) -> NodeRun:
        own = (f"root={tmp_path / 'outputs'}", f"store.root={tmp_path / 'stores'}")
        run = kgscale.train("task=node_classification", *own, *SMALL, *overrides, quiet=True)
        assert isinstance(run, NodeRun)
        return run

    return call


def results(run: NodeRun) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.directory / "results.json").read_text())
    return found


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_learns_planted_topics(train: Train, strategy: str) -> None:
    run = train(
        "data=synthetic",
        "data.edges=4000",
        "data.classes=4",
        "data.homophily=0.9",
        "data.features=8",
        f"strategy={strategy}",
        *STRATEGIES[strategy],
        "trainer.max_epochs=15",
        "evaluation.test=true",
    )
    metrics = results(run)["metrics"]
    assert metrics["test"]["accuracy"] > 0.5 > metrics["baseline"]["majority"]["accuracy"]
    assert run.evaluate("test")["accuracy"] == pytest.approx(metrics["test"]["accuracy"])


def test_the_last_hops_alone_are_gathered(train: Train) -> None:
    run = train(
        "data=synthetic",
        "data.edges=2000",
        "encoder=nars",
        "encoder.last_only=true",
        "strategy=precomputed",
        "strategy.paths=subsets",
        "strategy.subsets=2",
        "trainer.max_epochs=2",
    )
    assert [spec["hop"] for spec in run.spec["encoder"]["maps"]] == [0, 1, 2, 1, 2]
    encoder = run.model.encoder
    assert isinstance(encoder, NARS)
    assert encoder.places == [2, 4]
    assert run.evaluate("valid") == pytest.approx(results(run)["metrics"]["valid"])


def write_town(folder: Path, *, several: bool = False) -> None:
    """People live in towns of some country; their towns tell their languages."""
    people = [f"p{n}" for n in range(60)]
    lines = [f"{who}\tlives_in\tt{n % 6}" for n, who in enumerate(people)]
    lines += [f"{who}\tspeaks\tl{n % 3}" for n, who in enumerate(people)]
    lines += [f"t{n}\tnear\tt{(n + 1) % 6}" for n in range(6)]
    (folder / "town.tsv").write_text("\n".join(lines) + "\n")
    labels = [f"{who}\tl{n % 3}" for n, who in enumerate(people[:50])]
    if several:
        labels += [f"{who}\tall" for who in people[:50]]
    (folder / "labels.tsv").write_text("\n".join(labels) + "\n")


def own_files(folder: Path) -> list[str]:
    return ["data=triples", f"data.path={folder / 'town.tsv'}", "data.split=[1,0,0]"]


@pytest.mark.parametrize("several", [False, True])
def test_own_triples_and_a_file_of_labels(train: Train, tmp_path: Path, several: bool) -> None:
    write_town(tmp_path, several=several)
    run = train(
        *own_files(tmp_path),
        f"data.labels={tmp_path / 'labels.tsv'}",
        "data.label_relation=speaks",
        "trainer.max_epochs=40",
        "evaluation.test=true",
    )
    metrics = results(run)["metrics"]["test"]
    assert metrics["micro_f1"] > 0.6
    assert ("average_precision" in metrics) == several
    with (run.directory / "predictions.tsv").open() as file:
        rows = {row["entity"]: row for row in csv.DictReader(file, delimiter="\t")}
    answers = {row["entity"]: row["label"] for row in rows.values() if row["split"] == ""}
    assert {f"p{n}" for n in range(50, 60)} <= answers.keys()
    if not several:
        assert sum(answers[f"p{n}"] == f"l{n % 3}" for n in range(50, 60)) >= 6
        assert run.predict(entity="p52", k=2)["label"][0] == answers["p52"]
        assert run.predict(entity="p1")["given"] == ["l1"] * 3
    for wrong in ({}, {"head": "p1"}, {"entity": "p1", "known": True}):
        with pytest.raises(ConfigError, match=r"predict needs entity=… here, got"):
            run.predict(**wrong)


def test_no_label_reaches_message_passing(train: Train, tmp_path: Path) -> None:
    """Labels that nothing but their own relation tells: whoever sees it would always be right."""
    draw = np.random.default_rng(0)
    people, kinds = [f"p{n}" for n in range(300)], draw.integers(4, size=300)
    lines = [f"{a}\tknows\t{b}" for a in people for b in draw.choice(people, 3)]
    lines += [f"{who}\tis_a\tk{kind}" for who, kind in zip(people, kinds, strict=True)]
    (tmp_path / "town.tsv").write_text("\n".join(lines) + "\n")
    run = train(
        *own_files(tmp_path),
        "data.label_relation=is_a",
        "trainer.max_epochs=30",
        "evaluation.test=true",
    )
    assert run.store.num_relations == 1
    assert results(run)["metrics"]["test"]["accuracy"] < 0.5


def test_features_beside_entities_without_any(train: Train, tmp_path: Path) -> None:
    write_town(tmp_path)
    (tmp_path / "types.tsv").write_text("".join(f"p{n}\tperson\n" for n in range(60)))
    numbers = [f"p{n}\t{n % 3}\t{(n + 1) % 3}" for n in range(60)]
    (tmp_path / "features.tsv").write_text("\n".join(numbers) + "\n")
    run = train(
        *own_files(tmp_path),
        f"data.labels={tmp_path / 'labels.tsv'}",
        "data.label_relation=speaks",
        f"data.types={tmp_path / 'types.tsv'}",
        f"data.features={tmp_path / 'features.tsv'}",
        "inputs.learned=none",
        "trainer.max_epochs=30",
    )
    assert run.model.inputs.table is None
    assert run.evaluate("valid")["accuracy"] > 0.8


def test_a_graph_without_labels_is_refused(train: Train, tmp_path: Path) -> None:
    write_town(tmp_path)
    with pytest.raises(DataError, match=r"no labels .* data\.labels=FILE"):
        train(*own_files(tmp_path))


def test_a_setting_of_another_task_is_refused(train: Train) -> None:
    with pytest.raises(ConfigError, match="decoder is a setting of task=link_prediction"):
        train("decoder=complex")


@pytest.mark.parametrize("pair", [("precomputed", "rgcn"), ("neighbor", "sehgnn")])
def test_what_makes_no_sense_together_is_refused(train: Train, pair: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"use (encoder=sign|strategy=precomputed)"):
        train(f"strategy={pair[0]}", f"encoder={pair[1]}")


def test_nars_without_subsets_is_refused(train: Train) -> None:
    with pytest.raises(
        ConfigError, match=r"strategy\.paths is all: .* set strategy\.paths=subsets"
    ):
        train("strategy=precomputed", "encoder=nars")


def test_commands_on_a_finished_run(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_town(tmp_path)
    labels = (f"data.labels={tmp_path / 'labels.tsv'}", "data.label_relation=speaks")
    run = train(*own_files(tmp_path), *labels, "trainer.max_epochs=2")
    where = f"run={run.directory}"
    assert main(["predict", where, "entity=p55", "k=2"]) == 0
    assert "p55" in capsys.readouterr().out
    assert main(["evaluate", where, "split=test"]) == 0
    assert "accuracy" in capsys.readouterr().out
    assert main(["predict", where, "head=p55", "relation=near"]) == 2
    assert "entity=…" in capsys.readouterr().err
    assert main(["predict", where, "entity=p5555"]) == 2
