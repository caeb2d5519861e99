"""Where numbers of training are written: a table, and files for TensorBoard."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any, Final

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger

from kgscale.errors import DataError

_TABLE: Final = "metrics.csv"
_STEP: Final = re.compile("[0-9]{1,18}")
_REMEDY: Final = "move it elsewhere, and the run goes on with a new one"


def loggers(directory: Path, updates: int | None) -> list[Logger]:
    """Both loggers of a run.

    Args:
        updates: that a training which goes on has behind it: what was written of later ones, by
            steps that are done again, is dropped. None for one that begins.
    """
    before = [] if updates is None else earlier(directory / _TABLE, updates)
    table = CSVLogger(directory, name="", version="")
    if before:
        # A logger that begins deletes the file that it finds, so it is told what was in it.
        experiment: Any = table.experiment
        experiment.metrics = before
    purge = None if updates is None else updates + 1
    return [table, TensorBoardLogger(directory, name="", version="tensorboard", purge_step=purge)]


def earlier(path: Path, updates: int) -> list[dict[str, Any]]:
    """Rows of a table that were written before so many updates.

    Raises:
        DataError: a file that is no such table.
    """
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            rows = list(csv.DictReader(file))
    except csv.Error as error:
        raise DataError(f"{path}: {error}; {_REMEDY}") from error
    # A killed process may have left half a row, which has fewer or more columns.
    whole = [row for row in rows if None not in row and None not in row.values()]
    if any("step" not in row for row in whole):
        raise DataError(f"{path} has no column step; {_REMEDY}")
    return [row for row in whole if _STEP.fullmatch(row["step"]) and int(row["step"]) < updates]
