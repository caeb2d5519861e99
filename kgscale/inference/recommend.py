"""Which items to recommend to a user, how good the lists are, and what has to be beaten."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

from kgscale.errors import ScoreError
from kgscale.graph.adjacency import Adjacency
from kgscale.graph.known import KnownFacts
from kgscale.inference.embed import GraphVectors
from kgscale.inference.evaluate import Thrift
from kgscale.inference.predict import best_vectors
from kgscale.kernels.top import top_all
from kgscale.metrics.top import no_sums, top_means, top_sums
from kgscale.models.decoders import Decoder
from kgscale.sampling.interest import Interest
from kgscale.types import Ids, Triples

NEIGHBORS: Final = 100
"""Items alike that count for an item, in the baseline."""
SOME: Final = 256
"""Items whose likeness to all others is computed at a time."""
TOGETHER: Final = 32
"""Users whose scores of all items exist at a time, where no product of vectors has them."""
ItemScores = Callable[[Ids], Float[Tensor, "user item"]]
"""Of all items for some users, both as entities; items count from the first of them."""


@dataclass(frozen=True, slots=True)
class TopItems:
    """The best items of some users, none that they have already."""

    score: Float[Tensor, "user place"]
    item: Int64[Tensor, "user place"]
    """As entities; those with an infinitely low score are none."""


@dataclass(frozen=True, kw_only=True)
class Recommender:
    """Ranks items.

    Args:
        scores: of a model, or of a baseline.
        seen: what users have already.
        memory: bytes of scores kept at a time, with a copy.
        among: which items are ranked; all without it.
    """

    scores: ItemScores
    interest: Interest
    seen: KnownFacts
    memory: int = 1 << 28
    among: Bool[Tensor, " item"] | None = None

    def best(self, user: Ids, k: int) -> TopItems:
        """The best ``k`` items of each user.

        Raises:
            ScoreError: NaN among the scores.
        """
        scores, items = self.scores(user), self.interest.items
        if scores.isnan().any():
            raise ScoreError("NaN among the scores of items: the model has diverged")
        row, item = _pairs(self.seen, user, self.interest)
        scores[row, item - items.start] = -torch.inf
        # Where users are recommended to users, nobody to themselves.
        own = ((items.start <= user) & (user < items.stop)).nonzero()[:, 0]
        scores[own, user[own] - items.start] = -torch.inf
        if self.among is not None:
            scores[:, ~self.among] = -torch.inf
        score, place = scores.topk(min(k, len(items)), dim=1)
        return TopItems(score, place + items.start)

    def lists(self, user: Ids, k: int) -> Iterator[tuple[Ids, TopItems]]:
        """The same for many users, some at a time."""
        thrift = Thrift(max(1, self.memory // (2 * 4 * max(1, len(self.interest.items)))), least=1)
        first = 0
        while first < len(user):
            start = first

            def work(rows: int, start: int = start) -> tuple[Ids, TopItems]:
                part = user[start : start + rows]
                return part, self.best(part, k)

            part, found = thrift(work)
            yield part, found
            first += len(part)


@torch.no_grad()
def evaluate_items(
    recommender: Recommender, held: Triples, cuts: Sequence[int], *, part: slice = slice(None)
) -> Float[Tensor, " column"]:
    """Sums of :func:`top_sums` over the users of held-out links, then the number of items that are
    in somebody's list for each cut.

    Args:
        part: which of these users.
    """
    interest = recommender.interest
    links = held[held[:, 1] == interest.relation]
    users, relevant = torch.unique(links[:, 0], return_counts=True)
    base = interest.items.stop + 1
    wanted = links[:, 0] * base + links[:, 2]
    sums, listed = no_sums(cuts), torch.zeros(len(cuts), len(interest.items), dtype=torch.bool)
    mine, count = users[part], relevant[part]
    done = 0
    for user, found in recommender.lists(mine, max(cuts)):
        hit = torch.isin(user[:, None] * base + found.item, wanted) & found.score.isfinite()
        sums = sums + top_sums(hit.cpu(), count[done : done + len(user)], cuts)
        for row, cut in enumerate(cuts):
            shown = found.item[:, :cut][found.score[:, :cut].isfinite()]
            listed[row, shown.cpu() - interest.items.start] = True
        done += len(user)
    return torch.cat([sums, listed.sum(dim=1).double()])


def item_metrics(
    sums: Float[Tensor, " column"], cuts: Sequence[int], num_items: int
) -> dict[str, float]:
    """Means over users, and the share of all items that somebody is shown."""
    own, listed = sums[: -len(cuts)], sums[-len(cuts) :].tolist()
    counts = zip(cuts, listed, strict=True)
    shares = {f"coverage@{cut}": count / max(1, num_items) for cut, count in counts}
    means = top_means(own, cuts)
    return {**means, **shares} if means else {}


def model_scores(vectors: GraphVectors, decoder: Decoder, interest: Interest) -> ItemScores:
    """By a decoder, from the vectors of users and items."""
    items = torch.arange(interest.items.start, interest.items.stop)

    @torch.no_grad()
    def scores(user: Ids) -> Tensor:
        relation = vectors.of(torch.full_like(user, interest.relation))
        question = decoder.query(vectors.rows(user), relation)
        return decoder.compare(question, vectors.rows(items)).cpu()

    return scores


def best_items(
    vectors: GraphVectors,
    decoder: Decoder,
    interest: Interest,
    seen: KnownFacts,
    user: Ids,
    k: int,
    *,
    known: bool = False,
) -> TopItems:
    """The best ``k`` items of each user by a decoder, which don't depend on who else is asked for:
    the first of equal ones; without those that the user has, or is.

    Args:
        known: those too that the user has.
    """
    distinct, place = torch.unique(user, return_inverse=True)
    found = best_vectors(
        vectors,
        decoder,
        distinct,
        torch.full_like(distinct, interest.relation),
        vectors.entity[interest.items.start : interest.items.stop],
        _left_out(interest, seen, distinct, known=known),
        k=k,
    )
    return TopItems(found.score[place], (found.item + interest.items.start)[place])


def best_scored(
    scores: ItemScores,
    interest: Interest,
    seen: KnownFacts,
    user: Ids,
    k: int,
    *,
    known: bool = False,
) -> TopItems:
    """The same by any scores; all of some users exist at a time."""
    distinct, place = torch.unique(user, return_inverse=True)

    def query_block(first: int) -> Tensor:
        part = distinct[first : first + TOGETHER]
        return scores(functional.pad(part, (0, TOGETHER - len(part)), value=interest.users.start))

    found = top_all(
        query_block,
        len(distinct),
        torch.arange(float(len(interest.items)), dtype=torch.float64)[:, None],
        *_left_out(interest, seen, distinct, known=known),
        k=k,
        score_block=lambda own, number: own[:, number[:, 0].long()],
        rows_per_block=TOGETHER,
    )
    return TopItems(found.score[place], (found.item + interest.items.start)[place])


def _left_out(
    interest: Interest, seen: KnownFacts, user: Ids, *, known: bool
) -> tuple[Int64[Tensor, " user_plus_one"], Int64[Tensor, " item"]]:
    """The items that each user has, unless ``known`` ones are wanted, and is."""
    row, item = _pairs(seen, user, interest)
    if known:
        row, item = row[:0], item[:0]
    own = ((interest.items.start <= user) & (user < interest.items.stop)).nonzero()[:, 0]
    base = interest.items.stop
    out = torch.unique(torch.cat([row * base + item, own * base + user[own]]))
    bounds = torch.arange(len(user) + 1) * base
    return torch.searchsorted(out, bounds), out % base - interest.items.start


def are_known(
    seen: KnownFacts, interest: Interest, user: Ids, item: Int64[Tensor, "user place"]
) -> Bool[Tensor, "user place"]:
    """Which of some items each user has."""
    row, own = _pairs(seen, user, interest)
    base = interest.items.stop
    code = torch.arange(len(user))[:, None] * base + item
    return torch.isin(code, row * base + own)


def popular_items(graph: Adjacency, interest: Interest) -> ItemScores:
    """The same for everybody: how many users an item has."""
    count = torch.bincount(
        links(graph, interest)[1] - interest.items.start, minlength=len(interest.items)
    ).float()
    return lambda user: count.expand(len(user), -1).clone()


def cold_items(graph: Adjacency, interest: Interest, share: float) -> Bool[Tensor, " item"]:
    """The share of all items that the fewest users have."""
    (count,) = popular_items(graph, interest)(torch.tensor([interest.users.start]))
    found = torch.zeros(len(count), dtype=torch.bool)
    found[count.argsort(stable=True)[: int(share * len(count))]] = True
    return found


def item_neighbors(
    graph: Adjacency, interest: Interest, *, neighbors: int = NEIGHBORS
) -> ItemScores:
    """Items that are like those a user has: the sum of cosines between the items' users (Sarwar et
    al. 2001), of the ``neighbors`` items most like each."""
    user, item = links(graph, interest)
    user, item = user - interest.users.start, item - interest.items.start
    size = (len(interest.users), len(interest.items))
    length = torch.bincount(item, minlength=size[1]).float().sqrt().clamp(min=1)
    places = torch.stack([user, item])
    columns = _sparse(places, 1 / length[item], size)
    rows = _sparse(places, torch.ones(len(user)), size)
    near = columns.t().coalesce()
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for first in range(0, size[1], SOME):
        own = torch.arange(first, min(first + SOME, size[1]))
        picked = columns.index_select(1, own).to_dense()
        likeness = torch.sparse.mm(near, picked).t()
        likeness[torch.arange(len(own)), own] = 0.0
        value, other = likeness.topk(min(neighbors, size[1]), dim=1)
        found.append((value.flatten(), own.repeat_interleave(value.shape[1]), other.flatten()))
    value, own, other = (torch.cat(parts) for parts in zip(*found, strict=True))
    keep = value > 0
    alike = _sparse(torch.stack([own[keep], other[keep]]), value[keep], (size[1], size[1]))

    def scores(asked: Ids) -> Tensor:
        has = rows.index_select(0, asked - interest.users.start).to_dense()
        found: Tensor = torch.sparse.mm(alike, has.t())
        return found.t().contiguous()

    return scores


def _sparse(places: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
    return torch.sparse_coo_tensor(places, value, size, check_invariants=False).coalesce()


def links(graph: Adjacency, interest: Interest) -> tuple[Ids, Ids]:
    edge = (graph.relation.long() == interest.relation).nonzero()[:, 0]
    item = torch.searchsorted(graph.indptr.long(), edge, right=True) - 1
    return graph.source[edge].long(), item


def _pairs(
    known: KnownFacts, user: Ids, interest: Interest
) -> tuple[Int64[Tensor, " pair"], Int64[Tensor, " pair"]]:
    """The row of each user, and an item that it has."""
    indptr, item = known.tails(user, torch.full_like(user, interest.relation))
    return torch.arange(len(user)).repeat_interleave(indptr.diff()), item
