"""Metrics of node classification: by hand, and against scikit-learn where it is at hand."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from kgscale.errors import ScoreError
from kgscale.metrics.classification import (
    average_precision,
    empty_class_sums,
    multi_label_sums,
    single_label_sums,
    summarize_classes,
)


def logits_of(given: list[int], classes: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(given), classes).float()


def test_one_class_per_node_by_hand() -> None:
    # Class 0: 2 right of 3 given and 2 had, F1 4/5. Class 1: 0 of 1 and 1. Class 2: 1 of 1 and 2,
    # F1 2/3. Class 3 is nowhere.
    found = single_label_sums(logits_of([0, 0, 0, 1, 2], 4), torch.tensor([0, 0, 1, 2, 2]))
    assert found.tolist() == [[2, 3, 2], [0, 1, 1], [1, 1, 2], [0, 0, 0], [3, 5, 5]]
    metrics = summarize_classes(found)
    assert metrics["accuracy"] == metrics["micro_f1"] == pytest.approx(3 / 5)
    assert metrics["macro_f1"] == pytest.approx((4 / 5 + 0 + 2 / 3) / 3)
    assert metrics["nodes"] == 5


def test_several_classes_per_node_by_hand() -> None:
    logits = torch.tensor([[2.0, -1, 3], [-1, -1, 0.0]])
    labels = torch.tensor([[1.0, 0, 1], [0, 0, 1]])
    metrics = summarize_classes(multi_label_sums(logits, labels))
    assert metrics["accuracy"] == 0.5
    assert metrics["micro_f1"] == pytest.approx(2 * 2 / (2 + 3))
    assert metrics["macro_f1"] == pytest.approx((1 + 2 / 3) / 2)


def test_average_precision_by_hand() -> None:
    scores = torch.tensor([[4.0, 1], [3.0, 1], [2.0, 1], [1.0, 1]])
    labels = torch.tensor([[1.0, 0], [0, 0], [1, 0], [0, 0]])
    assert average_precision(scores, labels) == pytest.approx((1 + 2 / 3) / 2)
    # All equal: one threshold, at which precision is the share of positives.
    assert average_precision(scores[:, 1:], labels[:, :1]) == pytest.approx(1 / 2)
    assert average_precision(scores[:, 1:], labels[:, 1:]) is None


def test_sums_of_parts_are_sums_of_the_whole() -> None:
    logits, label = torch.randn(40, 5), torch.randint(5, (40,))
    labels = torch.randint(2, (40, 5)).float()
    cut = (slice(0, 7), slice(7, 40))
    for sums, truth in ((single_label_sums, label), (multi_label_sums, labels)):
        parts = [sums(logits[part], truth[part]) for part in cut]  # type: ignore[operator]
        whole = sums(logits, truth)  # type: ignore[operator]
        assert torch.equal(empty_class_sums(5) + parts[0] + parts[1], whole)


def test_no_node_has_no_metrics() -> None:
    assert summarize_classes(empty_class_sums(3)) == {}


def test_nan_is_refused() -> None:
    with pytest.raises(ScoreError, match="NaN among the logits"):
        single_label_sums(torch.full((1, 2), torch.nan), torch.tensor([0]))


@pytest.fixture
def sklearn() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("sklearn.metrics")


@pytest.mark.parametrize("seed", range(5))
def test_one_class_per_node_as_scikit_learn(seed: int, sklearn: Any) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits, label = (
        torch.randn(12, 9, generator=generator),
        torch.randint(9, (12,), generator=generator),
    )
    found, given = summarize_classes(single_label_sums(logits, label)), logits.argmax(dim=1)
    assert found["accuracy"] == pytest.approx(sklearn.accuracy_score(label, given))
    for average in ("micro", "macro"):
        expected = sklearn.f1_score(label, given, average=average, zero_division=0)
        assert found[f"{average}_f1"] == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_several_classes_per_node_as_scikit_learn(seed: int, sklearn: Any) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(30, 6, generator=generator).round(decimals=1) - 0.5
    labels = (torch.rand(30, 6, generator=generator) < 0.2).float()
    logits[:, 5], labels[:, 5] = -1, 0  # neither had nor given
    labels[:, 4] = 0  # given alone
    found, given = summarize_classes(multi_label_sums(logits, labels)), (logits > 0).int()
    assert found["accuracy"] == pytest.approx(sklearn.accuracy_score(labels, given))
    for average in ("micro", "macro"):
        expected = sklearn.f1_score(
            labels, given, labels=range(5), average=average, zero_division=0
        )
        assert found[f"{average}_f1"] == pytest.approx(expected)
    has = labels.any(dim=0)
    expected = sklearn.average_precision_score(labels[:, has], logits[:, has], average="macro")
    assert average_precision(logits, labels) == pytest.approx(expected)
