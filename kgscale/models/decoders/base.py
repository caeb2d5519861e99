"""What every decoder offers: one by one, and one query against many candidates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kgscale.errors import ConfigError
from kgscale.kernels.products import factor
from kgscale.types import Candidates, Questions, RelationVectors, Scores

RELATION_SCALE: Final = 0.1
"""Standard deviation of a decoder's own initial relation vectors, as that of the encoders'."""


class Decoder(nn.Module, ABC):
    """Scores; higher is more plausible. Knows nothing of graphs.

    A relation's vector is the encoder's, of ``dim`` numbers, followed by ``extra_vectors`` of the
    decoder's own, where its formula has more than one.

    Args:
        dim: length of the vectors of entities.
        num_relations: relations of the store; vectors are kept for twice as many (reciprocals).
        dropout: share of the numbers of heads and relations that training leaves out.
    """

    symmetric: ClassVar[bool]
    """Whether head and tail can be exchanged without changing the score."""
    extra_vectors: ClassVar[int] = 0
    is_complex: ClassVar[bool] = False
    """Whether a vector holds real parts and then as many imaginary ones."""

    def __init__(
        self,
        *,
        dim: int,
        num_relations: int = 0,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ConfigError(f"decoder.dropout needs a share in [0, 1), got {dropout}")
        if self.is_complex and dim % 2:
            name = type(self).__name__.lower()
            raise ConfigError(f"decoder={name} needs an even encoder.dim, got {dim}")
        self.dim, self.dropout = dim, nn.Dropout(dropout)
        self.extra = None
        if self.extra_vectors:
            self.extra = nn.Parameter(torch.empty(2 * num_relations, self.extra_vectors * dim))
            with torch.no_grad():
                self.extra.normal_(std=RELATION_SCALE, generator=generator)

    @property
    def relation_dim(self) -> int:
        return (1 + self.extra_vectors) * self.dim

    def relations(self, given: Float[Tensor, "relation dim"]) -> RelationVectors:
        """The relations' vectors, from those of the encoder."""
        return given if self.extra is None else torch.cat([given, self.extra], dim=1)

    @abstractmethod
    def forward(
        self,
        head: Float[Tensor, "*batch dim"],
        relation: Float[Tensor, "*batch relation_dim"],
        tail: Float[Tensor, "*batch dim"],
    ) -> Float[Tensor, "*batch"]:
        """The score of each triple, one by one."""

    @abstractmethod
    def query(
        self, head: Float[Tensor, "*batch dim"], relation: Float[Tensor, "*batch relation_dim"]
    ) -> Float[Tensor, "*batch query_dim"]:
        """What a candidate is compared with: depends on the question only."""

    @abstractmethod
    def compare(
        self, query: Questions, candidate: Candidates, *, dtype: torch.dtype = torch.float32
    ) -> Scores:
        """Scores of every query against every candidate.

        ``dtype`` is the type of a product's factors; bfloat16 is for training only, where its
        false ties do no harm.
        """

    @abstractmethod
    def compare_own(
        self, query: Questions, candidate: Float[Tensor, "query own dim"]
    ) -> Float[Tensor, "query own"]:
        """Scores of every query against candidates of its own."""

    @property
    def is_product(self) -> bool:
        """Whether ``compare`` is the plain matrix product, which some losses can fuse."""
        return False

    @property
    def by_products(self) -> bool:
        """Whether ``compare`` takes products of matrices, which many queries at once make cheap."""
        return self.is_product

    @property
    def is_linear_in_relation(self) -> bool:
        return type(self).pair is not Decoder.pair

    def pair(
        self, head: Float[Tensor, "*batch dim"], tail: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch dim"] | None:
        """What the vector of a relation is multiplied with for the score of ``(h, r, t)``.

        None where the score is not linear in the relation.
        """
        return None

    def penalty_modulus(self, vector: Float[Tensor, "*row dim"]) -> Float[Tensor, "*row part"]:
        """The moduli whose cubes the nuclear 3-norm sums."""
        return complex_modulus(vector) if self.is_complex else vector.abs()


class ProductDecoder(Decoder):
    """Scores that are linear in the tail: scoring everything is one matrix product."""

    def forward(
        self,
        head: Float[Tensor, "*batch dim"],
        relation: Float[Tensor, "*batch relation_dim"],
        tail: Float[Tensor, "*batch dim"],
    ) -> Float[Tensor, "*batch"]:
        return (self.query(head, relation) * tail).sum(dim=-1)

    def compare(
        self, query: Questions, candidate: Candidates, *, dtype: torch.dtype = torch.float32
    ) -> Scores:
        scores = (factor(query, dtype) @ factor(candidate, dtype).t()).float()
        return scores[: query.shape[0], : candidate.shape[0]]

    def compare_own(
        self, query: Questions, candidate: Float[Tensor, "query own dim"]
    ) -> Float[Tensor, "query own"]:
        return (candidate @ query[:, :, None])[..., 0]

    @property
    def is_product(self) -> bool:
        return True


def complex_product(
    left: Float[Tensor, "*batch dim"], right: Float[Tensor, "*batch dim"]
) -> Float[Tensor, "*batch dim"]:
    """With real parts first; ``Re(a conj(b))`` is then the plain dot product of the two."""
    a, b = left.chunk(2, dim=-1)
    c, d = right.chunk(2, dim=-1)
    return torch.cat([a * c - b * d, a * d + b * c], dim=-1)


def complex_modulus(vector: Float[Tensor, "*row dim"]) -> Float[Tensor, "*row part"]:
    """``sqrt(a^2 + b^2)``; a small constant keeps its gradient finite at zero."""
    real, imaginary = vector.chunk(2, dim=-1)
    return (real.square() + imaginary.square() + 1e-12).sqrt()
