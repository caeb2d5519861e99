"""Small graphs in memory, built by the slow obvious way."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from hypothesis import strategies as st

from kgscale.graph.adjacency import Adjacency
from kgscale.graph.catalog import EntityType
from kgscale.graph.labels import NodeLabels
from kgscale.graph.propagate import Ingredients, Propagated, Propagation, write_maps
from kgscale.graph.reciprocal import add_reciprocal
from kgscale.types import Triples


def adjacency(triples: Triples, *, num_entities: int, num_relations: int) -> Adjacency:
    """What the store holds for ``triples``, from sorted Python lists."""
    head, relation, tail = add_reciprocal(triples, num_relations=num_relations).T.tolist()
    count = len(triples)
    edges = sorted(
        (t, r, h, number % count)
        for number, (h, r, t) in enumerate(zip(head, relation, tail, strict=True))
    )
    degree = torch.zeros(num_entities + 1, dtype=torch.int32)
    for target, *_ in edges:
        degree[target + 1] += 1
    columns = list(zip(*edges, strict=True)) if edges else [(), (), (), ()]
    return Adjacency(
        indptr=degree.cumsum(0).int(),
        source=torch.tensor(columns[2], dtype=torch.int32),
        relation=torch.tensor(columns[1], dtype=torch.int16),
        triple=torch.tensor(columns[3], dtype=torch.int32),
        num_relations=num_relations,
    )


def random_triples(count: int, *, num_entities: int, num_relations: int, seed: int = 0) -> Triples:
    """About ``count`` distinct triples, sorted."""
    generator = torch.Generator().manual_seed(seed)
    columns = [
        torch.randint(high, (count,), generator=generator)
        for high in (num_entities, num_relations, num_entities)
    ]
    return torch.unique(torch.stack(columns, dim=1), dim=0)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Triples, int, int]:
    """Distinct triples, the number of entities (some without an edge) and of relations."""
    num_entities, num_relations = draw(st.integers(2, 12)), draw(st.integers(1, 3))
    triple = st.tuples(
        st.integers(0, num_entities - 1),
        st.integers(0, num_relations - 1),
        st.integers(0, num_entities - 1),
    )
    found = draw(st.lists(triple, min_size=1, max_size=30, unique=True))
    return torch.tensor(sorted(found)), num_entities, num_relations


def ingredients(graph: Adjacency, *, dim: int = 0) -> Ingredients:
    """A graph of one type whose entities have some features, and each one of two labels."""
    entities = len(graph.indptr) - 1
    generator = torch.Generator().manual_seed(entities)
    return Ingredients(
        graph=graph,
        types=[EntityType(name="a", start=0, stop=entities)],
        features={0: torch.randn(entities, dim, generator=generator)} if dim else {},
        relation_names=[f"r{number}" for number in range(graph.num_relations)],
        labels=NodeLabels(
            indptr=torch.arange(entities + 1),
            label_id=torch.randint(2, (entities,), generator=generator).int(),
            split=torch.zeros(entities, dtype=torch.uint8),
            names=["x", "y"],
        ),
    )


def propagated(given: Ingredients) -> Callable[[Propagation], Propagated]:
    """What makes the maps of a strategy, without a store."""

    def make(settings: Propagation) -> Propagated:
        with tempfile.TemporaryDirectory() as directory:
            write_maps(Path(directory), given, settings)
            return Propagated.open(Path(directory), given.features)

    return make
