"""R-GAT: attention over typed edges, whose scores are a sum of three terms."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from kgscale.batch import Block
from kgscale.errors import ConfigError
from kgscale.kernels.attention import edge_softmax, edge_sum, relation_runs
from kgscale.models.encoders.base import (
    FLOAT,
    LONG,
    Activation,
    BlockSize,
    Encoder,
    LayerBytes,
    block_inputs,
    glorot,
    head_width,
    updates,
)

Within = Literal["target", "relation"]
SLOPE = 0.2
"""Of the leaky rectifier below zero, as in GAT."""


class RGAT(Encoder):
    """``h_i' = act(W_0 h_i + sum_(j,r) a_ijr (m_r * W h_j))``, ``*`` by element, and per head
    ``a_ijr = softmax LeakyReLU(u · W h_j + v · W h_i + b_r)``.

    Relational graph attention (Busbridge et al. 2019, additive scores) with the matrix of a
    relation ``diag(m_r) W`` and, in the scores, a bias ``b_r``: cheap for hundreds of relations.
    ``m_r`` starts at random numbers of variance one, so that a target's sum tells from the start
    by which relation a neighbour came; all at one, as in GAT (Veličković et al. 2018), classes
    that depend on the relation were learnt far worse.

    Args:
        heads: attention heads; each has ``dim / heads`` features.
        within: the shares of a target's in-edges sum to one over all of them (ARGAT), or over
            those of each relation (WIRGAT), whose sums are then added.
        residual: add the layer's input to its output, see :class:`Update`.
    """

    def __init__(
        self,
        *,
        num_relations: int,
        dim: int,
        num_layers: int = 1,
        heads: int = 4,
        within: Within = "target",
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
        if within not in get_args(Within):
            raise ConfigError(
                f"encoder.within is one of {', '.join(get_args(Within))}; got {within!r}"
            )
        width = head_width(dim, heads)
        self.heads, self.within = heads, within

        def weights(*shape: int) -> nn.ParameterList:
            return nn.ParameterList(glorot(*shape, generator=generator) for _ in range(num_layers))

        self.map, self.loop = weights(dim, dim), weights(dim, dim)
        self.to_source, self.to_target = weights(heads, width), weights(heads, width)
        self.scale = nn.ParameterList(
            torch.randn(2 * num_relations, dim, generator=generator) for _ in range(num_layers)
        )
        self.bias = nn.ParameterList(
            torch.zeros(2 * num_relations, heads) for _ in range(num_layers)
        )
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
        value, source, kind = inputs.x @ self.map[index], inputs.source, block.relation.long()
        share = self._share(index, value, source, block)
        mixed = edge_sum(share, value, self.scale[index], block.indptr, source, kind)
        own = inputs.x[: block.num_targets]
        out: Tensor = self.update[index](own, mixed + own @ self.loop[index])
        return out

    def memory(self, index: int, size: BlockSize) -> LayerBytes:
        """An estimate.

        Kept are the mapped inputs, the update's rows and, per edge, the logits and shares of all
        heads and its places (32 bytes; twice that where the softmax is over relations). The
        gradient has four times the inputs, the sum's, and three numbers per edge and head.
        """
        row, places = FLOAT * self.dim, 4 * LONG * (1 if self.within == "target" else 2)
        edges = size.edges * (places + 2 * FLOAT * self.heads)
        kept = size.inputs * row + edges + self.update_bytes(index, size)
        more = (size.targets + 4 * size.inputs) * row + 3 * FLOAT * self.heads * size.edges
        return LayerBytes(kept, size.inputs * row + edges + more)

    def _share(self, index: int, value: Tensor, source: Tensor, block: Block) -> Tensor:
        part = value.view(-1, self.heads, self.dim // self.heads)
        sent = (part * self.to_source[index]).sum(dim=2)
        asked = (part[: block.num_targets] * self.to_target[index]).sum(dim=2)
        target = torch.repeat_interleave(block.indptr.diff(), output_size=source.shape[0])
        logits = sent.index_select(0, source) + asked.index_select(0, target)
        logits = logits + self.bias[index].index_select(0, block.relation.long())
        logits = functional.leaky_relu(logits, SLOPE)
        if self.within == "target":
            return edge_softmax(logits, block.indptr)
        order, runs = relation_runs(
            block.indptr, block.relation, num_relations=2 * self.num_relations
        )
        share = edge_softmax(logits.index_select(0, order), runs)
        return share.index_select(0, order.argsort())
