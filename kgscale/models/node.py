"""A node classifier: inputs, encoder and head put together."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from kgscale.batch import NodeQueries, SubgraphBatch
from kgscale.models.encoders import Encoder
from kgscale.models.graph_model import GraphModel
from kgscale.models.heads import ClassificationHead
from kgscale.models.inputs import EntityInput, own_inputs


class NodeModel(GraphModel):
    """A logit for every asked entity of a batch and every class."""

    def __init__(self, *, inputs: EntityInput, encoder: Encoder, head: ClassificationHead) -> None:
        super().__init__(inputs=inputs, encoder=encoder)
        self.head = head

    def forward(self, batch: SubgraphBatch) -> Float[Tensor, "query class"]:
        query = batch.query
        assert isinstance(query, NodeQueries)
        vectors, _ = self.encoder(own_inputs(self.inputs, self.encoder, batch), batch)
        logits: Tensor = self.head(vectors[query.node])
        return logits
