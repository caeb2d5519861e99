"""Metrics among random negatives, exactly: the mean over all ways of drawing them."""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from kgscale.metrics.ranking import HITS, RankCounts

NEGATIVES: Final = 50
"""Of the protocol of Teru et al. 2020 (GraIL)."""


def among_negatives(
    counts: RankCounts, rivals: Int64[Tensor, " query"], *, negatives: int = NEGATIVES
) -> dict[str, float]:
    """Expected metrics if each true tail were ranked among ``negatives`` of its rivals.

    Of ``n`` rivals, ``b`` of them better, a draw without replacement holds ``X`` better ones,
    hypergeometric; the rank is ``1 + X``. A tied rival is better or not by the toss of a coin that
    is the same for all of its query: ``b`` is averaged over the places among the tied.

    Args:
        rivals: how many there are for each query; all are drawn where they are fewer.
    """
    sums = torch.zeros(1 + len(HITS), dtype=torch.float64)
    for number in torch.unique(rivals).tolist():
        mine = rivals == number
        before = _cumulated(number, min(negatives, number))
        first, last = counts.better[mine], counts.better[mine] + counts.tied[mine]
        sums += ((before[last + 1] - before[first]) / (last + 1 - first)[:, None]).sum(dim=0)
    names = ("mrr", *(f"hits@{k}" for k in HITS))
    means = {name: float(value) for name, value in zip(names, sums / len(rivals), strict=True)}
    return {**means, "queries": float(len(rivals)), "negatives": float(negatives)}


def _cumulated(rivals: int, drawn: int) -> Float[Tensor, "better metric"]:
    """Sums over ``b < row`` of the expected reciprocal rank and hits with ``b`` better rivals."""
    better = torch.arange(rivals + 1, dtype=torch.float64)[:, None]
    held = torch.arange(drawn + 1, dtype=torch.float64)[None]
    possible = (held <= better) & (drawn - held <= rivals - better)
    chance = torch.where(
        possible,
        _log_choose(better, held)
        + _log_choose(rivals - better, drawn - held)
        - _log_choose(torch.tensor(float(rivals)), torch.tensor(float(drawn))),
        -torch.inf,
    ).exp()
    rank = 1 + held[0]
    columns = [1 / rank, *((rank <= k).double() for k in HITS)]
    expected = chance @ torch.stack(columns, dim=1)
    return torch.cat([torch.zeros(1, expected.shape[1], dtype=torch.float64), expected.cumsum(0)])


def _log_choose(n: Tensor, k: Tensor) -> Tensor:
    """Where ``0 <= k <= n``."""
    k = torch.minimum(k.clamp(min=0), n.clamp(min=0)).double()
    n = n.double().clamp(min=0)
    return torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
