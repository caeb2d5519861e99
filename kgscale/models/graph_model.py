"""What the models of entities by vectors share: inputs and encoder, and how these are optimised."""

from __future__ import annotations

from torch import nn

from kgscale.models.encoders import Encoder
from kgscale.models.inputs import EntityInput


class GraphModel(nn.Module):
    """Inputs and an encoder, and whatever a task puts after them."""

    def __init__(self, *, inputs: EntityInput, encoder: Encoder) -> None:
        super().__init__()
        self.inputs, self.encoder = inputs, encoder

    @property
    def score_dim(self) -> int:
        """Length of the vectors whose products are scores."""
        return self.encoder.dim

    def tables(self) -> list[nn.Parameter]:
        """Parameters with a row per entity, of which a step reads some."""
        return [] if self.inputs.table is None else [self.inputs.table.weight]

    def vectors(self) -> list[nn.Parameter]:
        """Dense parameters that are optimised as tables are."""
        return [self.encoder.relation, *self.inputs.vectors()]
