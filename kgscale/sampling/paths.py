"""Paths: for every question a subgraph that spreads from its head, for models without vectors."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Int32, Int64
from torch import Tensor
from torch.nn import functional

from kgscale.batch import FarEntities, PathQueries, StepEdges, SubgraphBatch
from kgscale.errors import ConfigError
from kgscale.graph.adjacency import Adjacency
from kgscale.graph.known import KnownFacts
from kgscale.graph.reciprocal import inverse
from kgscale.kernels.ego import Asked, HiddenRows, ego_subgraphs, locate
from kgscale.kernels.reach import Reach, reach
from kgscale.sampling.base import share
from kgscale.sampling.leakage import asked_edges, edges_between
from kgscale.sampling.profiles import Profiles, draw_far
from kgscale.sampling.queries import mix_seed
from kgscale.sampling.subgraph import check_walk
from kgscale.sampling.ways import Ways, even_ways, learn_ways
from kgscale.types import Ids, Triples

Hide = Literal["edge", "pair"]


class PathCutter:
    """Cuts, for each question, the entities nearest to its head and all edges among them.

    Args:
        graph: train edges in both directions.
        hops: steps of messages; what is further from the head is left out.
        size: the most entities of a subgraph, those of highest personalised PageRank.
        restart: chance that the walk ends at each step.
        tolerance: error of a PageRank per in-edge.
        reserved: share of the places for the best of the entities that the relation asked for
            leads to from anywhere.
        profile: look at the edges of entities wherever they lie too.
        ways: weights that a walk goes by, for every relation asked for.
    """

    def __init__(
        self,
        graph: Adjacency,
        *,
        hops: int,
        size: int,
        restart: float = 0.15,
        tolerance: float = 1e-5,
        reserved: float = 0.0,
        profile: bool = False,
        ways: Ways | None = None,
    ) -> None:
        if size < 2:
            raise ConfigError(f"strategy.size needs an int of at least 2, got {size}")
        if not 0 <= reserved <= 1:
            raise ConfigError(f"strategy.reserved needs a share in [0, 1], got {reserved}")
        check_walk(restart, tolerance)
        self.graph, self.hops, self.size = graph, hops, size
        self.restart, self.tolerance, self.reserved = restart, tolerance, reserved
        self.ways = ways
        self.profiles = Profiles(graph) if profile else None

    def settings(self) -> dict[str, int | float]:
        """What cuts the same subgraphs again, beside the ways."""
        return {
            "hops": self.hops,
            "size": self.size,
            "restart": self.restart,
            "tolerance": self.tolerance,
            "reserved": self.reserved,
            "profile": self.profiles is not None,
        }

    def sample(self, head: Ids, relation: Ids, hidden: HiddenRows | None = None) -> Reach:
        graph = self.graph
        sample = ego_subgraphs(
            graph.indptr,
            graph.source,
            graph.relation,
            head,
            size=self.size,
            method="ppr",
            restart=self.restart,
            tolerance=self.tolerance,
            asked=Asked(relation, self.ways, round(self.reserved * self.size)),
            hidden=hidden,
        )
        relations = 2 * graph.num_relations
        return reach(sample, seeds=len(head), steps=self.hops, relations=relations)

    def queries(
        self,
        reached: Reach,
        relation: Int64[Tensor, " query"],
        *,
        answer: Int64[Tensor, " answer"] | None = None,
        known: Int64[Tensor, " known"] | None = None,
        far: FarEntities | None = None,
    ) -> PathQueries:
        """Questions about the subgraphs of their heads, if need be with answers and known tails."""
        if far is None and self.profiles is not None:
            none = relation[:0]
            profile = self.profiles.of(reached.sample.entity_id)
            far = FarEntities(entity_id=none, owner=none, weight=none.float(), profile=profile)
        answer, known = (relation[:0] if place is None else place for place in (answer, known))
        return PathQueries(
            relation=relation,
            owner=reached.sample.owner.long(),
            answer=answer,
            known=known,
            steps=tuple(StepEdges(**step._asdict()) for step in reached.steps),
            step_answers=max(1, len(answer)),
            far=far,
        )

    def batch(self, reached: Reach, query: PathQueries) -> SubgraphBatch:
        """Entities by their hops from the heads, and all edges among them."""
        sample, size = reached.sample, reached.size
        return SubgraphBatch(
            entity_id=sample.entity_id,
            indptr=sample.indptr,
            source=sample.source,
            relation=sample.relation,
            triple=self.graph.triple[sample.edge.long()].long(),
            hop_size=size,
            hop_edges=tuple(int(sample.indptr[rows]) for rows in size[:-1]),
            query=query,
        )


def known_places(
    owner: Int32[Tensor, " entity"],
    entity_id: Int64[Tensor, " entity"],
    facts: KnownFacts,
    head: Ids,
    relation: Ids,
) -> Int64[Tensor, " known"]:
    """The places of all known tails of each (head, relation, ?) among its entities."""
    indptr, tail = facts.tails(head, relation)
    query = torch.arange(len(head)).repeat_interleave(indptr.diff())
    place = locate(owner, entity_id, query, tail)
    return place[place >= 0]


class PathStrategy:
    """Every train triple asked once from each side, each in a subgraph of its own.

    The subgraph of a question is what a path-based model may look at: paths from its head to any
    answer. Costs ``batch_size × size`` entities and the edges among them at every layer, and no
    vector per entity; choose it where rules of the graph tell more than single entities do, and
    for entities that training doesn't know. What a subgraph doesn't hold can't be answered, so
    that ``size`` trades coverage for speed.

    Zhou et al. 2024 (one-shot subgraphs of highest personalised PageRank) for Zhu et al. 2021
    (NBFNet).

    Args:
        graph: train edges in both directions.
        num_layers: layers of the reasoner.
        size: the most entities of a subgraph.
        batch_size: triples asked per step and rank.
        hide: what a question must not see: ``edge``, the asked triple in both directions, or
            ``pair``, all that joins its head and its tail.
        restart: chance that the walk of PageRank ends at each step.
        tolerance: error of a PageRank per in-edge; a coarser one is faster.
        reserved: share of a subgraph for the best of the entities that the relation asked for leads
            to from anywhere but the asked triple; what is near the head has the rest.
        aware: let the walk prefer relations that led to answers in examples of the same question.
        profiled: candidates are also ``far`` entities from anywhere, for a model that knows
            entities by the relations of their edges too.
        far: entities drawn for every question.
        lost: chance of each edge of a profile to be left out in training beside what is hidden, as
            a split holds out some of everybody's: if nobody but answers ever lacked an edge, who
            has none at all would be taken for the answer to everything.
        visits: epochs in which every triple is asked once from each side: an epoch is then a share
            of the questions, and validation comes more often.
        seed: of the shuffle.
    """

    def __init__(
        self,
        *,
        graph: Adjacency,
        num_layers: int,
        size: int,
        batch_size: int,
        hide: Hide = "edge",
        restart: float = 0.15,
        tolerance: float = 1e-5,
        reserved: float = 0.0,
        aware: bool = False,
        profiled: bool = False,
        far: int = 64,
        lost: float = 0.1,
        visits: int = 1,
        seed: int = 0,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("far", far), ("visits", visits)):
            if value < 1:
                raise ConfigError(f"strategy.{name} needs a positive int, got {value}")
        if not 0 <= lost < 1:
            raise ConfigError(f"strategy.lost needs a chance in [0, 1), got {lost}")
        if hide not in get_args(Hide):
            raise ConfigError(f"strategy.hide is edge or pair, got {hide!r}")
        self.cutter = PathCutter(
            graph,
            hops=num_layers,
            size=size,
            restart=restart,
            tolerance=tolerance,
            reserved=reserved,
            profile=profiled,
            ways=even_ways(graph) if aware else None,
        )
        self.graph, self.batch_size = graph, batch_size
        self.hide, self.far, self.lost, self.visits, self.seed = hide, far, lost, visits, seed
        self._facts = KnownFacts(graph)
        self._orders: dict[int, Int64[Tensor, " edge"]] = {}

    @property
    def size(self) -> int:
        return self.cutter.size

    def __len__(self) -> int:
        """Questions of an epoch."""
        return -(-self.graph.source.shape[0] // self.visits)

    def describe(self) -> str:
        gone = "it" if self.hide == "edge" else "all that joins its entities"
        share = "" if self.visits == 1 else f"one in {self.visits} of "
        beyond = "" if self.cutter.profiles is None else f", with {self.far} rivals from anywhere"
        return (
            f"Paths: every epoch asks {share}{self.graph.source.shape[0]:,} train triples and"
            f" reciprocals, {self.batch_size} a step, each without {gone} in a subgraph of the"
            f" {self.size:,} entities nearest to its head{self._choice()}{beyond}."
        )

    def _choice(self) -> str:
        cutter = self.cutter
        by = "" if cutter.ways is None else ", by ways that led to answers"
        places = round(cutter.reserved * cutter.size)
        return f"{by}, {places:,} of them where its relation leads" if places else by

    def prepare(self) -> None:
        """Learn which relations the walk should prefer, in place: the model has the same table."""
        cutter = self.cutter
        if cutter.ways is not None:
            ways = learn_ways(
                self.graph,
                self._question,
                restart=cutter.restart,
                tolerance=cutter.tolerance,
                seed=self.seed,
            )
            cutter.ways.copy_(ways)

    def report(self) -> dict[str, float]:
        """Share of an example step's answers that lie in the subgraph of their head."""
        asked, hidden = self._question(self._order(0)[: max(self.batch_size, 256)])
        sample = self.cutter.sample(asked[:, 0], asked[:, 1], hidden).sample
        place = locate(sample.owner, sample.entity_id, torch.arange(len(asked)), asked[:, 2])
        return {"answers_covered": float((place >= 0).double().mean())}

    def relations_kept(self) -> tuple[float, ...]:
        return ()

    def num_batches(self, *, world_size: int) -> int:
        return max(1, -(-len(self) // (self.batch_size * world_size)))

    def batch(self, epoch: int, index: int, *, rank: int, world_size: int) -> SubgraphBatch:
        # A mean over the step needs the other ranks' numbers of answers: theirs are cut too.
        ranks = [self._cut(epoch, index, other, world_size) for other in range(world_size)]
        reached, query = ranks[rank]
        return self.cutter.batch(reached, query.of_step([other for _, other in ranks]))

    def _cut(self, epoch: int, index: int, rank: int, world_size: int) -> tuple[Reach, PathQueries]:
        order = self._order(epoch // self.visits)
        low, high = share(len(order), self.visits, epoch % self.visits)
        first, last = share(high - low, self.num_batches(world_size=world_size), index)
        step = order[low + first : low + last]
        asked, hidden = self._question(step[slice(*share(len(step), world_size, rank))])
        head, relation, tail = asked.unbind(dim=1)
        reached = self.cutter.sample(head, relation, hidden)
        own, ids = reached.sample.owner, reached.sample.entity_id
        place, far = locate(own, ids, torch.arange(len(head)), tail), None
        known = known_places(own, ids, self._facts, head, relation)
        if self.cutter.profiles is not None:
            generator = torch.Generator().manual_seed(mix_seed(self.seed, epoch, index, rank))
            far = self._far(reached, asked, hidden, place, generator)
            missed = place < 0
            last = len(ids) + len(far.owner)
            place[missed] = torch.arange(last - int(missed.sum()), last)
        answer = place[place >= 0]
        known = known[~torch.isin(known, answer)]
        return reached, self.cutter.queries(reached, relation, answer=answer, known=known, far=far)

    def _far(
        self,
        reached: Reach,
        asked: Triples,
        hidden: HiddenRows,
        place: Int64[Tensor, " query"],
        generator: torch.Generator,
    ) -> FarEntities:
        """Rivals from outside the subgraphs, and at the end the answers that these miss."""
        profiles, (head, relation, tail) = self.cutter.profiles, asked.unbind(dim=1)
        assert profiles is not None
        own, ids = reached.sample.owner, reached.sample.entity_id
        entities = self.graph.indptr.shape[0] - 1
        owner, drawn, weight = draw_far(
            entities, own, ids, questions=len(asked), number=self.far, generator=generator
        )
        rival = torch.ones(len(owner), dtype=torch.bool)
        rival[known_places(owner.int(), drawn, self._facts, head, relation)] = False
        missed = (place < 0).nonzero()[:, 0]
        owner = torch.cat([owner[rival], missed])
        far = torch.cat([drawn[rival], tail[missed]])
        return FarEntities(
            entity_id=far,
            owner=owner,
            weight=functional.pad(weight[rival], (0, len(missed))),
            profile=profiles.of(
                torch.cat([ids, far]),
                torch.cat([own.long(), owner]),
                hidden,
                lost=self.lost,
                generator=generator,
            ),
        )

    def _order(self, round_: int) -> Int64[Tensor, " edge"]:
        order = self._orders.get(round_)
        if order is None:
            generator = torch.Generator().manual_seed(mix_seed(self.seed, round_))
            order = torch.randperm(self.graph.source.shape[0], generator=generator)
            self._orders = {round_: order}
        return order

    def _question(self, edge: Int64[Tensor, " edge"]) -> tuple[Triples, HiddenRows]:
        """What some edges ask and must not see: ``(s, r, i)`` asks ``(i, inverse(r), ?)``."""
        graph = self.graph
        head = torch.searchsorted(graph.indptr, edge.to(graph.indptr.dtype), right=True) - 1
        relation = inverse(graph.relation[edge].long(), num_relations=graph.num_relations)
        asked = torch.stack([head, relation, graph.source[edge].long()], dim=1)
        if self.hide == "pair":
            return asked, edges_between(graph, head, asked[:, 2])
        own = asked_edges(graph, asked)
        rows, width = own.shape
        return asked, HiddenRows(torch.arange(0, rows * width + 1, width), own.flatten())
