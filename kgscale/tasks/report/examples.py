"""A few predictions of a run, and why it makes some of them, in little time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kgscale.errors import ConfigError
from kgscale.tasks.calibration import Columns
from kgscale.tasks.explanation import Explanation
from kgscale.tasks.runs import Run

SHOWN: Final = 10
"""Predictions."""
EXPLAINED: Final = 2
"""Of these, the first."""
REASONS: Final = 3
"""Of a prediction."""
CANDIDATES: Final = 4
"""Paths that are looked at, and as many facts."""
SECONDS: Final = 10.0
"""Of processor time, after which no more is explained."""


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Predictions, the first of them with their reasons."""

    columns: Columns
    explanations: Sequence[Explanation]
    note: str
    """Why there are not more reasons; empty where there are as many as there should be."""


class _LateError(Exception):
    """It takes too long."""


def examples(run: Run, *, seconds: float = SECONDS) -> Examples:
    """The first predictions of a run, with reasons as far as these are found in time.

    Without a lack of time, they are the same whenever they are looked for.
    """
    columns, end = run.examples(SHOWN), time.process_time() + seconds
    rows = range(min(EXPLAINED, len(next(iter(columns.values()), []))))
    found: list[Explanation] = []

    def tell(_: str) -> None:
        if time.process_time() > end:
            raise _LateError

    try:
        for row in rows:
            tell("")
            asked = {name: columns[name][row] for name in run.predicted}
            found.append(run.explain(k=REASONS, candidates=CANDIDATES, tell=tell, **asked))
    except _LateError:
        note = f"Reasons are looked for during {seconds:g} processor seconds; the command explain"
        return Examples(
            columns=columns, explanations=found, note=f"{note} takes as long as it needs."
        )
    except ConfigError as error:
        return Examples(columns=columns, explanations=found, note=_sentence(str(error)))
    return Examples(columns=columns, explanations=found, note="")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
