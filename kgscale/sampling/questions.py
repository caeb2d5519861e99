"""What is asked of a subgraph, apart from how the subgraph is cut.

A strategy that starts from seeds asks for the seeds of some questions and hides their answers; a
strategy that cuts the graph by itself asks about a share of the edges that it holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Float64, Int, Int64
from torch import Tensor

from kgscale.batch import LinkQueries, NodeQueries, Queries
from kgscale.errors import ConfigError
from kgscale.graph.adjacency import Adjacency, only
from kgscale.graph.known import KnownFacts
from kgscale.graph.reciprocal import inverse
from kgscale.kernels.aggregate.torch_tier import edge_chunks
from kgscale.kernels.induce import Induced
from kgscale.kernels.propagate import fold_of
from kgscale.kernels.sample.torch_tier import mix
from kgscale.sampling.queries import TrainQueries, mix_seed
from kgscale.types import Triples


class Positions:
    """Where each of some distinct ids stands in their list."""

    def __init__(self, ids: Int64[Tensor, " id"]) -> None:
        self._sorted, self._position = ids.sort()

    def __call__(self, ids: Int64[Tensor, " asked"]) -> Int64[Tensor, " asked"]:
        return self._position[torch.searchsorted(self._sorted, ids)]


class Asked(NamedTuple):
    """Some questions of a step, for strategies that start from seeds."""

    seeds: Int64[Tensor, " seed"]
    """Distinct entities whose vectors the questions need, candidates first."""
    hidden: Triples
    """What would give an answer away, of all ranks' questions; relations may be reciprocal."""
    triple: Int64[Tensor, " triple"]
    """The same as rows of train."""
    query: Callable[[Positions], Queries]
    """The questions, once the seeds have positions."""


class Inside(NamedTuple):
    """The questions about a part of the graph, for strategies that cut it by themselves."""

    hidden: Bool[Tensor, " edge"]
    """Edges that would give an answer away: those asked about, and their reciprocals."""
    query: Queries


class Share(NamedTuple):
    """Which of several visits of a part of the graph: ``low .. high`` of ``visits``."""

    low: int
    high: int
    visits: int


@runtime_checkable
class Questions(Protocol):
    """What a task asks in an epoch, one by one or about a part of the graph."""

    def __len__(self) -> int: ...

    def order(self, *, seed: int, epoch: int) -> Int64[Tensor, " query"]:
        """The epoch's shuffle."""

    def describe(self, candidates: Candidates) -> tuple[str, str]:
        """What is asked, and among what, for people."""

    def describe_inside(self, visits: int, among: str) -> str:
        """The same for a step that cuts the graph by itself and asks ``inside``."""

    def about(
        self, step: Int64[Tensor, " query"], mine: slice, *, candidates: Candidates, seed: int
    ) -> Asked:
        """Seeds and hidden triples of the step's questions, of which ``mine`` are this rank's."""

    def folds(self, number: int, *, seed: int) -> list[Questions]:
        """The questions apart by the fold of their triples, or as one if no triple answers them."""

    def visits(self, query_share: float) -> int:
        """How many visits ask everything about a part of the graph, once."""

    def inside(self, cut: Induced, rows: int, share: Share, *, seed: int) -> Inside:
        """A share of the questions about the first ``rows`` entities of a part of the graph."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Among what a link question's answer is sought: all entities, or some random ones.

    Random ones are shared by a step's questions, whose answers come on top. Each stands for
    several entities, so that a normaliser over them estimates the full one.
    """

    count: int | None
    """How many random ones; None for all."""
    num_entities: int

    @classmethod
    def of(cls, setting: int | str, num_entities: int) -> Candidates:
        """From ``strategy.candidates``: ``all`` or a number."""
        if setting != "all" and (isinstance(setting, str) or setting < 1):
            raise ConfigError(f"strategy.candidates is all or a positive int, got {setting!r}")
        enough = isinstance(setting, str) or setting >= num_entities
        return cls(count=None if enough else int(setting), num_entities=num_entities)

    def __str__(self) -> str:
        return f"{self.count:,} random candidates" if self.count else "all entities"

    def draw(
        self, answer: Int64[Tensor, " answer"], *, seed: int
    ) -> tuple[Int64[Tensor, " candidate"], Float[Tensor, " candidate"] | None]:
        """A step's candidates, and how many entities each stands for."""
        if self.count is None:
            return torch.arange(self.num_entities), None
        answer = torch.unique(answer)
        others = self.num_entities - answer.shape[0]
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randint(self.num_entities, (self.count,), generator=generator)
        drawn = _new(drawn, answer)
        weight = torch.ones(answer.shape[0] + drawn.shape[0])
        weight[answer.shape[0] :] = others / max(1, drawn.shape[0])
        return torch.cat([answer, drawn]), weight


