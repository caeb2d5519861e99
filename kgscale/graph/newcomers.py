"""Columns of a version: a store's rows as they are, and newcomers' made as those were made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kgscale.data.described import Described
from kgscale.data.fits import FileFit, words
from kgscale.data.matrices import DenseMatrix, Matrix
from kgscale.data.spool import Array
from kgscale.errors import ConfigError
from kgscale.graph.blocks import NO_ROW, Block, LeftOut, Opened, described_again, stacked
from kgscale.graph.stored import StoredFeatures


def continued(at: int, row: Array, opened: Opened, left_out: LeftOut) -> Block:
    """All columns of a type that has features in a store.

    Args:
        at: the file that is the store's.
        row: of each group and entity of the type; the first group is that of rows as they stand.

    Raises:
        ConfigError: newcomers are described by something else.
    """
    stored, whole = opened.files[at], opened.matrices[at]
    assert isinstance(stored, StoredFeatures)
    assert isinstance(whole, DenseMatrix)
    stack, first = opened.groups[0], row[0]
    plain = [file for file in opened.used(stack, first) if file != at]
    described = {
        group[0]: mine
        for group, mine in zip(opened.groups[1:], row[1:], strict=True)
        if (mine != NO_ROW).any()
    }
    # Rows of all columns, or a store whose columns all stand as they are.
    if not described and (stored.fits is None or _width(plain, opened) in (0, whole.dim)):
        return replace(stacked(stack, first, opened), fits=stored.fits)
    if stored.fits is None:
        raise ConfigError(
            f"data.features: {opened.files[next(iter(described))].path} describes newcomers of the"
            f" type {stored.kind!r}, and {stored.store} was made before stores kept how features"
            " were scaled: delete it and ingest its own input again, which makes the same store,"
            " with that"
        )
    old = (first >= opened.starts[at]) & (first < opened.starts[at + 1])
    start = np.cumsum([0, *(fit.dim for fit in stored.fits)])
    parts: list[tuple[int, Block]] = []
    if plain:
        place = _place_of_rows(plain, stored, opened)
        parts.append((start[place], stacked(stack, np.where(old, NO_ROW, first), opened)))
    for place, file in _places(list(described), stored, opened).items():
        fit = stored.fits[place]
        block = described_again(file, fit, described[file], opened, left_out)
        parts.append((start[place], block))

    def take(low: int, high: int) -> Array:
        block = np.zeros((high - low, whole.dim), np.float32)
        for column, part in parts:
            block[:, column : column + part.dim] = part.take(low, high)
        mine = np.flatnonzero(old[low:high])
        block[mine] = whole.take(first[low:high][mine] - int(opened.starts[at]))
        return block

    return Block(dim=whole.dim, kind=np.dtype(np.float32), take=take, fits=stored.fits)


def _width(plain: Sequence[int], opened: Opened) -> int:
    """Columns of the first file of rows; 0 without any."""
    for file in plain:
        rows = opened.matrices[file]
        assert isinstance(rows, Matrix)
        return rows.dim
    return 0


def _place_of_rows(plain: Sequence[int], stored: StoredFeatures, opened: Opened) -> int:
    """Which columns of the store rows of numbers belong to."""
    width = _width(plain, opened)
    assert stored.fits is not None
    for place, fit in enumerate(stored.fits):
        if fit.kind == "rows" and fit.dim == width:
            return place
    raise ConfigError(_unlike(plain[0], f"{width:,} numbers as they stand", stored, opened))


def _places(files: Sequence[int], stored: StoredFeatures, opened: Opened) -> dict[int, int]:
    """The file that each place of the store is described by; of several alike in their order."""
    suiting = {file: _suiting(_described(file, opened), stored) for file in files}
    found: dict[int, int] = {}
    for file, places in suiting.items():
        has = words(_described(file, opened).uses)
        if not places:
            raise ConfigError(_unlike(file, has, stored, opened))
        alike = [other for other in files if suiting[other] == places]
        place = places[alike.index(file) % len(places)]
        if len(alike) != len(places) or place in found:
            raise ConfigError(
                f"data.features: {opened.files[file].path} is one of {len(alike)} files that give"
                f" entities of the type {stored.kind!r} {has}, and {stored.store} was built of"
                f" {len(places)}: give as many, in the same order"
            )
        found[place] = file
    return found


def _suiting(rows: Described, stored: StoredFeatures) -> list[int]:
    assert stored.fits is not None
    for loosely in (False, True):
        fits = enumerate(stored.fits)
        if places := [place for place, fit in fits if rows.suits(fit, loosely=loosely)]:
            return places
    return []


def _described(file: int, opened: Opened) -> Described:
    rows = opened.matrices[file]
    assert isinstance(rows, Described)
    return rows


def _unlike(file: int, has: str, stored: StoredFeatures, opened: Opened) -> str:
    assert stored.fits is not None
    kept = " | ".join(f"{fit.file}: {_words(fit)}" for fit in stored.fits)
    return (
        f"data.features: {opened.files[file].path} gives entities of the type {stored.kind!r}"
        f" {has}, and {stored.store} was built of {kept}: name the same columns for the same uses,"
        " with the same settings for text, or build it anew"
    )


def _words(fit: FileFit) -> str:
    return words([use for part in fit.parts for use in part.uses])
