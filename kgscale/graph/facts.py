"""Triples on their way to a store: by slot, by id, divided, and sorted both ways."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kgscale.data.audit import Audit
from kgscale.data.database import feed, stream
from kgscale.data.source import SPLITS, Source
from kgscale.data.splits import TEST, TRAIN, VALID, Columns, Divider, SplitRule, divide
from kgscale.data.vocabulary import Vocabulary, id_type, relation_type
from kgscale.errors import DataError
from kgscale.graph.compress import REPEATED, split_of
from kgscale.graph.spool import Array, Spool

TRIPLE = ("head", "relation", "tail")
CODES = {split: code for code, split in enumerate((*SPLITS, "open"))}
OPEN = CODES["open"]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What the steps share while a store is built."""

    connection: duckdb.DuckDBPyConnection
    scratch: Path
    entities: Vocabulary
    relations: Vocabulary

    def schema(self, **more: pa.DataType) -> pa.Schema:
        entity = pa.from_numpy_dtype(id_type(self.entities.size))
        relation = pa.from_numpy_dtype(relation_type(self.relations.size))
        return pa.schema({"head": entity, "relation": relation, "tail": entity, **more})

    def spool(self, name: str, schema: pa.Schema) -> Spool:
        kinds = {column.name: column.type.to_pandas_dtype() for column in schema}
        return Spool(self.scratch, name, kinds)

    def sort(
        self, rows: Iterable[Sequence[Array]], schema: pa.Schema, order: Sequence[str]
    ) -> Iterator[list[Array]]:
        """The rows in the order of some columns, out of core."""
        packing = Packing.of(order, self._limits())
        if packing is None:
            yield from self._sort(map(_arrow, rows), schema, ", ".join(order))
            return
        names = schema.names
        rest = [name for name in names if name not in order]
        packed = pa.schema({"packed": pa.int64(), **{n: schema.field(n).type for n in rest}})

        def pack() -> Iterator[list[pa.Array]]:
            for columns in rows:
                row = dict(zip(names, columns, strict=True))
                yield _arrow([packing.pack(row), *(row[name] for name in rest)])

        for key, *others in self._sort(pack(), packed, "packed"):
            row = packing.unpack(key) | dict(zip(rest, others, strict=True))
            yield [row[n].astype(schema.field(n).type.to_pandas_dtype()) for n in names]

    def _sort(
        self, rows: Iterator[list[pa.Array]], schema: pa.Schema, order: str
    ) -> Iterator[list[Array]]:
        feed(self.connection, "unsorted", schema, rows)
        for batch in stream(self.connection, f"SELECT * FROM unsorted ORDER BY {order}"):
            yield [column.to_numpy() for column in batch.columns]
        self.connection.unregister("unsorted")

    def _limits(self) -> dict[str, int]:
        entities, relations = self.entities.size, self.relations.size
        small = {"split": len(CODES), "flags": 2 * REPEATED}
        return {"head": entities, "relation": relations, "tail": entities, **small}


@dataclass(frozen=True, slots=True)
class Packing:
    """Several small numbers as one, in the same order: one column sorts faster than four."""

    bits: dict[str, int]

    @classmethod
    def of(cls, columns: Sequence[str], limits: Mapping[str, int]) -> Packing | None:
        """``None`` if the numbers, each below its limit, do not fit."""
        bits = {name: (limits[name] - 1).bit_length() for name in columns}
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


