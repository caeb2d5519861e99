"""Entities that are numbers in the input keep them, and exist with or without facts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgscale.data.audit import Audit
from kgscale.data.source import DEFAULT_TYPE, Labels, Numbered, NumberedFacts, Reading
from kgscale.data.splits import SplitRule
from kgscale.graph.store import GraphStore, prepare

Triple = tuple[int, int, int]


@dataclass
class NumberedTriples:
    """A source whose entities are numbers among all, the types in the order of their names."""

    sizes: dict[str, int]
    triples: list[Triple]
    names: dict[str, str] = field(default_factory=dict)
    name: str = "numbered"
    split: SplitRule = field(default_factory=SplitRule)

    def describe(self) -> str:
        return "Made for a test."

    def digest(self) -> str:
        return "0" * 64

    def stamp(self) -> tuple[str, float]:
        return self.digest(), 0.0

    def read(self, audit: Audit, scratch: Path) -> Reading:
        return Reading(
            facts=self._facts(), numbered=Numbered(self.sizes), entities=iter(self._labels())
        )

    def _facts(self) -> Iterator[NumberedFacts]:
        head, relation, tail = np.array(self.triples, np.int64).T
        keys = pa.array([f"r{number}" for number in relation.tolist()])
        yield NumberedFacts(split="train", head=head, relation=keys, tail=tail)

    def _labels(self) -> list[Labels]:
        if not self.names:
            return []
        return [Labels(key=pa.array(list(self.names)), name=pa.array(list(self.names.values())))]


@st.composite
def sources(draw: st.DrawFn) -> NumberedTriples:
    types = draw(st.lists(st.sampled_from(["paper", "author", "it's"]), unique=True))
    sizes = {name: draw(st.integers(1, 5)) for name in types or [DEFAULT_TYPE]}
    entity = st.integers(0, sum(sizes.values()) - 1)
    row = st.tuples(entity, st.integers(0, 2), entity)
    return NumberedTriples(sizes, draw(st.lists(row, min_size=1, unique=True)))


def built(source: NumberedTriples, folder: Path) -> GraphStore:
    return prepare(source, folder, threads=1)


@settings(max_examples=15)
@given(sources())
def test_numbers_are_ids(tmp_path_factory: pytest.TempPathFactory, source: NumberedTriples) -> None:
    store = built(source, tmp_path_factory.mktemp("store"))
    assert store.num_entities == sum(source.sizes.values())
    head, relation, tail = store.triples("train").unbind(dim=1)
    found = zip(head.tolist(), store.relation_keys(relation), tail.tolist(), strict=True)
    assert set(found) == {(h, f"r{r}", t) for h, r, t in source.triples}
    expected = [
        str(key) if name == DEFAULT_TYPE else f"{name}:{key}"
        for name in sorted(source.sizes)
        for key in range(source.sizes[name])
    ]
    assert store.entity_keys(list(range(store.num_entities))) == expected
    starts = Numbered(source.sizes).starts
    assert {kind.name: kind.start for kind in store.types} == starts


def test_names_of_some(tmp_path: Path) -> None:
    names = {"b:1": "one", "b:7": "not there"}
    store = built(NumberedTriples({"b": 3, "a": 2}, [(0, 0, 4)], names), tmp_path)
    told = store.entity_names(list(range(5)))
    assert told == ["a:0", "a:1", "b:0", "one", "b:2"]
    assert store.find_entity("b:2") == 4
