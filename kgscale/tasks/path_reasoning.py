"""Path reasoning: link prediction by the paths from a question's head, without entity vectors."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any, cast

import torch
from jaxtyping import Int64
from torch import Tensor

from kgscale.errors import ConfigError, DataError, ResourceError
from kgscale.graph.known import KnownFacts
from kgscale.graph.store import GraphStore
from kgscale.inference.evaluate import RankReport, evaluate, rank_queries
from kgscale.inference.paths import PathPredictor, PathRanker, PathScorer, Rest
from kgscale.metrics.negatives import among_negatives
from kgscale.metrics.ranking import RankCounts, empty_sums, rank_sums, summarize
from kgscale.models.reasoners import PathReasoner
from kgscale.models.registry import build_model
from kgscale.sampling.base import Strategy
from kgscale.sampling.paths import PathCutter, PathStrategy
from kgscale.tasks import show
from kgscale.tasks.components import build, component
from kgscale.tasks.link_prediction import LinkTraining
from kgscale.tasks.parts import GraphParts, some_of
from kgscale.tasks.plan.choose import Plan, Room
from kgscale.tasks.plan.paths import path_need
from kgscale.tasks.runs import rest_of
from kgscale.tasks.settings import InputSettings, RunSettings
from kgscale.tasks.training import stored
from kgscale.training.paths import PathReasoning


class PathTraining(LinkTraining):
    """Asks for the tail of every train triple, from either side, in a subgraph of its own."""

    module: PathReasoning  # type: ignore[assignment]
    calibrated_on = 500

    @classmethod
    def assemble(  # type: ignore[override]
        cls, settings: RunSettings, parts: GraphParts
    ) -> tuple[PathReasoning, Strategy, dict[str, Any]]:
        _check(settings)
        kind, arguments = component("reasoner", settings.groups["reasoner"])
        spec: dict[str, Any] = {
            "num_relations": parts.graph.num_relations,
            "reasoner": {"name": kind.__name__, **arguments},
        }
        model = cast(PathReasoner, build_model(spec, seed=settings.seed))
        strategy: PathStrategy = build(
            "strategy",
            settings.groups["strategy"],
            graph=parts.graph,
            num_layers=model.num_layers,
            profiled=model.profile is not None,
            seed=settings.seed,
        )
        model.ways = strategy.cutter.ways
        spec["ways"] = model.ways is not None
        module = PathReasoning(
            model=model,
            cutter=strategy.cutter,
            optimizer=partial(build, "optimizer", settings.groups["optimizer"]),
            graph=parts.graph,
            known=KnownFacts(parts.known),
            valid=some_of(parts.valid, settings.evaluation.validate_on),
        )
        return module, strategy, {**spec, "paths": strategy.cutter.settings()}

    @classmethod
    def plan_of(cls, settings: RunSettings, parts: GraphParts) -> Plan:
        """Of the strategy as it is set.

        Raises:
            ResourceError: a step doesn't fit.
        """
        module, strategy, _ = cls.assemble(settings, parts)
        assert isinstance(strategy, PathStrategy)
        need, room = path_need(strategy, module.model, settings.trainer), Room.of(settings)
        if not room.fits(need):
            raise ResourceError(
                f"a step would need about {show.size(need.step.peak)}, of {room}; smaller are"
                " strategy.batch_size, strategy.size and task.dim"
            )
        own = dict(settings.groups["strategy"])
        return Plan(strategy=own, need=need, why=None, room=room)

    def measure(self, metrics: dict[str, Any]) -> None:
        super().measure(metrics)
        if self.other is not None:
            metrics["inductive"] = {
                split: self._elsewhere(self.other, split) for split in self.measured_splits
            }

    @cached_property
    def other(self) -> GraphStore | None:
        """A graph that training never saw, if there is one."""
        source = build("data", self.settings.groups["data"])
        if getattr(source, "inductive", None) is None:
            return None
        with show.busy(self.console, "reading the other graph") as tell:
            return stored(source.inductive, self.settings, tell=tell)

    def _elsewhere(self, store: GraphStore, split: str) -> dict[str, Any]:
        """Metrics on a graph that training never saw: full, and among random negatives."""
        reasoner = self.module.model.on(same_relations(store, self.store))
        cutter = PathCutter(store.adjacency(), **self.spec["paths"], ways=reasoner.ways)
        ranker = PathRanker(
            PathScorer(reasoner, cutter),
            KnownFacts(store.adjacency(known=True)),
            num_entities=store.num_entities,
        )
        sums, found, rivals = empty_sums(1), [], []
        with show.busy(self.console, f"ranking {split} of the other graph"):
            for queries in rank_queries(store.triples(split), store.num_relations):
                counts = ranker(queries)
                found.append(counts)
                rivals.append(ranker.rivals(queries))
                sums += rank_sums(counts, torch.zeros_like(queries.row), 1)
        counts = RankCounts(
            better=torch.cat([one.better for one in found]),
            tied=torch.cat([one.tied for one in found]),
        )
        return {
            "name": store.name,
            **summarize(sums[0]),
            "coverage": ranker.coverage,
            "among_negatives": among_negatives(counts, torch.cat(rivals)),
        }

    def tell(self, results: Mapping[str, Any]) -> None:
        super().tell(results)
        for split in self.measured_splits:
            if "coverage" in results["metrics"].get(split, {}):
                show.sentence(self.console, show.coverage(split, results["metrics"][split]))
        for split, found in results["metrics"].get("inductive", {}).items():
            show.sentence(self.console, show.inductive(split, found))

    @cached_property
    def predictor(self) -> PathPredictor:  # type: ignore[override]
        return PathPredictor(self.module.scorer(), self.store, memory=self.settings.memory)

    def _rank(self, split: str, metrics: dict[str, Any]) -> RankReport:
        ranker = PathRanker(
            self.module.scorer(),
            KnownFacts(self.store.adjacency(known=True)),
            num_entities=self.store.num_entities,
            rest=self.rest,
            blend=self.settings.evaluation.blend,
        )
        report = evaluate(ranker, self.triples(split), self.store.adjacency())
        metrics[split] = {**report.overall(), **ranker.report()}
        return report

    def official(self, split: str) -> dict[str, float]:
        """A benchmark's candidates are scored by vectors, which a reasoner has not."""
        return {}

    @cached_property
    def rest(self) -> Rest | None:
        """Scores of another model for what subgraphs don't hold, if a run of one is named."""
        name = self.settings.evaluation.rest
        return None if name is None else rest_of(name, self.store, memory=self.settings.memory)

    def set_up(self) -> None:
        super().set_up()
        # What is wrong with these is told before hours of training.
        _ = self.rest
        if self.other is not None:
            same_relations(self.other, self.store)


