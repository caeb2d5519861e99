"""The table of learned entity vectors: the one parameter that can outgrow a device."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional

from kgscale.types import Vectors


class EntityTable(nn.Module):
    """One learned vector per entity; a step reads, and its gradient names, only some rows.

    The gradient is sparse (row ids and rows), so a row-wise optimiser pays for what a batch
    touched and never for the table.
    """

    def __init__(
        self, *, num_entities: int, dim: int, scale: float = 0.1, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_entities, dim))
        with torch.no_grad():
            self.weight.normal_(std=scale, generator=generator)

    def forward(self, entity_id: Int[Tensor, " entity"]) -> Vectors:
        return functional.embedding(entity_id, self.weight, sparse=True)
