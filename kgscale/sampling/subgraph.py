"""Subgraphs: a small neighbourhood of its own for every seed (ShaDow)."""

from __future__ import annotations

import torch

from kgscale.batch import LinkQueries, SubgraphBatch
from kgscale.errors import ConfigError
from kgscale.graph.adjacency import Adjacency
from kgscale.kernels.ego import EgoSample, HiddenRows, Method, coverage, ego_subgraphs
from kgscale.sampling.base import SeedStrategy
from kgscale.sampling.leakage import asked_edges
from kgscale.sampling.questions import Asked, Candidates, LinkQuestions, Positions, Questions


class SubgraphStrategy(SeedStrategy):
    """Every seed in a subgraph of the ``size`` entities nearest to it, apart from the others'.

    Zeng et al. 2021 (ShaDow): depth and scope are decoupled, so that an encoder may have more
    layers than the subgraph has hops. Costs ``seeds × size`` entities and the edges among them at
    every layer; choose it for deep encoders, and where hubs would pull in half of the graph.

    Args:
        graph: train edges in both directions.
        questions: what is asked; the train triples if nothing else is given.
        num_layers: layers of the encoder; each sees all edges of a subgraph.
        size: the most entities of a subgraph, its seed among them.
        method: ``ppr`` takes those of highest personalised PageRank, ``khop`` goes breadth first.
        restart: chance that the walk of ``ppr`` ends at each step.
        tolerance: error of a PageRank per in-edge; a coarser one is faster.
        hops: steps of ``khop``.
        fanout: in-edges drawn for each entity of ``khop``.
        batch_size: distinct (head, relation) queries per step and rank.
        candidates: ``all`` entities, or how many random ones are shared by the queries of a step.
        seed: of everything drawn here.
    """

    def __init__(
        self,
        *,
        graph: Adjacency,
        questions: Questions | None = None,
        num_layers: int,
        size: int,
        batch_size: int,
        method: Method = "ppr",
        restart: float = 0.15,
        tolerance: float = 1e-3,
        hops: int = 2,
        fanout: int = 20,
        candidates: int | str = "all",
        seed: int = 0,
    ) -> None:
        among = Candidates.of(candidates, graph.indptr.shape[0] - 1)
        super().__init__(
            questions=LinkQuestions(graph) if questions is None else questions,
            candidates=among,
            batch_size=batch_size,
            seed=seed,
        )
        for name, value in (("size", size), ("hops", hops), ("fanout", fanout)):
            if value < 1:
                raise ConfigError(f"strategy.{name} needs a positive int, got {value}")
        check_walk(restart, tolerance)
        self.graph, self.num_layers, self.size, self.method = graph, num_layers, size, method
        self.restart, self.tolerance = restart, tolerance
        self.hops, self.fanout = hops, fanout

    def describe(self) -> str:
        near = "of highest personalised PageRank" if self.method == "ppr" else "breadth first"
        asked, among = self.questions.describe(self.candidates)
        return (
            f"Subgraphs: every epoch {asked}, {self.batch_size:,} a step, each seed in a subgraph"
            f" of its own of {self.size:,} entities {near}{among}."
        )

    def cut(self, asked: Asked, *, seed: int) -> SubgraphBatch:
        sample = self._sample(asked, seed=seed)
        entities, seeds, layers = len(sample.entity_id), len(asked.seeds), self.num_layers
        edges = len(sample.source)
        return SubgraphBatch(
            entity_id=sample.entity_id,
            indptr=sample.indptr,
            source=sample.source,
            relation=sample.relation,
            triple=self.graph.triple[sample.edge.long()].long(),
            hop_size=(seeds, *(entities,) * layers),
            hop_edges=(int(sample.indptr[seeds]), *(edges,) * (layers - 1))[:layers],
            query=asked.query(Positions(asked.seeds)),
            degree=self.graph.degree(sample.entity_id),
        )

    def _sample(self, asked: Asked, *, seed: int) -> EgoSample:
        graph = self.graph
        arrays = graph.indptr, graph.source, graph.relation
        hidden = asked_edges(graph, asked.hidden).flatten()
        return ego_subgraphs(
            *arrays,
            asked.seeds,
            size=self.size,
            method=self.method,
            restart=self.restart,
            tolerance=self.tolerance,
            hops=self.hops,
            fanout=self.fanout,
            seed=seed,
            # Neither messages nor the choice of entities may go along an answer.
            hidden=HiddenRows(torch.tensor([0, len(hidden)]), hidden),
        )

    def report(self) -> dict[str, float]:
        """Share of an example step's answers that lie in the subgraph of their head."""
        step = self._step(0, 0, 1)
        asked = self.about(step, slice(None), seed=self.seed)
        query = asked.query(Positions(asked.seeds))
        if not isinstance(query, LinkQueries):
            return {}
        sample = self._sample(asked, seed=self.seed)
        answer = asked.seeds[query.answer]
        found = coverage(sample.owner, sample.entity_id, query.head[query.answer_query], answer)
        return {"answers_covered": float(found.double().mean())}


def check_walk(restart: float, tolerance: float) -> None:
    """Settings of personalised PageRank."""
    if not 0 < restart < 1:
        raise ConfigError(f"strategy.restart needs a chance in (0, 1), got {restart}")
    if not 0 < tolerance < 1:
        raise ConfigError(f"strategy.tolerance needs a number in (0, 1), got {tolerance}")
