"""Vectors of some entities are those of the whole graph."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kgscale.batch import FeatureRows
from kgscale.graph.adjacency import Adjacency
from kgscale.inference import embed
from kgscale.inference.embed import Embedder, GraphVectors
from kgscale.models.registry import build_model
from tests.graphs import adjacency, random_triples

ENTITIES, WIDTH = 30, 3
MAP = {"kind": "feature", "source": "", "hop": 0, "dim": WIDTH, "start": 0}
KINDS = {"types": [{"start": 0, "stop": ENTITIES, "features": WIDTH}], "learned": "missing"}
ENCODERS: dict[str, dict[str, Any]] = {
    "CompGCN": {"num_layers": 2},
    "RGCN": {"num_layers": 3},
    "RelationalSAGE": {"num_layers": 1},
    "RGAT": {"num_layers": 2},
    "EmbeddingOnly": {},
    "SIGN": {"maps": [MAP], "residual": False},
}


class Case:
    """A model, a graph, and what is read of the features."""

    def __init__(self, name: str, *, edges: int = 60, seed: int = 0) -> None:
        triples = random_triples(edges, num_entities=ENTITIES, num_relations=2)
        self.graph: Adjacency = adjacency(triples, num_entities=ENTITIES, num_relations=2)
        spec = {
            "num_entities": ENTITIES,
            "num_relations": 2,
            "inputs": {} if name == "SIGN" else KINDS,
            "encoder": {"name": name, "dim": 8, **ENCODERS[name]},
            "head": {"num_classes": 2},
        }
        self.model = build_model(spec, seed=seed)
        for parameter in self.model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        self.table = torch.randn(ENTITIES, WIDTH, generator=torch.Generator().manual_seed(seed))
        self.read: list[Tensor] = []

    def features(self, entity_id: Tensor) -> tuple[FeatureRows, ...]:
        self.read.append(entity_id)
        rows = FeatureRows(entity=torch.arange(len(entity_id)), value=self.table[entity_id])
        return (rows,)

    def embedder(self, memory: int) -> Embedder:
        return Embedder(
            model=self.model,  # type: ignore[arg-type]
            graph=self.graph,
            memory=memory,
            features=self.features,
        )


@pytest.mark.parametrize("rows", [4, embed.ROWS])
@pytest.mark.parametrize("name", ENCODERS)
@given(chosen=st.lists(st.integers(0, ENTITIES - 1), max_size=8))
def test_some_entities_are_rows_of_all(name: str, rows: int, chosen: list[int]) -> None:
    """Whether all vectors would find room or not."""
    case, asked = Case(name), torch.tensor(chosen, dtype=torch.int64)
    expected = case.embedder(1 << 20).every.entity[asked]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embed, "ROWS", rows)
        for memory in (0, 1 << 20):
            found = case.embedder(memory).some(asked)
            torch.testing.assert_close(found, expected)
    assert case.model.training


@pytest.mark.parametrize("name", ENCODERS)
def test_what_nobody_reads_is_not_made(name: str) -> None:
    """The features that are read are those of the entities as many hops away as layers."""
    case = Case(name, edges=12)
    asked = torch.tensor([7, 2, 29, 2])
    within = torch.unique(asked)
    for _ in range(case.embedder(0).layers):
        mine = torch.zeros(ENTITIES, dtype=torch.bool)
        mine[within] = True
        target = torch.arange(ENTITIES).repeat_interleave(case.graph.indptr.long().diff())
        mine[case.graph.source[mine[target]].long()] = True
        within = mine.nonzero()[:, 0]
    assert len(within) < ENTITIES
    case.embedder(0).some(asked)
    assert torch.unique(torch.cat(case.read)).equal(within)


@pytest.mark.parametrize("name", [name for name in ENCODERS if name != "SIGN"])
def test_inputs_copied_from_the_host_give_the_same(name: str) -> None:
    """As on an accelerator whose memory two layers exceed."""
    case = Case(name)
    everyone = torch.arange(ENTITIES)
    embedder = case.embedder(0)
    with embedder.inference():
        found = embedder.gathered(everyone)
    torch.testing.assert_close(found, case.embedder(1 << 20).every.entity)


def test_all_vectors_are_used_once_they_are_there() -> None:
    case = Case("CompGCN")
    embedder = case.embedder(0)
    _ = embedder.every
    case.read.clear()
    assert embedder.some(torch.tensor([3, 3])).equal(embedder.every.entity[[3, 3]])
    assert not case.read


def test_vectors_on_the_host_are_scored_where_the_relations_are() -> None:
    vectors = GraphVectors(entity=torch.randn(5, 2), relation=torch.empty(2, 2, device="meta"))
    assert vectors.device.type == "meta"
    assert vectors.rows(torch.tensor([0, 4])).device.type == "meta"
    assert vectors.of(torch.tensor([1])).device.type == "meta"
