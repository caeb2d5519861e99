"""Something odd about a graph, in words, and how much it weighs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

Weight = Literal["wrong", "easy", "mind"]
WEIGHTS: Final[tuple[Weight, ...]] = ("wrong", "easy", "mind")
NAMED: Final = 3
"""Relations that a sentence names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One of them."""

    kind: str
    weight: Weight
    """``wrong``: what is measured can't be trusted; ``easy``: it is better than it should be;
    ``mind``: to be known."""
    count: int
    share: float | None = None
    words: str
    """What there is."""
    remedy: str
    """What to do about it."""

    def told(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def verdict(name: str, findings: Sequence[Finding], *, measured: bool) -> str:
    """One sentence about all of them.

    Args:
        measured: whether anything is held out.
    """
    weights = {finding.weight for finding in findings}
    if "wrong" in weights:
        return f"{name}: what is measured on it can't be trusted as it stands"
    if "easy" in weights:
        return f"{name}: as a benchmark it is easier than it looks"
    if not measured:
        return f"{name}: to learn from, not to measure on, since nothing is held out"
    if findings:
        return f"{name}: no reason not to train and measure on it; some things are to be known"
    return f"{name}: nothing odd was found"


def listed(texts: Sequence[str], between: str = ", ") -> str:
    """The first few, and how many others there are."""
    rest = len(texts) - NAMED
    text = between.join(texts[:NAMED])
    return f"{text} and {rest:,} more" if rest > 0 else text


def counted(number: int, one: str, several: str | None = None) -> str:
    """``1 fact``, ``2 facts``."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"
