"""Vectors of some entities are those of the whole graph."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from kgscale.batch import FeatureRows
from kgscale.inference.embed import embed_graph, embed_some
from kgscale.models.registry import build_model
from tests.graphs import adjacency, random_triples

ENTITIES, WIDTH = 30, 3
MAP = {"kind": "feature", "source": "", "hop": 0, "dim": WIDTH, "start": 0}
ENCODERS: dict[str, dict[str, Any]] = {
    "CompGCN": {"num_layers": 2},
    "SIGN": {"maps": [MAP], "residual": False},
}


@pytest.mark.parametrize("name", ENCODERS)
def test_some_entities_are_rows_of_all(name: str) -> None:
    triples = random_triples(90, num_entities=ENTITIES, num_relations=2)
    graph = adjacency(triples, num_entities=ENTITIES, num_relations=2)
    spec = {
        "num_entities": ENTITIES,
        "num_relations": 2,
        "encoder": {"name": name, "dim": 6, **ENCODERS[name]},
        "head": {"num_classes": 2},
    }
    model = build_model(spec, seed=0)
    table = torch.randn(ENTITIES, WIDTH, generator=torch.Generator().manual_seed(0))
    read = []

    def features(entity_id: Tensor) -> tuple[FeatureRows, ...]:
        read.append(entity_id)
        rows = FeatureRows(entity=torch.arange(len(entity_id)), value=table[entity_id])
        return (rows,) if name == "SIGN" else ()

    every = embed_graph(model, graph, memory=1 << 20, features=features).entity
    read.clear()
    chosen = torch.tensor([7, 2, 29, 2])
    found = embed_some(model, graph, chosen, memory=1 << 20, features=features)
    torch.testing.assert_close(found, every[chosen])
    assert model.training
    if name == "SIGN":
        assert torch.cat(read).equal(chosen)
