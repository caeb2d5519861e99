"""No message passing: the baseline that tells what the graph adds."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from kgscale.batch import Block
from kgscale.models.encoders.base import Encoder


class EmbeddingOnly(Encoder):
    """Entity vectors straight from the table; with ComplEx, the model of Lacroix et al. 2018."""

    def __init__(
        self,
        *,
        num_relations: int,
        dim: int,
        scale: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(
            num_relations=num_relations, dim=dim, num_layers=0, scale=scale, generator=generator
        )

    def layer(
        self,
        index: int,
        x: Float[Tensor, "entity dim"],
        relation: Float[Tensor, "relation dim"],
        block: Block,
    ) -> Float[Tensor, "target dim"]:
        raise AssertionError("an encoder without layers was asked for one")
