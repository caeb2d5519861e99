"""Path reasoning: link prediction by the paths from a question's head, without entity vectors."""

from __future__ import annotations

from functools import cached_property, partial
from typing import Any, cast

from kgscale.errors import ConfigError
from kgscale.graph.known import KnownFacts
from kgscale.inference.evaluate import RankReport, evaluate
from kgscale.inference.paths import PathPredictor, PathRanker
from kgscale.models.reasoners import PathReasoner
from kgscale.models.registry import build_model
from kgscale.sampling.base import Strategy
from kgscale.sampling.paths import PathStrategy
from kgscale.tasks.components import build, component
from kgscale.tasks.link_prediction import LinkTraining
from kgscale.tasks.parts import GraphParts, some_of
from kgscale.tasks.plan.choose import Plan, Room
from kgscale.tasks.settings import InputSettings, RunSettings
from kgscale.training.paths import PathReasoning


class PathTraining(LinkTraining):
    """Asks for the tail of every train triple, from either side, in a subgraph of its own."""

    module: PathReasoning  # type: ignore[assignment]

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
            seed=settings.seed,
        )
        module = PathReasoning(
            model=model,
            cutter=strategy.cutter,
            optimizer=partial(build, "optimizer", settings.groups["optimizer"]),
            graph=parts.graph,
            known=KnownFacts(parts.known),
            valid=some_of(parts.valid, settings.evaluation.validate_on),
        )
        return module, strategy, {**spec, "paths": strategy.cutter.settings()}

    def _plan(self) -> None:
        """A step's size is told by ``strategy.size`` and ``batch_size``, whatever the graph."""
        strategy = dict(self.settings.groups["strategy"])
        self.plan = Plan(strategy=strategy, need=None, why=None, room=Room.of(self.settings))

    @cached_property
    def predictor(self) -> PathPredictor:  # type: ignore[override]
        return PathPredictor(self.module.scorer(), self.store, memory=self.settings.memory)

    def _rank(self, split: str, metrics: dict[str, Any]) -> RankReport:
        ranker = PathRanker(
            self.module.scorer(),
            KnownFacts(self.store.adjacency(known=True)),
            num_entities=self.store.num_entities,
        )
        report = evaluate(ranker, self.store.triples(split), self.store.adjacency())
        metrics[split] = {**report.overall(), "coverage": ranker.coverage}
        return report


def _check(settings: RunSettings) -> None:
    kind, _ = component("strategy", settings.groups["strategy"])
    if kind is not PathStrategy:
        raise ConfigError(
            f"task=path_reasoning asks every question in a subgraph of its own, which"
            f" {kind.__name__} doesn't cut; use strategy=paths, or task=link_prediction"
        )
    if settings.inputs != InputSettings():
        raise ConfigError(
            "inputs are settings of models that know entities by vectors or features, and"
            " task=path_reasoning knows them by paths; leave inputs as they are"
        )
