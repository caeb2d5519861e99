"""What a run directory holds of interest to a report, read again."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from kgscale.data.splits import SPLITS
from kgscale.durable import read_text
from kgscale.errors import DataError
from kgscale.metrics import word
from kgscale.tasks.calibration import FILE as CALIBRATION
from kgscale.tasks.directory import CONFIG, read_results
from kgscale.tasks.report.svg import Point

LARGEST: Final = 1 << 26
"""Bytes of a file that is still read."""
TOLD: Final = "# python -m kgscale "
"""Begins the line of a run's settings that says how it was started."""


def results_of(directory: Path) -> dict[str, Any]:
    """``results.json``, and what was measured later of splits that training left out.

    Raises:
        DataError: no training has come to results there.
    """
    found = read_results(directory)
    if not found.get("metrics") or "task" not in found:
        raise DataError(
            f"{directory}: results.json is missing or damaged; a report needs a run that has ended"
        )
    metrics = dict(found["metrics"])
    for split in SPLITS[1:]:
        if not metrics.get(split) and (content := evaluation(directory, split)):
            metrics[split] = content["overall"]
        if content := _json(directory / f"questions-{split}.json"):
            metrics["questions"] = {split: content, **(metrics.get("questions") or {})}
    return {**found, "metrics": metrics}


def evaluation(directory: Path, split: str) -> dict[str, Any]:
    return _json(directory / f"evaluation-{split}.json")


def calibration(directory: Path) -> dict[str, Any]:
    return _json(directory / CALIBRATION)


def curves(directory: Path, monitor: str) -> Iterator[tuple[str, list[Point]]]:
    """Of the loss and of the metric that validation watched, by steps."""
    file = directory / "metrics.csv"
    rows = list(csv.DictReader(io.StringIO(_text(file)))) if file.is_file() else []
    names = {"train/loss": "Training loss", f"valid/{monitor}": f"Validation {word(monitor)}"}
    for column, name in names.items():
        pairs = [(_number(row.get("step")), _number(row.get(column))) for row in rows]
        points = [(step, value) for step, value in pairs if step is not None and value is not None]
        if points:
            yield name, points


def config(directory: Path) -> tuple[str, str]:
    """The arguments that a run was started with, if they are known, and its settings."""
    text = _text(directory / CONFIG)
    first, _, rest = text.partition("\n")
    return (first.removeprefix(TOLD), rest) if first.startswith(TOLD) else ("", text)


def _number(text: str | None) -> float | None:
    try:
        found = float(text or "nan")
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _json(file: Path) -> dict[str, Any]:
    """Empty if there is none."""
    if not file.exists():
        return {}
    try:
        found = json.loads(_text(file))
    except (ValueError, RecursionError) as error:
        raise _damaged(file, error) from error
    if not isinstance(found, dict):
        raise _damaged(file, TypeError("no object"))
    return found


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > LARGEST:
            raise ValueError("it is too large")
        return read_text(file)
    except (OSError, ValueError) as error:
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> DataError:
    return DataError(f"{file} can't be read ({error}); move it elsewhere, and try again")
