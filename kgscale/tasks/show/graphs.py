"""A graph in a few lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from rich.table import Table

from kgscale.data.splits import SPLITS
from kgscale.graph.store import REJECTED, GraphStore
from kgscale.tasks.show.terminal import plain_table, short

_NAMED: Final = 3
_LISTED: Final = 15
_LEAK: Final = 0.05
"""Triples that join an entity to its label, per labelled entity, from which on it is told."""
_SPREAD: Final = ("least", "median", "largest")


def graph(store: GraphStore) -> Iterator[str]:
    """A line about a store, and one about input that was left out."""
    counts = ", ".join(f"{store.num_triples[split]:,} {split}" for split in store.num_triples)
    yield (
        f"graph: {store.num_entities:,} entities, {store.num_relations:,} relations,"
        f" triples {counts}"
    )
    told = store.manifest["input"]
    left_out = {**told["rejected"], **told["dropped"]}
    if left_out:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in left_out.items())
        rejected = store.path / REJECTED
        where = f" (listed in {rejected})" if rejected.exists() else ""
        yield f"lines left out: {reasons}{where}"
    yield from _labels(store)
    yield from _features(store)
    yield from (f"note: {note}" for note in told["notes"])
    yield from _oddities(store.manifest["counts"])


def content(store: GraphStore) -> Table:
    """Types of entities and the relations with most triples, and how many there are of each."""
    table = plain_table("What is in it")
    for name in ("", "key", "name"):
        table.add_column(name)
    for name in SPLITS:
        table.add_column(name, justify="right")
    for kind in store.types:
        table.add_row("entities", short(kind.name), "", f"{kind.stop - kind.start:,}", "", "")
    counts = store.relation_counts()
    total = np.sum([*counts.values()], axis=0)
    order = np.argsort(-total, kind="stable")[:_LISTED].tolist()
    keys, names = store.relation_keys(order), store.relation_names(order)
    for relation, key, name in zip(order, keys, names, strict=True):
        numbers = (f"{counts[split][relation]:,}" for split in SPLITS)
        table.add_row("triples", short(key), short(name) if name != key else "", *numbers)
    if len(total) > _LISTED:
        table.add_row("", f"… and {len(total) - _LISTED:,} more relations", "", "", "", "")
    return table


def _labels(store: GraphStore) -> Iterator[str]:
    """A line about the labels, and notes about those that cannot help."""
    told = store.manifest["counts"].get("labels")
    if not told:
        return
    entities = ", ".join(f"{told['entities'][split]:,} {split}" for split in store.num_triples)
    several = " (several may apply)" if told["several_per_entity"] else ""
    out = ", ".join(
        f"{count:,} {reason.replace('_', ' ')}"
        for reason, count in told["left_out"].items()
        if count
    )
    kind = f"{len(told['classes']):,} classes{several}"
    if "numbers" in told:
        least, middle, largest = (f"{told['numbers'][name]:,g}" for name in _SPREAD)
        kind = f"numbers from {least} to {largest}, half of them up to {middle}"
    yield f"labels: {kind}, entities {entities}" + (f"; left out: {out}" if out else "")
    if told["unseen_in_train"]:
        yield f"note: {told['unseen_in_train']:,} labels occur in no training entity"
    yield from _leaks(store, told)


def _leaks(store: GraphStore, told: Mapping[str, Any]) -> Iterator[str]:
    """Relations that join many entities to their own labels, the worst first."""
    least = _LEAK * sum(told["entities"].values())
    found = told.get("triples_that_join_own_label", {}).items()
    worst = sorted((-count, int(relation)) for relation, count in found if count >= least)
    if worst:
        keys = store.relation_keys([relation for _, relation in worst[:_NAMED]])
        named = [f"{-count:,} {key!r}" for (count, _), key in zip(worst, keys, strict=False)]
        more = f" and {len(worst) - _NAMED:,} more relations" if len(worst) > _NAMED else ""
        yield (
            f"note: triples that still join an entity to its own label: {', '.join(named)}{more}; "
            "data.label_relation takes a list of relations to leave out"
        )


def _features(store: GraphStore) -> Iterator[str]:
    told = store.manifest["counts"].get("features")
    if not told:
        return
    matrices = []
    for matrix in told["matrices"]:
        missing = matrix["entities_without_row"]
        zeros = f", zeros for {missing:,} entities without a row" if missing else ""
        name = store.types[matrix["type"]].name
        matrices.append(f"{matrix['dim']:,} {matrix['dtype']} of {name!r}{zeros}")
    unused = told["rows_without_facts"]
    more = f"; {unused:,} rows of keys in no triple left out" if unused else ""
    yield f"features: {'; '.join(matrices)}{more}"
    for file, what in told.get("left_out", {}).items():
        more = ", …" if what["count"] > len(what["first"]) else ""
        yield (
            f"note: {what['count']:,} of what {file} tells has no column in the store, and is left"
            f" out: {', '.join(what['first'])}{more}"
        )


def _oddities(counts: Mapping[str, Any]) -> Iterator[str]:
    """What is kept although a reader might not expect it."""
    repeated = sum(counts["duplicates"].values())
    if repeated:
        yield f"note: {repeated:,} repeated triples count once"
    if counts["in_several_splits"]:
        yield f"note: {counts['in_several_splits']:,} triples stand in several splits"
    unseen = counts["triples_with_unseen_entity"]
    if any(unseen.values()):
        asked = ", ".join(f"{count:,} {split}" for split, count in unseen.items() if count)
        yield f"note: triples with an entity that train lacks, kept: {asked}"
