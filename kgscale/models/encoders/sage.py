"""GraphSAGE for typed edges: the mean of each relation's neighbours, then over relations."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kgscale.batch import Block
from kgscale.errors import ConfigError
from kgscale.kernels.aggregate import basis_linear, relation_mean_weight
from kgscale.models.encoders.base import (
    FLOAT,
    Activation,
    BlockSize,
    Encoder,
    LayerBytes,
    glorot,
    updates,
)
from kgscale.types import EdgeWeight

MATRICES = 128
"""From here on, an edge that is multiplied with every relation's coefficient costs too much."""


class RelationalSAGE(Encoder):
    """``h_i' = act(W_self h_i + mean_{r at i} W_r mean_{j in N_r(i)} h_j)``.

    GraphSAGE with the mean aggregator (Hamilton et al. 2017, algorithm 1): the map of own and
    aggregated vector side by side is the sum of two maps, and a layer norm (:class:`Update`)
    takes the place of dividing by the length. Each relation has its own aggregator; the mean
    over the relations that occur at a target, not the sum, keeps an entity with a hundred
    relations at the scale of one with two. That is also what sets it apart from R-GCN.

    Args:
        num_bases: matrices shared by all relations, ``W_r = sum_b a_rb V_b``; null means a
            matrix for each relation and direction, as is usual where there are few.
        residual: add the layer's input to its output, see :class:`Update`.
    """

    def __init__(
        self,
        *,
        num_relations: int,
        dim: int,
        num_layers: int = 1,
        num_bases: int | None = 8,
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
        if num_bases is not None and num_bases < 1:
            raise ConfigError(f"encoder.num_bases needs a positive int or null, got {num_bases}")
        if num_bases is None and 2 * num_relations > MATRICES:
            raise ConfigError(
                f"encoder.num_bases=null would need {2 * num_relations} matrices per layer, one "
                f"per relation and direction; {MATRICES} are the most, set encoder.num_bases=8"
            )
        bases = 2 * num_relations if num_bases is None else num_bases

        def weights(*shape: int) -> nn.ParameterList:
            return nn.ParameterList(glorot(*shape, generator=generator) for _ in range(num_layers))

        self.coefficient = None if num_bases is None else weights(2 * num_relations, bases)
        self.basis = weights(bases, dim, dim)
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
        basis = self.basis[index]
        coefficient = (
            torch.eye(basis.shape[0], dtype=x.dtype, device=x.device)
            if self.coefficient is None
            else self.coefficient[index]
        )
        edges = block.indptr, block.source, block.relation
        message = basis_linear(x, coefficient, basis, self._weight(block), *edges)
        own = x[block.start : block.start + block.num_targets]
        out: Tensor = self.update[index](own, message + own @ self.loop[index])
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

    def _weight(self, block: Block) -> EdgeWeight:
        """One over a relation's edges at the target, over the relations at the target."""
        weight = relation_mean_weight(block.indptr, block.relation, 2 * self.num_relations)
        num_edges = block.source.shape[0]
        row = torch.arange(block.num_targets, device=weight.device).repeat_interleave(
            block.indptr.diff(), output_size=num_edges
        )
        relations = weight.new_zeros(block.num_targets).index_add(0, row, weight)
        return weight / relations.index_select(0, row)
