"""What a score loses without a fact, of a reasoner over paths: the question asked without it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from kgscale.batch import FarEntities
from kgscale.inference.paths import PathScorer
from kgscale.inference.reasons.judge import Fact, Judge
from kgscale.kernels.ego import HiddenRows, locate
from kgscale.sampling.leakage import asked_edges

TOGETHER: Final = 16
"""Facts whose subgraphs are looked at together."""


class PathJudge(Judge):
    """Asks the same question in a graph without the fact, as training asks without the answer.

    Args:
        head, relation, tail: the question, and the answer that is judged; ``relation`` may be
            reciprocal. What answers it is hidden always.
    """

    def __init__(self, scorer: PathScorer, *, head: int, relation: int, tail: int) -> None:
        self._scorer = scorer
        self._asked = torch.tensor([[head, relation, tail]])
        self._own = asked_edges(scorer.cutter.graph, self._asked)
        self.score = float(self._scores(self._own))

    def losses(self, facts: Sequence[Fact]) -> Iterator[float]:
        for first in range(0, len(facts), TOGETHER):
            steps = [fact.step for fact in facts[first : first + TOGETHER]]
            triples = torch.tensor([[step.source, step.relation, step.target] for step in steps])
            edges = asked_edges(self._scorer.cutter.graph, triples)
            score = self._scores(torch.cat([self._own.expand(len(steps), -1), edges], dim=1))
            yield from (self.score - score).tolist()

    @torch.no_grad()
    def _scores(self, hidden: Int64[Tensor, "fact edge"]) -> Float[Tensor, " fact"]:
        """Of the answer, without each row of edges."""
        cutter, model = self._scorer.cutter, self._scorer.reasoner
        count, width = hidden.shape
        head, relation, tail = self._asked.expand(count, -1).contiguous().unbind(dim=1)
        rows = HiddenRows(torch.arange(0, count * width + 1, width), hidden.flatten())
        reached = cutter.sample(head, relation, rows)
        own, ids = reached.sample.owner, reached.sample.entity_id
        place = locate(own, ids, torch.arange(count), tail)
        missed = (place < 0).nonzero()[:, 0]
        far = None
        if cutter.profiles is not None:
            both = torch.cat([ids, tail[missed]]), torch.cat([own.long(), missed])
            far = FarEntities(
                entity_id=tail[missed],
                owner=missed,
                weight=torch.zeros(len(missed)),
                profile=cutter.profiles.of(*both, rows),
            )
        batch = cutter.batch(reached, cutter.queries(reached, relation, far=far))
        training, device = model.training, model.question.device
        model.eval()
        score: Tensor = model(batch.to(device)).cpu()
        if far is None:
            # No path reaches it: what the model says of such, whatever it is.
            score = torch.cat([score, model.unreached(relation[missed].to(device)).cpu()])
        model.train(training)
        place[missed] = len(ids) + torch.arange(len(missed))
        return score[place]
