"""What a file holds, against what it should."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kgscale.training.shapes import amount, check, check_like, count, each, flag, maybe, text

PATTERN = {
    "steps": count,
    "rate": amount,
    "name": text,
    "inner": {"done": flag},
    "most": maybe(count),
}
GOOD: dict[str, Any] = {"steps": 3, "rate": 0.5, "name": "x", "inner": {"done": True}, "most": None}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, None),
        ({"most": 3}, None),
        ({"rate": 2}, None),
        ({"steps": True}, "x.steps is True"),
        ({"steps": -1}, "x.steps is -1"),
        ({"steps": 1 << 62}, "x.steps is"),
        ({"rate": float("nan")}, "x.rate is nan"),
        ({"rate": float("inf")}, "x.rate is inf"),
        ({"name": 1}, "x.name is 1"),
        ({"inner": []}, r"x.inner is \[\]"),
        ({"inner": {}}, "x.inner lacks 'done'"),
        ({"inner": {"done": True, "more": 1}}, "x.inner has 'more'"),
        ({"most": "x"}, "x.most is 'x'"),
    ],
)
def test_check(change: dict[str, Any], words: str | None) -> None:
    value = {**GOOD, **change}
    if words is None:
        check(value, PATTERN, "x")
    else:
        with pytest.raises(ValueError, match=words):
            check(value, PATTERN, "x")


FRESH: dict[str, Any] = {
    "best": torch.tensor(0.0),
    "path": "",
    "score": None,
    "scores": {},
    "waited": 0,
    "seconds": 0.0,
}


@pytest.mark.parametrize(
    ("change", "good"),
    [
        ({}, True),
        ({"score": torch.tensor(0.5), "scores": {"a": torch.tensor(0.5)}, "waited": 7}, True),
        ({"score": "a path"}, True),
        ({"seconds": 3}, True),
        ({"best": 1.5}, False),
        ({"best": torch.zeros(2)}, False),
        ({"best": torch.tensor(1)}, False),
        ({"path": None}, False),
        ({"score": []}, False),
        ({"scores": {1: 2.0}}, False),
        ({"scores": {"a": "b"}}, False),
        ({"waited": 1.0}, False),
        ({"waited": True}, False),
        ({"seconds": float("nan")}, False),
        ({"more": 1}, False),
    ],
)
def test_check_like(change: dict[str, Any], good: bool) -> None:
    value = {**FRESH, **change}
    if good:
        check_like(value, FRESH, "x")
    else:
        with pytest.raises(ValueError, match="x"):
            check_like(value, FRESH, "x")


def test_each() -> None:
    assert each(count)({"a": 1})
    assert not each(count)({1: 1})
    assert not each(count)([1])
