"""A line of the table in docs/trust.md."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    fault: str
    tries: int
    passed: int
    lost: str
    """In words, at the worst of them."""
