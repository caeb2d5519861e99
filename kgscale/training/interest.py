"""Training for recommendation: links of one relation in, ranked lists of items out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.distributed as dist

from kgscale.inference.recommend import (
    Recommender,
    evaluate_items,
    item_metrics,
    model_scores,
)
from kgscale.sampling.interest import Interest
from kgscale.training.link import LinkPrediction


class InterestPrediction(LinkPrediction):
    """Trains a link model on one relation; validates by the lists that it makes.

    Args:
        cuts: lengths of the lists; the last one's NDCG chooses the checkpoint.
        more: as for :class:`LinkPrediction`.
    """

    uses_all_parameters = False

    def __init__(self, *, interest: Interest, cuts: Sequence[int], **more: Any) -> None:
        super().__init__(**more)
        self.interest, self.cuts = interest, tuple(cuts)

    @property
    def monitor(self) -> str:
        return f"ndcg@{self.cuts[-1]}"

    def validate(self) -> dict[str, float]:
        rank, world_size = self.trainer.global_rank, self.trainer.world_size
        scores = model_scores(self.embedder().every, self.model.decoder, self.interest)
        recommender = Recommender(
            scores=scores, interest=self.interest, seen=self.known, memory=self.memory
        )
        share = slice(rank, None, world_size)
        sums = evaluate_items(recommender, self.valid, self.cuts, part=share)
        if world_size > 1:
            dist.all_reduce(sums)
        found = item_metrics(sums, self.cuts, len(self.interest.items))
        # What several ranks list is not counted apart.
        return {name: value for name, value in found.items() if "coverage" not in name}
