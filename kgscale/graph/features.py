"""Features: one matrix per storage type, its rows in the order of ids, never whole in memory."""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from kgscale.data.features import Features, NumberedFeatures
from kgscale.data.matrices import Matrix, Place, narrow
from kgscale.data.spool import Array, NpyWriter
from kgscale.errors import ConfigError, DataError
from kgscale.graph.integrity import ContentHash
from kgscale.graph.workshop import Workshop

BYTES = 8 << 20
"""Of features written at once."""
ROW = pa.schema([("key", pa.string()), ("row", pa.int64())])
NO_ROW = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """All files of features; a row of file ``i`` has the number ``starts[i] + row``."""

    files: Sequence[Features]
    matrices: Sequence[Matrix]
    starts: Array

    def at(self, row: int) -> tuple[int, int]:
        file = int(np.searchsorted(self.starts, row, side="right")) - 1
        return file, row - int(self.starts[file])

    def where(self, row: int) -> str:
        file, inside = self.at(row)
        return f"{self.files[file].path} row {inside} (counted from 0)"


def feature_file(number: int) -> str:
    """Of the storage type at this place."""
    return f"features_{number}.npy"


def open_features(directory: Path, counts: Sequence[dict[str, Any]]) -> dict[int, Tensor]:
    """By storage type, of those that have features: copy-on-write maps."""
    return {
        number: torch.from_numpy(
            np.load(directory / feature_file(number), mmap_mode="c", allow_pickle=False)
        )
        for number in (found["type"] for found in counts)
    }


def write_features(
    directory: Path,
    files: Sequence[Features],
    types: list[dict[str, Any]],
    shop: Workshop,
    content: ContentHash,
) -> dict[str, Any]:
    """Write a matrix for each type that some file knows; returns what the manifest tells."""
    opened = _open(files, types, shop)
    _refuse_repeated(opened, shop)
    row = _rows_of_entities(opened, types, shop)
    shop.keys.run("DROP TABLE feature_row")
    told = []
    for number, kind in enumerate(types):
        mine = row[kind["start"] : kind["stop"]]
        if (mine != NO_ROW).any():
            path = directory / feature_file(number)
            told.append({"type": number, **_write(path, mine, opened, content, number)})
    for at in range(len(files)):
        shutil.rmtree(_copies(shop, at))
    total = int(opened.starts[-1])
    return {"matrices": told, "rows_without_facts": total - int((row != NO_ROW).sum())}


def _open(files: Sequence[Features], types: list[dict[str, Any]], shop: Workshop) -> Opened:
    """Read all keys into the database."""
    names = [kind["name"] for kind in types]
    for file in files:
        if file.type is not None and file.type not in names:
            near = difflib.get_close_matches(file.type, names, n=1, cutoff=0)[0]
            raise ConfigError(
                f"data.features names the type {file.type!r}, which no entity has: "
                f"did you mean {near!r}? (data.types gives types; "
                "without a type, use path or a list)"
            )
    shop.keys.run("CREATE TABLE feature_row (key VARCHAR, row BIGINT)")
    rows = 0

    def add(keys: pa.Array) -> None:
        nonlocal rows
        number = pa.array(np.arange(rows, rows + len(keys)))
        shop.keys.insert("feature_row", pa.table([keys, number], schema=ROW))
        rows += len(keys)

    starts, matrices = [0], []
    for at, file in enumerate(files):
        matrices.append(file.open(_copies(shop, at), add))
        if isinstance(file, NumberedFeatures):
            rows += _whole_type(file, len(matrices[-1]), types)
        starts.append(rows)
    return Opened(files=files, matrices=matrices, starts=np.array(starts))


def _whole_type(file: NumberedFeatures, rows: int, types: list[dict[str, Any]]) -> int:
    """``rows``, if there is one for each entity."""
    kind = next(kind for kind in types if kind["name"] == file.type)
    if rows != kind["stop"] - kind["start"]:
        raise DataError(
            f"{file.path} has {rows:,} rows for {kind['stop'] - kind['start']:,} entities: "
            "download it again"
        )
    return rows


def _copies(shop: Workshop, number: int) -> Path:
    """Where a file is unpacked."""
    return shop.scratch / f"features-{number}"


