"""How much a step is expected to ask, by task."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Protocol, runtime_checkable

import numpy as np

from kgscale.data.splits import TRAIN
from kgscale.sampling.questions import Candidates
from kgscale.tasks.parts import GraphParts
from kgscale.tasks.plan.statistics import Bins, GraphStatistics
from kgscale.tasks.settings import LINK_TASKS, TaskSettings

SHORTS: Final = 1 << 15
"""Relations from which on two bytes hold none."""
MOST_NODES: Final = 1 << 20
"""Labelled entities whose degrees are looked at."""


class AskedSize(NamedTuple):
    """Expected numbers of a step; of nodes, queries alone."""

    queries: float
    answers: float = 0.0
    candidates: float = 0.0


class Folded(NamedTuple):
    """Bytes of questions apart by the fold of their triples."""

    kept: float
    preparing: float
    """At the peak of making them, beside what is kept."""


@runtime_checkable
class Asks(Protocol):
    """A task's questions, as a plan sees them."""

    @property
    def total(self) -> float:
        """Of an epoch."""

    def seeds(self, number: float, candidates: Candidates) -> tuple[Bins, AskedSize]:
        """The seeds of so many questions, in each bin."""

    def inside(self, held: Bins, kept: float, query_share: float) -> AskedSize:
        """Questions about the entities of a cut that keeps a share of their in-edges."""

    def query_bytes(self, asked: AskedSize) -> float:
        """Of the tensors of the questions."""

    @property
    def kept(self) -> float:
        """Bytes of all questions and of their order in an epoch."""

    def by_folds(self, number: int) -> Asks:
        """What is asked where questions are apart by the fold of their triples."""

    def folded(self, number: int) -> Folded:
        """Bytes of all these questions."""


@dataclass(frozen=True, slots=True)
class AsksLinks:
    """``(head, relation, ?)`` with all known tails."""

    graph: GraphStatistics
    parts: float = 1.0
    """In how many folds a question has answers, and is asked."""

    @property
    def total(self) -> float:
        return self.graph.queries * self.parts

    def seeds(self, number: float, candidates: Candidates) -> tuple[Bins, AskedSize]:
        """Answers come up in proportion to their degree, heads to their number of relations."""
        graph = self.graph
        answers = number * graph.edges / self.total
        if candidates.count is None:
            return graph.count, AskedSize(number, answers, graph.entities)
        found = graph.drawn(graph.degree, answers)
        found = found + graph.drawn(np.ones_like(found), float(candidates.count), found)
        heads = graph.drawn(graph.relations, number, found)
        return found + heads, AskedSize(number, answers, float(found.sum()))

    def inside(self, held: Bins, kept: float, query_share: float) -> AskedSize:
        """A question with ``n`` tails can be asked unless none of them is there:
        ``1 - (1 - p)^n``. A share of these are, whole."""
        graph, share = self.graph, 1 / max(1, round(1 / query_share))
        asked = share * float(np.mean(1 - (1 - min(kept, 1.0)) ** graph.answers))
        return AskedSize(
            queries=float((held * graph.relations).sum()) * asked,
            answers=float((held * graph.degree).sum()) * kept * share,
            candidates=float(held.sum()),
        )

    def query_bytes(self, asked: AskedSize) -> float:
        return 16 * asked.queries + 16 * asked.answers + 4 * asked.candidates

    @property
    def kept(self) -> float:
        return 16 * self.total

    def by_folds(self, number: int) -> AsksLinks:
        """Of a question with ``n`` tails, ``1 - (1 - 1/f)^n`` of ``f`` folds have an answer."""
        apart = number * float(np.mean(1 - (1 - 1 / number) ** self.graph.answers))
        return replace(self, parts=apart)

    def folded(self, number: int) -> Folded:
        """Each fold has a copy of its edges and asks what has an answer in it. Of all questions,
        starts are kept.

        A running count of edges is there twice (8 bytes), beside each edge's fold and whether it
        stays; then once, beside bounds of rows as they are, as places, and as counted.
        """
        graph = self.graph
        relation = 2 if 2 * graph.num_relations < SHORTS else 4
        bounds, source = _id_bytes(graph.edges), _id_bytes(graph.entities)
        triple = _id_bytes(graph.edges / 2)
        copy = graph.edges * (source + relation + triple) + number * graph.entities * bounds
        kept = copy + 8 * graph.queries + 16 * self.by_folds(number).total
        rows = (16 + bounds) * graph.entities
        return Folded(kept, max(19 * graph.edges, 11 * graph.edges + rows))


