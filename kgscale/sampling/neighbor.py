"""Neighbour sampling: seeds and their sampled k-hop in-neighbourhood (GraphSAGE)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from kgscale.batch import LinkQueries, SubgraphBatch
from kgscale.errors import ConfigError
from kgscale.graph.adjacency import Adjacency
from kgscale.kernels.sample import sample_neighbors
from kgscale.sampling.leakage import hide_asked
from kgscale.sampling.queries import TrainQueries, mix_seed


class NeighborStrategy:
    """Seeds (the queries' heads and the candidates) and a sample of their in-edges, hop by hop.

    Costs, per step, about ``seeds × fan-out`` edges whatever the size of the graph; choose it
    when the graph does not fit, degrees are skewed, or steps should be small. Hamilton et al.
    2017, algorithm 2; uniform without replacement, so that a mean over the sample is an unbiased
    mean over the neighbourhood.

    Args:
        graph: train edges in both directions.
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
        num_layers: int,
        fanout: Sequence[int],
        batch_size: int,
        candidates: int | str = "all",
        per_relation: bool = False,
        seed: int = 0,
    ) -> None:
        self.fanout = _check_fanout(fanout, num_layers)
        if batch_size < 1:
            raise ConfigError(f"strategy.batch_size needs a positive int, got {batch_size}")
        if candidates != "all" and (isinstance(candidates, str) or candidates < 1):
            raise ConfigError(f"strategy.candidates is all or a positive int, got {candidates!r}")
        self.graph, self.queries = graph, TrainQueries(graph)
        self.num_entities = graph.indptr.shape[0] - 1
        self.batch_size, self.per_relation, self.seed = batch_size, per_relation, seed
        enough = isinstance(candidates, str) or candidates >= self.num_entities
        self.candidates = None if enough else int(candidates)
        self._order: dict[int, Int64[Tensor, " query"]] = {}

    def describe(self) -> str:
        fanout = "-".join("all" if k < 0 else str(k) for k in self.fanout)
        against = f"{self.candidates:,} random candidates" if self.candidates else "all entities"
        sampled = (
            f"each on the sampled in-neighbourhood of its seeds (fan-out {fanout}"
            f"{' per relation' if self.per_relation else ''})"
            if self.fanout
            else "without message passing"
        )
        return (
            f"Neighbour sampling: every epoch asks {len(self.queries):,} distinct (head, relation)"
            f" queries, {self.batch_size:,} a step, {sampled}, ranked against {against}."
        )

    def num_batches(self, *, world_size: int) -> int:
        return max(1, -(-len(self.queries) // (self.batch_size * world_size)))

    def batch(self, epoch: int, index: int, *, rank: int, world_size: int) -> SubgraphBatch:
        step = self._step(epoch, index, world_size)
        start, stop = share(len(step), world_size, rank)
        mine = step[start:stop]
        seed = mix_seed(self.seed, epoch, index)
        head, relation = self.queries.head(mine), self.queries.relation(mine)
        row, tail, _ = self.queries.answers(mine)
        _, step_tail, asked = self.queries.answers(step)
        candidate_id, weight = self._candidates(step_tail, seed)
        seeds = torch.cat([candidate_id, _new(head, candidate_id)])
        place = Positions(seeds)
        sample = sample_neighbors(
            self.graph.indptr,
            self.graph.source,
            self.graph.relation,
            seeds,
            self.fanout,
            seed=seed,
            per_relation=self.per_relation,
        )
        query = LinkQueries(
            head=place(head),
            relation=relation,
            num_candidates=candidate_id.shape[0],
            answer_query=row,
            answer=place(tail),
            candidate_weight=weight,
            step_queries=step.shape[0],
            step_answers=step_tail.shape[0],
        )
        return hide_asked(sample, self.graph.triple, asked, query)

    def _step(self, epoch: int, index: int, world_size: int) -> Int64[Tensor, " query"]:
        """All ranks' queries of a step. Nearly equal parts: none is ever empty."""
        order = self._order.get(epoch)
        if order is None:
            order = self.queries.order(seed=self.seed, epoch=epoch)
            self._order = {epoch: order}
        start, stop = share(len(order), self.num_batches(world_size=world_size), index)
        return order[start:stop]

    def _candidates(
        self, answer: Int64[Tensor, " answer"], seed: int
    ) -> tuple[Int64[Tensor, " candidate"], Float[Tensor, " candidate"] | None]:
        """The step's answers, random others, and how many entities each stands for."""
        if self.candidates is None:
            return torch.arange(self.num_entities), None
        answer = torch.unique(answer)
        others = self.num_entities - answer.shape[0]
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randint(self.num_entities, (self.candidates,), generator=generator)
        drawn = _new(drawn, answer)
        weight = torch.ones(answer.shape[0] + drawn.shape[0])
        weight[answer.shape[0] :] = others / max(1, drawn.shape[0])
        return torch.cat([answer, drawn]), weight


def share(total: int, parts: int, index: int) -> tuple[int, int]:
    """Bounds of part ``index`` when ``total`` things are dealt into nearly equal parts."""
    size, rest = divmod(total, parts)
    start = index * size + min(index, rest)
    return start, start + size + (index < rest)


class Positions:
    """Where each of some distinct ids stands in their list."""

    def __init__(self, ids: Int64[Tensor, " id"]) -> None:
        self._sorted, self._position = ids.sort()

    def __call__(self, ids: Int64[Tensor, " asked"]) -> Int64[Tensor, " asked"]:
        return self._position[torch.searchsorted(self._sorted, ids)]


def _new(ids: Int64[Tensor, " id"], known: Int64[Tensor, " known"]) -> Int64[Tensor, " new"]:
    """The distinct ``ids`` that are not ``known``, ascending."""
    ids = torch.unique(ids)
    return ids[~torch.isin(ids, known)]


def _check_fanout(fanout: Sequence[int], num_layers: int) -> tuple[int, ...]:
    if num_layers == 0:
        return ()
    if len(fanout) != num_layers or any(k == 0 or k < -1 for k in fanout):
        raise ConfigError(
            f"strategy.fanout needs one positive int per layer (or -1 for all in-edges) and"
            f" encoder.num_layers is {num_layers}, got {list(fanout)}"
        )
    return tuple(fanout)