class LinkQuestions:
    """``(head, relation, ?)`` with all known tails, from the train edges in both directions.

    Args:
        graph: whose edges are asked.
        known: all train edges, where ``graph`` holds a part of them: the other tails of a
            question are true as well, and no rivals of those that it asks for.
    """

    def __init__(self, graph: Adjacency, *, known: Adjacency | None = None) -> None:
        self.graph, self.queries = graph, TrainQueries(graph)
        self.known = None if known is None else KnownFacts(known)

    def __len__(self) -> int:
        return len(self.queries)

    def order(self, *, seed: int, epoch: int) -> Int64[Tensor, " query"]:
        return self.queries.order(seed=seed, epoch=epoch)

    def describe(self, candidates: Candidates) -> tuple[str, str]:
        asked = f"asks {len(self):,} distinct (head, relation) queries"
        return asked, f", ranked against {candidates}"

    def describe_inside(self, visits: int, among: str) -> str:
        share = "all" if visits == 1 else f"one in {visits}"
        return f"asks {share} of the questions inside, answers hidden, ranked against {among}"

    def about(
        self, step: Int64[Tensor, " query"], mine: slice, *, candidates: Candidates, seed: int
    ) -> Asked:
        own = step[mine]
        head, relation = self.queries.head(own), self.queries.relation(own)
        row, tail, _ = self.queries.answers(own)
        step_row, step_tail, triple = self.queries.answers(step)
        asked = [self.queries.head(step)[step_row], self.queries.relation(step)[step_row]]
        candidate_id, weight = candidates.draw(step_tail, seed=seed)

        def query(place: Positions) -> LinkQueries:
            return LinkQueries(
                head=place(head),
                relation=relation,
                num_candidates=candidate_id.shape[0],
                answer_query=row,
                answer=place(tail),
                candidate_weight=weight,
                step_queries=step.shape[0],
                step_answers=step_tail.shape[0],
                known=None
                if self.known is None
                else others(self.known, head, relation, row, tail, candidate_id),
            )

        seeds = torch.cat([candidate_id, _new(head, candidate_id)])
        return Asked(seeds, torch.stack([*asked, step_tail], dim=1), triple, query)

    def folds(self, number: int, *, seed: int) -> list[Questions]:
        """Each with those answers that are in its fold; together, a copy of the train edges."""
        fold = torch.empty_like(self.graph.triple, dtype=torch.int16)
        for part in edge_chunks(fold.shape[0], 1):
            fold[part] = fold_of(self.graph.triple[part], folds=number, seed=seed)
        return [
            LinkQuestions(only(self.graph, fold == mine), known=self.graph)
            for mine in range(number)
        ]

    def visits(self, query_share: float) -> int:
        return max(1, round(1 / query_share))

    def inside(self, cut: Induced, rows: int, share: Share, *, seed: int) -> Inside:
        """Whole questions, with all their answers that the part holds.

        To ask about single edges would make several times as many questions, each scored against
        all candidates.
        """
        size = 2 * self.graph.num_relations
        row = torch.arange(cut.indptr.shape[0] - 1).repeat_interleave(cut.indptr.diff())
        relation = cut.relation.long()
        back = inverse(relation, num_relations=self.graph.num_relations)

        def turn(entity: Int64[Tensor, " edge"], relation: Int64[Tensor, " edge"]) -> Tensor:
            if self.graph.undirected:  # both directions ask for the same
                relation = relation % self.graph.num_relations
            visit = uniform(cut.entity_id[entity] * size + relation, seed=seed) * share.visits
            return (share.low <= visit) & (visit < share.high)

        # An edge from beyond the rows has no other direction here, and no candidate at its end.
        inside = cut.source < rows
        asked = turn(row, back) & inside
        other = turn(cut.source.long(), relation) & inside
        num_relations = self.graph.num_relations
        query = link_queries(cut, asked, num_relations=num_relations, rows=rows)
        return Inside(asked | other, query)


class HeldQuestions(LinkQuestions):
    """About triples that carry no messages, as what comes later: nothing needs hiding, and cutting
    the graph by its edges finds none of them.

    Args:
        graph: what is asked, in both directions.
        known: what carries messages; also true.
    """

    def describe_inside(self, visits: int, among: str) -> str:
        raise self._refused

    def inside(self, cut: Induced, rows: int, share: Share, *, seed: int) -> Inside:
        raise self._refused

    @property
    def _refused(self) -> ConfigError:
        return ConfigError(
            "this strategy asks about the edges that it cuts, and this data set's questions are no"
            " edges of its graph: set strategy=neighbor, subgraph or precomputed"
        )


