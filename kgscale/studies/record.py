"""What a finished run tells a study: its curve, its speed, what its batches lack."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kgscale.metrics import word


@dataclass(frozen=True, kw_only=True)
class Record:
    """One training as its directory tells it."""

    directory: Path
    seed: int
    metric: str
    """The one that validation watches."""
    curve: Sequence[tuple[float, float]]
    """Minutes of training and the validation metric then, in order of time."""
    epochs: float
    prepared_seconds: float | None
    """Of processor time, what parts or maps took when they were made, which no minute of the curve
    has in it; None where they were found and nobody knows."""
    report: Mapping[str, float]
    """Of the strategy: shares of edges kept, answers covered."""
    done: bool = True
    """Whether it came to its own end."""

    @property
    def best(self) -> float:
        """The metric of the checkpoint that the run keeps."""
        return max((value for _, value in self.curve), default=float("nan"))

    @property
    def minutes(self) -> float:
        return self.curve[-1][0] if self.curve else 0.0

    def time_to(self, target: float) -> float | None:
        """Minutes until the metric first reached ``target``; None if it never did."""
        return next((time for time, value in self.curve if value >= target), None)

    def describe(self) -> str:
        return (
            f"validation {word(self.metric)} {self.best:.4f} after {self.epochs:.1f} epochs in"
            f" {self.minutes:.2f} minutes"
        )


def read_curve(directory: Path, metric: str) -> list[tuple[float, float]]:
    """Minutes and values of the validations so far."""
    file = directory / "metrics.csv"
    if not file.exists():
        return []
    with file.open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row.get(f"valid/{metric}")]
    return [(float(row["minutes"]), float(row[f"valid/{metric}"])) for row in rows]


def training_minutes(results: Mapping[str, Any]) -> float:
    """Of two busy cores, for a run and those that it needed: seconds of processor time / 120."""
    needed = sum(other["train_cpu"] for other in results.get("needed", []))
    return float(results["seconds"]["train_cpu"] + needed) / 120


def read_record(directory: Path) -> Record:
    """From ``results.json`` and ``metrics.csv``."""
    results = json.loads((directory / "results.json").read_text(encoding="utf-8"))
    metric = results["monitor"]
    return Record(
        directory=directory,
        seed=results["seed"],
        metric=metric,
        curve=read_curve(directory, metric),
        epochs=float(results["epochs"]),
        prepared_seconds=results["prepared_seconds"],
        report=results["strategy_report"],
        done=results["status"] == "done",
    )
