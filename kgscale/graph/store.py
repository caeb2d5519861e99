"""The graph on disk: immutable, memory-mapped, verified."""

from __future__ import annotations

import errno
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq
import torch
from jaxtyping import Int64
from torch import Tensor

from kgscale.data.audit import Audit
from kgscale.data.source import SPLITS, Source
from kgscale.errors import ConfigError, DataError, ResourceError
from kgscale.graph.adjacency import Adjacency
from kgscale.graph.build import build
from kgscale.graph.integrity import check_files, hash_files, sync
from kgscale.graph.names import Names
from kgscale.types import Triples

SCHEMA = 1
MANIFEST, ORIGIN = "manifest.json", "origin.json"
REJECTED = "rejected.tsv"
VERIFY = ("fast", "full")


class GraphStore:
    """A graph ready for use; open one with ``GraphStore.open`` or ``prepare``."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path, self.manifest = path, manifest
        counts = manifest["counts"]
        self.name: str = manifest["name"]
        self.fingerprint: str = manifest["fingerprint"]
        self.num_entities: int = counts["entities"]
        self.num_relations: int = counts["relations"]
        self.num_triples: dict[str, int] = {split: counts["triples"][split] for split in SPLITS}

    @classmethod
    def open(cls, path: str | Path, *, verify: str = "fast") -> GraphStore:
        """Open a directory; ``full`` checks every byte, ``fast`` what changed since last time."""
        if verify not in VERIFY:
            raise ConfigError(f"store.verify is one of {', '.join(VERIFY)}, got {verify!r}")
        path = Path(path)
        manifest = _read_manifest(path)
        check_files(path, manifest["files"], full=verify == "full")
        return cls(path, manifest)

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

    def adjacency(self, *, known: bool = False) -> Adjacency:
        """Train edges alone; ``known``: those of all splits, to filter answers."""
        return Adjacency.open(self.path, "known" if known else "train", self.num_relations)

    def entity_keys(self, ids: Tensor | list[int]) -> list[str]:
        return self._entities.keys(np.asarray(ids, dtype=np.int64))

    def entity_names(self, ids: Tensor | list[int]) -> list[str]:
        """Names; the key where there is none."""
        return self._entities.names(np.asarray(ids, dtype=np.int64))

    def relation_keys(self, ids: Tensor | list[int]) -> list[str]:
        return self._relations.keys(np.asarray(ids, dtype=np.int64))

    def relation_names(self, ids: Tensor | list[int]) -> list[str]:
        return self._relations.names(np.asarray(ids, dtype=np.int64))

    def find_entity(self, text: str) -> int:
        """The id of a key or name; an unknown one suggests the nearest."""
        return self._entities.find(text)

    def find_relation(self, text: str) -> int:
        return self._relations.find(text)

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

    def relation_classes(self) -> list[list[tuple[int, int]]]:
        """The (head class, tail class) pairs seen with each relation in train."""
        table = pq.read_table(self.path / "relations.parquet", columns=["pairs"])
        return [
            [(pair["head_class"], pair["tail_class"]) for pair in pairs]
            for pairs in table["pairs"].to_pylist()
        ]


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} is not a graph store: it has no {MANIFEST}") from None
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path / MANIFEST} is damaged ({error}): delete {path} and it is built again"
        ) from error
    if manifest.get("schema") != SCHEMA:
        raise DataError(
            f"{path} has store schema {manifest.get('schema')}, this version reads {SCHEMA}: "
            "delete it and it is built again"
        )
    return manifest


def prepare(
    source: Source,
    root: Path,
    *,
    threads: int = 2,
    memory: str = "1GB",
    verify: str = "fast",
) -> GraphStore:
    """Open the store of a source below ``root``, or build it there first."""
    root, digest = Path(root), source.digest()
    path = root / f"{source.name}-{digest[:16]}"
    if not path.exists():
        with disk_errors(root):
            _build_at(path, source, digest, threads=threads, memory=memory)
    store = GraphStore.open(path, verify=verify)
    found = json.loads((path / ORIGIN).read_text(encoding="utf-8"))["digest"]
    if found != digest:
        raise DataError(f"{path} belongs to other input ({found}): delete it")
    return store


def _build_at(path: Path, source: Source, digest: str, *, threads: int, memory: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as temporary:
        directory, scratch = Path(temporary) / "store", Path(temporary) / "scratch"
        directory.mkdir()
        scratch.mkdir()
        audit = Audit(directory / REJECTED)
        try:
            built = build(source, directory, scratch, audit, threads=threads, memory=memory)
        finally:
            audit.close()
        names = sorted(file.name for file in directory.iterdir())
        manifest: dict[str, Any] = {
            "schema": SCHEMA,
            "name": source.name,
            "fingerprint": built.fingerprint,
            "counts": built.counts,
            "types": built.types,
            "input": audit.summary(),
            "files": hash_files(directory, names, threads=threads),
            "versions": {name: version(name) for name in ("numpy", "pyarrow", "duckdb")},
        }
        _write(directory / MANIFEST, manifest)
        _write(directory / ORIGIN, {"digest": digest, "source": source.describe()})
        for file in directory.iterdir():
            sync(file)
        check_files(directory, manifest["files"], full=True, threads=threads)
        sync(directory)
        _publish(directory, path)


def _publish(directory: Path, path: Path) -> None:
    try:
        directory.rename(path)
    except OSError as error:
        # Another process built the same content meanwhile: theirs is as good.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    sync(path.parent)


def _write(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


@contextmanager
def disk_errors(root: Path) -> Iterator[None]:
    """Turn a full or unwritable disk into one line."""
    try:
        yield
    except (OSError, duckdb.IOException) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise ResourceError(f"cannot write the store below {root} ({reason})") from error
