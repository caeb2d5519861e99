"""Entities and relations as tables: keys, names, classes, and which classes a relation joins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kgscale.data.source import DEFAULT_TYPE
from kgscale.data.splits import TRAIN
from kgscale.data.spool import Array, Spool
from kgscale.data.vocabulary import Vocabulary
from kgscale.graph.compress import split_of
from kgscale.graph.integrity import ContentHash
from kgscale.graph.tables import TableWriter

NAMED = pa.schema({"key": pa.string(), "name": pa.string()})
PAIRS = pa.list_(pa.struct({"head_class": pa.int32(), "tail_class": pa.int32()}))


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityType:
    """A storage type: the entities ``start : stop``."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """The classes of entity ``i`` are ``class_id[indptr[i] : indptr[i + 1]]``."""

    names: list[str]
    indptr: NDArray[np.int64]
    class_id: NDArray[np.int32]


def write_entities(
    directory: Path, entities: Vocabulary, content: ContentHash
) -> list[dict[str, Any]]:
    """Returns the storage types, each a range of ids."""
    types: list[dict[str, Any]] = []
    start = 0
    with TableWriter(directory / "entities.parquet", NAMED) as table:
        for batch in entities.rows():
            key, name, kind = batch.columns
            table.append(key, name)
            content.add_text("entity/key", key)
            content.add_text("entity/name", name)
            content.add_text("entity/type", kind)
            _extend(types, kind, start)
            start += len(batch)
    return types


def _extend(types: list[dict[str, Any]], kind: pa.Array, start: int) -> None:
    runs = pa.compute.run_end_encode(kind)
    for name, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
        name = DEFAULT_TYPE if name is None else name
        if not types or types[-1]["name"] != name:
            types.append({"name": name, "start": types[-1]["stop"] if types else 0})
        types[-1]["stop"] = start + end


def write_classes(
    directory: Path, entities: Vocabulary, types: list[dict[str, Any]], content: ContentHash
) -> Classes:
    """Classes as given, else the storage types."""
    given = entities.class_names()
    classes = _given(given, entities) if given else _of_types(types)
    np.save(directory / "class_indptr.npy", classes.indptr)
    np.save(directory / "class_id.npy", classes.class_id)
    names = pa.array(classes.names, pa.string())
    with TableWriter(directory / "classes.parquet", pa.schema({"name": pa.string()})) as table:
        table.append(names)
    content.add_text("class/name", names)
    content.add("class/indptr", classes.indptr)
    content.add("class/id", classes.class_id)
    return classes


def _of_types(types: list[dict[str, Any]]) -> Classes:
    size = [kind["stop"] - kind["start"] for kind in types]
    return Classes(
        names=[kind["name"] for kind in types],
        indptr=np.arange(sum(size) + 1),
        class_id=np.repeat(np.arange(len(types), dtype=np.int32), size),
    )


def _given(names: list[str], entities: Vocabulary) -> Classes:
    degree = np.zeros(entities.size, np.int64)
    class_id: list[NDArray[np.int32]] = []
    for entity, found in entities.classes():
        np.add.at(degree, entity, 1)
        class_id.append(found)
    indptr = np.concatenate([[0], np.cumsum(degree)])
    return Classes(names=names, indptr=indptr, class_id=np.concatenate(class_id))


def write_relations(
    directory: Path, relations: Vocabulary, classes: Classes, facts: Spool, content: ContentHash
) -> None:
    """Keys, names, and the (head class, tail class) pairs seen in train."""
    codes = _class_pairs(classes, facts)
    size = len(classes.names)
    relation, pair = np.divmod(codes, size * size)
    bounds = np.searchsorted(relation, np.arange(relations.size + 1)).astype(np.int32)
    columns = [pa.array((part).astype(np.int32)) for part in np.divmod(pair, size)]
    struct = pa.StructArray.from_arrays(columns, fields=list(PAIRS.value_type))
    pairs = pa.ListArray.from_arrays(pa.array(bounds), struct)
    start = 0
    schema = pa.schema([*NAMED, ("pairs", PAIRS)])
    with TableWriter(directory / "relations.parquet", schema) as table:
        for batch in relations.rows():
            key, name, _ = batch.columns
            table.append(key, name, pairs.slice(start, len(batch)))
            content.add_text("relation/key", key)
            content.add_text("relation/name", name)
            start += len(batch)


def _class_pairs(classes: Classes, facts: Spool) -> NDArray[np.int64]:
    """Sorted distinct ``(relation * classes + head class) * classes + tail class``."""
    size, found = len(classes.names), np.zeros(0, np.int64)
    for head, relation, tail, flags in facts.pieces("head", "relation", "tail", "flags"):
        train = split_of(flags) == TRAIN
        if size == 1 and len(classes.class_id) == len(classes.indptr) - 1:
            code = np.flatnonzero(np.bincount(relation[train]))
        else:
            code = np.concatenate(
                [
                    (relation[train][row].astype(np.int64) * size + left) * size + right
                    for row, left, right in _products(classes, head[train], tail[train])
                ]
            )
        found = np.union1d(found, code)
    return found


def _products(classes: Classes, head: Array, tail: Array) -> Iterator[tuple[Array, Array, Array]]:
    """Row, head class, tail class for every combination: class by class position."""
    row = np.arange(len(head))
    head_count = np.diff(classes.indptr)[head]
    tail_count = np.diff(classes.indptr)[tail]
    yield row[:0], row[:0], row[:0]
    for i in range(int(head_count.max(initial=0))):
        for j in range(int(tail_count.max(initial=0))):
            at = np.flatnonzero((head_count > i) & (tail_count > j))
            yield (
                at,
                classes.class_id[classes.indptr[head[at]] + i].astype(np.int64),
                classes.class_id[classes.indptr[tail[at]] + j].astype(np.int64),
            )
