"""Ranked answers to (head, relation, ?) and (?, relation, tail), and what is new in a graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

from kgscale.graph.known import KnownFacts
from kgscale.graph.store import GraphStore
from kgscale.inference.classes import EntityClasses
from kgscale.inference.embed import GraphVectors
from kgscale.kernels.scores import dot_product
from kgscale.kernels.top import Top, top_all
from kgscale.models.decoders import Decoder

CANDIDATES: Final = 1 << 20
"""Vectors copied at a time to where scores are computed, if they aren't there."""
ROWS: Final = 256
"""Questions of a product. Fixed, since a product of another height may round differently."""
FEW: Final = 16
"""The same where nothing is won by more of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One ranked triple; ``score`` is its softmax probability among all entities."""

    head: int
    relation: int
    tail: int
    score: float
    rank: int
    known: bool


@dataclass(frozen=True, slots=True)
class BestAnswers:
    """Answers to some questions, those of the first one first and the best of each first."""

    row: Int64[Tensor, " answer"]
    """The question that each answers."""
    score: Float[Tensor, " answer"]
    """Its softmax probability among all entities."""
    entity: Int64[Tensor, " answer"]
    known: Bool[Tensor, " answer"]


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
        found = self.best(*asked, k=k, known=known)
        rows = zip(found.score.tolist(), found.entity.tolist(), found.known.tolist(), strict=True)
        return [
            Prediction(
                head=head if head is not None else other,
                relation=relation,
                tail=other if head is not None else int(entity or 0),
                score=score,
                rank=rank,
                known=is_known,
            )
            for rank, (score, other, is_known) in enumerate(rows, start=1)
        ]

    def best(
        self,
        entity: Int64[Tensor, " query"],
        relation: Int64[Tensor, " query"],
        *,
        k: int,
        known: bool = False,
    ) -> BestAnswers:
        """The ``k`` best answers of each question, which don't depend on what else is asked: the
        first entity of equal ones.

        Args:
            relation: may be reciprocal.
            known: keep known facts among them, marked.
        """
        found = [self._best(*one, k=k, known=known) for one in zip(entity, relation, strict=True)]
        score, answer = (torch.cat([part[at] for part in found]) for at in (0, 1))
        row = torch.arange(len(found)).repeat_interleave(
            torch.tensor([len(part[1]) for part in found], dtype=torch.int64)
        )
        return BestAnswers(row, score, answer, self._known(entity, relation, row, answer))

    def _best(
        self, entity: Tensor, relation: Tensor, *, k: int, known: bool
    ) -> tuple[Float[Tensor, " answer"], Int64[Tensor, " answer"]]:
        asked = entity[None], relation[None]
        score = self.probabilities(*asked)[0]
        if not known:
            score[self.facts.tails(*asked)[1]] = -1.0
        value, order = score.sort(descending=True, stable=True)
        count = min(k, int((value >= 0).sum()))
        return value[:count], order[:count]

    def _known(
        self,
        entity: Int64[Tensor, " query"],
        relation: Int64[Tensor, " query"],
        row: Int64[Tensor, " answer"],
        answer: Int64[Tensor, " answer"],
    ) -> Bool[Tensor, " answer"]:
        """Which answers are known facts."""
        indptr, tails = self.facts.tails(entity, relation)
        whose = torch.arange(len(entity)).repeat_interleave(indptr.diff())
        base = self.store.num_entities
        return torch.isin(row * base + answer, whose * base + tails)

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

    def best(
        self,
        entity: Int64[Tensor, " query"],
        relation: Int64[Tensor, " query"],
        *,
        k: int,
        known: bool = False,
    ) -> BestAnswers:
        # Often the same is asked again.
        pairs = torch.stack([entity, relation], 1)
        distinct, place = torch.unique(pairs, dim=0, return_inverse=True)
        asked = distinct[:, 0], distinct[:, 1]
        facts = self.facts.tails(*asked)
        if known:
            facts = torch.zeros_like(facts[0]), facts[1][:0]
        vectors = self.vectors
        found = best_vectors(vectors, self.decoder, *asked, vectors.entity, facts, k=k)
        score = (found.score.double() - found.logsum[:, None]).exp().float()
        there = found.item[place] >= 0
        row, column = there.nonzero(as_tuple=True)
        answer = found.item[place[row], column]
        marked = (
            self._known(entity, relation, row, answer)
            if known
            else torch.zeros(len(row), dtype=torch.bool)
        )
        return BestAnswers(row, score[place[row], column], answer, marked)


def best_vectors(
    vectors: GraphVectors,
    decoder: Decoder,
    entity: Int64[Tensor, " query"],
    relation: Int64[Tensor, " query"],
    candidate: Float[Tensor, "candidate dim"],
    known: tuple[Int64[Tensor, " query_plus_one"], Int64[Tensor, " known"]],
    *,
    k: int,
) -> Top:
    """The best of some candidates by a decoder, without ``known`` ones, which ascend."""
    rows = ROWS if decoder.by_products else FEW

    def query_block(first: int) -> Tensor:
        # Products of a question are as high for the last ones, too.
        asked = [
            functional.pad(part[first : first + rows], (0, max(0, first + rows - len(part))))
            for part in (entity, relation)
        ]
        return decoder.query(vectors.rows(asked[0]), vectors.of(asked[1]))

    return top_all(
        query_block,
        len(entity),
        candidate,
        *known,
        k=k,
        score_block=dot_product if decoder.is_product else decoder.compare,
        rows_per_block=rows,
        device=vectors.device,
    )


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
