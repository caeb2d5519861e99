"""From settings and a graph's statistics to what a run needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from kgscale.data.splits import SPLITS
from kgscale.errors import ConfigError
from kgscale.models.encoders.base import FLOAT
from kgscale.sampling.base import Strategy
from kgscale.tasks.components import component
from kgscale.tasks.parts import GraphParts
from kgscale.tasks.plan.asked import Asks, asks_of
from kgscale.tasks.plan.auto import AutoStrategy, Settings
from kgscale.tasks.plan.estimate import ModelSize, Need, step_bytes, validation_bytes
from kgscale.tasks.plan.sizes import BatchSize, batch_size
from kgscale.tasks.plan.statistics import GraphStatistics, graph_statistics
from kgscale.tasks.settings import LINK_TASKS, NODE_TASKS, RunSettings
from kgscale.training.fit import accelerated
from kgscale.training.module import GraphModule

Assemble = Callable[[RunSettings, GraphParts], tuple[GraphModule, Strategy, dict[str, Any]]]


def auto_of(settings: RunSettings) -> AutoStrategy | None:
    """The settings of ``strategy=auto``, if that is what they say."""
    kind, arguments = component("strategy", settings.groups["strategy"])
    return AutoStrategy(**arguments) if kind is AutoStrategy else None


def buildable(settings: RunSettings) -> RunSettings:
    """The same with a strategy that can be built before a plan has chosen one."""
    auto = auto_of(settings)
    return settings if auto is None else settings.with_group("strategy", auto.full_batch())


@dataclass(frozen=True, kw_only=True)
class Planner:
    """What a run would need with one strategy or another."""

    settings: RunSettings
    graph: GraphStatistics
    asks: Asks
    model: ModelSize
    asked_nodes: float | None
    """Those of validation, if it asks for nodes alone."""
    scores: float
    """Bytes that validation keeps of them."""

    @classmethod
    def of(cls, assemble: Assemble, settings: RunSettings, parts: GraphParts) -> Planner:
        """Look at the graph's degrees, and build the model without its table."""
        graph = graph_statistics(parts.graph, parts.types)
        return cls(
            settings=settings,
            graph=graph,
            asks=asks_of(settings.task, graph, parts),
            model=_model(assemble, settings, parts),
            asked_nodes=_asked_nodes(settings, parts),
            scores=_score_bytes(settings, parts),
        )

    def narrower(self, assemble: Assemble, parts: GraphParts, dim: int) -> Planner | None:
        """The same with shorter vectors, where the encoder allows them."""
        encoder = {**self.settings.groups["encoder"], "dim": dim}
        settings = self.settings.with_group("encoder", encoder)
        try:
            model = _model(assemble, settings, parts)
        except ConfigError:
            return None
        return replace(self, settings=settings, model=model)

    @property
    def layers(self) -> int:
        return self.model.encoder.num_layers

    def size(self, strategy: Settings) -> BatchSize | None:
        """Of a step's batch; None for a strategy that nobody can tell about."""
        kind, arguments = component("strategy", strategy)
        return batch_size(kind, arguments, self.asks, self.graph, self.layers)

    def need(self, strategy: Settings) -> Need | None:
        size = self.size(strategy)
        if size is None:
            return None
        trainer = self.settings.trainer
        return Need(
            step=step_bytes(size, self.asks, self.model, self.graph),
            model=self.model.table + self.model.weights + self.model.state,
            strategy=size.kept,
            preparing=size.preparing,
            validation=validation_bytes(
                self.model,
                self.graph,
                asked=self.asked_nodes,
                scores=self.scores,
                memory=self.settings.memory,
            ),
            ahead=trainer.ahead,
            workers=trainer.workers,
            devices=trainer.devices,
            accelerated=accelerated(trainer),
        )

    def work(self, strategy: Settings) -> float:
        """Multiply-adds of an epoch for each feature: of edges, of maps, and of scores."""
        size = self.size(strategy)
        assert size is not None
        blocks = [size.block(layer, self.layers) for layer in range(self.layers)]
        step = sum(block.edges + self.model.encoder.dim * block.targets for block in blocks)
        step += size.asked.queries * max(size.asked.candidates, 1.0)
        return step * self.asks.total / max(size.asked.queries, 1.0)


def _score_bytes(settings: RunSettings, parts: GraphParts) -> float:
    """Of links, of both sides against all entities as far as ``evaluation.memory`` allows; of
    nodes, those of all classes with what metrics make of them."""
    if settings.task.name in ("recommendation", "friend_recommendation"):
        items = float(
            sum(k["stop"] - k["start"] for k in parts.types if k["name"] == settings.task.items)
        )
        return min(float(settings.memory), 2.0 * FLOAT * len(parts.valid) * items)
    if settings.task.name in LINK_TASKS:
        return min(float(settings.memory), 2.0 * FLOAT * len(parts.valid) * parts.num_entities)
    assert parts.labels is not None
    width = 2 if settings.task.name == "node_regression" else len(parts.labels.names)
    return 3.0 * FLOAT * (_asked_nodes(settings, parts) or 0.0) * width


def _asked_nodes(settings: RunSettings, parts: GraphParts) -> float | None:
    if settings.task.name not in NODE_TASKS:
        return None
    assert parts.labels is not None
    return float((parts.labels.split == SPLITS.index("valid")).sum())


def _model(assemble: Assemble, settings: RunSettings, parts: GraphParts) -> ModelSize:
    module, _, _ = assemble(buildable(settings), parts.miniature())
    _, optimizer = component("optimizer", settings.groups["optimizer"])
    return ModelSize(module=module, types=parts.types, method=optimizer["method"])
