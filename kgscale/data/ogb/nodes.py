"""Layouts of node classification: ``ogbn-*`` as text, ogbn-papers100M in packed arrays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kgscale.data.audit import Audit
from kgscale.data.features import NumberedFeatures
from kgscale.data.matrices import unpack_npz
from kgscale.data.ogb.layout import (
    Layout,
    OneType,
    csv_features,
    facts,
    keys,
    label_rows,
    read_parts,
)
from kgscale.data.ogb.links import packed_features, typed_names, typed_sizes
from kgscale.data.ogb.numbers import (
    all_integers,
    check_range,
    first_row,
    read_floats,
    read_integers,
    read_rows,
)
from kgscale.data.source import (
    DEFAULT_TYPE,
    NodeLabelRows,
    Numbered,
    NumberedFacts,
    Reading,
)
from kgscale.data.splits import LabelRule
from kgscale.data.spool import Array
from kgscale.errors import DataError

GIVEN = LabelRule(ratio=(1, 0, 0))
"""The split is in the files; nothing is made or left out."""


class Nodes(OneType):
    """ogbn-arxiv, -products and -proteins: text; an edge without direction stands there once."""

    def needed(self) -> list[Path]:
        return [
            self.raw / "num-node-list.csv.gz",
            self.raw / "edge.csv.gz",
            self.raw / "node-label.csv.gz",
            *self.csv_split().values(),
        ]

    def offered(self) -> list[Path]:
        more = [self.raw / f"{name}.csv.gz" for name in ("node-feat", "edge-feat")]
        return [*super().offered(), *more]

    def read(self, audit: Audit, scratch: Path) -> Reading:
        numbered = self.numbered()
        return Reading(
            facts=self._facts(numbered.size, audit),
            numbered=numbered,
            entities=self.entities(),
            node_labels=self._labels(),
            label_rule=GIVEN,
            features=self.features or self._means_of_edges(numbered.size),
        )

    def _facts(self, size: int, audit: Audit) -> Iterator[NumberedFacts]:
        yield from edge_facts(
            self.raw / "edge.csv.gz",
            self.benchmark.relation,
            limits=(size, size),
            starts=(0, 0),
            audit=audit,
        )

    def _labels(self) -> Iterator[NodeLabelRows]:
        path = self.raw / "node-label.csv.gz"
        width = len(first_row(path))
        parts = read_parts(self.csv_split())
        label = np.concatenate(list(read_integers(path, width=width)))
        if width == 1:
            yield from label_rows(label, parts, prefix="", where=path)
            return
        for code, node in parts.items():
            check_range(node, len(label), str(path), "node")
            yield from _tasks(label, node, code, path)

    def _means_of_edges(self, size: int) -> list[NumberedFeatures]:
        """What the edges of a node say on average, where nodes have no features of their own."""
        path = self.raw / "edge-feat.csv.gz"
        if not path.is_file():
            return []
        return [
            NumberedFeatures(
                path=path,
                type=DEFAULT_TYPE,
                load=lambda copy: mean_of_edges(path, self.raw / "edge.csv.gz", size),
            )
        ]


def edge_facts(
    path: Path, relation: str, *, limits: tuple[int, int], starts: tuple[int, int], audit: Audit
) -> Iterator[NumberedFacts]:
    """Training facts from a table of two columns."""
    row = 0
    for edges in read_integers(path, width=2):
        where = f"{path} from row {row} on:"
        head, tail = edges.T
        yield from facts(
            "train",
            head,
            relation,
            tail,
            limits=limits,
            starts=starts,
            where=where,
            audit=audit,
        )
        row += len(edges)


def _tasks(
    label: NDArray[np.int64], node: NDArray[np.int64], split: int, where: Path
) -> Iterator[NodeLabelRows]:
    """Of tasks with the answers yes and no: those with yes, or none of them."""
    row, task = label[node].nonzero()
    none = np.flatnonzero(label[node].sum(axis=1) == 0)
    row = np.concatenate([row, none])
    name = pa.concat_arrays([pa.array(task).cast(pa.string()), pa.nulls(len(none), pa.string())])
    yield NodeLabelRows(
        key=keys(node[row], ""),
        label=name,
        split=np.full(len(row), split, np.uint8),
        file=str(where),
        line=node[row],
    )


def mean_of_edges(features: Path, edges: Path, size: int) -> NDArray[np.float32]:
    """For each node the mean over its edges, of either direction."""
    width = len(first_row(features))
    total, degree = np.zeros((size, width)), np.zeros(size)
    arriving = read_integers(edges, width=2)
    waiting = np.zeros((0, 2), np.int64)
    for block in read_floats(features, width=width):
        while len(waiting) < len(block):
            found = next(arriving, None)
            if found is None:
                raise DataError(f"{features} has more rows than {edges}: download it again")
            waiting = np.concatenate([waiting, found])
        pairs, waiting = waiting[: len(block)], waiting[len(block) :]
        for side in (0, 1):
            np.add.at(total, pairs[:, side], block)
            np.add.at(degree, pairs[:, side], 1)
    return (total / np.maximum(degree, 1)[:, None]).astype(np.float32)


class PackedNodes(OneType):
    """ogbn-papers100M: two packed files; most papers have no label."""

    def needed(self) -> list[Path]:
        return [
            self.raw / "data.npz",
            self.raw / "node-label.npz",
            *self.csv_split().values(),
        ]

    def read(self, audit: Audit, scratch: Path) -> Reading:
        path = self.raw / "data.npz"
        arrays = unpack_npz(path, scratch)
        numbered = Numbered({DEFAULT_TYPE: int(arrays["num_nodes_list"][0])})
        return Reading(
            facts=self._facts(arrays["edge_index"], numbered.size, audit),
            numbered=numbered,
            entities=self.entities(),
            node_labels=self._labels(scratch),
            label_rule=GIVEN,
            features=packed_features(path, arrays, "node_feat"),
        )

    def _facts(self, edge_index: Array, size: int, audit: Audit) -> Iterator[NumberedFacts]:
        yield from facts(
            "train",
            edge_index[0],
            self.benchmark.relation,
            edge_index[1],
            limits=(size, size),
            where=f"{self.raw / 'data.npz'} edge_index",
            audit=audit,
        )

    def _labels(self, scratch: Path) -> Iterator[NodeLabelRows]:
        path = self.raw / "node-label.npz"
        place = scratch / "labels"
        place.mkdir()
        label = unpack_npz(path, place)["node_label"]
        parts = read_parts(self.csv_split())
        yield from label_rows(label, parts, prefix="", where=path)


class TypedNodes(Layout):
    """ogbn-mag: a folder for each relation and node type."""

    def triplets(self) -> list[tuple[str, str, str]]:
        """Head type, relation and tail type."""
        path = self.raw / "triplet-type-list.csv.gz"
        rows = list(read_rows(path))
        for row in rows:
            if len(row) != 3:
                raise DataError(f"{path} has {row}, not a type, a relation and a type")
        return [(head, relation, tail) for head, relation, tail in rows]

    def _having(self, path: Path) -> list[str]:
        """The node types for which a table of yes and no says so."""
        names, said = list(read_rows(path))
        return [name for name, word in zip(names, said, strict=True) if word == "True"]

    def _labelled(self) -> str:
        (type,) = self._having(self.split / "nodetype-has-split.csv.gz")
        return type

    def edges(self, triplet: tuple[str, str, str]) -> Path:
        return self.raw / "relations" / "___".join(triplet) / "edge.csv.gz"

    def needed(self) -> list[Path]:
        first = [
            self.raw / "num-node-dict.csv.gz",
            self.raw / "triplet-type-list.csv.gz",
            self.split / "nodetype-has-split.csv.gz",
        ]
        if not all(path.is_file() for path in first):
            return first
        type = self._labelled()
        return [
            *first,
            *map(self.edges, self.triplets()),
            self.raw / "node-label" / type / "node-label.csv.gz",
            *self.csv_split(type).values(),
        ]

    def name_files(self) -> list[Path]:
        return self.mapped("*_entidx2name.csv.gz")

    def offered(self) -> list[Path]:
        features = (self.raw / "node-feat").glob("*/node-feat.csv.gz")
        return [*super().offered(), *sorted(features)]

    def read(self, audit: Audit, scratch: Path) -> Reading:
        numbered = typed_sizes(self.raw / "num-node-dict.csv.gz")
        return Reading(
            facts=self._facts(numbered, audit),
            numbered=numbered,
            entities=typed_names(self, numbered),
            node_labels=self._labels(numbered),
            label_rule=GIVEN,
            features=[
                found
                for type in numbered.sizes
                for found in csv_features(self.raw / "node-feat" / type / "node-feat.csv.gz", type)
            ],
        )

    def _facts(self, numbered: Numbered, audit: Audit) -> Iterator[NumberedFacts]:
        starts = numbered.starts
        for triplet in self.triplets():
            head, relation, tail = triplet
            yield from edge_facts(
                self.edges(triplet),
                relation,
                limits=(numbered.sizes[head], numbered.sizes[tail]),
                starts=(starts[head], starts[tail]),
                audit=audit,
            )

    def _labels(self, numbered: Numbered) -> Iterator[NodeLabelRows]:
        type = self._labelled()
        path = self.raw / "node-label" / type / "node-label.csv.gz"
        parts = read_parts(self.csv_split(type))
        yield from label_rows(all_integers(path), parts, prefix=numbered.prefix(type), where=path)
