"""A new version of a store: what it holds, and what has arrived since."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kgscale.data.audit import Audit
from kgscale.data.features import Features
from kgscale.data.literals import LiteralFile
from kgscale.data.source import (
    DEFAULT_TYPE,
    Facts,
    Labels,
    NodeLabelRows,
    NumberedFacts,
    Reading,
    Source,
)
from kgscale.data.splits import SPLITS, TRAIN, LabelRule
from kgscale.data.triples import TripleFiles
from kgscale.errors import ConfigError, DataError
from kgscale.graph.features import feature_file
from kgscale.graph.labels import UNLABELLED
from kgscale.graph.store import GraphStore
from kgscale.graph.stored import StoredFeatures, read_fits

PIECE = 1 << 18
"""Rows handed over at once."""


class Appended:
    """A store's triples as they are divided there, and those of another source beside them.

    Nothing that the store was made of is read again: its entities are taken over as keys, once
    each, and its triples as numbers of these. The result is the store that both inputs together
    would have made, but that what describes newcomers is scaled as the old store was, whose rows
    stay as they are. New triples without a split of their own are all for training, so that what
    was held out stays what it was.

    Args:
        new: its names, types, classes, labels and features count for entities old and new.
        closed: whether a model goes on with the version, which knows the old relations alone.

    Raises:
        ConfigError: a store of a benchmark, or one whose triples have roles, stays as it is.
    """

    def __init__(self, old: GraphStore, new: Source, *, closed: bool = False) -> None:
        counts = old.manifest["counts"]
        for told, words in (
            ("benchmark", "asks what a benchmark asks of it, by number"),
            ("roles", "has triples that only some may hear of"),
        ):
            if counts.get(told):
                raise ConfigError(
                    f"{old.path} {words}: build it anew from all that there is instead of onto=…"
                )
        self.old, self.new, self._closed = old, new, closed
        self.name, self.split = old.name, new.split
        if isinstance(new, TripleFiles):
            new.known_relations = _keys(old.path / "relations.parquet")

    def describe(self) -> str:
        return f"{self.old.name} as it is in {self.old.path}, and more. {self.new.describe()}"

    def digest(self) -> str:
        return _hash("appended", self.old.fingerprint, self.new.digest())

    def stamp(self) -> tuple[str, float]:
        stamp, changed = self.new.stamp()
        return _hash("appended", self.old.fingerprint, stamp), changed

    def read(self, audit: Audit, scratch: Path) -> Reading:
        audit.note(f"continues {self.old.path.name} ({self.old.fingerprint})")
        found = self.new.read(audit, scratch)
        if found.numbered is not None or found.roles or found.benchmark is not None:
            raise ConfigError(
                f"{self.new.name} numbers its entities or tells who may hear what: only triples by"
                " key can be added to a store, as of data=triples and data=rdf"
            )
        if found.undirected != self.old.undirected:
            raise ConfigError(
                f"data.undirected is {str(found.undirected).lower()}, and"
                f" {str(self.old.undirected).lower()} of {self.old.path}: set it alike"
            )
        return replace(
            found,
            earlier=_batches(self.old.path / "entities.parquet", "key"),
            facts=self._facts(found),
            entities=_both(self._entities(), found.entities),
            relations=_both(self._relations(), found.relations),
            node_labels=_both(self._node_labels(), found.node_labels),
            label_rule=self._label_rule(found),
            features=self._features(found.features),
        )

    def _facts(self, found: Reading) -> Iterator[Facts | NumberedFacts]:
        relations = _keys(self.old.path / "relations.parquet")
        for split in SPLITS:
            with pq.ParquetFile(self.old.path / f"{split}.parquet") as file:
                for batch in file.iter_batches(PIECE):
                    yield NumberedFacts(
                        split=split,
                        head=batch["head"].to_numpy().astype(np.int64),
                        relation=relations.take(batch["relation"]),
                        tail=batch["tail"].to_numpy().astype(np.int64),
                    )
        for facts in found.facts:
            assert isinstance(facts, Facts)
            if self._closed:
                self._check_relations(facts.relation, relations)
            yield replace(facts, split=SPLITS[TRAIN]) if facts.split == "open" else facts

    def _check_relations(self, found: pa.Array, known: pa.Array) -> None:
        """Before anything is written: the version would be of no use to the model."""
        strange = found.filter(pa.compute.invert(pa.compute.is_in(found, value_set=known)))
        if len(strange):
            raise DataError(unknown_relation(self.new.name, strange[0].as_py(), self.old))

    def _entities(self) -> Iterator[Labels]:
        """Names and types; and classes where they are not the types."""
        first = 0
        names = _batches(self.old.path / "entities.parquet", "name")
        for keys, name in zip(
            _batches(self.old.path / "entities.parquet", "key"), names, strict=True
        ):
            kinds = [
                _same(kind.name, stop - start)
                for kind in self.old.types
                if (start := max(kind.start, first)) < (stop := min(kind.stop, first + len(keys)))
            ]
            yield Labels(key=keys, name=name, type=pa.concat_arrays(kinds))
            first += len(keys)
        if self._has_own_classes():
            yield from self._classes()

    def _has_own_classes(self) -> bool:
        indptr, class_id = self.old.entity_classes()
        if self.old.class_names != [kind.name for kind in self.old.types]:
            return True
        sizes = [kind.stop - kind.start for kind in self.old.types]
        once = len(class_id) == len(indptr) - 1
        return not once or not np.array_equal(class_id, np.repeat(np.arange(len(sizes)), sizes))

    def _classes(self) -> Iterator[Labels]:
        indptr, class_id = (part.numpy() for part in self.old.entity_classes())
        names, first = pa.array(self.old.class_names, pa.string()), 0
        for keys in _batches(self.old.path / "entities.parquet", "key"):
            bounds = indptr[first : first + len(keys) + 1]
            row = np.repeat(np.arange(len(keys)), np.diff(bounds))
            of = pa.array(class_id[bounds[0] : bounds[-1]])
            yield Labels(key=keys.take(pa.array(row)), class_=names.take(of))
            first += len(keys)

    def _relations(self) -> Iterator[Labels]:
        path = self.old.path / "relations.parquet"
        for keys, name in zip(_batches(path, "key"), _batches(path, "name"), strict=True):
            yield Labels(key=keys, name=name)

    def _label_rule(self, found: Reading) -> LabelRule | None:
        told = self.old.manifest["counts"].get("labels")
        if told is None:
            return found.label_rule
        rule = found.label_rule or LabelRule(numbers=self.old.has_numbers)
        if rule.numbers != self.old.has_numbers:
            raise ConfigError(
                f"data.label_numbers is {str(rule.numbers).lower()}, and"
                f" {str(self.old.has_numbers).lower()} of {self.old.path}: set it alike"
            )
        return replace(rule, entities=rule.entities or "triples_that_join_own_label" in told)

    def _node_labels(self) -> Iterator[NodeLabelRows]:
        labels = self.old.labels()
        if labels is None:
            return
        split, indptr = labels.split.numpy(), labels.indptr.numpy()
        names, label_id, first = pa.array(labels.names, pa.string()), labels.label_id.numpy(), 0
        for keys in _batches(self.old.path / "entities.parquet", "key"):
            (mine,) = np.nonzero(split[first : first + len(keys)] != UNLABELLED)
            start, stop = indptr[first + mine], indptr[first + mine + 1]
            # An entity in a split without a label has a row too, with none.
            count = np.maximum(stop - start, 1)
            row = np.repeat(np.arange(len(mine)), count)
            place = (
                np.repeat(start, count)
                + np.arange(len(row))
                - np.repeat(np.cumsum(count) - count, count)
            )
            none = np.repeat(stop == start, count)
            of = pa.array(label_id[np.where(none, 0, place)] if len(label_id) else row, mask=none)
            yield NodeLabelRows(
                key=keys.take(pa.array(mine[row])),
                label=names.take(of),
                split=split[first + mine[row]],
                file=str(self.old.path),
                line=first + mine[row],
            )
            first += len(keys)

    def _features(self, new: Sequence[Features]) -> list[Features]:
        told = self.old.manifest["counts"].get("features", {"matrices": []})
        kinds = {self.old.types[of["type"]]: of for of in told["matrices"]}
        fits = read_fits(self.old.path, {kind.name: of["dim"] for kind, of in kinds.items()})
        stored = [
            StoredFeatures(
                store=self.old.path,
                path=self.old.path / feature_file(of["type"]),
                kind=kind.name,
                start=kind.start,
                stop=kind.stop,
                fits=fits.get(kind.name),
            )
            for kind, of in kinds.items()
        ]
        if any(fit.kind == "literals" for some in fits.values() for fit in some):
            # Which attributes have columns is known: newcomers may be few.
            new = [replace(one, least=1) if isinstance(one, LiteralFile) else one for one in new]
        return [*stored, *new]


def unknown_relation(where: object, key: str, old: GraphStore) -> str:
    """What is said of a relation that a model has no vector of."""
    labels = ", or, if it tells labels, name it as data.label_relation" if old.labels() else ""
    return (
        f"{where}: the relation {key!r} came after training, and no vector of it is known: leave"
        f" its triples out{labels}, or train again"
    )


def numbers_in(old: GraphStore, new: GraphStore) -> tuple[np.ndarray, np.ndarray]:
    """For each entity and each relation of a version, its number in an earlier one; -1 of none.

    Raises:
        DataError: the earlier one has some that the version lacks.
    """
    found = []
    for kind in ("entities", "relations"):
        before, after = (_keys(store.path / f"{kind}.parquet") for store in (old, new))
        place = pa.compute.index_in(after, value_set=before)
        number = place.fill_null(-1).to_numpy().astype(np.int64)
        if lost := len(before) - int((number >= 0).sum()):
            raise DataError(
                f"{new.path} lacks {lost:,} of the {kind} of {old.path}: it is no later version of"
                " it; make one with kgscale ingest onto=…"
            )
        found.append(number)
    return found[0], found[1]


def _same(kind: str, count: int) -> pa.Array:
    """A type for each of some entities; none is said of those without."""
    return pa.repeat(pa.scalar(None if kind == DEFAULT_TYPE else kind, pa.string()), count)


def _keys(path: Path) -> pa.Array:
    return pq.read_table(path, columns=["key"])["key"].combine_chunks()


def _batches(path: Path, column: str) -> Iterator[pa.Array]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(PIECE, columns=[column]):
            yield batch.column(0)


def _both(first: Iterator[Any], second: Iterator[Any]) -> Iterator[Any]:
    yield from first
    yield from second


def _hash(*parts: str) -> str:
    return hashlib.blake2b(" ".join(parts).encode(), digest_size=32).hexdigest()
