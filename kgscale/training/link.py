"""Training for link prediction: questions in, full filtered ranking out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from kgscale.batch import LinkQueries, SubgraphBatch
from kgscale.errors import ConfigError
from kgscale.graph.known import KnownFacts
from kgscale.inference.embed import GraphVectors
from kgscale.inference.evaluate import evaluate, model_ranker
from kgscale.losses import Loss, Scalar, fused_softmax_loss, mean_penalty, relation_queries
from kgscale.models.decoders import Decoder
from kgscale.models.link import LinkModel
from kgscale.training.distributed import sum_over_ranks
from kgscale.training.module import GraphModule
from kgscale.types import EntityVectors, RelationVectors, Triples, Vectors


class LinkPrediction(GraphModule):
    """Trains a :class:`LinkModel`; validates by full filtered ranking.

    Args:
        known: all facts, left out of the rivals of a true tail.
        valid: triples that choose the checkpoint.
        n3: weight of the nuclear 3-norm of the vectors in each asked triple (Lacroix et al.
            2018), 0 for none.
        l2: weight of their squared 2-norm.
        official: a benchmark's own metric of the vectors by its name, which then chooses the
            checkpoint instead of the MRR.
        relation: weight of a second question, which relation joins the two entities of each
            asked triple (Chen et al. 2021).
        more: as for :class:`GraphModule`.
    """

    model: LinkModel
    uses_all_parameters = True

    def __init__(
        self,
        *,
        loss: Loss,
        known: KnownFacts,
        valid: Triples,
        n3: float = 0.0,
        l2: float = 0.0,
        relation: float = 0.0,
        official: tuple[str, Callable[[GraphVectors, Decoder], float]] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(**more)
        self.loss, self.known, self.valid = loss, known, valid
        self.n3, self.l2, self.relation = n3, l2, relation
        self.official = official
        if relation and not self.model.decoder.is_linear_in_relation:
            raise ConfigError(
                f"loss.relation asks for scores that are linear in the relation, and those of"
                f" {type(self.model.decoder).__name__} are not; use decoder=complex, distmult or"
                " tucker, or loss.relation=0"
            )

    @property
    def monitor(self) -> str:
        return "mrr" if self.official is None else f"official_{self.official[0]}"

    @property
    def has_validation(self) -> bool:
        return len(self.valid) > 0

    def set_score_dtype(self, dtype: torch.dtype) -> None:
        self.model.score_dtype = dtype

    def loss_of(self, batch: SubgraphBatch) -> tuple[Scalar, int]:
        model, query = self.model, batch.query
        assert isinstance(query, LinkQueries)
        entity, relation = model.encode(batch)
        loss = self.loss(
            model.question(entity, relation, query),
            model.candidates(entity, query),
            query,
            compare=model.compare,
            product=model.score_dtype if model.decoder.is_product else None,
        )
        if self.n3:
            loss = loss + self.n3 * self._penalty(entity, relation, query, self._cube)
        if self.l2:
            loss = loss + self.l2 * self._penalty(entity, relation, query, _square)
        if self.relation:
            loss = loss + self.relation * self._relation_loss(entity, relation, query)
        return loss, query.step_answers

    def _cube(self, rows: Vectors) -> torch.Tensor:
        return self.model.decoder.penalty_modulus(rows).pow(3).sum(dim=-1)

    def _penalty(
        self,
        entity: EntityVectors,
        relation: RelationVectors,
        query: LinkQueries,
        of: Callable[[torch.Tensor], torch.Tensor],
    ) -> torch.Tensor:
        question = of(entity[query.head]) + of(relation[query.relation])
        return mean_penalty(question, of(entity[query.answer]), query)

    def _relation_loss(
        self, entity: EntityVectors, relation: RelationVectors, query: LinkQueries
    ) -> torch.Tensor:
        head = entity[query.head[query.answer_query]]
        pair = self.model.decoder.pair(head, entity[query.answer])
        assert pair is not None
        asked = relation_queries(query, num_relations=relation.shape[0])
        return fused_softmax_loss(pair, relation, asked, dtype=self.model.score_dtype)

    def validate(self) -> dict[str, float]:
        rank, world_size = self.trainer.global_rank, self.trainer.world_size
        vectors, decoder = self.embedder().every, self.model.decoder
        ranker = model_ranker(vectors, decoder, self.known, memory=self.memory)
        report = evaluate(ranker, self.valid, self.graph, shard=rank, num_shards=world_size)
        metrics = sum_over_ranks(report).overall()
        found = {name: metrics[name] for name in ("mrr", "hits@1", "hits@3", "hits@10")}
        if self.official is not None:
            _, measure = self.official
            found[self.monitor] = measure(vectors, decoder)
        return found


def _square(rows: torch.Tensor) -> torch.Tensor:
    return rows.square().sum(dim=-1)
