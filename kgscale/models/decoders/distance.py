"""Decoders whose score is a negative distance of what the head becomes and the tail."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Final, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from kgscale.errors import ConfigError
from kgscale.models.decoders.base import (
    Decoder,
    complex_modulus,
    complex_product,
)
from kgscale.types import Candidates, Questions, Scores

Rows: TypeAlias = Float[Tensor, "*batch dim"]
Relations: TypeAlias = Float[Tensor, "*batch relation_dim"]
Wide: TypeAlias = Float[Tensor, "*batch query_dim"]

ENTRIES: Final = 1 << 22
"""Numbers of differences that exist at a time."""


class DistanceDecoder(Decoder):
    """Score ``-|a - b|`` of a vector ``a`` of the question and a vector ``b`` of the tail.

    Args:
        norm: 1, or 2 (all candidates at once are then matrix products).
    """

    symmetric = False

    def __init__(
        self,
        *,
        dim: int,
        num_relations: int = 0,
        dropout: float = 0.0,
        norm: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(dim=dim, num_relations=num_relations, dropout=dropout, generator=generator)
        if norm not in (1, 2):
            raise ConfigError(f"decoder.norm is 1 or 2, got {norm}")
        self.norm = norm

    @property
    def by_products(self) -> bool:
        return self.norm == 2

    @abstractmethod
    def difference(self, query: Tensor, tail: Tensor) -> Tensor:
        """``a - b``; rows are matched, or broadcast."""

    @abstractmethod
    def squares(self, query: Questions, candidate: Candidates) -> Scores:
        """``|a - b|^2`` of every pair, by matrix products."""

    def length(self, difference: Float[Tensor, "*row dim"]) -> Float[Tensor, "*row"]:
        if self.norm == 1:
            return difference.abs().sum(dim=-1)
        return root(difference.square().sum(dim=-1))

    def forward(
        self,
        head: Float[Tensor, "*batch dim"],
        relation: Float[Tensor, "*batch relation_dim"],
        tail: Float[Tensor, "*batch dim"],
    ) -> Float[Tensor, "*batch"]:
        return -self.length(self.difference(self.query(head, relation), tail))

    def compare(
        self, query: Questions, candidate: Candidates, *, dtype: torch.dtype = torch.float32
    ) -> Scores:
        """In float32 whatever ``dtype`` is: differences of large numbers don't bear less."""
        if self.norm == 2:
            return -root(self.squares(query, candidate))
        return in_parts(self._far, query, candidate)

    def compare_own(
        self, query: Questions, candidate: Float[Tensor, "query own dim"]
    ) -> Float[Tensor, "query own"]:
        return -self.length(self.difference(query[:, None], candidate))

    def _far(self, query: Questions, candidate: Candidates) -> Scores:
        return -self.length(self.difference(query[:, None], candidate[None]))


class PlainDecoder(DistanceDecoder):
    """Score ``-|a - t|`` with a vector ``a`` of the question."""

    def difference(self, query: Tensor, tail: Tensor) -> Tensor:
        return query - tail

    def squares(self, query: Questions, candidate: Candidates) -> Scores:
        return cross(query, candidate)


class TransE(PlainDecoder):
    """Score ``-|h + r - t|`` (Bordes et al. 2013). Not symmetric, unless ``r`` is zero."""

    def query(self, head: Rows, relation: Relations) -> Rows:
        return head + relation

    def _far(self, query: Questions, candidate: Candidates) -> Scores:
        return -torch.cdist(query, candidate, p=1.0)


class RotatE(PlainDecoder):
    """Score ``-sum_i |h_i r_i - t_i|`` of complex vectors, ``|r_i| = 1`` (Sun et al. 2019).

    A relation turns each number by the angle of its vector's. Not symmetric, unless the angles
    are multiples of pi. ``norm=2`` takes the root of the sum of squares instead.
    """

    is_complex = True

    def query(self, head: Rows, relation: Relations) -> Rows:
        modulus = complex_modulus(relation)
        return complex_product(head, relation / torch.cat([modulus, modulus], dim=-1))

    def length(self, difference: Float[Tensor, "*row dim"]) -> Float[Tensor, "*row"]:
        if self.norm == 1:
            return complex_modulus(difference).sum(dim=-1)
        return super().length(difference)


class ScaledDecoder(DistanceDecoder):
    """Score ``-|a - t b|`` with vectors ``a`` and ``b`` of the question, ``|t| = 1``."""

    def difference(self, query: Tensor, tail: Tensor) -> Tensor:
        own, scale = query.chunk(2, dim=-1)
        return own - functional.normalize(tail, dim=-1) * scale

    def squares(self, query: Questions, candidate: Candidates) -> Scores:
        own, scale = query.chunk(2, dim=-1)
        tail = functional.normalize(candidate, dim=-1)
        left = torch.cat([-2 * own * scale, scale.square()], dim=-1)
        right = torch.cat([tail, tail.square()], dim=-1)
        return torch.addmm(own.square().sum(dim=-1, keepdim=True), left, right.t())


class PairRE(ScaledDecoder):
    """Score ``-|h r_H - t r_T|`` with ``|h| = |t| = 1`` (Chao et al. 2021).

    Not symmetric, unless ``r_H = ± r_T`` throughout.
    """

    extra_vectors = 1

    def query(self, head: Rows, relation: Relations) -> Wide:
        of_head, of_tail = relation.chunk(2, dim=-1)
        return torch.cat([functional.normalize(head, dim=-1) * of_head, of_tail], dim=-1)


class TripleRE(ScaledDecoder):
    """Score ``-|h (r_h + u) - t (r_t + u) + r_m|`` with ``|h| = |t| = 1`` (Yu et al. 2022).

    Not symmetric.

    Args:
        shift: ``u`` of the paper's second version, 0 for the first.
    """

    extra_vectors = 2

    def __init__(
        self,
        *,
        dim: int,
        num_relations: int = 0,
        dropout: float = 0.0,
        norm: int = 1,
        shift: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(
            dim=dim, num_relations=num_relations, dropout=dropout, norm=norm, generator=generator
        )
        self.shift = shift

    def query(self, head: Rows, relation: Relations) -> Wide:
        of_head, of_tail, moved = relation.chunk(3, dim=-1)
        own = functional.normalize(head, dim=-1) * (of_head + self.shift) + moved
        return torch.cat([own, of_tail + self.shift], dim=-1)


def root(square: Tensor) -> Tensor:
    """Of sums of squares that rounding may leave a little below zero."""
    return square.clamp(min=1e-12).sqrt()


def cross(query: Questions, candidate: Candidates) -> Scores:
    """``|a|^2 + |b|^2 - 2 a b`` of every pair."""
    own = query.square().sum(dim=-1, keepdim=True)
    other = candidate.square().sum(dim=-1)
    return torch.addmm(own + other, query, candidate.t(), alpha=-2)


def in_parts(
    score: Callable[[Tensor, Tensor], Tensor], query: Questions, candidate: Candidates
) -> Scores:
    """A few queries at a time, whose differences are made again for the gradient."""
    rows = max(1, ENTRIES // max(1, candidate.numel()))
    parts = torch.split(query, rows)
    if len(parts) == 1 or not torch.is_grad_enabled():
        return torch.cat([score(part, candidate) for part in parts])
    found = [checkpoint(score, part, candidate, use_reentrant=False) for part in parts]
    return torch.cat(found)
