"""The graph on disk: immutable, memory-mapped, verified."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from kgscale.data.audit import Audit, Tell, silent
from kgscale.data.source import Fetched, Ready, Source
from kgscale.data.splits import SPLITS
from kgscale.durable import (
    alone,
    disk_errors,
    file_hash,
    hash_files,
    read_manifest,
    remove_directory,
    sealed,
    sync,
    unsealed,
    whole_directory,
    write_manifest,
)
from kgscale.errors import ConfigError, DataError
from kgscale.graph.adjacency import Adjacency, both_ways
from kgscale.graph.asked import Questions, open_questions
from kgscale.graph.build import build
from kgscale.graph.catalog import EntityType
from kgscale.graph.features import open_features
from kgscale.graph.inputs import digest_of
from kgscale.graph.integrity import check_files, read_json, write_json
from kgscale.graph.labels import NodeLabels
from kgscale.graph.names import Names
from kgscale.types import Triples

SCHEMA = 2
MANIFEST, ORIGIN, REJECTED, DERIVED = "manifest.json", "origin.json", "rejected.tsv", "derived"
VERIFY = ("fast", "full")


class GraphStore:
    """A graph ready for use; open one with ``GraphStore.open`` or ``prepare``."""

    def __init__(self, path: Path, manifest: dict[str, Any], *, verify: str = "fast") -> None:
        self.path, self.manifest = path, manifest
        counts = manifest["counts"]
        self.name: str = manifest["name"]
        self.fingerprint: str = manifest["fingerprint"]
        self.num_entities: int = counts["entities"]
        self.num_relations: int = counts["relations"]
        self.num_triples: dict[str, int] = {split: counts["triples"][split] for split in SPLITS}

        self.types = [EntityType(**kind) for kind in manifest["types"]]
        self.derived_seconds: dict[str, float] = {}
        """Processor seconds that making each directory took which ``derived`` gave, by its name."""
        self._verify = verify
        self._both_ways: dict[str, Adjacency] = {}

    @classmethod
    def open(cls, path: str | Path, *, verify: str = "fast") -> GraphStore:
        """Open a directory; ``full`` checks every byte, ``fast`` what changed since last time."""
        if verify not in VERIFY:
            raise ConfigError(f"store.verify is one of {', '.join(VERIFY)}, got {verify!r}")
        path = Path(path)
        manifest = _read_manifest(path)
        check_files(path, manifest["files"], full=verify == "full")
        return cls(path, manifest, verify=verify)

    def __reduce__(self) -> tuple[Callable[..., GraphStore], tuple[Path]]:
        return GraphStore.open, (self.path,)

    def __repr__(self) -> str:
        triples = ", ".join(f"{count:,} {split}" for split, count in self.num_triples.items())
        return (
            f"GraphStore({self.name}: {self.num_entities:,} entities, "
            f"{self.num_relations:,} relations, {triples})"
        )

    def triples(self, split: str) -> Triples:
        """All triples of a split, sorted by (head, relation, tail)."""
        if split not in SPLITS:
            raise ConfigError(f"a split is one of {', '.join(SPLITS)}, got {split!r}")
        table = pq.read_table(self.path / f"{split}.parquet")
        found = np.empty((len(table), 3), np.int64)
        for at, name in enumerate(("head", "relation", "tail")):
            found[:, at] = table[name].to_numpy()
        return torch.from_numpy(found)

    def relation_counts(self) -> dict[str, NDArray[np.int64]]:
        """How many triples of each split every relation has."""
        found = {}
        for split in SPLITS:
            count = np.zeros(self.num_relations, np.int64)
            with pq.ParquetFile(self.path / f"{split}.parquet") as file:
                for batch in file.iter_batches(columns=["relation"]):
                    count += np.bincount(batch.column(0), minlength=self.num_relations)
            found[split] = count
        return found

    def adjacency(self, *, known: bool = False) -> Adjacency:
        """Train edges alone; ``known``: those of all splits, to filter answers."""
        prefix = "known" if known else "train"
        if not self.undirected:
            graph = Adjacency.open(self.path, prefix, self.num_relations)
            one_way = not known and bool(self.manifest["counts"].get("roles"))
            return replace(graph, one_way=one_way)
        if prefix not in self._both_ways:
            given = Adjacency.open(self.path, prefix, self.num_relations)
            self._both_ways[prefix] = both_ways(given)
        return self._both_ways[prefix]

    def asked_links(self) -> Adjacency | None:
        """The train triples that are asked, where these carry no messages; else None."""
        if not self.manifest["counts"].get("asked_links"):
            return None
        return Adjacency.open(self.path, "asked", self.num_relations)

    @property
    def undirected(self) -> bool:
        """Whether relations hold both ways; a triple is kept one way alone."""
        return bool(self.manifest["counts"].get("undirected"))

    def entity_keys(self, ids: Tensor | list[int]) -> list[str]:
        return self._entities.keys(np.asarray(ids, dtype=np.int64))

    def entity_names(self, ids: Tensor | list[int]) -> list[str]:
        """Names; the key where there is none."""
        return self._entities.names(np.asarray(ids, dtype=np.int64))

    def relation_keys(self, ids: Tensor | list[int]) -> list[str]:
        return self._relations.keys(np.asarray(ids, dtype=np.int64))

    def relation_names(self, ids: Tensor | list[int]) -> list[str]:
        return self._relations.names(np.asarray(ids, dtype=np.int64))

    def entity_column(self, ids: Tensor, *, names: bool) -> pa.ChunkedArray:
        """Keys, or names, as a column of a table."""
        return self._entities.column(ids.numpy(), names=names)

    def relation_column(self, ids: Tensor, *, names: bool) -> pa.ChunkedArray:
        return self._relations.column(ids.numpy(), names=names)

    def find_entities(self, texts: pa.Array, among: range | None = None) -> NDArray[np.int64]:
        """The ids of many distinct keys or names; negative ones, of ``graph.names``, where it
        fails."""
        return self._entities.find_all(texts, among)

    def find_relations(self, texts: pa.Array) -> NDArray[np.int64]:
        return self._relations.find_all(texts)

    def find_entity(self, text: str, among: range | None = None) -> int:
        """The id of a key or name; an unknown one suggests the nearest, of all or of some."""
        return self._entities.find(text, among)

    def find_relation(self, text: str) -> int:
        return self._relations.find(text)

    def entity_ids(self, keys: Sequence[str]) -> dict[str, int]:
        """The ids of many keys; those that no entity has are left out."""
        return self._entities.ids(keys)

    def relation_ids(self, keys: Sequence[str]) -> dict[str, int]:
        return self._relations.ids(keys)

    @property
    def _entities(self) -> Names:
        return Names(self.path / "entities.parquet", "entity")

    @property
    def _relations(self) -> Names:
        return Names(self.path / "relations.parquet", "relation")

    @cached_property
    def class_names(self) -> list[str]:
        names: list[str] = pq.read_table(self.path / "classes.parquet")["name"].to_pylist()
        return names

    def entity_classes(self) -> tuple[Int64[Tensor, " entity_plus_one"], Tensor]:
        """The classes of entity ``i`` are ``class_id[indptr[i] : indptr[i + 1]]``."""
        indptr, class_id = (
            torch.from_numpy(np.load(self.path / name, mmap_mode="c", allow_pickle=False))
            for name in ("class_indptr.npy", "class_id.npy")
        )
        return indptr, class_id

    def labels(self) -> NodeLabels | None:
        """What node classification asks for, if the source has it."""
        return NodeLabels.open(self.path) if "labels" in self.manifest["counts"] else None

    @property
    def has_numbers(self) -> bool:
        """Whether labels are numbers."""
        return "numbers" in self.manifest["counts"].get("labels", {})

    def features(self) -> dict[int, Float[Tensor, "_ _"]]:
        """A row per entity of a storage type, by its place in ``types``; not all have any."""
        told = self.manifest["counts"].get("features", {"matrices": []})
        return open_features(self.path, told["matrices"])

    @property
    def benchmark(self) -> str | None:
        """The name under which OGB measures what is learned from it."""
        name: str | None = self.manifest["counts"].get("benchmark")
        return name

    def asked(self, split: str) -> Questions | None:
        """What a benchmark asks of a split, in its own order, with its own candidates."""
        names = self.manifest["counts"].get("asked", {}).get(split)
        return None if names is None else open_questions(self.path, split, names)

    def derived(
        self, kind: str, settings: Mapping[str, Any], write: Callable[[Path], None]
    ) -> Path:
        """A directory of things computed from this graph; ``write`` fills it the first time.

        It appears whole or not at all, and is made anew if it is damaged or came from another
        graph.
        """
        path, about = self._about(kind, settings)
        told = self._derived(path, about)
        if told is None:
            with alone(path):
                told = self._derived(path, about)  # another process may have made it meanwhile
                if told is None:
                    told = _derive(path, about, write)
        self.derived_seconds[path.name] = told["processor"]
        return path

    def has_derived(self, kind: str, settings: Mapping[str, Any]) -> bool:
        """Whether ``derived`` would find what was made before."""
        return self._derived(*self._about(kind, settings)) is not None

    def _about(self, kind: str, settings: Mapping[str, Any]) -> tuple[Path, dict[str, Any]]:
        """Where such a directory is, and what its manifest tells of where it came from."""
        about = {"kind": kind, "settings": dict(settings), "fingerprint": self.fingerprint}
        text = json.dumps(about["settings"], sort_keys=True)
        name = f"{kind}-{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"
        return self.path / DERIVED / name, about

    def _derived(self, path: Path, about: Mapping[str, Any]) -> dict[str, Any] | None:
        """What its manifest tells, if it is there, and what was written."""
        try:
            told = read_manifest(path)
            check_files(path, told["files"], full=self._verify == "full")
        except (OSError, ValueError, KeyError, DataError):
            return None
        return told if {key: told.get(key) for key in about} == about else None

    def check_derived(self) -> None:
        """Compare every byte of the directories that were made from it.

        Raises:
            DataError: one is not as it was written.
        """
        for path in sorted(self.path.glob(f"{DERIVED}/[!.]*")):
            try:
                check_files(path, read_manifest(path)["files"], full=True)
            except (OSError, ValueError, KeyError) as error:
                raise DataError(f"{path} is damaged ({error}): delete it") from error

    def relation_classes(self) -> list[list[tuple[int, int]]]:
        """The (head class, tail class) pairs seen with each relation in train."""
        table = pq.read_table(self.path / "relations.parquet", columns=["pairs"])
        return [
            [(pair["head_class"], pair["tail_class"]) for pair in pairs]
            for pairs in table["pairs"].to_pylist()
        ]


def _derive(path: Path, about: dict[str, Any], write: Callable[[Path], None]) -> dict[str, Any]:
    if path.exists():
        remove_directory(path)
    with whole_directory(path) as (directory, _):
        begin = _processor_seconds()
        write(directory)
        write_manifest(directory, {**about, "processor": _processor_seconds() - begin})
    return read_manifest(path)


def _processor_seconds() -> float:
    """Of this process and of its ended children."""
    return sum(os.times()[:4])


def _read_manifest(path: Path) -> dict[str, Any]:
    if not (path / MANIFEST).is_file():
        raise DataError(f"{path} is not a graph store: it has no {MANIFEST}")
    manifest = read_json(path / MANIFEST)
    if manifest.get("schema") != SCHEMA:
        raise DataError(
            f"{path} has store schema {manifest.get('schema')}, this version reads {SCHEMA}: "
            "delete it and it is built again"
        )
    if _origin(path).get("manifest") != file_hash(path / MANIFEST):
        raise DataError(f"{path / MANIFEST} is damaged: delete {path} and it is built again")
    return manifest


def _origin(path: Path) -> dict[str, Any]:
    try:
        return unsealed(path / ORIGIN)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path / ORIGIN} is damaged ({error}): delete {path} and it is built again"
        ) from error


def prepare(
    source: Source,
    root: Path,
    *,
    threads: int = 2,
    memory: str = "1GB",
    verify: str = "fast",
    tell: Tell = silent,
) -> GraphStore:
    """Open the store of a source below ``root``, or build it there first."""
    if isinstance(source, Ready):
        return GraphStore.open(source.store_path, verify=verify)
    root = Path(root)
    if isinstance(source, Fetched):
        source.fetch(tell)
    digest = digest_of(source, root)
    key = hashlib.blake2b(f"{SCHEMA} {digest}".encode(), digest_size=8).hexdigest()
    path = root / f"{source.name}-{key}"
    if not path.exists():
        with alone(path, lambda: tell("waiting for another process that builds the same store")):
            if not path.exists():
                _build(path, source, digest, threads=threads, memory=memory, tell=tell)
    store = GraphStore.open(path, verify=verify)
    if _origin(path)["input"] != digest:
        raise DataError(f"{path} was built from other input: delete it and it is built again")
    return store


def make(
    source: Source, path: Path, *, threads: int = 2, memory: str = "1GB", tell: Tell = silent
) -> GraphStore:
    """Build the store of a source at a path of one's own, where nothing is yet.

    Raises:
        ConfigError: something is.
    """
    if path.exists():
        raise ConfigError(f"{path} is there already: name another directory, or delete it")
    with alone(path):
        _build(path, source, source.digest(), threads=threads, memory=memory, tell=tell)
    return GraphStore.open(path)


def _build(
    path: Path, source: Source, digest: str, *, threads: int, memory: str, tell: Tell
) -> None:
    with disk_errors(path, duckdb.IOException), whole_directory(path) as (directory, scratch):
        audit = Audit(directory / REJECTED, tell=tell)
        try:
            built = build(source, directory, scratch, audit, threads=threads, memory=memory)
        finally:
            audit.close()
        names = sorted(file.name for file in directory.iterdir())
        tell("verifying what was written")
        files = hash_files(directory, names, threads=threads)
        manifest = {
            "schema": SCHEMA,
            "name": source.name,
            "fingerprint": built.fingerprint,
            "counts": built.counts,
            "types": built.types,
            "input": audit.summary(),
            "files": files,
            "versions": {name: version(name) for name in ("numpy", "pyarrow", "duckdb")},
        }
        write_json(directory / MANIFEST, manifest)
        origin = {
            "input": digest,
            "source": source.describe(),
            "manifest": file_hash(directory / MANIFEST),
        }
        (directory / ORIGIN).write_bytes(sealed(origin).encode())
        for name in names:
            sync(directory / name)
        check_files(directory, files, full=True, threads=threads)
