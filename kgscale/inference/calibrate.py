"""How probable listed answers are: what was right of those that a split's questions get."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from kgscale.graph.known import KnownFacts
from kgscale.graph.reciprocal import add_reciprocal
from kgscale.inference.evaluate import Thrift
from kgscale.inference.recommend import Recommender
from kgscale.metrics.calibration import (
    Calibration,
    Method,
    Reliability,
    fitted,
    log_odds,
    reliability,
)
from kgscale.types import Ids, Triples

LISTED: Final = 100
"""Answers of a question that a map is fitted on."""
SHOWN: Final = 10
"""The first of them, on which it is measured: a list that somebody reads."""
HALVES: Final = 0x5EED
Probabilities = Callable[[Ids, Ids], Float[Tensor, "query entity"]]
"""Of all entities as answers to (head, relation), whose relation may be reciprocal."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """Answers to questions, the best first, and which of them are right."""

    score: Float[Tensor, "question place"]
    """Minus infinity where a question has fewer."""
    right: Bool[Tensor, "question place"]
    shown: int = SHOWN
    """Places on which a map is measured."""
    one: bool = False
    """Whether exactly one answer of a question is right: their probabilities add up to 1."""
    odds: bool = True
    """Whether a score is the log odds of a probability."""

    def part(self, rows: Int64[Tensor, " row"]) -> Listed:
        return Listed(
            score=self.score[rows],
            right=self.right[rows],
            shown=self.shown,
            one=self.one,
            odds=self.odds,
        )

    def fit(self, method: Method) -> Calibration | None:
        there = self.score.isfinite()
        return fitted(self.score[there], self.right[there], method)

    def reliability(self, calibration: Calibration | None) -> Reliability:
        """Of what is shown; without a map, of the probabilities that scores are."""
        said = (
            self.score.sigmoid()
            if calibration is None
            else probabilities(self.score, calibration, one=self.one)
        )
        there = self.score.isfinite()[:, : self.shown]
        return reliability(said[:, : self.shown][there], self.right[:, : self.shown][there])

    def held_out(self, method: Method) -> Reliability | None:
        """Of a map that was fitted on one half of the questions, on the other, both ways.

        Args:
            method: one that is settled; "auto" could choose another for a half than for all.
        """
        order = torch.randperm(
            len(self.score), generator=torch.Generator().manual_seed(HALVES)
        ).chunk(2)
        if len(order) < 2:
            return None
        found = []
        for own, other in (order, order[::-1]):
            calibration = self.part(own).fit(method)
            if calibration is None:
                return None
            found.append(self.part(other).reliability(calibration))
        return both(*found)


def both(first: Reliability, second: Reliability) -> Reliability:
    """Of the answers of two."""
    count = first.count + second.count
    parts = [
        (getattr(first, name) * first.count + getattr(second, name) * second.count)
        / count.clamp(min=1)
        for name in ("said", "right")
    ]
    return Reliability(count=count, said=parts[0], right=parts[1])


def probabilities(
    score: Float[Tensor, "*question place"], calibration: Calibration, *, one: bool
) -> Float[Tensor, "*question place"]:
    """By a map; divided by their sum where exactly one answer is right."""
    found = calibration(score)
    return found / found.sum(dim=-1, keepdim=True) if one else found


@torch.no_grad()
def list_links(
    probability: Probabilities,
    asked: Triples,
    known: KnownFacts,
    splits: tuple[int, int],
    *,
    rows: int,
    listed: int = LISTED,
) -> Listed:
    """Both sides' distinct questions of some triples. An answer is right if the split has it; what
    is known before the split is no answer, and what only a later one has is wrong.

    Args:
        splits: numbers of triples before the split, and up to its end.
        rows: questions scored at a time, halved where memory runs out.
    """
    both_sides = add_reciprocal(asked, num_relations=known.adjacency.num_relations)
    head, relation = torch.unique(both_sides[:, :2], dim=0).unbind(dim=1)
    before, through = splits
    scores, rights, first = [], [], 0
    thrift = Thrift(rows, least=1)

    def some(rows: int) -> tuple[Tensor, Tensor]:
        part = slice(first, first + rows)
        found = probability(head[part], relation[part])
        indptr, edge = known.edges(head[part], relation[part])
        row = torch.arange(len(found)).repeat_interleave(indptr.diff())
        tail, triple = known.adjacency.source[edge].long(), known.adjacency.triple[edge].long()
        old, new = triple < before, (triple >= before) & (triple < through)
        right = torch.zeros(found.shape, dtype=torch.bool)
        right[row[new], tail[new]] = True
        found[row[old], tail[old]] = -1.0
        value, place = found.topk(min(listed, found.shape[1]), dim=1)
        score = log_odds(value).masked_fill(value < 0, -torch.inf)
        return score, right.gather(1, place)

    while first < len(head):
        score, right = thrift(some)
        scores.append(score)
        rights.append(right)
        first += len(score)
    return Listed(score=torch.cat(scores), right=torch.cat(rights))


@torch.no_grad()
def list_items(recommender: Recommender, held: Triples, *, listed: int = LISTED) -> Listed:
    """Lists of the users of held-out links; an item is right if one of these names it."""
    interest = recommender.interest
    links = held[held[:, 1] == interest.relation]
    base = interest.items.stop + 1
    wanted = links[:, 0] * base + links[:, 2]
    scores, rights = [], []
    for user, found in recommender.lists(torch.unique(links[:, 0]), listed):
        scores.append(found.score)
        rights.append(torch.isin(user[:, None] * base + found.item, wanted))
    return Listed(score=torch.cat(scores), right=torch.cat(rights), odds=False)


def list_classes(
    logits: Float[Tensor, "node class"],
    label: Int64[Tensor, " node"] | Float[Tensor, "node class"],
) -> Listed:
    """Of entities with exactly one class each, or several; the surest of each is measured."""
    one = label.ndim == 1
    right = torch.nn.functional.one_hot(label, logits.shape[1]) > 0 if one else label > 0.5
    score = class_odds(logits) if one else logits
    score, place = score.sort(dim=1, descending=True, stable=True)
    return Listed(score=score, right=right.gather(1, place), shown=1, one=one)


def class_odds(logits: Float[Tensor, "node class"]) -> Float[Tensor, "node class"]:
    """Log odds of each class against all others."""
    return log_odds(logits.softmax(dim=1))
