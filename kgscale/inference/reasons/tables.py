"""What a score would lose without a fact, of models whose vectors are learned and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from kgscale.data.audit import Tell, silent
from kgscale.graph.adjacency import Adjacency
from kgscale.graph.reciprocal import inverse
from kgscale.inference.embed import GraphVectors
from kgscale.inference.reasons.judge import Fact, Judge
from kgscale.models.decoders import Decoder
from kgscale.types import Ids

FACTS: Final = 512
"""Of an entity that are looked at; of more, an even choice."""
RIVALS: Final = 1 << 14
"""Entities that the answer to a fact is told from; of more, a seeded choice."""
STEPS: Final = 50
"""Of conjugate gradients."""
DAMPING: Final = 0.01
"""Share of the curvature in the direction of the score that is added in all directions."""


class _End(NamedTuple):
    """An end of the triple, its facts as questions, and the score as a function of its vector."""

    vector: Float[Tensor, " dim"]
    relation: Int64[Tensor, " fact"]
    answer: Int64[Tensor, " fact"]
    triple: Int64[Tensor, " fact"]
    score: Callable[[Tensor], Tensor]


class TableJudge(Judge):
    """By influence functions: no message carries a fact, but the vectors of its ends were fitted
    to it.

    If an entity's vector ``v`` minimises the losses ``l_f`` of its facts together, without fact
    ``f`` it were, to first order, ``v + H^-1 grad l_f`` with the Hessian ``H`` of the sum; a score
    ``S`` would change by ``grad S · H^-1 grad l_f`` (Koh & Liang 2017, equation 2). Here ``l_f``
    is the softmax cross entropy of the fact's other end, asked from this one, all other vectors
    stay, and ``H^-1 grad S`` is found by conjugate gradients with some damping.

    Facts about neither end have no influence.

    Args:
        vectors, decoder: of the model.
        graph: train edges in both directions.
        head, relation, tail: the triple.
        hidden: triples that are left out in any case.
        facts, rivals: how many are looked at, see ``FACTS`` and ``RIVALS``.
        seed: of the choice of rivals.
        tell: called now and then; what it raises ends the search.
    """

    def __init__(
        self,
        vectors: GraphVectors,
        decoder: Decoder,
        graph: Adjacency,
        *,
        head: int,
        relation: int,
        tail: int,
        hidden: Ids,
        facts: int = FACTS,
        rivals: int = RIVALS,
        seed: int = 0,
        tell: Tell = silent,
    ) -> None:
        self._vectors, self._decoder, self._graph = vectors, decoder, graph
        self._hidden, self._facts, self._rivals = hidden, facts, rivals
        self._seed, self._tell = seed, tell
        asked = torch.tensor([head, tail])
        ends = vectors.rows(asked)
        kind = vectors.of(torch.tensor([relation]))[0]
        as_head = self._end(head, ends[0], lambda v: decoder(v, kind, ends[1]))
        as_tail = self._end(tail, ends[1], lambda v: decoder(ends[0], kind, v))
        with torch.no_grad():
            self.score = float(as_head.score(ends[0]))
        self._influence: dict[int, float] = {}
        for end in (as_head, as_tail):
            for triple, value in zip(end.triple.tolist(), self._losses(end), strict=True):
                self._influence[triple] = self._influence.get(triple, 0.0) + value

    def losses(self, facts: Sequence[Fact]) -> Iterator[float]:
        for fact in facts:
            yield self._influence.get(fact.triple, 0.0)

    def _end(
        self, entity: int, vector: Float[Tensor, " dim"], score: Callable[[Tensor], Tensor]
    ) -> _End:
        graph = self._graph
        edge = torch.arange(int(graph.indptr[entity]), int(graph.indptr[entity + 1]))
        edge = edge[~torch.isin(graph.triple[edge].long(), self._hidden)]
        if len(edge) > self._facts:
            edge = edge[torch.linspace(0, len(edge) - 1, self._facts).round().long()]
        relation = inverse(graph.relation[edge].long(), num_relations=graph.num_relations)
        answer, triple = graph.source[edge].long(), graph.triple[edge].long()
        return _End(vector, relation, answer, triple, score)

    def _losses(self, end: _End) -> list[float]:
        """What the score would lose without each fact of an end."""
        if not len(end.triple):
            return []
        with torch.enable_grad():
            vector = end.vector.detach().clone().requires_grad_()
            weight = torch.ones(len(end.triple), device=vector.device, requires_grad=True)
            slope = _slope(end.score(vector), vector)
            total = (weight * self._cross_entropy(end, vector)).sum()
            (gradient,) = torch.autograd.grad(total, vector, create_graph=True)
            if gradient.grad_fn is None:
                return [0.0] * len(end.triple)

            def curved(direction: Tensor) -> Tensor:
                self._tell("fitting vectors again")
                (found,) = torch.autograd.grad(gradient @ direction, vector, retain_graph=True)
                return found

            towards = _solve(curved, slope)
            (influence,) = torch.autograd.grad(gradient @ towards, weight)
        found: list[float] = (-influence).tolist()
        return found

    def _cross_entropy(self, end: _End, vector: Float[Tensor, " dim"]) -> Float[Tensor, " fact"]:
        vectors = self._vectors
        relation = vectors.of(end.relation).detach()
        question = self._decoder.query(vector.expand(len(relation), -1), relation)
        everybody = len(vectors.entity)
        if everybody <= self._rivals:
            rival, place = torch.arange(everybody), end.answer
        else:
            generator = torch.Generator().manual_seed(self._seed)
            drawn = torch.randint(everybody, (self._rivals,), generator=generator)
            rival = torch.unique(torch.cat([drawn, end.answer]))
            place = torch.searchsorted(rival, end.answer)
        score = self._decoder.compare(question, vectors.rows(rival).detach())
        return functional.cross_entropy(score, place.to(score.device), reduction="none")


def _slope(score: Tensor, vector: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(score.sum(), vector)
    return found


def _solve(product: Callable[[Tensor], Tensor], right: Tensor) -> Tensor:
    """``(A + damping) x = right`` by conjugate gradients, until the residual is a thousandth; a
    direction of negative curvature ends it."""
    size = float(right @ right)
    if size == 0:
        return torch.zeros_like(right)
    damping = DAMPING * abs(float(right @ product(right))) / size + 1e-8
    x, residual = torch.zeros_like(right), right.clone()
    direction, rest = residual.clone(), size
    for _ in range(STEPS):
        along = product(direction) + damping * direction
        curvature = float(direction @ along)
        if curvature <= 0:
            break
        x = x + rest / curvature * direction
        residual = residual - rest / curvature * along
        before, rest = rest, float(residual @ residual)
        if rest <= 1e-6 * size:
            break
        direction = residual + rest / before * direction
    return x