def _id_bytes(count: float) -> int:
    """Of an id, as a store has it."""
    return 4 if count < 1 << 31 else 8


@dataclass(frozen=True, slots=True)
class AsksNodes:
    """The labels of the train entities."""

    graph: GraphStatistics
    labelled: Bins
    """Train entities with a label in each bin."""
    label_bytes: float
    """Of an entity's label: an id, or a number for each of several classes."""

    @property
    def total(self) -> float:
        return float(self.labelled.sum())

    def seeds(self, number: float, candidates: Candidates) -> tuple[Bins, AskedSize]:
        return self.labelled * number / max(self.total, 1), AskedSize(number)

    def inside(self, held: Bins, kept: float, query_share: float) -> AskedSize:
        share = np.divide(held, self.graph.count, where=self.graph.count > 0, out=held * 0)
        return AskedSize(float((self.labelled * share).sum()))

    def query_bytes(self, asked: AskedSize) -> float:
        return (8 + self.label_bytes) * asked.queries

    @property
    def kept(self) -> float:
        return (16 + self.label_bytes) * self.total

    def by_folds(self, number: int) -> AsksNodes:
        return self

    def folded(self, number: int) -> Folded:
        """No triple answers them: they stay together."""
        return Folded(self.kept, 0.0)


@dataclass(frozen=True, slots=True)
class AsksInterest:
    """``(user, relation, ?)`` link by link, among the items."""

    graph: GraphStatistics
    users: Bins
    """1 for the bins of users, 0 for others; likewise of items."""
    items: Bins

    @property
    def total(self) -> float:
        """All edges of users, which are links to items unless they have facts of their own."""
        return max(1.0, float((self.graph.count * self.users * self.graph.degree).sum()))

    def seeds(self, number: float, candidates: Candidates) -> tuple[Bins, AskedSize]:
        """Answers and users come up in proportion to their degree."""
        graph = self.graph
        found = graph.count * self.items
        if candidates.count is not None and candidates.count < found.sum():
            found = graph.drawn(graph.degree * self.items, number)
            found = found + graph.drawn(self.items, float(candidates.count), found)
        heads = graph.drawn(graph.degree * self.users, number, found)
        return found + heads, AskedSize(float(heads.sum()), number, float(found.sum()))

    def inside(self, held: Bins, kept: float, query_share: float) -> AskedSize:
        users = held * self.users
        answers = float((users * self.graph.degree).sum()) * min(kept, 1.0)
        answers /= max(1, round(1 / query_share))
        return AskedSize(min(float(users.sum()), answers), answers, float(held.sum()))

    def query_bytes(self, asked: AskedSize) -> float:
        """Each user's other items too."""
        have = self.total / max(1.0, float((self.graph.count * self.users).sum()))
        return 16 * asked.queries * (1 + have) + 16 * asked.answers + 4 * asked.candidates

    @property
    def kept(self) -> float:
        """User, item and triple of a link, its place, and that in an epoch's order."""
        return 40 * self.total

    def by_folds(self, number: int) -> AsksInterest:
        return self

    def folded(self, number: int) -> Folded:
        """Links have one place each, whatever fold they are in."""
        return Folded(self.kept + 8 * self.total, 3 * self.total)


def asks_of(task: TaskSettings, statistics: GraphStatistics, parts: GraphParts) -> Asks:
    """What a task asks of a graph."""
    if task.name == "recommendation":
        users, items = (_of_type(name, statistics, parts) for name in (task.users, task.items))
        return AsksInterest(statistics, users, items)
    if task.name in LINK_TASKS:
        return AsksLinks(statistics)
    assert parts.labels is not None
    node = (parts.labels.split == TRAIN).nonzero()[:, 0]
    chosen = node[:: max(1, len(node) // MOST_NODES)]
    starts = np.array([kind["start"] for kind in parts.types])
    kind = np.searchsorted(starts, chosen.numpy(), side="right") - 1
    place = statistics.bins_of(parts.graph.degree(chosen).long().numpy(), kind)
    found = np.bincount(place, minlength=len(statistics.count)).astype(np.float64)
    width = 4.0 * len(parts.labels.names) if parts.labels.multi else 8.0
    return AsksNodes(statistics, found * (len(node) / max(1, len(chosen))), width)


def _of_type(name: str, statistics: GraphStatistics, parts: GraphParts) -> Bins:
    """1 for the bins of a storage type."""
    numbers = [number for number, kind in enumerate(parts.types) if kind["name"] == name]
    return np.isin(statistics.kind, numbers).astype(np.float64)
