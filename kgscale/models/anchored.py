"""Entities without vectors of their own, told by anchors nearby and by relations: NodePiece."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from kgscale.batch import TokenRows
from kgscale.models.linear import glorot_linear
from kgscale.types import Vectors


class AnchoredInput(nn.Module):
    """``x_i = W_2 relu(W_1 [a_1 + d_1, …, a_k + d_k, r_1, …, r_m])`` (Galkin et al. 2022).

    Of entity ``i``, ``a_j`` is the vector of its ``j``-th nearest anchor, ``d_j`` that of the
    distance, and ``r_j`` that of its ``j``-th most frequent relation. There are as many
    parameters as anchors, relations and weights ask for, whatever the number of entities.

    Args:
        count: anchors of the graph.
        nearest: anchors that describe an entity.
        hops: how far away they may be; one more where there is none.
        relations: relations that describe an entity.
        num_relations: of the graph; reciprocals have vectors too.
        width: length of the vectors of anchors, distances and relations.
        dim: length of an entity's vector.
    """

    def __init__(
        self,
        *,
        count: int,
        nearest: int,
        hops: int,
        relations: int,
        num_relations: int,
        width: int,
        dim: int,
        scale: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.nearest, self.relations = nearest, relations
        sizes = (count + 1, hops + 2, 2 * num_relations + 1)
        tables = [
            torch.empty(rows, width).normal_(std=scale, generator=generator) for rows in sizes
        ]
        self.anchor, self.hop, self.relation = map(nn.Parameter, tables)
        self.first = glorot_linear((nearest + relations) * width, 2 * dim, generator)
        self.last = glorot_linear(2 * dim, dim, generator)

    def vectors(self) -> list[nn.Parameter]:
        return [self.anchor, self.hop, self.relation]

    def forward(self, rows: TokenRows) -> Vectors:
        near = functional.embedding(rows.anchor, self.anchor)
        near = near + functional.embedding(rows.hop, self.hop)
        kinds = functional.embedding(rows.relation, self.relation)
        tokens = torch.cat([near, kinds], dim=1).flatten(1)
        return self.last(self.first(tokens).relu())  # type: ignore[no-any-return]
