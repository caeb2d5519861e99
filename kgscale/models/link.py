"""A link predictor: inputs, encoder and decoder put together."""

from __future__ import annotations

import torch
from torch import nn

from kgscale.batch import LinkQueries, SubgraphBatch
from kgscale.models.decoders import Decoder
from kgscale.models.encoders import Encoder
from kgscale.models.graph_model import GraphModel
from kgscale.models.inputs import EntityInput, own_inputs
from kgscale.types import Candidates, EntityVectors, Questions, RelationVectors, Scores, Vectors


class LinkModel(GraphModel):
    """Scores every query of a batch against every candidate of the batch."""

    def __init__(self, *, inputs: EntityInput, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__(inputs=inputs, encoder=encoder)
        self.decoder = decoder
        self.score_dtype = torch.float32

    def vectors(self) -> list[nn.Parameter]:
        extra = self.decoder.extra
        return [*super().vectors(), *([] if extra is None else [extra])]

    def encode(self, batch: SubgraphBatch) -> tuple[Vectors, RelationVectors]:
        """Vectors of the batch's seeds and of all relations."""
        entity, relation = self.encoder(own_inputs(self.inputs, self.encoder, batch), batch)
        return entity, self.decoder.relations(relation)

    def question(
        self, entity: EntityVectors, relation: RelationVectors, query: LinkQueries
    ) -> Questions:
        """What each query's candidates are compared with."""
        drop = self.decoder.dropout
        return self.decoder.query(drop(entity[query.head]), drop(relation[query.relation]))

    @staticmethod
    def candidates(entity: EntityVectors, query: LinkQueries) -> Candidates:
        """Those that every query is compared with; all, where a part's gradient would copy all."""
        return entity if len(entity) == query.num_candidates else entity[: query.num_candidates]

    def compare(self, question: Questions, candidate: Candidates) -> Scores:
        return self.decoder.compare(question, candidate, dtype=self.score_dtype)

    def forward(self, batch: SubgraphBatch) -> Scores:
        query = batch.query
        assert isinstance(query, LinkQueries)
        entity, relation = self.encode(batch)
        question = self.question(entity, relation, query)
        return self.compare(question, self.candidates(entity, query))
