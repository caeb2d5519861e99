"""What a list of the best ``k`` items is worth: pure functions of where the relevant ones stand.

A user counts as much as another, whatever they have rated. Ties are broken by the order of items.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

METRICS: Final = ("recall", "ndcg", "precision", "hit", "mrr")
Sums = Float[Tensor, " column"]
"""Users, then for each ``k`` the sum of each metric over them."""


def top_sums(
    hit: Bool[Tensor, "user place"], relevant: Int64[Tensor, " user"], cuts: Sequence[int]
) -> Sums:
    """Sums over users that add up over parts; :func:`top_means` reads them.

    Args:
        hit: whether the item at each place of a user's list is relevant, best first; at least as
            many places as the largest cut, unless there are fewer items.
        relevant: how many relevant items each user has, at least one.
        cuts: the ``k`` of each metric.
    """
    found = hit.double()
    place = torch.arange(1, hit.shape[1] + 1, dtype=torch.float64, device=hit.device)
    gain = 1 / (1 + place).log2()
    ideal = torch.cat([gain.new_zeros(1), gain.cumsum(0)])
    columns = [torch.full((), float(len(hit)), dtype=torch.float64, device=hit.device)]
    for cut in cuts:
        part = found[:, :cut]
        count = part.sum(dim=1)
        best = ideal[relevant.clamp(max=part.shape[1])]
        columns += [
            (count / relevant).sum(),
            ((part * gain[:cut]).sum(dim=1) / best).sum(),
            (count / cut).sum(),
            (count > 0).double().sum(),
            (part / place[:cut]).amax(dim=1).sum(),
        ]
    return torch.stack(columns)


def no_sums(cuts: Sequence[int]) -> Sums:
    """Of no users."""
    return torch.zeros(1 + len(METRICS) * len(cuts), dtype=torch.float64)


def top_means(sums: Sums, cuts: Sequence[int]) -> dict[str, float]:
    """``recall@k`` (of a user's relevant items), ``ndcg@k`` (Järvelin & Kekäläinen 2002, gains of 0
    and 1), ``precision@k``, ``hit@k`` and ``mrr@k`` (of the first relevant item, 0 beyond k), means
    over users; empty without any."""
    users, *values = sums.tolist()
    if not users:
        return {}
    names = [f"{name}@{cut}" for cut in cuts for name in METRICS]
    means = {name: value / users for name, value in zip(names, values, strict=True)}
    return {**means, "users": users}
