"""Questions of one relation, link by link: which items a user is interested in."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from kgscale.batch import LinkQueries
from kgscale.graph.adjacency import Adjacency
from kgscale.graph.known import KnownFacts
from kgscale.graph.reciprocal import inverse
from kgscale.kernels.induce import Induced
from kgscale.kernels.propagate import fold_of
from kgscale.sampling.queries import mix_seed
from kgscale.sampling.questions import (
    Asked,
    Candidates,
    Inside,
    Positions,
    Questions,
    Share,
    link_queries,
    others,
    uniform,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interest:
    """Whose interest in what: a relation between two ranges of entities."""

    relation: int
    users: range
    items: range


class InterestQuestions:
    """``(user, relation, ?)`` for every train link of the relation, each on its own.

    A step asks for some items of each of its users: these links are hidden, the user's others are
    left for messages, and are no rivals. Candidates are items alone.

    Args:
        graph: train edges in both directions.
        popularity: random candidates are drawn in proportion to this power of one plus their
            links; each counts for as many items as it stands for, so that a softmax over them
            estimates the full one (Jean et al. 2015; Yi et al. 2019 on popularity).
    """

    def __init__(self, graph: Adjacency, interest: Interest, *, popularity: float = 0.0) -> None:
        self.graph, self.interest, self.popularity = graph, interest, popularity
        edge = (graph.relation.long() == interest.relation).nonzero()[:, 0]
        self._user, self._triple = graph.source[edge].long(), graph.triple[edge].long()
        self._item = torch.searchsorted(graph.indptr.long(), edge, right=True) - 1
        self._links = torch.arange(len(edge))
        self._known = KnownFacts(graph)

    def __len__(self) -> int:
        return len(self._links)

    def order(self, *, seed: int, epoch: int) -> Int64[Tensor, " query"]:
        generator = torch.Generator().manual_seed(mix_seed(seed, epoch))
        return torch.randperm(len(self), generator=generator)

    def describe(self, candidates: Candidates) -> tuple[str, str]:
        among = f"{self._count(candidates):,} random items"
        if self._count(candidates) >= len(self.interest.items):
            among = f"all {len(self.interest.items):,} items"
        return f"asks for the item of {len(self):,} links", f", ranked against {among}"

    def describe_inside(self, visits: int, among: str) -> str:
        share = "all" if visits == 1 else f"one in {visits}"
        return f"asks for {share} of the items linked inside, these links hidden"

    def about(
        self, step: Int64[Tensor, " query"], mine: slice, *, candidates: Candidates, seed: int
    ) -> Asked:
        asked = self._links[step]
        user, item = self._user[asked], self._item[asked]
        relation = torch.full_like(user, self.interest.relation)
        candidate_id, weight = self._draw(item, self._count(candidates), seed=seed)
        head, row = torch.unique(user[mine], return_inverse=True)
        row, order = row.sort(stable=True)
        answer = item[mine][order]

        def query(place: Positions) -> LinkQueries:
            return LinkQueries(
                head=place(head),
                relation=relation[: len(head)],
                num_candidates=candidate_id.shape[0],
                answer_query=row,
                answer=place(answer),
                candidate_weight=weight,
                step_queries=max(1, len(torch.unique(user))),
                step_answers=max(1, len(step)),
                known=others(self._known, head, relation[: len(head)], row, answer, candidate_id),
            )

        seeds = torch.cat([candidate_id, head[~torch.isin(head, candidate_id)]])
        hidden = torch.stack([user, relation, item], dim=1)
        return Asked(seeds, hidden, self._triple[asked], query)

    def _count(self, candidates: Candidates) -> int:
        return len(self.interest.items) if candidates.count is None else candidates.count

    def _draw(
        self, answer: Int64[Tensor, " answer"], count: int, *, seed: int
    ) -> tuple[Int64[Tensor, " candidate"], Float[Tensor, " candidate"] | None]:
        """A step's candidates, its answers among them, and how many items each stands for."""
        items = self.interest.items
        if count >= len(items):
            return torch.arange(items.start, items.stop), None
        generator = torch.Generator().manual_seed(seed)
        place = torch.rand(count, dtype=torch.float64, generator=generator)
        drawn = torch.searchsorted(self._ends, place, right=True).clamp(max=len(items) - 1)
        drawn, times = torch.unique(drawn, return_counts=True)
        share = self._ends[drawn] - torch.where(drawn > 0, self._ends[drawn - 1], 0.0)
        stands_for = (times / (count * share)).float()
        answer = torch.unique(answer)
        new = ~torch.isin(drawn + items.start, answer)
        weight = torch.cat([torch.ones(len(answer)), stands_for[new]])
        return torch.cat([answer, drawn[new] + items.start]), weight

    @cached_property
    def _ends(self) -> Float64[Tensor, " item"]:
        """The chances of the items to be drawn, one after the other."""
        items = self.interest.items
        count = torch.bincount(self._item - items.start, minlength=len(items))
        ends = (1.0 + count).double().pow(self.popularity).cumsum(0)
        return ends / ends[-1]

    def folds(self, number: int, *, seed: int) -> list[Questions]:
        fold = fold_of(self._triple[self._links], folds=number, seed=seed)
        return [self._only(self._links[fold == mine]) for mine in range(number)]

    def _only(self, links: Int64[Tensor, " link"]) -> InterestQuestions:
        """Some of the links, in the same arrays."""
        found = copy(self)
        found._links = links
        return found

    def visits(self, query_share: float) -> int:
        return max(1, round(1 / query_share))

    def inside(self, cut: Induced, rows: int, share: Share, *, seed: int) -> Inside:
        """Links link by link: whatever else a user likes is left for messages."""
        interest, size = self.interest, self.graph.num_relations
        row = torch.arange(cut.indptr.shape[0] - 1).repeat_interleave(cut.indptr.diff())
        # An edge tells its row of its source: that of a user holds the relation backwards.
        back = int(inverse(torch.tensor(interest.relation), num_relations=size))
        relation, source = cut.relation.long(), cut.source.long()
        visit = uniform(self.graph.triple[cut.edge.long()], seed=seed) * share.visits
        turn = (share.low <= visit) & (visit < share.high) & (source < rows) & (row < rows)
        asked, other = turn & (relation == back), turn & (relation == interest.relation)
        query = link_queries(cut, asked, num_relations=size, rows=rows)
        entity = cut.entity_id[:rows]
        is_item = (interest.items.start <= entity) & (entity < interest.items.stop)
        known = self._inside_others(cut, rows, query)
        query = LinkQueries(
            head=query.head,
            relation=query.relation,
            num_candidates=rows,
            answer_query=query.answer_query,
            answer=query.answer,
            candidate_weight=is_item.float(),
            step_queries=max(1, query.step_queries),
            step_answers=max(1, query.step_answers),
            known=known,
        )
        return Inside(asked | other, query)

    def _inside_others(
        self, cut: Induced, rows: int, query: LinkQueries
    ) -> Int64[Tensor, "known 2"]:
        """Other items of the users that a part of the graph holds."""
        entity = cut.entity_id[:rows]
        head = entity[query.head]
        indptr, other = self._known.tails(head, torch.full_like(head, self.interest.relation))
        row = torch.arange(len(head)).repeat_interleave(indptr.diff())
        there = torch.isin(other, entity)
        row, place = row[there], Positions(entity)(other[there])
        is_answer = torch.isin(row * rows + place, query.answer_query * rows + query.answer)
        return torch.stack([row[~is_answer], place[~is_answer]], dim=1)
