"""What every decoder offers: one by one, and one query against many candidates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kgscale.types import Candidates, Questions, Scores, Vectors


class Decoder(nn.Module, ABC):
    """Scores; higher is more plausible. Knows nothing of graphs."""

    symmetric: ClassVar[bool]
    """Whether head and tail can be exchanged without changing the score."""

    def __init__(self, *, dim: int) -> None:
        super().__init__()
        self.dim = dim

    @abstractmethod
    def forward(
        self,
        head: Float[Tensor, "*batch dim"],
        relation: Float[Tensor, "*batch dim"],
        tail: Float[Tensor, "*batch dim"],
    ) -> Float[Tensor, "*batch"]:
        """The score of each triple, one by one."""

    @abstractmethod
    def query(self, head: Vectors, relation: Vectors) -> Vectors:
        """What a candidate is compared with: depends on the question only."""

    def compare(
        self, query: Questions, candidate: Candidates, *, dtype: torch.dtype = torch.float32
    ) -> Scores:
        """Scores of every query against every candidate, here a matrix product.

        ``dtype`` is the type of the product's factors; bfloat16 is for training only, where
        its false ties do no harm.
        """
        return (query.to(dtype) @ candidate.to(dtype).t()).float()

    @property
    def is_product(self) -> bool:
        """Whether ``compare`` is the plain matrix product, which some losses can fuse."""
        return type(self).compare is Decoder.compare

    def penalty_modulus(self, vector: Float[Tensor, "*row dim"]) -> Float[Tensor, "*row part"]:
        """The moduli whose cubes the nuclear 3-norm sums."""
        return vector.abs()
