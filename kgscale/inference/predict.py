"""Ranked answers to (head, relation, ?) and (?, relation, tail), and what is new in a graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from kgscale.graph.known import KnownFacts
from kgscale.graph.store import GraphStore
from kgscale.inference.classes import EntityClasses
from kgscale.inference.embed import GraphVectors
from kgscale.models.decoders import Decoder

CANDIDATES: Final = 1 << 20
"""Vectors copied at a time to where scores are computed, if they aren't there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One ranked triple; ``score`` is its softmax probability among all entities."""

    head: int
    relation: int
    tail: int
    score: float
    rank: int
    known: bool


class Predictor(ABC):
    """Answers of a model of a whole graph.

    Args:
        memory: bytes for scores, their softmax and a masked copy.
    """

    def __init__(self, store: GraphStore, *, memory: int = 1 << 28) -> None:
        self.store = store
        self.rows = max(1, memory // (3 * 4 * store.num_entities))
        self.facts = KnownFacts(store.adjacency(known=True))
        self._classes = EntityClasses(store)

    @abstractmethod
    def probabilities(
        self, entity: Int64[Tensor, " query"], relation: Int64[Tensor, " query"]
    ) -> Float[Tensor, "query entity"]:
        """Of all entities as answers; ``relation`` may be reciprocal."""

    def answers(
        self,
        *,
        relation: int,
        head: int | None = None,
        tail: int | None = None,
        k: int = 10,
        known: bool = False,
    ) -> list[Prediction]:
        """The ``k`` best tails of ``head`` (or heads of ``tail``).

        Args:
            known: keep known facts in the list, marked, instead of leaving them out.
        """
        assert (head is None) != (tail is None)
        entity = head if head is not None else tail
        direction = relation
        if head is None:
            direction += self.store.num_relations
        asked = torch.tensor([entity]), torch.tensor([direction])
        score = self.probabilities(*asked)[0]
        is_known = torch.zeros(len(score), dtype=torch.bool)
        is_known[self.facts.tails(*asked)[1].long()] = True
        shown = score if known else score.masked_fill(is_known, -1.0)
        value, found = shown.topk(min(k, len(score)))
        return [
            Prediction(
                head=head if head is not None else int(other),
                relation=relation,
                tail=int(other) if head is not None else int(entity or 0),
                score=float(best),
                rank=position,
                known=bool(is_known[other]),
            )
            for position, (best, other) in enumerate(zip(value, found, strict=True), start=1)
            if best >= 0
        ]

    def new_facts(
        self, *, count: int, per_relation: int, pairs: int, seed: int
    ) -> list[Prediction]:
        """The most probable triples that are not known.

        Looks at (head, relation) pairs in which the head is of a type that the relation has in
        train, at most ``pairs`` of them (a seeded sample where there are more); the tail must be
        of a type seen as the relation's tail and not the head itself; at most ``per_relation``
        of each relation.
        """
        head, relation = self._sample_pairs(pairs, seed)
        found: list[Prediction] = []
        for part in torch.split(torch.arange(len(head)), self.rows):
            found += self._best_of(head[part], relation[part])
        found.sort(key=lambda fact: (-fact.score, fact.head, fact.relation, fact.tail))
        taken: Counter[int] = Counter()
        chosen: list[Prediction] = []
        for fact in found:
            if taken[fact.relation] < per_relation and len(chosen) < count:
                taken[fact.relation] += 1
                chosen.append(replace(fact, rank=len(chosen) + 1))
        return chosen

    def _best_of(
        self, head: Int64[Tensor, " query"], relation: Int64[Tensor, " query"]
    ) -> list[Prediction]:
        """The best new tail of each query."""
        score = self.probabilities(head, relation)
        indptr, tails = self.facts.tails(head, relation)
        row = torch.arange(len(head)).repeat_interleave(indptr.long().diff())
        score[row, tails.long()] = -1.0
        score[torch.arange(len(head)), head] = -1.0
        for which in set(relation.tolist()):
            rows = relation == which
            score[rows] = score[rows].masked_fill(~self._classes.tails(which), -1.0)
        value, tail = score.max(dim=1)
        facts = zip(head.tolist(), relation.tolist(), tail.tolist(), value.tolist(), strict=True)
        return [
            Prediction(head=h, relation=r, tail=t, score=v, rank=1, known=False)
            for h, r, t, v in facts
            if v >= 0
        ]

    def _sample_pairs(
        self, pairs: int, seed: int
    ) -> tuple[Int64[Tensor, " pair"], Int64[Tensor, " pair"]]:
        """Pairs of matching type, ascending, by their numbers relation after relation."""
        relations = range(self.store.num_relations)
        sizes = torch.tensor([int(self._classes.heads(relation).sum()) for relation in relations])
        chosen = _sample(int(sizes.sum()), pairs, torch.Generator().manual_seed(seed))
        ends = sizes.cumsum(0)
        relation = torch.searchsorted(ends, chosen, right=True)
        within = chosen - (ends - sizes)[relation]
        heads = [
            self._classes.heads(which).nonzero().squeeze(1)[within[relation == which]]
            for which in torch.unique(relation).tolist()
        ]
        return torch.cat([*heads, chosen[:0]]), relation


class VectorPredictor(Predictor):
    """Answers from the vectors of a graph's entities and relations."""

    def __init__(
        self, vectors: GraphVectors, decoder: Decoder, store: GraphStore, *, memory: int = 1 << 28
    ) -> None:
        super().__init__(store, memory=memory)
        self.vectors, self.decoder = vectors, decoder

    def probabilities(
        self, entity: Int64[Tensor, " query"], relation: Int64[Tensor, " query"]
    ) -> Float[Tensor, "query entity"]:
        """Softmax over all entities."""
        return self.scores(entity, relation).softmax(dim=1)

    @torch.no_grad()
    def scores(
        self, entity: Int64[Tensor, " query"], relation: Int64[Tensor, " query"]
    ) -> Float[Tensor, "query entity"]:
        """Of all entities; ``relation`` may be reciprocal."""
        vectors = self.vectors
        question = self.decoder.query(vectors.rows(entity), vectors.of(relation))
        scores = [
            self.decoder.compare(question, part.to(vectors.device)).cpu()
            for part in torch.split(vectors.entity, CANDIDATES)
        ]
        return torch.cat(scores, dim=1)


def _sample(total: int, count: int, generator: torch.Generator) -> Int64[Tensor, " chosen"]:
    """``count`` distinct numbers below ``total``, or all of them, ascending."""
    if total <= 4 * count:
        return torch.randperm(total, generator=generator)[:count].sort().values
    drawn = torch.empty(0, dtype=torch.int64)
    while len(drawn) < count:
        more = torch.randint(total, (count,), generator=generator)
        drawn = torch.unique(torch.cat([drawn, more]))
    return drawn[torch.randperm(len(drawn), generator=generator)[:count]].sort().values


def table(
    predictions: Sequence[Prediction], store: GraphStore
) -> dict[str, list[str] | list[float] | list[int] | list[bool]]:
    """Columns of ``predictions.tsv``: keys, score, rank, known, then names."""
    head = torch.tensor([p.head for p in predictions], dtype=torch.int64)
    relation = torch.tensor([p.relation for p in predictions], dtype=torch.int64)
    tail = torch.tensor([p.tail for p in predictions], dtype=torch.int64)
    return {
        "head": store.entity_keys(head),
        "relation": store.relation_keys(relation),
        "tail": store.entity_keys(tail),
        "score": [p.score for p in predictions],
        "rank": [p.rank for p in predictions],
        "known": [p.known for p in predictions],
        "head_name": store.entity_names(head),
        "relation_name": store.relation_names(relation),
        "tail_name": store.entity_names(tail),
    }
