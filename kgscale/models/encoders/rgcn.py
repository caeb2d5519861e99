"""R-GCN: one linear map per relation, shared through a few bases."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kgscale.batch import Block
from kgscale.errors import ConfigError
from kgscale.kernels.aggregate import basis_linear, relation_mean_weight, row_mean_weight
from kgscale.models.encoders.base import (
    FLOAT,
    Activation,
    BlockSize,
    Encoder,
    LayerBytes,
    glorot,
    updates,
)

Normalize = Literal["relation", "degree"]


class RGCN(Encoder):
    """``h_i' = act(W_0 h_i + sum_r sum_j W_r h_j / c_ir)`` with ``W_r = sum_b a_rb V_b``.

    Schlichtkrull et al. 2018, equations 2 and 3.

    Args:
        num_bases: matrices ``V_b`` shared by all relations.
        normalize: ``c_ir`` counts the target's neighbours by the same relation, or all of its
            neighbours (the paper's choice for link prediction).
        residual: add the layer's input to its output, see :class:`Update`.
    """

    def __init__(
        self,
        *,
        num_relations: int,
        dim: int,
        num_layers: int = 1,
        num_bases: int = 8,
        normalize: Normalize = "degree",
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
        if num_bases < 1:
            raise ConfigError(f"encoder.num_bases needs a positive int, got {num_bases}")
        if normalize not in get_args(Normalize):
            raise ConfigError(
                f"encoder.normalize is one of {', '.join(get_args(Normalize))}; got {normalize!r}"
            )
        self.normalize = normalize

        def weights(*shape: int) -> nn.ParameterList:
            return nn.ParameterList(glorot(*shape, generator=generator) for _ in range(num_layers))

        self.coefficient = weights(2 * num_relations, num_bases)
        self.basis = weights(num_bases, dim, dim)
        self.loop = weights(dim, dim)
        self.update = updates(
            num_layers,
            dim=dim,
            dropout=dropout,
            residual=residual,
            activation=activation,
            norm=norm,
        )

    def layer(
        self,
        index: int,
        x: Float[Tensor, "entity dim"],
        relation: Float[Tensor, "relation dim"],
        block: Block,
    ) -> Float[Tensor, "target dim"]:
        if self.normalize == "degree":
            weight = row_mean_weight(block.indptr, num_edges=block.source.shape[0])
        else:
            weight = relation_mean_weight(block.indptr, block.relation, 2 * self.num_relations)
        message = basis_linear(
            x,
            self.coefficient[index],
            self.basis[index],
            weight,
            block.indptr,
            block.source,
            block.relation,
        )
        own = x[block.start : block.start + block.num_targets]
        mixed = message + own @ self.loop[index]
        out: Tensor = self.update[index](own, mixed)
        return out

    def memory(self, index: int, size: BlockSize) -> LayerBytes:
        """An estimate; the sums of each basis are never stored.

        Kept are the update's rows and a weight per edge. At the peak of the gradient the update's
        are gone, and there are those of the sum (``targets d``) and, three times, of the input.
        """
        row, weights = FLOAT * self.dim, FLOAT * size.edges
        kept = weights + self.update_bytes(index, size)
        last = weights + (size.targets + 3 * size.inputs) * row
        return LayerBytes(kept, max(kept + 2 * size.targets * row, last))
