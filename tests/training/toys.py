"""A small link prediction to train, with everything that a test may want to change."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from kgscale.graph.adjacency import Adjacency
from kgscale.graph.known import KnownFacts
from kgscale.losses import SoftmaxLoss
from kgscale.models.registry import build_model
from kgscale.sampling.neighbor import NeighborStrategy
from kgscale.training.link import LinkPrediction
from kgscale.training.optimizers import VectorOptimizer
from tests.graphs import adjacency, random_triples

ENTITIES, RELATIONS = 14, 3
TRIPLES = random_triples(70, num_entities=ENTITIES, num_relations=RELATIONS, seed=1)
VALID = TRIPLES[::5]
TRAIN = TRIPLES[[row for row in range(len(TRIPLES)) if row % 5]]
ENCODERS: dict[str, dict[str, Any]] = {
    "EmbeddingOnly": {"name": "EmbeddingOnly", "dim": 6},
    "CompGCN": {"name": "CompGCN", "dim": 6, "num_layers": 2, "dropout": 0.0},
    "RGCN": {"name": "RGCN", "dim": 6, "num_layers": 1, "num_bases": 2, "dropout": 0.0},
}


def graph() -> Adjacency:
    return adjacency(TRAIN, num_entities=ENTITIES, num_relations=RELATIONS)


def strategy(*, num_layers: int = 2, batch_size: int = 8, **settings: Any) -> NeighborStrategy:
    fanout = settings.pop("fanout", [-1] * num_layers)
    return NeighborStrategy(
        graph=settings.pop("graph", graph()),
        num_layers=num_layers,
        fanout=fanout,
        batch_size=batch_size,
        **settings,
    )


def module(
    encoder: str = "CompGCN", *, decoder: str = "ComplEx", **settings: Any
) -> LinkPrediction:
    spec = {
        "num_entities": ENTITIES,
        "num_relations": RELATIONS,
        "encoder": {**ENCODERS[encoder], **settings.pop("encoder_settings", {})},
        "decoder": {"name": decoder},
    }
    optimizer = partial(
        VectorOptimizer,
        method=settings.pop("method", "adagrad"),
        lr=settings.pop("lr", 0.1),
        weight_lr=0.01,
    )
    known = adjacency(TRIPLES, num_entities=ENTITIES, num_relations=RELATIONS)
    return LinkPrediction(
        model=build_model(spec, seed=3),
        loss=settings.pop("loss", SoftmaxLoss()),
        optimizer=optimizer,
        graph=graph(),
        known=KnownFacts(known),
        valid=settings.pop("valid", VALID),
        **settings,
    )


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Dense copies by name; zeros where there is none."""
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.to_dense()
        for name, parameter in model.named_parameters()
    }
