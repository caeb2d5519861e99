"""Neighbour sampling: seeds and their sampled k-hop in-neighbourhood (GraphSAGE)."""

from __future__ import annotations

from collections.abc import Sequence

from kgscale.batch import SubgraphBatch
from kgscale.errors import ConfigError
from kgscale.graph.adjacency import Adjacency
from kgscale.kernels.sample import sample_neighbors
from kgscale.sampling.base import SeedStrategy
from kgscale.sampling.leakage import hide_asked
from kgscale.sampling.questions import Asked, Candidates, LinkQuestions, Positions, Questions


class NeighborStrategy(SeedStrategy):
    """Seeds (the queries' heads and the candidates) and a sample of their in-edges, hop by hop.

    Costs, per step, about ``seeds × fan-out`` edges whatever the size of the graph; choose it
    when the graph does not fit, degrees are skewed, or steps should be small. Hamilton et al.
    2017, algorithm 2; uniform without replacement, so that a mean over the sample is an unbiased
    mean over the neighbourhood.

    Args:
        graph: train edges in both directions.
        questions: what is asked; the train triples if nothing else is given.
        num_layers: layers of the encoder that reads the batches.
        fanout: in-edges kept per entity, one number per layer from the seeds outwards; -1 keeps
            all.
        per_relation: keep that many of *each relation* of an entity, so that rare relations
            are not drowned by frequent ones.
        batch_size: distinct (head, relation) queries per step and rank.
        candidates: ``all`` entities, or how many random ones are shared by the queries of a step
            (its own answers come on top).
        seed: of everything drawn here.
    """

    def __init__(
        self,
        *,
        graph: Adjacency,
        questions: Questions | None = None,
        num_layers: int,
        fanout: Sequence[int],
        batch_size: int,
        candidates: int | str = "all",
        per_relation: bool = False,
        seed: int = 0,
    ) -> None:
        self.fanout = _check_fanout(fanout, num_layers)
        among = Candidates.of(candidates, graph.indptr.shape[0] - 1)
        super().__init__(
            questions=LinkQuestions(graph) if questions is None else questions,
            candidates=among,
            batch_size=batch_size,
            seed=seed,
        )
        self.graph, self.per_relation = graph, per_relation

    def describe(self) -> str:
        fanout = "-".join("all" if k < 0 else str(k) for k in self.fanout)
        sampled = (
            f"each on the sampled in-neighbourhood of its seeds (fan-out {fanout}"
            f"{' per relation' if self.per_relation else ''})"
            if self.fanout
            else "without message passing"
        )
        asked, among = self.questions.describe(self.candidates)
        return (
            f"Neighbour sampling: every epoch {asked}, {self.batch_size:,} a step,"
            f" {sampled}{among}."
        )

    def cut(self, asked: Asked, *, seed: int) -> SubgraphBatch:
        sample = sample_neighbors(
            self.graph.indptr,
            self.graph.source,
            self.graph.relation,
            asked.seeds,
            self.fanout,
            seed=seed,
            per_relation=self.per_relation,
        )
        query = asked.query(Positions(asked.seeds))
        return hide_asked(sample, self.graph, asked.triple, query)


def _check_fanout(fanout: Sequence[int], num_layers: int) -> tuple[int, ...]:
    if num_layers == 0:
        return ()
    if len(fanout) != num_layers or any(k == 0 or k < -1 for k in fanout):
        raise ConfigError(
            f"strategy.fanout needs one positive int per layer (or -1 for all in-edges) and"
            f" encoder.num_layers is {num_layers}, got {list(fanout)}"
        )
    return tuple(fanout)