def _refuse_repeated(opened: Opened, shop: Workshop) -> None:
    again = shop.keys.run(
        """SELECT key, min(row), max(row), count(*) OVER () FROM feature_row
        GROUP BY key HAVING count(*) > 1 ORDER BY key LIMIT 1"""
    )
    for key, first, last, count in again:
        raise DataError(
            f"{opened.where(last)}: {key!r} has features at {opened.where(first)} already "
            f"({count:,} such keys): give each key one row"
        )


def _rows_of_entities(opened: Opened, types: list[dict[str, Any]], shop: Workshop) -> Array:
    """The number of each entity's row."""
    found = np.full(shop.entities.size, NO_ROW, np.int64)
    for batch in shop.entities.locate("feature_row"):
        found[batch["id"].to_numpy()] = batch["row"].to_numpy()
    for at, file in enumerate(opened.files):
        start, stop = int(opened.starts[at]), int(opened.starts[at + 1])
        if isinstance(file, NumberedFeatures):
            first = next(kind["start"] for kind in types if kind["name"] == file.type)
            found[first : first + stop - start] = np.arange(start, stop)
            continue
        mine = np.flatnonzero((found >= start) & (found < stop))
        if not len(mine):
            raise DataError(_strangers(file, start, shop))
        inside = [kind for kind in types if file.type in (None, kind["name"])]
        wrong = mine[(mine < inside[0]["start"]) | (mine >= inside[-1]["stop"])]
        if len(wrong):
            kind = next(kind["name"] for kind in types if wrong[0] < kind["stop"])
            raise DataError(
                f"{opened.where(int(found[wrong[0]]))} belongs to an entity of the type {kind!r}, "
                f"while data.features says {file.type!r} ({len(wrong):,} such rows): "
                "correct the keys or the prefix"
            )
    return found


def _strangers(file: Features, start: int, shop: Workshop) -> str:
    run = shop.keys.run
    ((key,),) = run(f"SELECT key FROM feature_row WHERE row = {start}")
    ((entity,),) = run("SELECT key FROM entity WHERE rowid = 0")
    return (
        f"{file.path}: none of its keys is in a triple: it begins with {key!r}, while an entity "
        f"is called {entity!r}: give prefix or a file of keys in data.features, or other columns"
    )


def _write(
    path: Path, row: Array, opened: Opened, content: ContentHash, number: int
) -> dict[str, Any]:
    used = [
        at
        for at, (start, stop) in enumerate(zip(opened.starts, opened.starts[1:], strict=False))
        if ((row >= start) & (row < stop)).any()
    ]
    dim, kind = _common(used, opened)
    writer = NpyWriter(path, kind, len(row), dim)
    content.add(f"feature/{number}/shape", np.array([len(row), dim], np.int64))
    step = max(1, BYTES // (dim * kind.itemsize))
    for first in range(0, len(row), step):
        block = _block(row[first : first + step], used, opened, dim, kind)
        writer.append(block)
        content.add(f"feature/{number}", block)
        for at in used:
            opened.matrices[at].forget()
    writer.finish()
    missing = int((row == NO_ROW).sum())
    return {"dim": dim, "dtype": str(kind), "entities_without_row": missing}


def _common(used: list[int], opened: Opened) -> tuple[int, np.dtype[np.generic]]:
    """Columns of all files, and float16 if all of them hold it."""
    first, *others = used
    dim = opened.matrices[first].dim
    for other in others:
        if opened.matrices[other].dim != dim:
            raise DataError(
                f"{opened.files[other].path} has {opened.matrices[other].dim:,} columns, but "
                f"{opened.files[first].path} has {dim:,}, for entities of one type: "
                "give the same columns, or types in data.types"
            )
    halves = all(opened.matrices[at].dtype == np.float16 for at in used)
    return dim, np.dtype(np.float16 if halves else np.float32)


def _block(
    row: Array, used: list[int], opened: Opened, dim: int, kind: np.dtype[np.generic]
) -> Array:
    block = np.zeros((len(row), dim), kind)
    for at in used:
        start = int(opened.starts[at])
        mine = np.flatnonzero((row >= start) & (row < opened.starts[at + 1]))
        rows = row[mine]

        def where(place: Place, rows: Array = rows) -> str:
            return f"{opened.where(int(rows[place[0]]))} column {place[1]}"

        if len(mine):
            block[mine] = narrow(opened.matrices[at].take(rows - start), kind, where)
    return block
