"""Settings against constructors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pytest

from kgscale.errors import ConfigError
from kgscale.tasks.schema import check_arguments, fits, words


def taker(
    *,
    number: int = 1,
    rate: float = 0.5,
    limit: float | None = None,
    flag: bool = False,
    many: int | Literal["all"] = "all",
    sizes: Sequence[int] = (),
    names: str | Mapping[str, Any] | None = None,
) -> None: ...


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (1, int, True),
        (True, int, False),
        (1.0, int, False),
        (1, float, True),
        (True, float, False),
        ("1", float, False),
        (None, float | None, True),
        ("all", int | Literal["all"], True),
        ("some", int | Literal["all"], False),
        ([1, 2], Sequence[int], True),
        ([1, "2"], Sequence[int], False),
        ("12", Sequence[int], False),
        ({"path": "x"}, str | Mapping[str, Any] | None, True),
        (1, Literal[True], False),
        (object(), Any, True),
    ],
)
def test_fits(value: object, hint: Any, expected: bool) -> None:
    assert fits(value, hint) is expected


def test_words_are_a_persons() -> None:
    assert words(int | Literal["all"]) == "an int or all"
    assert words(Literal["a", "b"]) == "one of a, b"
    assert words(Sequence[int]) == "a list like [1, 2] of ints"
    assert words(float | None) == "a number or null"


def test_ints_become_floats_where_asked_for() -> None:
    found = check_arguments("x", taker, {"rate": 1, "limit": 2, "number": 3})
    assert [type(value) for value in found.values()] == [float, float, int]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"nunber": 1}, r"^there is no setting x\.nunber; did you mean x\.number\?$"),
        ({"zzz": 1}, r"it has number, rate"),
        ({"flag": "yes"}, r"^x\.flag needs true or false, got 'yes'$"),
        ({"sizes": 3}, r"^x\.sizes needs a list like \[1, 2\] of ints, got 3$"),
        (None, r"^x needs settings of its own, got None$"),
    ],
)
def test_what_is_wrong_is_named(settings: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_arguments("x", taker, settings)


def test_what_the_program_gives_is_no_setting() -> None:
    with pytest.raises(ConfigError, match=r"no setting x\.number"):
        check_arguments("x", taker, {"number": 1}, given=("number",))
