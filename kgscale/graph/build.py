"""From a source to the files of a store: encode, number, sort, divide, compress.

Text goes once through small dictionaries, ids through two external sorts; every other step
streams. The files depend on the facts and labels alone: not on threads or the order of lines.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kgscale.data.audit import Audit
from kgscale.data.database import Database, size_in_bytes
from kgscale.data.label_table import NodeLabelTable
from kgscale.data.source import Reading, Role, Source
from kgscale.data.splits import SPLITS, TRAIN
from kgscale.data.spool import Array, Spool
from kgscale.data.vocabulary import Vocabulary
from kgscale.graph.asked import write_questions
from kgscale.graph.catalog import write_classes, write_entities, write_relations
from kgscale.graph.compress import REPEATED, ROLES, Direction, Mask, split_of, write_adjacency
from kgscale.graph.facts import (
    assign,
    by_tail,
    encode,
    seen_in_train,
    sort_facts,
    unseen_in_train,
)
from kgscale.graph.features import locate_features, write_features
from kgscale.graph.integrity import ContentHash
from kgscale.graph.labels import count_joined, held_out, write_labels
from kgscale.graph.tables import TableWriter
from kgscale.graph.workshop import TRIPLE, Workshop


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What the manifest tells about the content."""

    fingerprint: str
    counts: dict[str, Any]
    types: list[dict[str, Any]]


def build(
    source: Source, directory: Path, scratch: Path, audit: Audit, *, threads: int, memory: str
) -> Built:
    """Write all data files of a store into ``directory``."""
    with (
        # Keys are few beside facts: a second thread would cost more memory than it saves time.
        Database(scratch / "keys", threads=1, memory=memory) as keys,
        Database(scratch / "sort", threads=threads, memory=memory) as sorter,
    ):
        shop = Workshop(
            threads=threads,
            memory=size_in_bytes(memory) // 2,
            keys=keys,
            sorter=sorter,
            scratch=scratch,
            entities=Vocabulary(keys, "entity", scratch),
            relations=Vocabulary(sorter, "relation", scratch),
            labels=NodeLabelTable(keys),
        )
        return _build(source, directory, shop, audit)


def _build(source: Source, directory: Path, shop: Workshop, audit: Audit) -> Built:
    content = ContentHash()
    slots, reading, asked = encode(source, audit, shop)
    audit.tell(f"numbering the entities of {slots.size:,} triples")
    shop.entities.number()
    shop.relations.number()
    # Before the facts, so that they have the memory to themselves.
    types = write_entities(directory, shop.entities, content)
    classes = write_classes(directory, shop.entities, types, content)
    described = _labels(directory, reading, shop, content, audit)
    located = None
    if reading.features:
        audit.tell("reading the features")
        located = locate_features(reading.features, types, shop)
    if asked:
        audit.tell("writing what the benchmark asks")
        described["asked"] = write_questions(directory, asked, shop, content)
    if reading.benchmark is not None:
        described["benchmark"] = reading.benchmark
    if reading.undirected:
        described["undirected"] = True
    if reading.roles:
        described["roles"] = True
    own_labels = _own_labels(reading, shop)
    shop.keys.close()
    audit.tell(f"sorting {slots.size:,} triples")
    facts, duplicates = sort_facts(slots, shop, roles=reading.roles)
    facts, sizes = assign(facts, source.split, shop, source.name)
    if located is not None:
        audit.tell("writing the features")
        described["features"] = write_features(
            directory,
            located,
            types,
            shop,
            content,
            held=None if reading.label_rule is None else held_out(directory),
            unseen=~seen_in_train(facts, shop.entities.size) if located.fitted else None,
        )
    audit.tell(f"writing {2 * facts.size:,} edges")
    if number := write_graph(directory, facts, shop, content, sizes, roles=reading.roles):
        described["asked_links"] = number
    write_relations(directory, shop.relations, classes, facts, content)
    if len(own_labels):
        joined = count_joined(own_labels, facts, shop.entities.size)
        described["labels"]["triples_that_join_own_label"] = joined
    return Built(
        fingerprint=content.hexdigest(),
        counts={**_counts(facts, sizes, shop), "duplicates": duplicates, **described},
        types=types,
    )


