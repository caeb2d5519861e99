"""Where numbers of training are written: a table, and files for TensorBoard."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, Final

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger

_TABLE: Final = "metrics.csv"


def loggers(directory: Path, updates: int | None) -> list[Logger]:
    """Both loggers of a run.

    Args:
        updates: that a training which goes on has behind it: what was written of later ones, by
            steps that are done again, is dropped. None for one that begins.
    """
    earlier = [] if updates is None else _earlier(directory / _TABLE, updates)
    table = CSVLogger(directory, name="", version="")
    if earlier:
        # A logger that begins deletes the file that it finds, so it is told what was in it.
        experiment: Any = table.experiment
        experiment.metrics = earlier
    purge = None if updates is None else updates + 1
    return [table, TensorBoardLogger(directory, name="", version="tensorboard", purge_step=purge)]


def _earlier(path: Path, updates: int) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = list(csv.DictReader(file))
    # A killed process may have left half a row, which has fewer or more columns.
    whole = [row for row in rows if None not in row and None not in row.values()]
    return [row for row in whole if row["step"].isdigit() and int(row["step"]) < updates]
