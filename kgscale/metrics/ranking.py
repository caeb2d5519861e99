"""Ranks of true tails among all entities, and what is told about them.

A rank is *realistic*: the mean of the optimistic rank (ties lost by the rivals) and the
pessimistic one (ties won), which a constant score cannot fool (Berrendorf et al. 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

HITS: Final = (1, 3, 10)
_COLUMNS: Final = 6 + len(HITS)


@dataclass(frozen=True, slots=True)
class RankCounts:
    """For each query, how many rivals of the true tail score better, and how many the same."""

    better: Int64[Tensor, " query"]
    tied: Int64[Tensor, " query"]

    @property
    def realistic(self) -> Float[Tensor, " query"]:
        return 1 + self.better.double() + self.tied.double() / 2

    @property
    def optimistic(self) -> Float[Tensor, " query"]:
        return 1 + self.better.double()

    @property
    def pessimistic(self) -> Float[Tensor, " query"]:
        return 1 + (self.better + self.tied).double()


def empty_sums(num_groups: int) -> Float[Tensor, "group column"]:
    """Sums over no queries."""
    return torch.zeros(num_groups, _COLUMNS, dtype=torch.float64)


def rank_sums(
    counts: RankCounts, group: Int64[Tensor, " query"], num_groups: int
) -> Float[Tensor, "group column"]:
    """Sums per group that add up over batches and ranks; :func:`summarize` reads them.

    Columns: queries, reciprocal rank (realistic, optimistic, pessimistic), rank, queries with
    a tie, then hits at each of ``HITS``.
    """
    rank = counts.realistic
    columns = [
        torch.ones_like(rank),
        rank.reciprocal(),
        counts.optimistic.reciprocal(),
        counts.pessimistic.reciprocal(),
        rank,
        (counts.tied > 0).double(),
        *((rank <= k).double() for k in HITS),
    ]
    return empty_sums(num_groups).to(rank.device).index_add(0, group, torch.stack(columns, dim=1))


def summarize(sums: Float[Tensor, " column"]) -> dict[str, float]:
    """Means from one row of :func:`rank_sums`; empty when there was no query."""
    values = sums.tolist()
    count = values[0]
    if not count:
        return {}
    names = ["mrr", "mrr_optimistic", "mrr_pessimistic", "mean_rank", "tie_rate"]
    names += [f"hits@{k}" for k in HITS]
    means = {name: value / count for name, value in zip(names, values[1:], strict=True)}
    return {**means, "queries": count}
