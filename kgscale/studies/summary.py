"""Outcomes as rows: for the terminal, for a CSV file."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Sequence
from typing import Any, Final

from rich import box
from rich.table import Table

from kgscale.metrics import word
from kgscale.studies.compare import Outcome
from kgscale.studies.record import Record
from kgscale.tasks.schema import MIB

NOTHING: Final = "-"


def target_of(outcomes: Sequence[Outcome], target: float | None) -> float | None:
    """The metric to reach: as set, or 95 % of the best strategy's mean; None if none trained."""
    if target is not None:
        return target
    means = [_mean([record.best for record in outcome.records]) for outcome in outcomes]
    return max((0.95 * mean for mean in means if mean is not None), default=None)


def rows_of(outcomes: Sequence[Outcome], target: float | None) -> list[dict[str, Any]]:
    """A row per strategy; times are minutes of training, None where the target wasn't reached, as
    is everything of a run that failed."""
    return [_row(outcome, target) for outcome in outcomes]


def _row(outcome: Outcome, target: float | None) -> dict[str, Any]:
    cost, first = outcome.cost, outcome.records[:1]
    report = first[0].report if first else {}
    return {
        "strategy": outcome.strategy,
        "encoder": outcome.encoder,
        "status": outcome.status,
        "metric": first[0].metric if first else None,
        **_learned(outcome.records, target),
        "prepared_seconds": _prepared(outcome.records),
        "step_bytes": cost and cost.memory,
        "seconds_per_1000_seeds": cost and cost.seconds_per_1000_seeds,
        "edges_per_seed": cost and cost.edges_per_seed,
        "edges_kept": report.get("edges_kept"),
        "edges_kept_worst_relation": report.get("edges_kept_worst_relation"),
        "answers_covered": report.get("answers_covered"),
    }


def _learned(records: Sequence[Record], target: float | None) -> dict[str, Any]:
    """Means over seeds."""
    best = [record.best for record in records]
    times = [None if target is None else record.time_to(target) for record in records]
    reached = [time for time in times if time is not None]
    return {
        "seeds": len(records),
        "mean": _mean(best),
        "deviation": statistics.stdev(best) if len(best) > 1 else None,
        "minutes": _mean([record.minutes for record in records]),
        "epochs": _mean([record.epochs for record in records]),
        "target": target,
        "minutes_to_target": _mean(reached) if len(reached) == len(times) else None,
        "seconds_per_epoch": _mean([60 * record.minutes / record.epochs for record in records]),
    }


def _prepared(records: Sequence[Record]) -> float | str | None:
    """Mean processor seconds before training; a word where nobody knows what was made earlier."""
    seconds = [record.prepared_seconds for record in records]
    known = [one for one in seconds if one is not None]
    return _mean(known) if len(known) == len(seconds) else "cached"


def _mean(values: Sequence[float]) -> float | None:
    return statistics.mean(values) if values else None


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_table(rows: Sequence[dict[str, Any]], minutes: float) -> Table:
    """For people, the best first; a hyphen where there is nothing to tell."""
    trained = sorted((row for row in rows if row["mean"] is not None), key=lambda r: -r["mean"])
    best: dict[str, Any] = next(iter(trained), {"metric": "metric", "seeds": 0, "target": None})
    title = f"Strategies after {minutes:g} minutes of training, {best['seeds']} seeds each"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("strategy")
    table.add_column("encoder")
    for name in (
        f"validation {word(best['metric'])}",
        f"minutes to {_told(best['target'], '{:.3f}')}",
        "s/epoch",
        "prepared s",
        "step MiB",
        "edges/seed",
        "edges kept",
    ):
        table.add_column(name, justify="right")
    for row in trained + [row for row in rows if row["mean"] is None]:
        mibs = None if row["step_bytes"] is None else row["step_bytes"] / MIB
        table.add_row(
            row["strategy"],
            row["encoder"],
            _outcome(row),
            _told(row["minutes_to_target"], "{:.2f}"),
            _told(row["seconds_per_epoch"], "{:.2f}"),
            _told(row["prepared_seconds"], "{:.1f}"),
            _told(mibs, "{:,.1f}"),
            _told(row["edges_per_seed"], "{:,.1f}"),
            _told(row["edges_kept"], "{:.1%}"),
        )
    return table


def _outcome(row: dict[str, Any]) -> str:
    """The metric, or why there is none."""
    if row["mean"] is None:
        return str(row["status"])
    deviation = row["deviation"]
    return f"{row['mean']:.4f}" + ("" if deviation is None else f" ± {deviation:.4f}")


def _told(value: float | str | None, form: str) -> str:
    if isinstance(value, str):
        return value
    return NOTHING if value is None else form.format(value)