def same_relations(store: GraphStore, learned: GraphStore) -> Int64[Tensor, " relation"]:
    """The relations of a graph by their numbers in the one that was learned from.

    Raises:
        DataError: one that was never learned.
    """
    keys = learned.relation_keys(list(range(learned.num_relations)))
    number = {key: at for at, key in enumerate(keys)}
    here = store.relation_keys(list(range(store.num_relations)))
    for key in here:
        if key not in number:
            raise DataError(
                f"{store.name}: relation {key!r} is in no train triple of {learned.name}, and"
                " nothing is learned about it; leave its triples out"
            )
    return torch.tensor([number[key] for key in here], dtype=torch.int64)


def _check(settings: RunSettings) -> None:
    kind, _ = component("strategy", settings.groups["strategy"])
    if kind is not PathStrategy:
        raise ConfigError(
            f"task=path_reasoning asks every question in a subgraph of its own, which"
            f" {kind.__name__} doesn't cut; use strategy=paths, or task=link_prediction"
        )
    if settings.evaluation.choose == "official":
        raise ConfigError(
            "evaluation.choose=official scores a benchmark's candidates by vectors, which"
            " task=path_reasoning has not: leave it out"
        )
    if settings.inputs != InputSettings():
        raise ConfigError(
            "inputs are settings of models that know entities by vectors or features, and"
            " task=path_reasoning knows them by paths; leave inputs as they are"
        )
