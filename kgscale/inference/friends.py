"""Who should know whom: scores of pairs whose relation has no direction, how good they are, and
what has to be beaten."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from kgscale.graph.adjacency import Adjacency
from kgscale.inference.recommend import ItemScores, links
from kgscale.metrics.given import hits_among, roc_auc
from kgscale.sampling.interest import Interest
from kgscale.types import Ids

Pairs = Int64[Tensor, "pair 2"]
FEWEST: Final = 50
"""Strangers on the smallest graphs."""
TRIES: Final = 64
"""Rounds of drawing before a graph is so dense that few pairs are left."""
WEIGHTS: Final = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""What friends in common may weigh, beside a model's scores."""
SHARED: Final = "Adamic-Adar"


def with_shared(
    scores: ItemScores, graph: Adjacency, interest: Interest, weight: float
) -> ItemScores:
    """A model's scores and ``weight`` times the logarithm of one plus Adamic and Adar's measure of
    the friends in common, which vectors of few numbers blur.

    Args:
        graph: whose friends are known.
    """
    if not weight:
        return scores
    shared = friend_baselines(graph, interest)[SHARED]
    return lambda entity: scores(entity) + weight * torch.log1p(shared(entity))


def friend_baselines(graph: Adjacency, interest: Interest) -> dict[str, ItemScores]:
    """Common neighbours; those weighted by one over the logarithm of their own number of friends
    (Adamic & Adar 2003); and the product of both numbers of friends."""
    # Late, since importing it takes a while.
    from scipy.sparse import csr_array

    start, size = interest.users.start, len(interest.users)
    one, other = (end - start for end in links(graph, interest))
    ends = one.numpy(), other.numpy()
    friends = csr_array((np.ones(len(one), np.float32), ends), shape=(size, size))
    degree = np.asarray(friends.sum(axis=1)).ravel()
    weight = np.where(degree > 1, 1 / np.log(np.maximum(degree, 2)), 0).astype(np.float32)
    weighted = csr_array(friends.multiply(weight[None, :]))

    def common(left: Any) -> ItemScores:
        def scores(entity: Ids) -> Tensor:
            return torch.from_numpy((left[(entity - start).numpy()] @ friends).toarray())

        return scores

    def product(entity: Ids) -> Tensor:
        own = degree[(entity - start).numpy()]
        return torch.from_numpy(np.outer(own, degree).astype(np.float32))

    return {
        "common neighbours": common(friends),
        SHARED: common(weighted),
        "degrees": product,
    }


def score_pairs(
    scores: ItemScores, interest: Interest, pairs: Pairs, *, memory: int = 1 << 28
) -> Float[Tensor, " pair"]:
    """Of pairs, those of one entity together; the mean of both ways.

    Args:
        memory: bytes of scores kept at a time.
    """
    most = max(1, memory // (4 * len(interest.items)))
    found = torch.zeros(len(pairs))
    for own, other in ((0, 1), (1, 0)):
        order = pairs[:, own].argsort(stable=True)
        for part in _by_entity(pairs[order, own], most):
            rows = order[part]
            entity, row = torch.unique_consecutive(pairs[rows, own], return_inverse=True)
            place = pairs[rows, other] - interest.items.start
            found[rows] += scores(entity)[row, place] / 2
    return found


def _by_entity(entity: Ids, most: int) -> Iterator[slice]:
    """Runs of so many distinct entities."""
    first = torch.cat([torch.ones(1, dtype=torch.bool), entity[1:] != entity[:-1]]).nonzero()[:, 0]
    bounds = [*first[::most].tolist(), len(entity)] if len(entity) else []
    for start, stop in pairwise(bounds):
        yield slice(start, stop)


def draw_strangers(
    known: Adjacency, interest: Interest, count: int, *, matched: bool, seed: int
) -> Pairs:
    """Distinct pairs that no split joins; fewer on a small graph, of whose pairs a tenth at most
    is drawn: of nearly all pairs, those drawn as popular would be the same as any.

    Args:
        known: of all splits, both ways.
        matched: draw ends as often as they have friends, so that strangers are as popular as
            friends are; otherwise all alike.
    """
    generator = torch.Generator().manual_seed(seed)
    one, other = links(known, interest)
    size = interest.items.stop
    joined = one * size + other
    ends = one if matched else torch.arange(interest.users.start, interest.users.stop)
    users = len(interest.users)
    count = min(count, max(FEWEST, users * (users - 1) // 20))
    found = torch.empty(0, dtype=torch.int64)
    for _ in range(TRIES):
        if len(found) >= count or not len(ends):
            break
        drawn = ends[torch.randint(len(ends), (2 * count, 2), generator=generator)]
        low, high = drawn.amin(dim=1), drawn.amax(dim=1)
        code = low * size + high
        found = torch.cat([found, code[(low != high) & ~torch.isin(code, joined)]])
        # The first so many, in the order of their draws.
        _, place = np.unique(found.numpy(), return_index=True)
        found = found[torch.from_numpy(np.sort(place))]
    found = found[:count]
    return torch.stack([found // size, found % size], dim=1)


def pair_metrics(
    friends: Float[Tensor, " pair"], strangers: Float[Tensor, " other"], cuts: Sequence[int]
) -> dict[str, float]:
    """ROC-AUC, and the share of friends that fewer than ``k`` of all strangers reach (OGB's
    Hits@k); empty without friends or strangers."""
    if not len(friends) or not len(strangers):
        return {}
    hits = {f"hits@{cut}": hits_among(friends, strangers, cut) for cut in cuts}
    return {"auc": roc_auc(friends, strangers), **hits, "strangers": float(len(strangers))}
