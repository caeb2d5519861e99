"""Decoders that are linear in head, relation and tail."""

from __future__ import annotations

from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kgscale.models.decoders.base import (
    ProductDecoder,
    complex_product,
)

Vectors: TypeAlias = Float[Tensor, "*batch dim"]


class Dot(ProductDecoder):
    """Score ``sum_i h_i t_i``, whatever the relation: for questions of one relation alone."""

    symmetric = True

    def query(self, head: Vectors, relation: Vectors) -> Vectors:
        return head


class DistMult(ProductDecoder):
    """Score ``sum_i h_i r_i t_i``; symmetric in head and tail (Yang et al. 2015)."""

    symmetric = True

    def query(self, head: Vectors, relation: Vectors) -> Vectors:
        return head * relation

    def pair(self, head: Vectors, tail: Vectors) -> Vectors:
        return head * tail


class ComplEx(ProductDecoder):
    """Score ``Re(sum_i h_i r_i conj(t_i))`` of complex vectors (Trouillon et al. 2016).

    A vector of ``dim`` numbers holds ``dim / 2`` real parts, then ``dim / 2`` imaginary ones.
    Not symmetric, unless the relation is real.
    """

    symmetric = False
    is_complex = True

    def query(self, head: Vectors, relation: Vectors) -> Vectors:
        return complex_product(head, relation)

    def pair(self, head: Vectors, tail: Vectors) -> Vectors:
        real, imaginary = head.chunk(2, dim=-1)
        return complex_product(torch.cat([real, -imaginary], dim=-1), tail)


class TuckER(ProductDecoder):
    """Score ``sum_ijk W_ijk r_i h_j t_k`` with a core shared by all (Balažević et al. 2019).

    Not symmetric. The core has ``dim^3`` numbers.
    """

    symmetric = False

    def __init__(
        self,
        *,
        dim: int,
        num_relations: int = 0,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(dim=dim, dropout=dropout)
        self.core = nn.Parameter(torch.empty(dim, dim, dim))
        with torch.no_grad():
            self.core.uniform_(-1, 1, generator=generator)

    def query(self, head: Vectors, relation: Vectors) -> Vectors:
        mixed = (relation @ self.core.flatten(1)).view(*relation.shape, self.dim)
        return (head[..., None, :] @ mixed)[..., 0, :]

    def pair(self, head: Vectors, tail: Vectors) -> Vectors:
        mixed = torch.einsum("ijk,...k->...ij", self.core, tail)
        return (mixed @ head[..., None])[..., 0]
