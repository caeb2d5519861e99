"""Probabilities of a run's answers: fitted on validation, written, drawn, and put beside scores."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import torch

from kgscale.data.splits import SPLITS
from kgscale.durable import read_text, whole_file
from kgscale.errors import DataError
from kgscale.inference.calibrate import Listed
from kgscale.metrics.calibration import (
    Calibration,
    Method,
    Reliability,
    from_settings,
    log_odds,
    to_settings,
)
from kgscale.tasks.directory import write_json

FILE: Final = "calibration.json"
PICTURE: Final = "reliability.png"
LARGEST: Final = 1 << 24
"""Bytes of a file that is still read."""
Columns = dict[str, list[Any]]
Found = TypeVar("Found")


def calibrate(
    listed: Callable[[str], Listed | None], splits: Sequence[str], method: Method, directory: Path
) -> tuple[Calibration | None, dict[str, Any]]:
    """Fit on validation, and measure: on validation by halves of which each knows only the other,
    on test with what all of validation came to.

    Returns:
        The map, none where all answers or none are right, and what is told in the results.
    """
    valid = listed("valid")
    calibration = None if valid is None else valid.fit(method)
    if valid is None or calibration is None:
        return None, {}
    found: dict[str, Any] = {"method": calibration.method, "questions": len(valid.score)}
    curves: dict[str, Reliability] = {}
    for split in splits:
        here = valid if split == "valid" else listed(split)
        if here is None:
            continue
        of_map = (
            here.held_out(calibration.method) if split == "valid" else here.reliability(calibration)
        )
        if of_map is None:
            continue
        curves = {"calibrated": of_map}
        found[split] = {"ece": of_map.error, "answers": int(of_map.count.sum())}
        if here.odds:
            curves["as scored"] = here.reliability(None)
            found[split]["ece_of_scores"] = curves["as scored"].error
    content = {
        "schema": 1,
        "map": to_settings(calibration),
        "of": "log odds" if valid.odds else "score",
        "fitted_on": {"split": "valid", "questions": len(valid.score)},
        "reliability": {"split": splits[-1], **{name: it.rows() for name, it in curves.items()}},
    }
    write_json(directory / FILE, content)
    if curves:
        draw(curves, splits[-1], directory / PICTURE)
    return calibration, found


def forget(directory: Path) -> None:
    """What was fitted to a model, or measured of it, before there is another one."""
    measured = [f"{kind}-{split}.json" for kind in ("evaluation", "questions") for split in SPLITS]
    for name in (FILE, PICTURE, *measured):
        (directory / name).unlink(missing_ok=True)


def read_calibration(directory: Path) -> Calibration | None:
    """The map of a run; none if it has none.

    Raises:
        DataError: what is there is something else.
    """
    return _read(directory / FILE, lambda found: from_settings(found["map"]), "map of scores")


def _read(file: Path, part: Callable[[Any], Found], what: str) -> Found | None:
    if not file.exists():
        return None
    try:
        if file.stat().st_size > LARGEST:
            raise ValueError("it is too large")
        return part(json.loads(read_text(file)))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, DataError) as error:
        raise DataError(
            f"{file}: no {what} is there ({type(error).__name__}); remove it, and answers come"
            " without"
        ) from error


def write_factor(directory: Path, factor: float | None, coverage: float) -> None:
    """How far intervals reach, and what share of numbers they should hold."""
    write_json(directory / FILE, {"schema": 1, "interval": {"of": coverage, "factor": factor}})


def read_factor(directory: Path) -> float | None:
    """How far intervals of a run reach; none if none were fitted.

    Raises:
        DataError: what is there is something else.
    """

    def factor(found: Any) -> float | None:
        given = found["interval"]["factor"]
        if given is not None and not (type(given) is float and 0 <= given < 1e300):
            raise ValueError("no number")
        return given

    return _read(directory / FILE, factor, "factor of intervals")


def with_probability(
    columns: Mapping[str, Sequence[Any]], calibration: Calibration | None, *, odds: bool
) -> Columns:
    """The same columns and ``probability``, before the names; empty without a map.

    Args:
        odds: whether scores are probabilities, of which a map takes the log odds.
    """
    score = torch.tensor(columns["score"], dtype=torch.float64).float()
    found: list[float | None] = [None] * len(score)
    if calibration is not None:
        found = calibration(log_odds(score) if odds else score).tolist()
    names = ("_name", "path")
    own = {name: list(part) for name, part in columns.items() if not name.endswith(names)}
    rest = {name: list(part) for name, part in columns.items() if name.endswith(names)}
    return {**own, "probability": found, **rest}


def sure(columns: Columns, least: float) -> Columns:
    """Rows whose probability is at least so high, and those that have none."""
    rows = [at for at, p in enumerate(columns["probability"]) if p is None or p >= least]
    return {name: [part[at] for at in rows] for name, part in columns.items()} if least else columns


def narrow(columns: Columns, widest: float | None) -> Columns:
    """Rows whose interval is at most so wide."""
    if widest is None:
        return columns
    ends = enumerate(zip(columns["low"], columns["high"], strict=True))
    rows = [at for at, (low, high) in ends if low is not None and high - low <= widest]
    return {name: [part[at] for at in rows] for name, part in columns.items()}


def draw(curves: Mapping[str, Reliability], split: str, file: Path) -> None:
    """The share of right answers against what was said, and how many answers there are."""
    # Late, since importing it takes a second.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 5.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    upper.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--")
    for number, (name, curve) in enumerate(curves.items()):
        there = curve.count > 0
        look = {"color": f"C{number}", "marker": "os"[number], "markersize": 4}
        label = f"{name}, error {curve.error:.3f}"
        upper.plot(curve.said[there], curve.right[there], label=label, **look)
        lower.plot(curve.said[there], curve.count[there], **look)
    upper.set_ylabel("share of right answers")
    upper.set_title(f"answers to questions of {split}")
    upper.legend(frameon=False, fontsize=9)
    lower.set_ylabel("answers")
    lower.set_yscale("log")
    lower.set_xlabel("probability")
    upper.set_xlim(-0.02, 1.02)
    for panel in (upper, lower):
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    with whole_file(file) as temporary:
        figure.savefig(temporary, dpi=150, format="png")
