"""The features that a store has, for its next version: rows as they are, and how they were made.

Newcomers' are made alike: with the scale, the levels and the settings for texts that were found
when the store was first built. See docs/decisions/0014.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kgscale.data.fits import FileFit, Fits
from kgscale.data.matrices import DenseMatrix, Matrix
from kgscale.data.spool import PIECE
from kgscale.errors import DataError
from kgscale.graph.integrity import write_json

FITS = "feature_fits.json"
SCHEMA = 1


def write_fits(directory: Path, fits: Mapping[str, Fits]) -> None:
    """By storage type."""
    types = {name: [fit.told() for fit in some] for name, some in fits.items()}
    write_json(directory / FITS, {"schema": SCHEMA, "types": types})


def read_fits(directory: Path, dims: Mapping[str, int]) -> dict[str, Fits]:
    """What ``write_fits`` wrote; nothing of a store that was made before there were any.

    Args:
        dims: the columns that each storage type has.

    Raises:
        DataError: the file is damaged, or tells of other columns.
    """
    path = directory / FITS
    if not path.exists():
        return {}
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(told, dict) or told.get("schema") != SCHEMA:
            raise ValueError("it has another schema")
        fits = {name: tuple(map(FileFit.of, some)) for name, some in told["types"].items()}
        for name, some in fits.items():
            if (found := sum(fit.dim for fit in some)) != dims.get(name):
                raise ValueError(f"{found:,} columns of {name!r}, not {dims.get(name, 0):,}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{path} is damaged ({error}): delete {directory} and build it anew"
        ) from error
    return fits


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFeatures:
    """The rows that a type's entities have in a store."""

    store: Path
    path: Path
    kind: str
    start: int
    stop: int
    fits: Fits | None
    """Not known of stores that were made before they were kept."""

    @property
    def type(self) -> str | None:
        return self.kind

    def open(self, scratch: Path, add: Callable[[pa.Array], None]) -> Matrix:
        """The matrix as it is mapped; nothing is copied."""
        scratch.mkdir()
        first = 0
        with pq.ParquetFile(self.store / "entities.parquet") as file:
            for batch in file.iter_batches(PIECE, columns=["key"]):
                keys = batch.column(0)
                low, high = max(self.start - first, 0), min(self.stop - first, len(keys))
                if low < high:
                    add(keys.slice(low, high - low))
                first += len(keys)
        return DenseMatrix(self.path, np.load(self.path, mmap_mode="r", allow_pickle=False))
