"""A store as a graph in memory, and as a data set of its own (``data=store``)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from kgscale.data.audit import Audit
from kgscale.data.files import clean
from kgscale.data.memory import Edges, MemoryGraph, Targets
from kgscale.data.source import Numbered, Reading
from kgscale.data.splits import SPLITS, SplitRule
from kgscale.errors import ConfigError
from kgscale.graph.labels import UNLABELLED
from kgscale.graph.store import GraphStore


class StoredGraph:
    """The store at ``path``, as ``ingest`` or ``kgscale.from_pyg`` left it; nothing is built."""

    def __init__(self, *, path: str | Path | None) -> None:
        if path is None:
            raise ConfigError("data.path is not set: give the directory of a graph store")
        self.store_path = Path(path).expanduser()
        self.name = clean(self.store_path.name, "store")
        self.split = SplitRule(ratio=(1, 0, 0))

    def describe(self) -> str:
        return f"The graph store {self.store_path}; its terms of use are yours to know."

    def digest(self) -> str:
        return GraphStore.open(self.store_path).fingerprint

    def stamp(self) -> tuple[str, float]:
        return self.digest(), 0.0

    def read(self, audit: Audit, scratch: Path) -> Reading:
        return graph_of(GraphStore.open(self.store_path)).read(audit, scratch)


def graph_of(store: GraphStore) -> MemoryGraph:
    """All of it, in memory.

    Raises:
        ConfigError: some of its triples tell one of their ends alone, which no other graph says.
    """
    if store.manifest["counts"].get("roles"):
        raise ConfigError(
            f"{store.path}: triples that carry messages one way alone have no place in other "
            "libraries' graphs: read the same data with data=triples"
        )
    table = pq.read_table(store.path / "entities.parquet", columns=["key", "name"])
    keys: list[str] = table["key"].to_pylist()
    names = {at: name for at, name in enumerate(table["name"].to_pylist()) if name is not None}
    relations = pq.read_table(store.path / "relations.parquet", columns=["key", "name"])
    sizes = {kind.name: kind.stop - kind.start for kind in store.types}
    matrices = store.features()
    return MemoryGraph(
        name=store.name,
        sizes=sizes,
        keys=None if keys == _numbers(sizes) else keys,
        names=names,
        classes=_classes(store),
        relation_names={
            row["key"]: row["name"] for row in relations.to_pylist() if row["name"] is not None
        },
        edges=[_edges(store, split) for split in SPLITS if store.num_triples[split]],
        features={store.types[at].name: rows.numpy() for at, rows in matrices.items()},
        targets=_targets(store),
        undirected=store.undirected,
        split=SplitRule(ratio=(1, 0, 0)),
        label_split=(1, 0, 0),
    )


def _numbers(sizes: dict[str, int]) -> list[str]:
    prefix = Numbered(sizes).prefix
    return [f"{prefix(kind)}{at}" for kind, size in sizes.items() for at in range(size)]


def _edges(store: GraphStore, split: str) -> Edges:
    head, relation, tail = store.triples(split).T.numpy()
    keys = np.array(store.relation_keys(list(range(store.num_relations))), dtype=object)
    return Edges(split=split, head=head, relation=keys[relation].tolist(), tail=tail)


def _classes(store: GraphStore) -> list[tuple[int, str]]:
    """None if they are the types."""
    names = store.class_names
    indptr, class_id = (array.numpy() for array in store.entity_classes())
    entity = np.repeat(np.arange(store.num_entities), np.diff(indptr))
    sizes = [kind.stop - kind.start for kind in store.types]
    of_types = np.repeat(np.arange(len(sizes)), sizes)
    if names == [kind.name for kind in store.types] and np.array_equal(class_id, of_types):
        return []
    return [(int(at), names[class_]) for at, class_ in zip(entity, class_id, strict=True)]


def _targets(store: GraphStore) -> Targets | None:
    labels = store.labels()
    if labels is None:
        return None
    split, degree = labels.split.numpy(), labels.indptr.diff().numpy()
    entity = np.repeat(np.arange(store.num_entities), degree)
    none = np.flatnonzero((split != UNLABELLED) & (degree == 0))
    said = [labels.names[at] for at in labels.label_id.tolist()]
    everyone = np.concatenate([entity, none])
    return Targets(
        entity=everyone,
        label=[*said, *[None] * len(none)],
        split=split[everyone],
        numbers=store.has_numbers,
    )
