"""Training of a path-based reasoner: questions in, full filtered ranking out."""

from __future__ import annotations

from typing import Any

from kgscale.batch import PathQueries, SubgraphBatch
from kgscale.graph.known import KnownFacts
from kgscale.inference.evaluate import evaluate
from kgscale.inference.paths import PathRanker, PathScorer
from kgscale.losses import Scalar, path_softmax_loss
from kgscale.models.reasoners import PathReasoner
from kgscale.sampling.paths import PathCutter
from kgscale.training.distributed import sum_over_ranks
from kgscale.training.module import GraphModule
from kgscale.types import Triples


class PathReasoning(GraphModule):
    """Trains a :class:`PathReasoner`; validates by full filtered ranking.

    Args:
        cutter: cuts subgraphs for validation.
        known: all facts, left out of the rivals of a true tail.
        valid: triples that choose the checkpoint.
        more: as for :class:`GraphModule`.
    """

    model: PathReasoner
    uses_all_parameters = True

    def __init__(
        self,
        *,
        cutter: PathCutter,
        known: KnownFacts,
        valid: Triples,
        **more: Any,
    ) -> None:
        super().__init__(**more)
        self.cutter, self.known, self.valid = cutter, known, valid

    @property
    def monitor(self) -> str:
        return "mrr"

    @property
    def has_validation(self) -> bool:
        return len(self.valid) > 0

    def loss_of(self, batch: SubgraphBatch) -> tuple[Scalar, int]:
        query = batch.query
        assert isinstance(query, PathQueries)
        paths, profile = self.model.parts(batch)
        if profile is None:
            return path_softmax_loss(paths, query), query.step_answers
        # Where paths find the answer, the profile would learn little of it.
        alone = path_softmax_loss(profile, query)
        return path_softmax_loss(paths + profile, query) + alone, query.step_answers

    def scorer(self) -> PathScorer:
        return PathScorer(self.model, self.cutter)

    def validate(self) -> dict[str, float]:
        ranker = PathRanker(self.scorer(), self.known, num_entities=self.graph.indptr.shape[0] - 1)
        rank, world_size = self.trainer.global_rank, self.trainer.world_size
        report = evaluate(ranker, self.valid, self.graph, shard=rank, num_shards=world_size)
        metrics = sum_over_ranks(report).overall()
        return {name: metrics[name] for name in ("mrr", "hits@1", "hits@3", "hits@10")}
