"""The tools that the steps of building a store share: vocabularies, spools, and one sort."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from kgscale.data.database import Database
from kgscale.data.label_table import NodeLabelTable
from kgscale.data.splits import SPLITS
from kgscale.data.spool import PIECE, Array, Spool
from kgscale.data.vocabulary import Vocabulary, id_type, relation_type

TRIPLE = ("head", "relation", "tail")
CODES = {split: code for code, split in enumerate((*SPLITS, "open"))}
OPEN = CODES["open"]
POSITION = "position"


@dataclass(frozen=True, slots=True)
class Packing:
    """Several small numbers as one, in the same order: one column sorts faster than four."""

    bits: dict[str, int]

    @classmethod
    def of(cls, limits: Mapping[str, int]) -> Packing | None:
        """``None`` if the numbers, each below its limit, do not fit."""
        bits = {name: (limit - 1).bit_length() for name, limit in limits.items()}
        return cls(bits) if sum(bits.values()) < 64 else None

    def pack(self, row: Mapping[str, Array]) -> Array:
        key = np.zeros(len(next(iter(row.values()))), np.int64)
        for name, size in self.bits.items():
            key = (key << size) | row[name]
        return key

    def unpack(self, key: Array) -> dict[str, Array]:
        row = {}
        for name, size in reversed(self.bits.items()):
            row[name], key = key & ((1 << size) - 1), key >> size
        return row


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What is at hand while a store is built."""

    keys: Database
    """Of entities and what is said about them; closed when the facts are sorted."""
    sorter: Database
    scratch: Path
    threads: int
    memory: int
    """Bytes that a step may use."""
    entities: Vocabulary
    relations: Vocabulary
    labels: NodeLabelTable

    def schema(self, **more: pa.DataType) -> pa.Schema:
        entity = pa.from_numpy_dtype(id_type(self.entities.size))
        relation = pa.from_numpy_dtype(relation_type(self.relations.size))
        return pa.schema({"head": entity, "relation": relation, "tail": entity, **more})

    def spool(self, name: str, schema: pa.Schema) -> Spool:
        return Spool(self.scratch, name, _kinds(schema))

    def sort(
        self,
        spool: Iterable[Sequence[Array]],
        schema: pa.Schema,
        by: Sequence[str],
        *,
        size: int,
        splits: int = len(CODES),
    ) -> Iterator[list[Array]]:
        """``size`` rows in the order of some columns; a stable sort, out of core if need be.

        Args:
            splits: what the column of splits stays below.
        """
        kinds = _kinds(schema)
        rest = [name for name in schema.names if name not in by]
        rows = _numbered(spool, schema.names)
        known = {"relation": self.relations.size, "split": splits}
        limits = {name: known.get(name, self.entities.size) for name in by}
        limits |= {POSITION: size} if rest else {}
        packing = Packing.of(limits)
        width = 8 + sum(kinds[name].itemsize for name in rest)
        if packing is None:
            sorted_rows = self._sort_columns(rows, schema, [*limits])
        elif 2 * size * width <= self.memory:
            sorted_rows = _sort_in_memory(rows, packing, {n: kinds[n] for n in rest}, size)
        else:
            sorted_rows = self._sort_packed(rows, packing, schema, rest)
        for row in sorted_rows:
            yield [row[name].astype(kind, copy=False) for name, kind in kinds.items()]

    def _sort_packed(
        self, rows: Iterator[dict[str, Array]], packing: Packing, schema: pa.Schema, rest: list[str]
    ) -> Iterator[dict[str, Array]]:
        packed = pa.schema(
            {"packed": pa.int64(), **{name: schema.field(name).type for name in rest}}
        )
        keyed = ([packing.pack(row), *(row[name] for name in rest)] for row in rows)
        for key, *others in self._order(keyed, packed, ["packed"]):
            yield packing.unpack(key) | dict(zip(rest, others, strict=True))

    def _sort_columns(
        self, rows: Iterator[dict[str, Array]], schema: pa.Schema, by: list[str]
    ) -> Iterator[dict[str, Array]]:
        numbered = pa.schema([*schema, (POSITION, pa.int64())])
        columns = ([row[name] for name in numbered.names] for row in rows)
        for found in self._order(columns, numbered, by):
            yield dict(zip(numbered.names, found, strict=True))

    def _order(
        self, rows: Iterator[list[Array]], schema: pa.Schema, by: list[str]
    ) -> Iterator[list[Array]]:
        arriving = ([*map(pa.array, row)] for row in rows)
        for batch in self.sorter.sort(arriving, schema, by):
            yield [column.to_numpy() for column in batch.columns]


def _kinds(schema: pa.Schema) -> dict[str, np.dtype[np.generic]]:
    return {column.name: np.dtype(column.type.to_pandas_dtype()) for column in schema}


def _numbered(rows: Iterable[Sequence[Array]], names: list[str]) -> Iterator[dict[str, Array]]:
    start = 0
    for columns in rows:
        row = dict(zip(names, columns, strict=True))
        stop = start + len(columns[0])
        yield {**row, POSITION: np.arange(start, stop)}
        start = stop


def _sort_in_memory(
    rows: Iterator[dict[str, Array]],
    packing: Packing,
    rest: Mapping[str, np.dtype[np.generic]],
    size: int,
) -> Iterator[dict[str, Array]]:
    keys = np.empty(size, np.int64)
    kept: dict[str, Array] = {name: np.empty(size, kind) for name, kind in rest.items()}
    for row in rows:
        at = slice(int(row[POSITION][0]), int(row[POSITION][-1]) + 1)
        keys[at] = packing.pack(row)
        for name, column in kept.items():
            column[at] = row[name]
    keys.sort()
    for start in range(0, size, PIECE):
        row = packing.unpack(keys[start : start + PIECE])
        yield row | {name: column[row[POSITION]] for name, column in kept.items()}
