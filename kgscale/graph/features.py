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
from numpy.typing import NDArray
from torch import Tensor

from kgscale.data.described import Described
from kgscale.data.features import Features, NumberedFeatures
from kgscale.data.fits import FileFit, Fits
from kgscale.data.spool import Array, NpyWriter
from kgscale.errors import ConfigError, DataError
from kgscale.graph.blocks import NO_ROW, Block, LeftOut, Opened, described, stacked
from kgscale.graph.integrity import ContentHash
from kgscale.graph.newcomers import continued
from kgscale.graph.stored import StoredFeatures, write_fits
from kgscale.graph.workshop import Workshop

BYTES = 8 << 20
"""Of features written at once."""
SHOWN = 3
"""Named of what is left out."""
ROW = pa.schema([("key", pa.string()), ("row", pa.int64())])


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """All files of features, and where each entity's rows are, while keys are still known."""

    opened: Opened
    row: Array
    """``[group, entity]``, mapped."""

    @property
    def fitted(self) -> bool:
        """Whether some numbers depend on who may be learned from."""
        return any(isinstance(rows, Described) for rows in self.opened.matrices)


def locate_features(
    files: Sequence[Features], types: list[dict[str, Any]], shop: Workshop
) -> Located:
    """Read the files, and find their rows by the keys of entities."""
    opened = _open(files, types, shop)
    path = shop.scratch / "feature-rows.npy"
    np.save(path, _rows_of_entities(opened, types, shop))
    shop.keys.run("DROP TABLE feature_row")
    return Located(opened=opened, row=np.load(path, mmap_mode="r", allow_pickle=False))


def write_features(
    directory: Path,
    located: Located,
    types: list[dict[str, Any]],
    shop: Workshop,
    content: ContentHash,
    *,
    held: NDArray[np.bool_] | None = None,
    unseen: NDArray[np.bool_] | None = None,
) -> dict[str, Any]:
    """Write a matrix for each type that some file knows; returns what the manifest tells.

    Args:
        held: entities whose labels are of valid or test: what they are described by is scaled by
            what the others are.
        unseen: entities that no train triple has: likewise, where others are described at all.
    """
    opened, row = located.opened, located.row
    told, fits = [], {}
    left_out: LeftOut = {}
    for number, kind in enumerate(types):
        inside = slice(kind["start"], kind["stop"])
        mine = row[:, inside]
        if (mine != NO_ROW).any():
            path = directory / feature_file(number)
            free = np.ones(mine.shape[1], bool) if held is None else ~held[inside]
            if unseen is not None and ((mine != NO_ROW).any(axis=0) & ~unseen[inside]).any():
                free &= ~unseen[inside]
            blocks = _blocks(mine, free, opened, left_out)
            written = _write(path, blocks, len(free), opened, content, number)
            missing = int((mine == NO_ROW).all(axis=0).sum())
            told.append({"type": number, **written, "entities_without_row": missing})
            if (made := _all_fits(blocks)) is not None:
                fits[kind["name"]] = made
    write_fits(directory, fits)
    for at in range(len(opened.files)):
        shutil.rmtree(_copies(shop, at))
    unused = int(opened.starts[-1] - (row != NO_ROW).sum())
    more = {"left_out": _counted(left_out)} if left_out else {}
    return {"matrices": told, "rows_without_facts": unused, **more}


def _counted(left_out: LeftOut) -> dict[str, Any]:
    return {file: {"count": len(some), "first": some[:SHOWN]} for file, some in left_out.items()}


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


def _refuse_repeated(opened: Opened, group: list[int], shop: Workshop) -> None:
    # What describes newcomers is for them alone: a store's rows stay as they are.
    stored = [at for at, file in enumerate(opened.files) if isinstance(file, StoredFeatures)]
    ranges = [
        f"row >= {opened.starts[at]} AND row < {opened.starts[at + 1]}"
        for at in sorted({*group, *stored})
    ]
    again = shop.keys.run(
        f"""SELECT key, min(row), max(row), count(*) OVER () FROM feature_row
        WHERE {" OR ".join(ranges)} GROUP BY key HAVING count(*) > 1 ORDER BY key LIMIT 1"""
    )
    for key, first, last, count in again:
        if isinstance(opened.files[opened.at(first)[0]], StoredFeatures):
            raise DataError(
                f"{opened.where(last)}: {key!r} was there before, and its row stays as it is "
                f"({count:,} such keys): leave it out"
            )
        raise DataError(
            f"{opened.where(last)}: {key!r} has features at {opened.where(first)} already "
            f"({count:,} such keys): give each key one row"
        )


