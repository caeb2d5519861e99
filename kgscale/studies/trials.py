"""Trials of a search as rows: for the terminal, for a CSV file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich import box
from rich.table import Table

from kgscale.metrics import word
from kgscale.studies.space import overrides
from kgscale.studies.tune import Tried

SHOWN: Final = 10
"""Trials in the terminal."""


def told(trial: Tried) -> str:
    """In a line."""
    chosen = " ".join(overrides(trial.chosen))
    if trial.best is None:
        return f"trial {trial.number} ({chosen}) failed: {trial.failure}"
    stopped = ", stopped early" if trial.status == "stopped" else ""
    found = f"validation {word(trial.metric or '')} {trial.best:.4f}"
    return f"trial {trial.number} ({chosen}): {found} in {trial.minutes:.2f} minutes{stopped}"


def rows_of_trials(trials: Sequence[Tried]) -> list[dict[str, Any]]:
    return [
        {
            "trial": trial.number,
            "status": trial.status,
            "metric": trial.metric,
            "best": trial.best,
            "minutes": trial.minutes,
            **trial.chosen,
            "failure": trial.failure,
        }
        for trial in trials
    ]


def table_of_trials(trials: Sequence[Tried]) -> Table:
    """The best first."""
    measured = [one for one in trials if one.best is not None]
    ordered = sorted(measured, key=lambda one: -(one.best or 0.0))[:SHOWN]
    metric = word(next((one.metric for one in ordered if one.metric), "metric"))
    table = Table(
        title=f"The best of {len(trials)} trials", title_justify="left", box=box.SIMPLE_HEAD
    )
    for name in ("trial", f"validation {metric}", "minutes", *ordered[0].chosen):
        table.add_column(name, justify="right")
    for one in ordered:
        values = (
            f"{value:.4g}" if isinstance(value, float) else str(value)
            for value in one.chosen.values()
        )
        ended = f"{one.best:.4f}" + (" (stopped)" if one.status == "stopped" else "")
        table.add_row(str(one.number), ended, f"{one.minutes:.2f}", *values)
    return table
