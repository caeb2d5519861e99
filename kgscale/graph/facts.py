"""Triples on their way to a store: by slot, by id, divided, and sorted both ways."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kgscale.data.audit import Audit
from kgscale.data.source import Facts, NumberedFacts, Reading, Source
from kgscale.data.splits import SPLITS, TEST, TRAIN, VALID, Columns, Division, SplitRule, divide
from kgscale.data.spool import Array, Spool
from kgscale.data.vocabulary import id_type
from kgscale.errors import DataError
from kgscale.graph.asked import Waiting, encode_relations
from kgscale.graph.compress import REPEATED, ROLES, split_of
from kgscale.graph.workshop import CODES, OPEN, TRIPLE, Workshop

Item = TypeVar("Item")


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, each prepared by a thread while the one before is in use."""
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(next, items, None)
        while (item := pending.result()) is not None:
            pending = pool.submit(next, items, None)
            yield item


def encode(source: Source, audit: Audit, shop: Workshop) -> tuple[Spool, Reading, list[Waiting]]:
    """Facts by slot, as they come; what is said about keys goes to the vocabularies."""
    slots = Spool(shop.scratch, "slot", {**dict.fromkeys(TRIPLE, np.uint32), "split": np.uint8})
    unpacked = shop.scratch / "unpacked"
    unpacked.mkdir()
    reading = source.read(audit, unpacked)
    if reading.numbered is not None:
        shop.entities.declare(reading.numbered)
    for keys in reading.earlier:
        shop.entities.encode(keys)
    # Reading and relations take about as long as entities: two threads keep pace.
    prepared = ((facts, shop.relations.encode(facts.relation)) for facts in reading.facts)
    for facts, relation in ahead(prepared):
        slots.append(
            head=shop.entities.encode(facts.head),
            relation=relation,
            tail=shop.entities.encode(facts.tail),
            split=np.full(len(facts.head), CODES[facts.split] | _role(facts), np.uint8),
        )
        if isinstance(facts, Facts) and facts.node_labels is not None:
            shop.labels.add(facts.node_labels)
    asked = encode_relations(reading.asked, shop)
    for labels in reading.entities:
        shop.entities.label(labels)
    for labels in reading.relations:
        shop.relations.label(labels)
    for rows in reading.node_labels:
        shop.labels.add(rows)
    return slots, reading, asked


def _role(facts: Facts | NumberedFacts) -> int:
    return ROLES[facts.role] if isinstance(facts, Facts) else 0


def sort_facts(slots: Spool, shop: Workshop, *, roles: bool) -> tuple[Spool, dict[str, int]]:
    """Distinct facts in the order of (head, relation, tail, split), and how many were repeated."""
    schema = shop.schema(split=pa.uint8())

    def rows() -> Iterator[Sequence[Array]]:
        for head, relation, tail, split in slots.pieces(*TRIPLE, "split"):
            ids = shop.entities.ids[head], shop.relations.ids[relation], shop.entities.ids[tail]
            yield *ids, split

    facts = shop.spool("fact", pa.schema([*schema, ("repeated", pa.uint8())]))
    again = np.zeros(len(CODES), np.int64)
    last: list[Array] | None = None
    splits = 2 * max(ROLES.values()) if roles else len(CODES)
    order = (*TRIPLE, "split")
    for columns in shop.sort(rows(), schema, order, size=slots.size, splits=splits):
        triple = _same(columns[:3], last and last[:3])
        copy = triple & _same(columns[3:], last and last[3:])
        again += np.bincount(split_of(columns[3][copy]), minlength=len(CODES))
        kept = dict(zip(schema.names, (column[~copy] for column in columns), strict=True))
        facts.append(**kept, repeated=triple[~copy])
        last = [column[-1:] for column in columns]
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
        given += np.bincount(split_of(split), minlength=len(CODES))
    division = _divide(facts, given, rule, shop, name) if given[OPEN] else None
    divided = 0
    done = shop.spool("divided", shop.schema(row=row_type(facts), flags=pa.uint8()))
    sizes = np.zeros(len(SPLITS), np.int64)
    for head, relation, tail, split, repeated in facts.pieces(*TRIPLE, "split", "repeated"):
        if division is not None:
            open_ = np.flatnonzero(split == OPEN)
            split[open_] = division.sides(divided, divided + len(open_))
            divided += len(open_)
        role, split = split - split_of(split), split_of(split)
        row = np.empty(len(split), np.int64)
        for code in range(len(SPLITS)):
            at = np.flatnonzero(split == code)
            row[at] = np.arange(sizes[code], sizes[code] + len(at))
            sizes[code] += len(at)
        flags = split + role + repeated * np.uint8(REPEATED)
        done.append(head=head, relation=relation, tail=tail, row=row, flags=flags)
    facts.remove()
    return done, sizes


def _divide(facts: Spool, given: Array, rule: SplitRule, shop: Workshop, name: str) -> Division:
    def chunks() -> Iterator[Columns]:
        for head, relation, tail, split in facts.pieces(*TRIPLE, "split"):
            open_ = split == OPEN
            yield head[open_], relation[open_], tail[open_]

    total = int(given[OPEN])
    quota = [0 if given[code] else round(total * rule.ratio[code]) for code in (VALID, TEST)]
    division = divide(
        chunks,
        shop.scratch,
        num_entities=shop.entities.size,
        num_relations=shop.relations.size,
        valid=quota[0],
        test=quota[1],
        seed=rule.seed,
    )
    for code, held in zip((VALID, TEST), division.held, strict=True):
        if rule.ratio[code] and not given[code] and not held:
            raise DataError(
                f"{name} has too few triples ({total:,} distinct) to hold out "
                f"{rule.ratio[code]:.0%} for {SPLITS[code]} and keep every entity and relation "
                "in training: give more, or a directory with train, valid and test"
            )
    return division


def row_type(facts: Spool) -> pa.DataType:
    return pa.from_numpy_dtype(id_type(facts.size))


def by_tail(facts: Spool, shop: Workshop) -> Spool:
    """The same facts in the order of (tail, relation, head): a stable sort, as head leads now."""
    schema = shop.schema(row=row_type(facts), flags=pa.uint8())
    rows = facts.pieces(*schema.names)
    done = shop.spool("by-tail", schema)
    for columns in shop.sort(rows, schema, ("tail", "relation"), size=facts.size):
        done.append(**dict(zip(schema.names, columns, strict=True)))
    return done


def seen_in_train(facts: Spool, num_entities: int) -> NDArray[np.bool_]:
    """Entities that a train triple has."""
    seen = np.zeros(num_entities, bool)
    for head, tail, flags in facts.pieces("head", "tail", "flags"):
        train = split_of(flags) == TRAIN
        seen[head[train]] = seen[tail[train]] = True
    return seen


def unseen_in_train(facts: Spool, num_entities: int) -> tuple[int, dict[str, int]]:
    """Entities that train lacks, and the triples of each split that mention one."""
    seen = seen_in_train(facts, num_entities)
    count = np.zeros(len(SPLITS), np.int64)
    for head, tail, flags in facts.pieces("head", "tail", "flags"):
        unseen = ~(seen[head] & seen[tail])
        count += np.bincount(split_of(flags)[unseen], minlength=len(SPLITS))
    return int((~seen).sum()), dict(zip(SPLITS, count.tolist(), strict=True))
