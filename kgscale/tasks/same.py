"""What a run that goes on has to have in common with what it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from kgscale.errors import DataError
from kgscale.tasks.directory import CONFIG

MAY_CHANGE: Final = (
    *(f"trainer.{name}" for name in ("max_epochs", "max_seconds", "patience")),
    *(f"trainer.{name}" for name in ("accelerator", "devices", "threads", "workers", "ahead")),
    *(f"trainer.{name}" for name in ("memory", "save_minutes", "save_steps")),
    *(f"evaluation.{name}" for name in ("test", "measure_on", "rest", "blend", "calibrate")),
    "evaluation.memory",
    *(f"evaluation.questions.{name}" for name in ("file", "count", "width", "negation")),
    *(f"predictions.{name}" for name in ("count", "per_relation", "pairs", "abstain", "widest")),
)
"""Limits, hardware, and what comes after training: nothing that a step so far depends on."""


def leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by their dotted names."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def check_same(
    directory: Path, state: Path, before: Mapping[str, Any], now: Mapping[str, Any]
) -> None:
    """Refuse settings of a run that somebody has changed in its directory.

    Args:
        before: what its ``state`` was kept with.

    Raises:
        DataError: one is another that its steps so far depend on.
    """
    old, new = dict(leaves(before)), dict(leaves(now))
    for key in sorted(old.keys() | new.keys()):
        if key not in MAY_CHANGE and old.get(key) != new.get(key):
            raise DataError(
                f"{directory / CONFIG}: {key} is {new.get(key)!r:.100}, and was"
                f" {old.get(key)!r:.100} when {state.name} was kept: put it back, or train anew"
            )


def check_inside(directory: Path) -> None:
    """Refuse a run directory with links in it: what is written there would be elsewhere.

    Raises:
        DataError: there is one.
    """
    for place in sorted(directory.rglob("*")):
        if place.is_symlink():
            raise DataError(
                f"{place} is a link, and a run that goes on would write elsewhere by it; put what"
                " it names in its place"
            )
