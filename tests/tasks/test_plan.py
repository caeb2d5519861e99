"""What a run is expected to need, and what is made of it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import kgscale
from kgscale.cli import compose, main
from kgscale.errors import ResourceError
from kgscale.graph.adjacency import FIELDS
from kgscale.models.encoders.base import BlockSize
from kgscale.models.encoders.precomputed import NARS, SIGN, SeHGNN
from kgscale.models.registry import ENCODERS
from kgscale.sampling.queries import TrainQueries
from kgscale.sampling.questions import LinkQuestions
from kgscale.tasks import memory, show
from kgscale.tasks.link_prediction import LinkTraining
from kgscale.tasks.measure import measure_step, plan_step
from kgscale.tasks.parts import GraphParts
from kgscale.tasks.plan import choose
from kgscale.tasks.plan.asked import AsksLinks
from kgscale.tasks.plan.auto import AutoStrategy, fewer, smaller
from kgscale.tasks.plan.choose import Offers, Room, chosen
from kgscale.tasks.plan.estimate import Need, StepBytes
from kgscale.tasks.plan.planner import Planner
from kgscale.tasks.plan.statistics import GraphStatistics, graph_statistics
from kgscale.tasks.settings import RunSettings
from kgscale.tasks.steps import tensor_bytes
from tests.graphs import adjacency, random_triples

GB = 1_000_000_000
ROOMY = Room(host=16 * GB, device=None, asked=False)


def power_law(entities: int, mean: float = 20.0) -> GraphStatistics:
    """Degrees ``1, 2, 4, …`` with three quarters as many entities each, of so many in all."""
    degree = 2.0 ** np.arange(16)
    count = 0.3 ** np.arange(16)
    degree *= mean * count.sum() / (count * degree).sum()
    return GraphStatistics(
        kind=np.zeros(16, np.int64),
        degree=degree,
        relations=np.minimum(degree, 10.0) / 2,
        count=count * entities / count.sum(),
        num_relations=20,
        answers=np.array([1.0, 1.0, 2.0, 8.0]),
    )


def planner(graph: GraphStatistics, *overrides: str) -> Planner:
    """For links, as if a store had these statistics."""
    settings = RunSettings.of(compose.settings(["task.dim=64", *overrides]))
    made = Planner.of(LinkTraining.assemble, settings, GraphParts.toy())
    model = replace(made.model, types=parts(graph).types)
    return replace(made, graph=graph, asks=AsksLinks(graph), model=model, scores=0.0)


def parts(graph: GraphStatistics) -> GraphParts:
    types = [{"name": "", "start": 0, "stop": round(graph.entities), "features": 0}]
    return replace(GraphParts.toy(), types=types)


def offers(graph: GraphStatistics, *overrides: str) -> list[tuple[str, Need]]:
    return list(Offers(planner(graph, *overrides), LinkTraining.assemble, parts(graph)))


def step(graph: GraphStatistics, *overrides: str) -> float:
    made = planner(graph, *overrides)
    need = made.need(made.settings.groups["strategy"])
    assert need is not None
    return need.step.peak


def test_statistics_of_a_small_graph_are_exact() -> None:
    triples = random_triples(3000, num_entities=200, num_relations=5)
    graph = adjacency(triples, num_entities=200, num_relations=5)
    types = [{"start": 0, "stop": 50}, {"start": 50, "stop": 200}]
    found = graph_statistics(graph, types)
    assert found.entities == pytest.approx(200)
    assert found.edges == pytest.approx(2 * len(triples))
    assert found.queries == pytest.approx(len(TrainQueries(graph)))
    assert found.answers.sum() == 2 * len(triples)
    assert found.of_kind(found.count, 0) == pytest.approx(50)
    degree = graph.indptr.diff().long()
    place = found.bins_of(degree.numpy(), (torch.arange(200) >= 50).long().numpy())
    np.testing.assert_allclose(found.degree[place], degree, rtol=0.1)


@pytest.mark.parametrize("folds", [2, 5])
def test_questions_apart_by_fold_are_a_copy_of_the_edges(folds: int) -> None:
    triples = random_triples(3000, num_entities=200, num_relations=5)
    graph = adjacency(triples, num_entities=200, num_relations=5)
    whole = LinkQuestions(graph)
    kept = tensor_bytes(whole.queries.start)
    for part in whole.folds(folds, seed=0):
        assert isinstance(part, LinkQuestions)
        columns = (getattr(part.graph, name) for name in FIELDS)
        order = part.order(seed=0, epoch=0)
        kept += sum(map(tensor_bytes, (*columns, part.queries.start, order)))
    types = [{"start": 0, "stop": 200}]
    found = AsksLinks(graph_statistics(graph, types)).folded(folds)
    assert found.kept == pytest.approx(kept, rel=0.01)
    assert found.preparing == 19 * 2 * len(triples)


def test_what_folds_keep_is_needed_and_what_makes_them_too() -> None:
    graph = power_law(1_000_000)
    made = planner(graph, "strategy=precomputed", "encoder=sign")
    need = made.need(made.settings.groups["strategy"])
    assert need is not None
    assert need.strategy > 10 * graph.edges
    assert need.preparing >= 19 * graph.edges
    assert need.host >= need.strategy + need.preparing


@pytest.mark.parametrize("draws", [10, 300, 5000])
def test_expected_distinct_entities_against_a_simulation(draws: int) -> None:
    graph = power_law(1000)
    graph = replace(graph, count=np.ceil(graph.count))
    weight = np.repeat(graph.degree, graph.count.astype(int))
    generator = np.random.default_rng(0)
    held = generator.permutation(len(weight))[:100]
    places = np.repeat(np.arange(len(graph.count)), graph.count.astype(int))
    before = np.bincount(places[held], minlength=len(graph.count)).astype(float)
    new = []
    for _ in range(2000 if draws < 100 else 200):
        drawn = generator.choice(len(weight), draws, p=weight / weight.sum())
        new.append(len(np.setdiff1d(drawn, held)))
    assert graph.drawn(graph.degree, float(draws), before).sum() == pytest.approx(
        np.mean(new), rel=0.03
    )


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ("strategy.batch_size=256", "strategy.batch_size=512"),
        ("strategy.fanout=[4]", "strategy.fanout=[16]"),
        ("task.dim=64", "task.dim=128"),
        ("strategy.candidates=1024", "strategy.candidates=8192"),
        ("loss=softmax", "loss=bce"),
    ],
)
def test_a_step_needs_more_for_more(less: str, more: str) -> None:
    graph = power_law(1_000_000)
    assert step(graph, less) < step(graph, more)


def test_only_the_whole_graph_grows_with_the_graph() -> None:
    large, larger = power_law(1_000_000), power_law(100_000_000)
    assert step(larger, "strategy=neighbor") < 1.2 * step(large, "strategy=neighbor")
    full = step(large, "strategy=full_batch")
    assert step(larger, "strategy=full_batch") > 50 * full > 50 * step(large)


@pytest.mark.parametrize("strategy", ["neighbor", "cluster", "random_nodes", "subgraph"])
def test_a_part_needs_less_than_the_whole(strategy: str) -> None:
    graph = power_law(10_000_000)
    assert step(graph, f"strategy={strategy}") < step(graph, "strategy=full_batch")


@pytest.mark.parametrize("kind", [SIGN, NARS, SeHGNN], ids=lambda kind: kind.__name__)
def test_rows_need_more_for_more(kind: type) -> None:
    def need(dim: int, entities: float, maps: int) -> float:
        hops = [
            {"kind": "feature", "source": "a", "hop": hop, "dim": 5, "start": 0, "subset": None}
            for hop in range(maps)
        ]
        return kind(num_relations=1, dim=dim, maps=hops).rows_bytes(entities).peak

    base = need(8, 100.0, 2)
    assert need(16, 100.0, 2) > base
    assert need(8, 200.0, 2) == 2 * base
    assert need(8, 100.0, 3) > base


LAYERED = [kind for kind in ENCODERS.values() if "num_layers" in signature(kind).parameters]


@pytest.mark.parametrize("kind", LAYERED, ids=lambda kind: kind.__name__)
def test_layers_need_more_for_more(kind: type) -> None:
    encoder = kind(num_relations=3, dim=16)
    small = encoder.memory(0, BlockSize(200.0, 100.0, 1000.0))
    assert 0 < small.kept <= small.peak
    for more in (
        BlockSize(400.0, 100.0, 1000.0),
        BlockSize(200.0, 200.0, 1000.0),
        BlockSize(200.0, 100.0, 2000.0),
    ):
        large = encoder.memory(0, more)
        assert large.kept >= small.kept
        assert large.peak >= small.peak
        assert large.peak > small.peak or large.kept > small.kept


def test_smaller_steps_end() -> None:
    assert [s["batch_size"] for s in smaller({"batch_size": 100})] == [50, 25]
    assert [s["per_batch"] for s in smaller({"per_batch": 5})] == [2, 1]
    assert not list(smaller({"query_share": 0.1}))


def test_fewer_candidates_end() -> None:
    assert [s["candidates"] for s in fewer({"candidates": "all"})] == [2048, 512, 128]
    assert [s["candidates"] for s in fewer({"candidates": 512})] == [128]
    assert not list(fewer({"query_share": 0.1}))


OFFERED = [
    ("strategy=neighbor", "strategy.candidates=all", "strategy.fanout=[-1]"),
    ("strategy=neighbor", "strategy.per_relation=true", "strategy.batch_size=100"),
    ("strategy=neighbor", "task.num_layers=2", "task.fanout=[8,4]", "strategy.fanout=[16,16]"),
    ("strategy=cluster",),
    ("strategy=full_batch", "task.num_layers=2"),
    ("strategy=auto", "task.num_layers=3"),
    ("strategy=precomputed", "encoder=sign", "strategy.candidates=all"),
]


@pytest.mark.parametrize("overrides", OFFERED, ids=" ".join)
def test_an_offer_pasted_needs_what_was_said(overrides: tuple[str, ...]) -> None:
    graph = power_law(100_000)
    found = offers(graph, *overrides, "encoder.dim=16")
    assert len(found) > 10
    for said, need in found[:: len(found) // 7]:
        # A person who changes the strategy takes the settings of the one before away.
        other = "strategy=" in said
        kept = [part for part in overrides if not (other and part.startswith("strategy"))]
        pasted = planner(graph, *kept, "encoder.dim=16", *said.split())
        assert pasted.need(pasted.settings.groups["strategy"]) == need, said


def test_fewer_candidates_are_offered() -> None:
    graph = power_law(1_000_000)
    said = [said for said, _ in offers(graph, "strategy.candidates=all")]
    assert said[0] == "strategy.candidates=2048"
    assert "strategy.batch_size=256 strategy.candidates=512" in said
    every = [said for said, _ in offers(graph, "strategy=full_batch")]
    assert not any("candidates=" in said and "neighbor" not in said for said in every)


def test_of_encoders_that_read_maps_no_other_strategy_is_offered() -> None:
    said = [said for said, _ in offers(power_law(1_000), "strategy=precomputed", "encoder=sign")]
    assert said
    assert not any("neighbor" in offer for offer in said)


@pytest.mark.parametrize(
    ("large", "cause"),
    [
        ({"step": StepBytes(making=9.0, batch=1.0, training=1.0)}, "a step"),
        ({"ahead": 9}, "batches made ahead"),
        ({"model": 9.0}, "the model and its optimiser's state"),
        ({"strategy": 9.0}, "what the strategy keeps"),
        ({"validation": 9.0}, "validation"),
    ],
)
def test_what_is_largest_is_named(large: dict[str, Any], cause: str) -> None:
    small = {"step": StepBytes(making=1.0, batch=1.0, training=1.0), "model": 1.0, "strategy": 1.0}
    rest = {"validation": 1.0, "ahead": 0, "workers": 0, "devices": 1, "accelerated": False}
    assert Need(**{**small, **rest, **large}).largest == cause


def test_where_nothing_fits_the_least_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = power_law(1_000_000)
    made = planner(graph, "strategy=neighbor")
    monkeypatch.setattr(Planner, "of", lambda *_: made)
    settings = RunSettings.of(compose.settings(["trainer.memory=1MB", "strategy=neighbor"]))
    with pytest.raises(ResourceError) as raised:
        choose.make_plan(LinkTraining.assemble, settings, parts(graph))
    _, _, told = str(raised.value).partition("; ")
    assert told.startswith("even encoder.dim=8 strategy.batch_size=16 strategy.candidates=128 ")
    assert told.endswith("most of it for what the strategy keeps")


def test_auto_takes_full_batches_of_a_small_graph() -> None:
    made = planner(power_law(1500), "strategy=auto")
    plan = chosen(made, AutoStrategy(), ROOMY)
    assert choose.name(plan.strategy) == "full_batch"
    assert plan.why is not None
    assert "whole graph" in plan.why


def test_auto_samples_a_huge_graph() -> None:
    made = planner(power_law(50_000_000), "strategy=auto", "task.num_layers=3")
    plan = chosen(made, AutoStrategy(fanout=[8, 4]), replace(ROOMY, host=64 * GB))
    assert choose.name(plan.strategy) == "neighbor"
    assert plan.strategy["fanout"] == [8, 4, 4]
    assert plan.strategy["batch_size"] == 512


def test_auto_takes_smaller_steps_where_memory_is_short() -> None:
    made = planner(power_law(100_000), "strategy=auto", "evaluation.memory=1")
    need = made.need(AutoStrategy().neighbor(1))
    assert need is not None
    room = replace(ROOMY, host=round(0.95 * need.host))
    plan = chosen(made, AutoStrategy(), room)
    assert plan.need is not None
    assert room.fits(plan.need)
    assert plan.strategy["batch_size"] < 512


@pytest.fixture
def own(tmp_path: Path) -> tuple[str, ...]:
    return (
        "data=synthetic",
        "data.edges=2000",
        "task.dim=16",
        "trainer.threads=1",
        "trainer.max_epochs=1",
        "predictions.count=0",
        f"root={tmp_path / 'outputs'}",
        f"store.root={tmp_path / 'stores'}",
    )


@pytest.mark.parametrize("task", ["link_prediction", "node_classification"])
def test_auto_trains_and_tells_what_it_took(own: tuple[str, ...], task: str) -> None:
    run = kgscale.train(f"task={task}", *own, "strategy=auto", "task.num_layers=2", quiet=True)
    results = json.loads((run.directory / "results.json").read_text())
    assert results["strategy"] in ("NeighborStrategy", "FullBatchStrategy")
    assert results["plan"]["why"]
    assert results["plan"]["strategy"]["_target_"].endswith(results["strategy"])
    assert 0 < results["plan"]["step_bytes"] <= results["plan"]["host_bytes"]


def test_what_cannot_fit_does_not_start(
    own: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fitting = ("task=node_classification", "strategy=full_batch", "trainer.memory=700KB")
    settings = compose.settings([*own[:-1], *fitting])
    settings["store"]["root"] = str(tmp_path / "stores")
    assert main([*own, *fitting]) == 4
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "strategy=full_batch would need about" in said
    assert "of 700 KB that trainer.memory allows" in said
    assert "would need about" in said.partition(";")[2]
    assert not list((tmp_path / "outputs").rglob("config.yaml"))


MAPS = ("task=node_classification", "strategy=precomputed", "encoder=sign", "strategy.hops=1")


@pytest.mark.parametrize("paths", ["all", "metapaths"])
def test_a_refused_run_propagates_nothing(
    own: tuple[str, ...], tmp_path: Path, paths: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*own, *MAPS, f"strategy.paths={paths}", "trainer.memory=1KB"]) == 4
    assert "strategy=precomputed would need about" in capsys.readouterr().err
    assert not list(tmp_path.rglob("maps.json"))


def test_a_propagation_is_told(
    own: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    @contextmanager
    def busy(console: object, what: str) -> Iterator[Callable[[str], None]]:
        told.append(what)
        yield told.append

    monkeypatch.setattr(show, "busy", busy)
    kgscale.train(*own, *MAPS, quiet=True)
    (specs,) = tmp_path.rglob("maps.json")
    maps = [f"propagating: {told['name']}" for told in json.loads(specs.read_text())["maps"]]
    begin = told.index("propagating features") + 1
    assert told[begin : begin + len(maps)] == maps


def test_a_control_group_bounds_what_is_available(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "/proc/meminfo": ["MemTotal: 100 kB", "MemAvailable: 90 kB"],
        "/proc/self/cgroup": ["0::/a/b"],
        "/sys/fs/cgroup/a/b/memory.max": ["max"],
        "/sys/fs/cgroup/a/b/memory.current": ["1"],
        "/sys/fs/cgroup/a/memory.max": ["60000"],
        "/sys/fs/cgroup/a/memory.current": ["50000"],
        "/sys/fs/cgroup/a/memory.stat": ["anon 3", "inactive_file 10000"],
    }
    monkeypatch.setattr(memory, "_lines", lambda file: files.get(str(file), []))
    assert memory.available_bytes() == 20000
    monkeypatch.setattr(memory, "_lines", lambda file: [])
    assert memory.available_bytes() is None


STRATEGIES = {
    **dict.fromkeys(("neighbor", "full_batch", "cluster", "random_nodes", "subgraph"), "rgcn"),
    "precomputed": "sign",
}
PAIRS = list(itertools.product(("link_prediction", "node_classification"), STRATEGIES))


@pytest.mark.slow
@pytest.mark.parametrize(("task", "strategy"), PAIRS)
def test_estimates_are_near_what_steps_take(task: str, strategy: str, tmp_path: Path) -> None:
    encoder = f"encoder={STRATEGIES[strategy]}"
    settings = compose.settings(
        ["data=synthetic", f"task={task}", f"strategy={strategy}", encoder, "task.dim=128"]
    )
    settings["store"]["root"] = str(tmp_path)
    need = plan_step(settings).need
    assert need is not None
    assert 1 / 1.5 < need.step.peak / measure_step(settings).memory < 1.5
