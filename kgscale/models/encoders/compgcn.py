"""CompGCN: messages composed of the neighbour's and the relation's vector."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kgscale.batch import Block
from kgscale.errors import ConfigError
from kgscale.kernels.aggregate import aggregate_compose, row_mean_weight
from kgscale.models.encoders.base import (
    FLOAT,
    Activation,
    BlockSize,
    Encoder,
    LayerBytes,
    glorot,
    updates,
)

Compose = Literal["multiply", "subtract", "rotate"]


class CompGCN(Encoder):
    """``h_i' = act(W_loop (h_i ∘ r_loop) + sum_dir W_dir mean_{(j,r) in dir} (h_j ∘ r))``.

    Vashishth et al. 2020, equation 4, with two directions (given and reciprocal), the mean over
    all in-edges as normaliser, and relations updated by a linear map per layer (equation 5).
    With ``residual`` entities and relations start as the embedding-only model's (:class:`Update`).

    Args:
        compose: ``∘``: elementwise product, difference, or complex product (where the paper
            has circular correlation, which is the complex product in the Fourier domain).
    """

    def __init__(
        self,
        *,
        num_relations: int,
        dim: int,
        num_layers: int = 1,
        compose: Compose = "multiply",
        dropout: float = 0.1,
        residual: bool = True,
        activation: Activation = "tanh",
        norm: bool = True,
        scale: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(
            num_relations=num_relations,
            dim=dim,
            num_layers=num_layers,
            scale=scale,
            generator=generator,
        )
        if compose not in get_args(Compose):
            raise ConfigError(
                f"encoder.compose is one of {', '.join(get_args(Compose))}; got {compose!r}"
            )
        if compose == "rotate" and dim % 2:
            raise ConfigError(f"encoder.compose=rotate needs an even encoder.dim, got {dim}")
        self.compose, self.residual = compose, residual

        def weights(*shape: int) -> nn.ParameterList:
            return nn.ParameterList(glorot(*shape, generator=generator) for _ in range(num_layers))

        self.direction = weights(2 * dim, dim)
        self.loop = weights(dim, dim)
        self.relation_map = weights(dim, dim)
        if residual:
            for weight in self.relation_map:
                nn.init.zeros_(weight)
        self.update = updates(
            num_layers,
            dim=dim,
            dropout=dropout,
            residual=residual,
            activation=activation,
            norm=norm,
        )

    def relations(self) -> list[Float[Tensor, "relation dim"]]:
        vectors: list[Tensor] = [self.relation]
        for weight in self.relation_map:
            change = vectors[-1] @ weight
            vectors.append(vectors[-1] + change if self.residual else change)
        return vectors

    def layer(
        self,
        index: int,
        x: Float[Tensor, "entity dim"],
        relation: Float[Tensor, "relation dim"],
        block: Block,
    ) -> Float[Tensor, "target dim"]:
        message = aggregate_compose(
            x,
            relation,
            row_mean_weight(block.indptr, num_edges=block.source.shape[0]),
            block.indptr,
            block.source,
            block.relation,
            compose=self.compose,
            relations_per_slot=self.num_relations,
        )
        own = x[block.start : block.start + block.num_targets]
        mixed = message.flatten(1) @ self.direction[index] + own @ self.loop[index]
        out: Tensor = self.update[index](own, mixed)
        return out

    def memory(self, index: int, size: BlockSize) -> LayerBytes:
        """An estimate.

        Kept are the messages of two directions (``2 targets d``), the update's rows and a weight
        per edge. At the peak of the gradient these are gone but for the weights, and there are
        those of the messages and of the output (``3 targets d``) and, three times, of the input.
        """
        row, weights = FLOAT * self.dim, FLOAT * size.edges
        kept = weights + 2 * size.targets * row + self.update_bytes(index, size)
        last = weights + (3 * size.targets + 3 * size.inputs) * row
        return LayerBytes(kept, max(kept + 2 * size.targets * row, last))
