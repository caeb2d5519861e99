"""Whether what a file holds is of the kind that it should be, before anything is made of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from torch import Tensor

Pattern: TypeAlias = "Callable[[Any], bool] | Mapping[str, Pattern]"
"""A test of a value, or of each part of a mapping that has these keys and no others."""
_MOST: Final = 1 << 62


def check(value: Any, pattern: Pattern, place: str) -> None:
    """Compare a value with what it should be.

    Raises:
        ValueError: tells where it isn't.
    """
    if callable(pattern):
        if not pattern(value):
            raise ValueError(f"{place} is {value!r:.60}")
        return
    if not isinstance(value, Mapping):
        raise ValueError(f"{place} is {value!r:.60}")
    for name in sorted(pattern.keys() ^ value.keys(), key=str):
        raise ValueError(f"{place} {'lacks' if name in pattern else 'has'} {name!r:.60}")
    for name, part in pattern.items():
        check(value[name], part, f"{place}.{name}")


def check_like(value: Any, fresh: Any, place: str) -> None:
    """Compare a value with one of the same origin in its first state.

    Where that is None there may be a text or a number; where a mapping is empty, numbers by text.

    Raises:
        ValueError: tells where it isn't alike.
    """
    good = type(value) is type(fresh)
    if isinstance(fresh, Tensor):
        good = isinstance(value, Tensor) and _kind(value) == _kind(fresh)
    elif fresh is None:
        good = value is None or isinstance(value, str) or amount(value) or _is_scalar(value)
    elif isinstance(fresh, float):
        good = amount(value)
    elif isinstance(fresh, int) and not isinstance(fresh, bool):
        good = type(value) is int and abs(value) < _MOST
    elif isinstance(fresh, dict) and isinstance(value, dict):
        if fresh:
            check(value, dict.fromkeys(fresh, lambda _: True), place)
            for name, part in fresh.items():
                check_like(value[name], part, f"{place}.{name}")
            return
        good = each(lambda part: isinstance(part, float) or _is_scalar(part))(value)
    if not good:
        raise ValueError(f"{place} is {value!r:.60}")


def _kind(value: Tensor) -> tuple[Any, Any]:
    return value.shape, value.dtype


def _is_scalar(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 0 and value.is_floating_point()


def count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MOST


def amount(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value >= 0


def text(value: Any) -> bool:
    return isinstance(value, str)


def flag(value: Any) -> bool:
    return isinstance(value, bool)


def mapping(value: Any) -> bool:
    return isinstance(value, dict)


def maybe(pattern: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or pattern(value)


def each(pattern: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """All parts of a mapping from texts."""
    return lambda value: (
        isinstance(value, dict)
        and all(isinstance(name, str) and pattern(part) for name, part in value.items())
    )