def _labels(
    directory: Path, reading: Reading, shop: Workshop, content: ContentHash, audit: Audit
) -> dict[str, Any]:
    """Those of nodes, where there are any."""
    counts: dict[str, Any] = {}
    if reading.label_rule is not None:
        audit.tell("numbering the labels")
        shop.labels.resolve(reading.label_rule)
        counts["labels"] = write_labels(
            directory,
            shop.labels,
            shop.entities.size,
            content,
            numbers=reading.label_rule.numbers,
        )
    return counts


def _own_labels(reading: Reading, shop: Workshop) -> NDArray[np.int64]:
    """Sorted codes of an entity and the entity that is its label, if labels were triples."""
    if reading.label_rule is None or not reading.label_rule.entities:
        return np.zeros(0, np.int64)
    codes = [
        batch["id"].to_numpy() * shop.entities.size + batch["label_entity"].to_numpy()
        for batch in shop.labels.own_entities()
    ]
    return np.sort(np.concatenate([np.zeros(0, np.int64), *codes]))


def _counts(facts: Spool, sizes: Array, shop: Workshop) -> dict[str, Any]:
    entities, mentions = unseen_in_train(facts, shop.entities.size)
    return {
        "entities": shop.entities.size,
        "relations": shop.relations.size,
        "triples": dict(zip(SPLITS, sizes.tolist(), strict=True)),
        "in_several_splits": sum(
            int((flags & REPEATED > 0).sum()) for (flags,) in facts.pieces("flags")
        ),
        "entities_unseen_in_train": entities,
        "triples_with_unseen_entity": mentions,
        "labels_without_facts": {"entity": shop.entities.unused, "relation": shop.relations.unused},
        "keys_with_several_names": {
            "entity": shop.entities.conflicts,
            "relation": shop.relations.conflicts,
        },
    }


def write_triples(directory: Path, facts: Spool, shop: Workshop, content: ContentHash) -> None:
    """A table per split, sorted by (head, relation, tail)."""
    for code, split in enumerate(SPLITS):
        with TableWriter(directory / f"{split}.parquet", shop.schema()) as table:
            for *columns, flags in facts.pieces(*TRIPLE, "flags"):
                mine = [column[split_of(flags) == code] for column in columns]
                table.append(*map(pa.array, mine))
                for name, column in zip(TRIPLE, mine, strict=True):
                    content.add(f"{split}/{name}", column)


def write_graph(
    directory: Path,
    facts: Spool,
    shop: Workshop,
    content: ContentHash,
    sizes: Array,
    *,
    roles: bool,
) -> int:
    """Triples, and the edges of train alone and of every known fact; where triples have ``roles``,
    also those that are asked. Returns how many these are."""
    write_triples(directory, facts, shop, content)
    tails = by_tail(facts, shop)
    counts = {"num_entities": shop.entities.size, "num_relations": shop.relations.size}
    forward = Direction(edges=tails, target="tail", source="head", reciprocal=False, **counts)
    backward = Direction(edges=facts, target="head", source="tail", reciprocal=True, **counts)

    def adjacency(prefix: str, both: tuple[Mask, Mask]) -> None:
        write_adjacency(
            directory,
            prefix,
            forward=forward,
            backward=backward,
            masks=both,
            offsets=np.concatenate([[0], np.cumsum(sizes)]),
        )

    def train(without: Role) -> Mask:
        """Edges to one end: not those of triples that tell the other end alone."""
        gone = ROLES["asked"] | ROLES[without]
        return lambda flags: (split_of(flags) == TRAIN) & (flags & gone == 0)

    def known(flags: Array) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = flags & REPEATED == 0
        return found

    def asked(flags: Array) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = (split_of(flags) == TRAIN) & (flags & ROLES["asked"] > 0)
        return found

    masks = {"known": (known, known), "train": (train("head"), train("tail"))}
    number = 0
    if roles:
        for (flags,) in facts.pieces("flags"):
            content.add("role", flags)
            number += int(asked(flags).sum())
        if number:
            masks["asked"] = asked, asked
    with ThreadPoolExecutor(shop.threads) as pool:
        list(pool.map(adjacency, masks, masks.values()))
    tails.remove()
    return number