class NodeQuestions:
    """The labels of the train entities; nothing needs hiding, since labels are not in the graph.

    Args:
        node: labelled entities of train, ascending.
        label: of each: its class, or a row of zeros and ones.
    """

    def __init__(
        self,
        node: Int64[Tensor, " labelled"],
        label: Int64[Tensor, " labelled"] | Float[Tensor, "labelled class"],
    ) -> None:
        self.node, self.label = node, label

    def __len__(self) -> int:
        return self.node.shape[0]

    def order(self, *, seed: int, epoch: int) -> Int64[Tensor, " query"]:
        generator = torch.Generator().manual_seed(mix_seed(seed, epoch))
        return torch.randperm(len(self), generator=generator)

    def describe(self, candidates: Candidates) -> tuple[str, str]:
        return f"asks for the labels of {len(self):,} entities", ""

    def describe_inside(self, visits: int, among: str) -> str:
        return f"asks for the labels of those of {len(self):,} labelled entities that it holds"

    def about(
        self, step: Int64[Tensor, " query"], mine: slice, *, candidates: Candidates, seed: int
    ) -> Asked:
        own = step[mine]
        seeds = self.node[own]

        def query(place: Positions) -> NodeQueries:
            return NodeQueries(
                node=place(seeds), label=self.label[own], step_queries=max(1, step.shape[0])
            )

        nothing = step.new_empty(0)
        return Asked(seeds, nothing.view(0, 3), nothing, query)

    def folds(self, number: int, *, seed: int) -> list[Questions]:
        return [self]

    def visits(self, query_share: float) -> int:
        return 1

    def inside(self, cut: Induced, rows: int, share: Share, *, seed: int) -> Inside:
        entity = cut.entity_id[:rows]
        visit = uniform(entity, seed=seed) * share.visits
        mine = (share.low <= visit) & (visit < share.high)
        labelled = (torch.isin(entity, self.node) & mine).nonzero()[:, 0]
        label = self.label[torch.searchsorted(self.node, entity[labelled])]
        query = NodeQueries(node=labelled, label=label, step_queries=max(1, len(labelled)))
        return Inside(torch.zeros_like(cut.source, dtype=torch.bool), query)


def link_queries(
    cut: Induced, asked: Bool[Tensor, " edge"], *, num_relations: int, rows: int
) -> LinkQueries:
    """The asked edges of a cut as questions, each about its row: the source is an answer.

    An edge ``(source, relation, row)`` asks ``(row, inverse(relation), ?)``. Candidates are the
    first ``rows`` entities.
    """
    row = torch.arange(cut.indptr.shape[0] - 1).repeat_interleave(cut.indptr.diff())[asked]
    relation = inverse(cut.relation[asked].long(), num_relations=num_relations)
    first = torch.ones_like(row, dtype=torch.bool)
    # Rows are sorted by relation: equal questions stand together.
    first[1:] = (row[1:] != row[:-1]) | (relation[1:] != relation[:-1])
    return LinkQueries(
        head=row[first],
        relation=relation[first],
        num_candidates=rows,
        answer_query=first.long().cumsum(0) - 1,
        answer=cut.source[asked].long(),
        candidate_weight=None,
        step_queries=int(first.sum()),
        step_answers=int(asked.sum()),
    )


def uniform(ids: Int[Tensor, " id"], *, seed: int) -> Float64[Tensor, " id"]:
    """A number in [0, 1) for each id, the same wherever the id stands."""
    bits = mix(ids.long() ^ mix(torch.tensor(seed)))
    return ((bits >> 11) & ((1 << 53) - 1)).double() * 2.0**-53


def others(
    known: KnownFacts,
    head: Int64[Tensor, " query"],
    relation: Int64[Tensor, " query"],
    row: Int64[Tensor, " answer"],
    tail: Int64[Tensor, " answer"],
    candidate: Int64[Tensor, " candidate"],
) -> Int64[Tensor, "known 2"]:
    """Places of those known tails among the candidates that are none of the answers."""
    indptr, other = known.tails(head, relation)
    query = torch.arange(len(head)).repeat_interleave(indptr.diff())
    base = known.adjacency.indptr.shape[0]
    is_other = ~torch.isin(query * base + other, row * base + tail)
    is_other &= torch.isin(other, candidate)
    return torch.stack([query[is_other], Positions(candidate)(other[is_other])], dim=1)


def _new(ids: Int64[Tensor, " id"], known: Int64[Tensor, " known"]) -> Int64[Tensor, " new"]:
    """The distinct ``ids`` that are not ``known``, ascending."""
    ids = torch.unique(ids)
    return ids[~torch.isin(ids, known)]
