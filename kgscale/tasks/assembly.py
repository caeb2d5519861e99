"""A model and a strategy that fit each other, from settings and what they see of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from kgscale.errors import ConfigError
from kgscale.inference.embed import Features
from kgscale.models.encoders.precomputed import NARS, MapEncoder
from kgscale.models.link import LinkModel
from kgscale.models.node import NodeModel
from kgscale.models.registry import build_model
from kgscale.sampling.base import Strategy
from kgscale.sampling.paths import PathStrategy
from kgscale.sampling.precomputed import PrecomputedStrategy
from kgscale.sampling.questions import Questions
from kgscale.tasks.components import build, component
from kgscale.tasks.parts import GraphParts
from kgscale.tasks.settings import RunSettings


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """What a task trains, and how it sees the graph."""

    model: LinkModel | NodeModel
    strategy: Strategy
    spec: dict[str, Any]
    """From which the model is built again."""
    features: Features
    """What inference gives the model: stored features, or propagated ones."""


def assemble(
    settings: RunSettings,
    parts: GraphParts,
    last: Mapping[str, Any],
    questions: Questions | None = None,
) -> Assembly:
    """Put a fresh model and its strategy together; ``last`` is what follows the encoder.

    Raises:
        ConfigError: the strategy makes nothing that the encoder could read.
    """
    if settings.groups["data"].get("inductive") is not None:
        raise ConfigError(
            "data.inductive names a graph of other entities, of which no vector is learned; use"
            " task=path_reasoning"
        )
    kind, arguments = component("encoder", settings.groups["encoder"])
    spec: dict[str, Any] = {
        "num_entities": parts.num_entities,
        "num_relations": parts.graph.num_relations,
        "types": parts.types,
        "inputs": settings.inputs.arguments(),
        "encoder": {"name": kind.__name__, **arguments},
        **last,
    }
    strategy_kind, _ = component("strategy", settings.groups["strategy"])
    _check_fit(kind, strategy_kind)
    if strategy_kind is not PrecomputedStrategy:
        model = build_model(spec, seed=settings.seed)
        assert isinstance(model, LinkModel | NodeModel)
        strategy = _strategy(settings, parts, model.encoder.num_layers, questions)
        return Assembly(model=model, strategy=strategy, spec=spec, features=parts.features)
    strategy = _strategy(settings, parts, 0, questions)
    assert isinstance(strategy, PrecomputedStrategy)
    if kind is NARS and strategy.settings.paths != "subsets":
        raise ConfigError(
            f"NARS mixes maps over subsets of the relations, and strategy.paths is"
            f" {strategy.settings.paths}: without any it is SIGN; set strategy.paths=subsets, or"
            " encoder=sign"
        )
    spec["encoder"]["maps"] = strategy.maps.specs()
    spec["propagation"] = asdict(strategy.settings)
    model = build_model(spec, seed=settings.seed)
    assert isinstance(model, LinkModel | NodeModel)
    assert isinstance(model.encoder, MapEncoder)
    strategy.read(model.encoder.places)
    return Assembly(model=model, strategy=strategy, spec=spec, features=strategy.maps.gather)


def fits(encoder: type, strategy: type) -> bool:
    """Whether the strategy's batches have what the encoder reads: edges, or rows of maps."""
    return issubclass(encoder, MapEncoder) == (strategy is PrecomputedStrategy)


def _check_fit(encoder: type, strategy: type) -> None:
    if strategy is PathStrategy:
        raise ConfigError(
            "strategy=paths cuts subgraphs for models without entity vectors; use"
            " task=path_reasoning, or strategy=subgraph"
        )
    if fits(encoder, strategy):
        return
    if strategy is PrecomputedStrategy:
        raise ConfigError(
            f"strategy=precomputed has no edges in a step, and {encoder.__name__} learns from"
            " messages along edges; use encoder=sign (or nars, sehgnn), or strategy=neighbor"
        )
    raise ConfigError(
        f"{encoder.__name__} reads features that were propagated beforehand, which no step of"
        f" {strategy.__name__} has; use strategy=precomputed, or encoder=rgcn"
    )


def _strategy(
    settings: RunSettings, parts: GraphParts, num_layers: int, questions: Questions | None
) -> Strategy:
    strategy: Strategy = build(
        "strategy",
        settings.groups["strategy"],
        graph=parts.graph,
        questions=questions,
        partition=parts.partition,
        propagate=parts.propagate,
        num_layers=num_layers,
        seed=settings.seed,
    )
    return strategy