def _rows_of_entities(opened: Opened, types: list[dict[str, Any]], shop: Workshop) -> Array:
    """The number of each entity's row, ``[group, entity]``."""
    groups = opened.groups
    for group in groups:
        _refuse_repeated(opened, group, shop)
    found = np.full((len(groups), shop.entities.size), NO_ROW, np.int64)
    of_file = {at: place for place, group in enumerate(groups) for at in group}
    group_of = np.array([of_file[at] for at in range(len(opened.files))])
    for batch in shop.entities.locate("feature_row"):
        row = batch["row"].to_numpy()
        file = np.searchsorted(opened.starts, row, side="right") - 1
        found[group_of[file], batch["id"].to_numpy()] = row
    for at, file in enumerate(opened.files):
        _check_file(at, file, found[of_file[at]], opened, types, shop)
    return found


def _check_file(
    at: int,
    file: Features,
    found: Array,
    opened: Opened,
    types: list[dict[str, Any]],
    shop: Workshop,
) -> None:
    """Some of its keys are entities, and all of these of the type that was named."""
    start, stop = int(opened.starts[at]), int(opened.starts[at + 1])
    if isinstance(file, NumberedFeatures):
        first = next(kind["start"] for kind in types if kind["name"] == file.type)
        found[first : first + stop - start] = np.arange(start, stop)
        return
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


def _strangers(file: Features, start: int, shop: Workshop) -> str:
    run = shop.keys.run
    ((key,),) = run(f"SELECT key FROM feature_row WHERE row = {start}")
    ((entity,),) = run("SELECT key FROM entity WHERE rowid = 0")
    return (
        f"{file.path}: none of its keys is in a triple: it begins with {key!r}, while an entity "
        f"is called {entity!r}: give prefix or a file of keys in data.features, or other columns"
    )


def _blocks(row: Array, free: Array, opened: Opened, left_out: LeftOut) -> list[Block]:
    """``row``: of each group and entity of the type; ``free``: whom scales may be learned from."""
    for at in opened.used(opened.groups[0], row[0]):
        if isinstance(opened.files[at], StoredFeatures):
            return [continued(at, row, opened, left_out)]
    return [
        described(group[0], mine, free, opened)
        if isinstance(opened.matrices[group[0]], Described)
        else stacked(group, mine, opened)
        for group, mine in zip(opened.groups, row, strict=True)
        if (mine != NO_ROW).any()
    ]


def _write(
    path: Path,
    blocks: Sequence[Block],
    size: int,
    opened: Opened,
    content: ContentHash,
    number: int,
) -> dict[str, Any]:
    """``size``: entities of the type."""
    blocks = [block for block in blocks if block.dim]
    dim = sum(block.dim for block in blocks)
    if not dim:
        raise DataError(
            f"{opened.files[0].path}: no column tells anything of an entity: give others"
        )
    kind = np.result_type(*(block.kind for block in blocks))
    writer = NpyWriter(path, kind, size, dim)
    content.add(f"feature/{number}/shape", np.array([size, dim], np.int64))
    step = max(1, BYTES // (dim * kind.itemsize))
    for first in range(0, size, step):
        stop = min(first + step, size)
        whole = np.concatenate([block.take(first, stop) for block in blocks], axis=1, dtype=kind)
        writer.append(whole)
        content.add(f"feature/{number}", whole)
        for rows in opened.matrices:
            rows.forget()
    writer.finish()
    return {"dim": dim, "dtype": str(kind)}


def _all_fits(blocks: Sequence[Block]) -> Fits | None:
    found: list[FileFit] = []
    for block in blocks:
        if block.fits is None:
            return None
        found += block.fits
    return tuple(found)
