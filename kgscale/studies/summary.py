"""Outcomes as rows: for the terminal, for a CSV file."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table

from kgscale.metrics import word
from kgscale.studies.compare import Outcome

MIB = 1 << 20


def target_of(outcomes: Sequence[Outcome], target: float | None) -> float:
    """The metric to reach: as set, or 95 % of the best strategy's mean."""
    if target is not None:
        return target
    return 0.95 * max(statistics.mean(r.best for r in outcome.records) for outcome in outcomes)


def rows_of(outcomes: Sequence[Outcome], target: float) -> list[dict[str, Any]]:
    """A row per strategy; times are minutes of training, None where the target wasn't reached."""
    return [_row(outcome, target) for outcome in outcomes]


def _row(outcome: Outcome, target: float) -> dict[str, Any]:
    best = [record.best for record in outcome.records]
    times = [record.time_to(target) for record in outcome.records]
    reached = [time for time in times if time is not None]
    every = len(reached) == len(times)
    return {
        "strategy": outcome.strategy,
        "metric": outcome.records[0].metric,
        "seeds": len(best),
        "mean": statistics.mean(best),
        "deviation": statistics.stdev(best) if len(best) > 1 else None,
        "minutes": statistics.mean(record.minutes for record in outcome.records),
        "epochs": statistics.mean(record.epochs for record in outcome.records),
        "target": target,
        "minutes_to_target": statistics.mean(reached) if every else None,
        "seconds_per_epoch": statistics.mean(
            60 * record.minutes / record.epochs for record in outcome.records
        ),
        "step_bytes": outcome.cost.memory,
        "seconds_per_1000_seeds": outcome.cost.seconds_per_1000_seeds,
        "edges_per_seed": outcome.cost.edges_per_seed,
        "edges_kept": outcome.records[0].report.get("edges_kept"),
        "edges_kept_worst_relation": outcome.records[0].report.get("edges_kept_worst_relation"),
        "answers_covered": outcome.records[0].report.get("answers_covered"),
    }


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_table(rows: Sequence[dict[str, Any]], minutes: float) -> Table:
    """For people; a hyphen where there is nothing to tell."""
    metric, seeds, target = (rows[0][name] for name in ("metric", "seeds", "target"))
    title = f"Strategies after {minutes:g} minutes of training, {seeds} seeds each"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("strategy")
    for name in (
        f"validation {word(metric)}",
        f"minutes to {target:.3f}",
        "s/epoch",
        "step MiB",
        "edges/seed",
        "edges kept",
    ):
        table.add_column(name, justify="right")
    for row in sorted(rows, key=lambda row: -row["mean"]):
        deviation = row["deviation"]
        table.add_row(
            row["strategy"],
            f"{row['mean']:.4f}" + ("" if deviation is None else f" ± {deviation:.4f}"),
            _told(row["minutes_to_target"], "{:.2f}"),
            f"{row['seconds_per_epoch']:.2f}",
            f"{row['step_bytes'] / MIB:,.1f}",
            f"{row['edges_per_seed']:,.1f}",
            _told(row["edges_kept"], "{:.1%}"),
        )
    return table


def _told(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
