"""LightGCN: neighbours' vectors handed on as they are, for vectors that are learned anyway."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kgscale.batch import Block
from kgscale.errors import ConfigError
from kgscale.kernels.aggregate import aggregate_compose
from kgscale.models.encoders.base import FLOAT, BlockSize, Encoder, LayerBytes


class LightGCN(Encoder):
    """``x' = (x + A x) / 2`` with ``A = sum_r g_r D^-1/2 A_r D^-1/2``, without weights.

    After ``L`` layers that is ``sum_k binom(L, k) A^k x / 2^L``: the vectors of all layers are
    combined as in He et al. 2020 (equations 3 and 4), with binomial shares for their equal ones,
    so that a layer needs no more than the one before. ``D`` counts the edges of an entity in the
    whole graph; sampled edges stand for all of them.

    Args:
        gates: learn a factor ``g_r`` for each relation and direction, 1 at first (the relational
            kin of LightGCN); without, all relations count alike.
    """

    reads_degree = True

    def __init__(
        self,
        *,
        num_relations: int,
        dim: int,
        num_layers: int = 3,
        gates: bool = True,
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
        self.gate = nn.Parameter(torch.ones(num_layers, 2 * num_relations)) if gates else None

    def layer(
        self,
        index: int,
        x: Float[Tensor, "entity dim"],
        relation: Float[Tensor, "relation dim"],
        block: Block,
    ) -> Float[Tensor, "target dim"]:
        held = block.indptr.diff()
        own = x[block.start : block.start + block.num_targets]
        degree = held if block.degree is None else block.degree
        if block.degree is None and block.num_targets < x.shape[0]:
            raise ConfigError(
                "encoder=lightgcn divides by the degrees of neighbours, which these batches don't"
                " tell; set strategy=neighbor or strategy=full_batch"
            )
        root = degree.to(x.dtype).clamp(min=1).sqrt()
        target = root[block.start : block.start + block.num_targets]
        row = torch.arange(block.num_targets, device=x.device).repeat_interleave(
            held, output_size=block.source.shape[0]
        )
        # Of a sample, each edge stands for degree / held: the root of the degree is left on top.
        weight = (target / held.clamp(min=1))[row] / root[block.source.long()]
        gate = x.new_ones(2 * self.num_relations) if self.gate is None else self.gate[index]
        message = aggregate_compose(
            x,
            gate[:, None].expand(-1, self.dim),
            weight,
            block.indptr,
            block.source,
            block.relation,
            compose="multiply",
            relations_per_slot=2 * self.num_relations,
        )
        return (own + message[:, 0]) / 2

    def memory(self, index: int, size: BlockSize) -> LayerBytes:
        """An estimate: a weight per edge and the inputs are kept, which have a gradient."""
        row = FLOAT * self.dim
        kept = FLOAT * size.edges
        return LayerBytes(kept, kept + (2 * size.targets + 2 * size.inputs) * row)
