"""Numbers of entities with intervals, from their vectors in the whole graph."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from kgscale.data.splits import TEST
from kgscale.errors import DataError
from kgscale.graph.labels import UNLABELLED, NodeLabels
from kgscale.graph.store import GraphStore
from kgscale.inference.classify import PIECE, entities_of, logits_of, splits_of
from kgscale.inference.embed import Embedder
from kgscale.losses import number_and_scale
from kgscale.metrics.regression import (
    Numbers,
    conformal_factor,
    interval_metrics,
    number_metrics,
)
from kgscale.models.heads import ClassificationHead

LEAST: Final = 1e-12
"""By which an estimate stays above -1, whose logarithm is none."""


@dataclass(frozen=True, kw_only=True)
class NumberScale:
    """How numbers are learned: less their mean, over their deviation, perhaps of logarithms."""

    mean: float
    deviation: float
    logarithm: bool = False
    """Of one plus the number."""

    def __post_init__(self) -> None:
        kinds = type(self.mean), type(self.deviation), type(self.logarithm)
        if kinds != (float, float, bool) or not math.isfinite(self.mean + self.deviation):
            raise ValueError("no scale")
        if self.deviation <= 0:
            raise ValueError("no deviation")

    @classmethod
    def fit(cls, number: Float64[Tensor, " node"], *, logarithm: bool) -> NumberScale:
        """Of the numbers of train."""
        at = number.log1p() if logarithm else number
        deviation = float(at.std(correction=0)) if len(at) else 0.0
        mean = float(at.mean()) if len(at) else 0.0
        if not math.isfinite(mean + deviation):
            raise DataError(
                f"the numbers of train, from {float(number.min()):g} to {float(number.max()):g},"
                " are too large to be averaged: correct them, or leave the largest out of"
                " data.labels"
            )
        return cls(mean=mean, deviation=deviation or 1.0, logarithm=logarithm)

    def learned(self, number: Float64[Tensor, " node"]) -> Float64[Tensor, " node"]:
        return ((number.log1p() if self.logarithm else number) - self.mean) / self.deviation

    def given(self, learned: Float64[Tensor, " node"]) -> Float64[Tensor, " node"]:
        found = learned * self.deviation + self.mean
        return found.expm1().clamp(min=LEAST - 1) if self.logarithm else found


class Estimator:
    """Numbers of entities by name, each with an interval.

    Args:
        embedder: makes their vectors.
        labels: given numbers.
        scale: how they were learned.
        factor: how many of its own deviations an interval reaches to either side; none, none.
    """

    def __init__(
        self,
        embedder: Embedder,
        head: ClassificationHead,
        labels: NodeLabels,
        store: GraphStore,
        scale: NumberScale,
        factor: float | None = None,
    ) -> None:
        self.embedder, self.head, self.labels, self.store = embedder, head, labels, store
        self.scale, self.factor = scale, factor

    @cached_property
    def entities(self) -> Int64[Tensor, " entity"]:
        return entities_of(self.labels, self.store)

    @torch.no_grad()
    def outputs(self, node: Int64[Tensor, " node"]) -> tuple[Numbers, Numbers]:
        """Means and deviations, as they are learned."""
        parts = logits_of(self.embedder.some(node), self.head)
        mean, deviation = number_and_scale(torch.cat([torch.empty(0, 2), *parts]))
        return mean.double(), deviation.double()

    def intervals(self, node: Int64[Tensor, " node"]) -> tuple[Numbers, Numbers, Numbers]:
        """Estimates, and where their intervals begin and end; infinite, where none was fitted."""
        mean, deviation = self.outputs(node)
        reach = (torch.inf if self.factor is None else self.factor) * deviation
        given = self.scale.given
        return given(mean), given(mean - reach), given(mean + reach)

    def fit(self, split: str, coverage: float) -> float:
        """The factor by which intervals hold so large a share of a split's numbers."""
        node, number = self.labels.numbers(split)
        mean, deviation = self.outputs(node)
        return conformal_factor((self.scale.learned(number) - mean).abs() / deviation, coverage)

    def evaluate(self, split: str) -> dict[str, float]:
        """Errors in the numbers' own unit; R² of what is learned; how intervals do."""
        node, number = self.labels.numbers(split)
        estimate, low, high = self.intervals(node)
        found = self._errors(estimate, number)
        return found if self.factor is None else {**found, **interval_metrics(low, high, number)}

    def baseline(self, split: str) -> dict[str, float]:
        """Of saying the middle number of train of everybody."""
        _, train = self.labels.numbers("train")
        _, number = self.labels.numbers(split)
        return self._errors(train.median().expand(len(number)), number)

    def _errors(self, estimate: Numbers, number: Numbers) -> dict[str, float]:
        found = number_metrics(estimate, number)
        learned = number_metrics(self.scale.learned(estimate), self.scale.learned(number))
        return {**found, "r2": learned["r2"]} if found else {}

    def every_answer(self) -> Iterator[dict[str, list[Any]]]:
        """Columns of all entities that may have a number, some rows at a time."""
        _ = self.embedder.every  # once for all pieces
        for part in torch.split(self.entities, PIECE):
            yield self.answers(part)

    def surest(self, count: int) -> dict[str, list[Any]]:
        """Columns of the surest estimates for entities without a number, or else of test."""
        split = self.labels.split[self.entities]
        for code in (UNLABELLED, TEST):
            node = self.entities[split == code]
            if len(node):
                _ = self.embedder.every  # once for all pieces
                off = torch.cat([self.outputs(part)[1] for part in torch.split(node, PIECE)])
                return self.answers(node[off.argsort(stable=True)[:count]])
        return self.answers(self.entities[:0])

    def answers(self, node: Int64[Tensor, " node"]) -> dict[str, list[Any]]:
        """Columns of entities, their estimates, and where their intervals begin and end."""
        value, low, high = (part.tolist() for part in self.intervals(node))
        if self.factor is None:
            low = high = [None] * len(value)
        start, stop = self.labels.indptr[node].tolist(), self.labels.indptr[node + 1].tolist()
        places = [self.labels.label_id[a:b].tolist() for a, b in zip(start, stop, strict=True)]
        return {
            "entity": self.store.entity_keys(node),
            "value": value,
            "low": low,
            "high": high,
            "given": [" | ".join(self.labels.names[at] for at in own) for own in places],
            "split": splits_of(self.labels, node),
            "entity_name": self.store.entity_names(node),
        }
