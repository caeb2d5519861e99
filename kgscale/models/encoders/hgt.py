"""HGT: scaled dot-product attention whose keys and messages depend on the relation."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kgscale.batch import Block
from kgscale.errors import ConfigError
from kgscale.kernels.attention import edge_dot, edge_softmax, edge_sum
from kgscale.models.encoders.base import (
    FLOAT,
    LONG,
    Activation,
    BlockSize,
    Encoder,
    Inputs,
    LayerBytes,
    block_inputs,
    glorot,
    head_width,
    updates,
)

RelationMap = Literal["diagonal", "matrix"]
MATRICES = 128
"""From here on, a map per target and relation takes too much memory."""


class HGT(Encoder):
    """``h_i' = act(W_0 h_i + O sum_(j,r) a_ijr (V h_j) M_r)``, and per head
    ``a_ijr = softmax_(j,r) (K h_j) A_r (Q h_i)^T / sqrt(width)``.

    The Heterogeneous Graph Transformer (Hu et al. 2020, equations 3 to 5), adapted to flat
    relations: a block doesn't say which type an entity has, so ``Q``, ``K``, ``V`` and ``O`` are
    shared by all types where the paper has one per type, and what depends on types is left to
    the relations, which seldom join more than one pair of types. The paper's prior ``mu_r`` is a
    factor of ``A_r``; there is no temporal encoding. The update is :class:`Update`'s.

    Args:
        heads: attention heads; each has ``dim / heads`` features.
        relation_map: ``A_r`` and ``M_r`` are diagonal, for any number of relations, or a matrix
            per head as in the paper, for few. ``A_r`` starts as the identity; ``M_r`` at random,
            as in :class:`RGAT`.
        residual: add the layer's input to its output, see :class:`Update`.
    """

    def __init__(
        self,
        *,
        num_relations: int,
        dim: int,
        num_layers: int = 1,
        heads: int = 4,
        relation_map: RelationMap = "diagonal",
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
        if relation_map not in get_args(RelationMap):
            raise ConfigError(
                f"encoder.relation_map is one of {', '.join(get_args(RelationMap))}; "
                f"got {relation_map!r}"
            )
        if relation_map == "matrix" and 2 * num_relations > MATRICES:
            raise ConfigError(
                f"encoder.relation_map=matrix would need {2 * num_relations} matrices, one per "
                f"relation and direction; {MATRICES} are the most, set "
                "encoder.relation_map=diagonal"
            )
        width = head_width(dim, heads)
        self.heads, self.relation_map = heads, relation_map
        kinds = 2 * num_relations
        start = torch.ones(kinds, dim)
        if relation_map == "matrix":
            start = torch.eye(width).repeat(kinds, heads, 1, 1)

        def weights() -> nn.ParameterList:
            return nn.ParameterList(
                glorot(dim, dim, generator=generator) for _ in range(num_layers)
            )

        def message() -> Tensor:
            if relation_map == "matrix":
                return glorot(kinds, heads, width, width, generator=generator)
            return torch.randn(kinds, dim, generator=generator)

        self.query, self.key, self.value = weights(), weights(), weights()
        self.out, self.loop = weights(), weights()
        self.attention = nn.ParameterList(start.clone() for _ in range(num_layers))
        self.message = nn.ParameterList(message() for _ in range(num_layers))
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
        inputs = block_inputs(x, block)
        own = inputs.x[: block.num_targets]
        mix = self._diagonal if self.relation_map == "diagonal" else self._matrix
        mixed = mix(index, inputs, block) @ self.out[index]
        out: Tensor = self.update[index](own, mixed + own @ self.loop[index])
        return out

    def memory(self, index: int, size: BlockSize) -> LayerBytes:
        """An estimate.

        Kept are keys, values, queries and sums, the update's rows and, per edge, the shares of
        all heads and its places (12 bytes; with matrices 28). The gradient has the inputs, keys
        and values once more each, the queries' and sums', and two numbers per edge and head.
        Matrices keep queries and sums for each relation.
        """
        row, of_edge = FLOAT * self.dim, FLOAT * self.heads * size.edges
        kinds = 1 if self.relation_map == "diagonal" else 1 + 2 * self.num_relations
        places = (FLOAT + LONG + (0 if kinds == 1 else 2 * LONG)) * size.edges
        vectors = (2 * size.inputs + 2 * kinds * size.targets) * row
        more = (3 * size.inputs + 2 * kinds * size.targets) * row + 2 * of_edge
        kept = vectors + of_edge + places
        return LayerBytes(kept + self.update_bytes(index, size), kept + more)

    def _projections(self, index: int, inputs: Inputs, targets: int) -> list[Tensor]:
        query = inputs.x[:targets] @ self.query[index]
        scaled = query * (self.dim // self.heads) ** -0.5
        return [scaled, inputs.x @ self.key[index], inputs.x @ self.value[index]]

    def _diagonal(self, index: int, inputs: Inputs, block: Block) -> Tensor:
        query, key, value = self._projections(index, inputs, block.num_targets)
        edges = block.indptr, inputs.source, block.relation
        logits = edge_dot(query, key, self.attention[index], *edges, heads=self.heads)
        share = edge_softmax(logits, block.indptr)
        return edge_sum(share, value, self.message[index], *edges)

    def _matrix(self, index: int, inputs: Inputs, block: Block) -> Tensor:
        """The maps are taken to the targets' side, of which there are fewer than of sources.

        Edges in the order of target and relation, each pair of which is a row of its own.
        """
        query, key, value = self._projections(index, inputs, block.num_targets)
        kinds, width = 2 * self.num_relations, self.dim // self.heads
        attention, message = self.attention[index], self.message[index]
        pair, order = _pairs(block, kinds)
        edges = pair, inputs.source[order], torch.zeros_like(order)
        none = key.new_ones(1, self.dim)
        asked = torch.einsum("rhkq,thq->trhk", attention, query.view(-1, self.heads, width))
        logits = edge_dot(asked.reshape(-1, self.dim), key, none, *edges, heads=self.heads)
        total = edge_sum(edge_softmax(logits, block.indptr), value, none, *edges)
        part = total.view(-1, kinds, self.heads, width)
        return torch.einsum("trhv,rhvm->thm", part, message).flatten(1)


def _pairs(block: Block, num_relations: int) -> tuple[Tensor, Tensor]:
    """The bounds of every (target, relation), and an order of the edges that they hold in."""
    target = torch.repeat_interleave(block.indptr.diff(), output_size=block.source.shape[0])
    key, order = (target * num_relations + block.relation).sort(stable=True)
    bounds = torch.arange(block.num_targets * num_relations + 1, device=key.device)
    return torch.searchsorted(key, bounds), order
