"""Heads."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kgscale.errors import ConfigError
from kgscale.models.heads import ClassificationHead


@pytest.mark.parametrize("hidden", [None, 5])
def test_logits_of_every_row(hidden: int | None) -> None:
    head = ClassificationHead(dim=4, num_classes=3, dropout=0.5, hidden=hidden).eval()
    x = torch.randn(6, 4)
    value = x
    if hidden is not None:
        value = torch.relu(value @ head.layers[1].weight.T + head.layers[1].bias)
    expected = value @ head.layers[-1].weight.T + head.layers[-1].bias
    torch.testing.assert_close(head(x), expected)


def test_the_generator_decides_the_weights() -> None:
    first, second = (
        ClassificationHead(dim=4, num_classes=3, generator=torch.Generator().manual_seed(1))
        for _ in range(2)
    )
    assert torch.equal(first.layers[-1].weight, second.layers[-1].weight)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_classes": 0}, "at least one class"),
        ({"dropout": 1.0}, r"classifier\.dropout .* got 1\.0"),
        ({"hidden": 0}, r"classifier\.hidden .* got 0"),
    ],
)
def test_what_cannot_work_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ClassificationHead(**{"dim": 4, "num_classes": 3, **settings})
