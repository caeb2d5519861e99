"""Papers, authors, institutions and fields, whose links tell the planted topics of the papers.

Node ``i`` of a type has the topic ``i % classes`` and the rank ``i // classes`` within it. A link
looks for its other end within a topic and prefers small ranks: the one of rank ``k`` is found in
proportion to ``k ** (1 / SKEW - 1)``, which makes degrees a power law.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kgscale.data.draws import Ints, Stream
from kgscale.data.links import Links, Nodes
from kgscale.data.matrices import Matrix
from kgscale.data.source import Labels, NodeLabelRows
from kgscale.data.splits import OPEN
from kgscale.data.spool import Array
from kgscale.errors import ConfigError

SKEW = 2.5
"""Degrees have the tail exponent ``1 + SKEW / (SKEW - 1)``, about 2.7."""
EDGES_PER_PAPER = 10
"""Four citations, three authors and two fields; the tenth is an author's institution."""
LEAST_PER_CLASS = 10
FIRST_YEAR = 2000
CIRCLE = 8
"""Authors of a topic who write together, where papers have years."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Academic:
    """The settings of such a graph; all of it is a function of them."""

    edges: int
    classes: int
    homophily: float
    label_noise: float
    features: int
    signal: float
    seed: int
    years: int = 0
    """In which papers appear, the first of all topics first, and cite earlier ones; 0: papers have
    no time, and cite any."""

    def __post_init__(self) -> None:
        least = self.classes * LEAST_PER_CLASS * EDGES_PER_PAPER
        if self.edges < least:
            raise ConfigError(
                f"data.edges is {self.edges:,}, which gives too few papers for {self.classes:,} "
                f"topics: raise it to {least:,} or lower data.classes"
            )

    @property
    def ceiling(self) -> float:
        """The expected accuracy of whoever knows every planted topic; nothing can do better.

        A share ``label_noise`` of the labels is drawn anew, uniformly and independently of all
        else: the topic stays the best guess, and hits one in ``classes`` of them.
        """
        return 1 - self.label_noise * (1 - 1 / self.classes)

    @property
    def nodes(self) -> dict[str, Nodes]:
        papers = self.edges // EDGES_PER_PAPER
        authors = papers * 4 // 5
        sizes = {
            "paper": papers,
            "author": authors,
            "institution": max(authors // 100, 1),
            "field": max(papers // 20, 2 * self.classes),
        }
        return {type: Nodes(type, size, self.seed) for type, size in sizes.items()}

    def links(self) -> list[Links]:
        nodes, tenth = self.nodes, self.edges // EDGES_PER_PAPER
        paper, author = nodes["paper"], nodes["author"]
        rest = self.edges - 9 * tenth

        def link(relation: str, head: Nodes, tail: Nodes, count: int, draw: _Draw) -> Links:
            return Links(relation=relation, head=head, tail=tail, count=count, draw=draw)

        return [
            link("writes", author, paper, 3 * tenth, self._writes),
            link("cites", paper, paper, 4 * tenth, self._cites),
            link("has_topic", paper, nodes["field"], 2 * tenth, self._has_topic),
            link("affiliated_with", author, nodes["institution"], rest, self._affiliated_with),
        ]

    def year(self, paper: Ints) -> Ints:
        """From ``FIRST_YEAR`` on, about as many papers in each."""
        size = self.nodes["paper"].size
        return FIRST_YEAR + paper * max(1, self.years) // size

    def topic(self, paper: Ints) -> Ints:
        """The planted one."""
        return paper % self.classes

    def label(self, paper: Ints) -> Ints:
        """The planted topic, or noise."""
        noisy = self._stream("noisy label").uniform(paper) < self.label_noise
        other = self._stream("label").below(self.classes, paper)
        return np.where(noisy, other, self.topic(paper))

    def entities(self) -> Iterator[Labels]:
        for nodes in self.nodes.values():
            yield from nodes.labels()

    def node_labels(self) -> Iterator[NodeLabelRows]:
        papers = self.nodes["paper"]
        for index in papers.chunks():
            yield NodeLabelRows(
                key=papers.keys(index),
                label=pa.array(self.label(index)).cast(pa.string()),
                split=np.full(len(index), OPEN, np.uint8),
                file="the synthetic graph",
                line=index,
            )

    def feature_rows(self) -> list[PlantedFeatures]:
        return [PlantedFeatures(self)] if self.features else []

    def _stream(self, name: str) -> Stream:
        return Stream(self.seed, name)

    def _near(
        self, name: str, topic: Ints, nodes: Nodes, index: Ints, ranks: Ints | None = None
    ) -> Ints:
        """A node of the same topic in a share ``homophily`` of cases, else of any topic; of the
        first so many ``ranks``, if these are given."""
        stay = self._stream(f"{name} stays").uniform(index) < self.homophily
        any_ = self._stream(f"{name} topic").below(self.classes, index)
        topic = np.where(stay, topic, any_)
        limit = (nodes.size - topic - 1) // self.classes + 1 if ranks is None else ranks
        rank = self._rank(name, limit, index)
        return rank * self.classes + topic

    def _rank(self, name: str, limit: int | Ints, index: Ints) -> Ints:
        draw = self._stream(f"{name} rank").uniform(index)
        return (draw**SKEW * limit).astype(np.int64)

    def _writes(self, index: Ints) -> tuple[Ints, Ints]:
        nodes = self.nodes
        paper = index % nodes["paper"].size
        if not self.years:
            return self._near("writes", self.topic(paper), nodes["author"], index), paper
        # Who is first asks people around.
        author = nodes["author"]
        first = self._near("writes", self.topic(paper), author, paper)
        rank = first // self.classes
        mate = rank - rank % CIRCLE + self._stream("writes with").below(CIRCLE, index)
        mate = np.minimum(mate * self.classes + first % self.classes, author.size - 1)
        asks = self._stream("writes with stays").uniform(index) < self.homophily
        other = self._near("writes too", self.topic(paper), author, index)
        later = index >= nodes["paper"].size
        return np.where(later, np.where(asks, mate, other), first), paper

    def _cites(self, index: Ints) -> tuple[Ints, Ints]:
        nodes = self.nodes["paper"]
        if self.years:
            # The first of each topic have nothing to cite.
            paper = self.classes + self._stream("cites").below(nodes.size - self.classes, index)
            ranks = paper // self.classes
            return paper, self._near("cites", self.topic(paper), nodes, index, ranks)
        paper = self._stream("cites").below(nodes.size, index)
        cited = self._near("cites", self.topic(paper), nodes, index)
        # Nobody cites the paper itself: the next one of the topic (or the first) instead.
        after = np.where(cited + self.classes < nodes.size, cited + self.classes, self.topic(cited))
        return paper, np.where(cited == paper, after, cited)

    def _has_topic(self, index: Ints) -> tuple[Ints, Ints]:
        nodes = self.nodes
        paper = index % nodes["paper"].size
        return paper, self._near("has_topic", self.topic(paper), nodes["field"], index)

    def _affiliated_with(self, index: Ints) -> tuple[Ints, Ints]:
        """Institutions know no topic."""
        nodes = self.nodes
        institution = self._rank("affiliated_with", nodes["institution"].size, index)
        return index % nodes["author"].size, institution


_Draw = Callable[[Ints], tuple[Ints, Ints]]


class PlantedFeatures:
    """For each paper the direction of its topic, ``signal`` long, and standard normal noise."""

    type = "paper"
    path = "the features of the synthetic graph"

    def __init__(self, graph: Academic) -> None:
        self._graph = graph
        self._noise = Stream(graph.seed, "features")
        draws = Stream(graph.seed, "directions").normal(np.arange(graph.classes), graph.features)
        self._direction = draws / np.linalg.norm(draws, axis=1, keepdims=True) * graph.signal

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return np.dtype(np.float16)

    @property
    def dim(self) -> int:
        return self._graph.features

    def __len__(self) -> int:
        return self._graph.nodes["paper"].size

    def open(self, scratch: Path, add: Callable[[pa.Array], None]) -> Matrix:
        scratch.mkdir()
        papers = self._graph.nodes["paper"]
        for index in papers.chunks():
            add(papers.keys(index))
        return self

    def forget(self) -> None:
        """Nothing is kept."""

    def take(self, rows: Array) -> NDArray[np.float16]:
        values: Array = self._direction[self._graph.topic(rows)]
        return (values + self._noise.normal(rows, self.dim)).astype(np.float16)
