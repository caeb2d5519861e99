"""Decoders that are linear in the candidate: scoring everything is one matrix product."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from kgscale.errors import ConfigError
from kgscale.models.decoders.base import Decoder
from kgscale.types import Vectors


class DistMult(Decoder):
    """Score ``sum_i h_i r_i t_i``; symmetric in head and tail (Yang et al. 2015)."""

    symmetric = True

    def forward(
        self,
        head: Float[Tensor, "*batch dim"],
        relation: Float[Tensor, "*batch dim"],
        tail: Float[Tensor, "*batch dim"],
    ) -> Float[Tensor, "*batch"]:
        return (head * relation * tail).sum(dim=-1)

    def query(self, head: Vectors, relation: Vectors) -> Vectors:
        return head * relation


class ComplEx(Decoder):
    """Score ``Re(sum_i h_i r_i conj(t_i))`` of complex vectors (Trouillon et al. 2016).

    A vector of ``dim`` numbers holds ``dim / 2`` real parts, then ``dim / 2`` imaginary ones.
    Not symmetric, unless the relation is real.
    """

    symmetric = False

    def __init__(self, *, dim: int) -> None:
        super().__init__(dim=dim)
        if dim % 2:
            raise ConfigError(f"decoder=complex needs an even encoder.dim, got {dim}")

    def forward(
        self,
        head: Float[Tensor, "*batch dim"],
        relation: Float[Tensor, "*batch dim"],
        tail: Float[Tensor, "*batch dim"],
    ) -> Float[Tensor, "*batch"]:
        return (_complex_product(head, relation) * tail).sum(dim=-1)

    def query(self, head: Vectors, relation: Vectors) -> Vectors:
        return _complex_product(head, relation)

    def penalty_modulus(self, vector: Float[Tensor, "*row dim"]) -> Float[Tensor, "*row part"]:
        real, imaginary = vector.chunk(2, dim=-1)
        # The small constant keeps the gradient of the root finite at zero.
        return (real.square() + imaginary.square() + 1e-12).sqrt()


def _complex_product(
    left: Float[Tensor, "*batch dim"], right: Float[Tensor, "*batch dim"]
) -> Float[Tensor, "*batch dim"]:
    """With real parts first; ``Re(a conj(b))`` is then the plain dot product of the two."""
    a, b = left.chunk(2, dim=-1)
    c, d = right.chunk(2, dim=-1)
    return torch.cat([a * c - b * d, a * d + b * c], dim=-1)