def _arrow(columns: Sequence[Array]) -> list[pa.Array]:
    return [pa.array(column) for column in columns]


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, each prepared by a thread while the one before is in use."""
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(next, items, None)
        while (item := pending.result()) is not None:
            pending = pool.submit(next, items, None)
            yield item


def encode(source: Source, audit: Audit, shop: Workshop) -> Spool:
    """Facts by slot, as they come."""
    slots = Spool(shop.scratch, "slot", {**dict.fromkeys(TRIPLE, np.uint32), "split": np.uint8})
    reading = source.read(audit)
    for facts in ahead(reading.facts):
        slots.append(
            head=shop.entities.encode(facts.head),
            relation=shop.relations.encode(facts.relation),
            tail=shop.entities.encode(facts.tail),
            split=np.full(len(facts.head), CODES[facts.split], np.uint8),
        )
    for labels in reading.entities:
        shop.entities.label(labels)
    for labels in reading.relations:
        shop.relations.label(labels)
    slots.close()
    return slots


def sort_facts(slots: Spool, shop: Workshop) -> tuple[Spool, dict[str, int]]:
    """Distinct facts in the order of (head, relation, tail, split), and how many were repeated."""
    schema = shop.schema(split=pa.uint8())

    def rows() -> Iterator[Sequence[Array]]:
        for head, relation, tail, split in slots.pieces(*TRIPLE, "split"):
            ids = shop.entities.ids[head], shop.relations.ids[relation], shop.entities.ids[tail]
            yield *ids, split

    facts = shop.spool("fact", pa.schema([*schema, ("repeated", pa.uint8())]))
    again = np.zeros(len(CODES), np.int64)
    last: list[Array] | None = None
    for columns in shop.sort(rows(), schema, (*TRIPLE, "split")):
        triple = _same(columns[:3], last and last[:3])
        copy = triple & _same(columns[3:], last and last[3:])
        again += np.bincount(columns[3][copy], minlength=len(CODES))
        kept = dict(zip(schema.names, (column[~copy] for column in columns), strict=True))
        facts.append(**kept, repeated=triple[~copy])
        last = [column[-1:] for column in columns]
    facts.close()
    slots.remove()
    return facts, {split: int(again[code]) for split, code in CODES.items() if again[code]}


def _same(columns: list[Array], last: list[Array] | None) -> NDArray[np.bool_]:
    """Whether each row equals the one before; ``last`` is the row before the first."""
    same = np.ones(len(columns[0]), bool)
    for at, column in enumerate(columns):
        same[1:] &= column[1:] == column[:-1]
        same[:1] &= bool(last) and column[0] == last[at][0]  # type: ignore[index]
    return same


def assign(facts: Spool, rule: SplitRule, shop: Workshop, name: str) -> tuple[Spool, Array]:
    """Divide the open facts; give each its row in its split. Returns the splits' sizes too."""
    given = np.zeros(len(CODES), np.int64)
    for (split,) in facts.pieces("split"):
        given += np.bincount(split, minlength=len(CODES))
    divider = _divider(facts, given, rule, shop, name) if given[OPEN] else None
    done = shop.spool("divided", shop.schema(row=pa.int64(), flags=pa.uint8()))
    sizes = np.zeros(len(SPLITS), np.int64)
    for head, relation, tail, split, repeated in facts.pieces(*TRIPLE, "split", "repeated"):
        if divider is not None:
            split = np.where(split == OPEN, divider(head, tail), split)
        row = np.empty(len(split), np.int64)
        for code in range(len(SPLITS)):
            at = np.flatnonzero(split == code)
            row[at] = np.arange(sizes[code], sizes[code] + len(at))
            sizes[code] += len(at)
        flags = split + repeated * np.uint8(REPEATED)
        done.append(head=head, relation=relation, tail=tail, row=row, flags=flags)
    done.close()
    facts.remove()
    return done, sizes


def _divider(facts: Spool, given: Array, rule: SplitRule, shop: Workshop, name: str) -> Divider:
    def chunks() -> Iterator[Columns]:
        for head, relation, tail, split in facts.pieces(*TRIPLE, "split"):
            open_ = split == OPEN
            yield head[open_], relation[open_], tail[open_]

    total = int(given[OPEN])
    quota = [0 if given[code] else round(total * rule.ratio[code]) for code in (VALID, TEST)]
    divider = divide(
        chunks,
        num_entities=shop.entities.size,
        num_relations=shop.relations.size,
        valid=quota[0],
        test=quota[1],
        seed=rule.seed,
    )
    for code, held in zip((VALID, TEST), divider.held, strict=True):
        if rule.ratio[code] and not given[code] and not held:
            raise DataError(
                f"{name} has too few triples ({total:,} distinct) to hold out "
                f"{rule.ratio[code]:.0%} for {SPLITS[code]} and keep every entity and relation "
                "in training: give more, or a directory with train, valid and test"
            )
    return divider


def by_tail(facts: Spool, shop: Workshop) -> Spool:
    """The same facts in the order of (tail, relation, head)."""
    schema = shop.schema(row=pa.int64(), flags=pa.uint8())
    rows = facts.pieces(*schema.names)
    done = shop.spool("by-tail", schema)
    for columns in shop.sort(rows, schema, ("tail", "relation", "head", "flags")):
        done.append(**dict(zip(schema.names, columns, strict=True)))
    done.close()
    return done


def unseen_in_train(facts: Spool, num_entities: int) -> tuple[int, dict[str, int]]:
    """Entities that train lacks, and the triples of each split that mention one."""
    seen = np.zeros(num_entities, bool)
    for head, tail, flags in facts.pieces("head", "tail", "flags"):
        train = split_of(flags) == TRAIN
        seen[head[train]] = seen[tail[train]] = True
    count = np.zeros(len(SPLITS), np.int64)
    for head, tail, flags in facts.pieces("head", "tail", "flags"):
        unseen = ~(seen[head] & seen[tail])
        count += np.bincount(split_of(flags)[unseen], minlength=len(SPLITS))
    return int((~seen).sum()), dict(zip(SPLITS, count.tolist(), strict=True))
