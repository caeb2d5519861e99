"""A knowledge graph with planted rules, whose held-out triples follow from its train triples.

``married_to`` is symmetric; ``parent_of`` and ``child_of`` are inverse; who works for a company
works in the city where it is based; what is part of a part is part of the whole. Every premise is
in train, conclusions are in train or held out, and all that follows is in the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kgscale.data.draws import Ints, Stream
from kgscale.data.links import Links, Nodes
from kgscale.data.source import Labels
from kgscale.data.splits import TEST, TRAIN, VALID, Shares
from kgscale.errors import ConfigError

SHARES = {"symmetric": 0.25, "inverse": 0.25, "composition": 0.3, "hierarchy": 0.2}
"""Of the triples that are no noise."""
COMPANY, CITY = 20, 400
"""Persons for each."""
BRANCH = 8
"""Parts of a place."""
SHALLOW = (1, 1 + BRANCH, 1 + BRANCH + BRANCH**2)
"""Places with nothing one, two and three levels above them; no more levels are told."""
MOST_HELD = 0.8
"""Of the conclusions: the others show that there is a rule."""
LEAST = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedRules:
    """The settings of such a graph; all of it is a function of them."""

    edges: int
    noise: float
    split: Shares
    seed: int

    def __post_init__(self) -> None:
        if self.edges < LEAST:
            raise ConfigError(f"data.edges needs at least {LEAST:,} for rules, got {self.edges:,}")
        held = sum(self._held_share)
        if held > MOST_HELD:
            raise ConfigError(
                f"data.split {list(self.split)} would hold out {held:.0%} of the conclusions, "
                f"where {MOST_HELD:.0%} leave enough to learn the rules from: hold out less"
            )

    @property
    def ceiling(self) -> float:
        """The expected share of held-out triples that follow from train.

        The others are noise, which can only be guessed. No reasoner's filtered MRR or hits can
        be expected above it, but for lucky guesses.
        """
        return 1 - self.noise

    @property
    def conclusions(self) -> int:
        """How many triples follow from others, before repeated ones are removed."""
        sizes = self._sizes
        deep = sum(sizes["place"] - shallow for shallow in SHALLOW[1:])
        return sizes["married_to"] + sizes["parent_of"] + sizes["person"] + deep

    @property
    def nodes(self) -> dict[str, Nodes]:
        types = ("person", "company", "city", "place")
        return {type: Nodes(type, self._sizes[type], self.seed) for type in types}

    @property
    def _sizes(self) -> dict[str, int]:
        """Entities by type, pairs by relation, and noise."""
        noise = round(self.edges * self.noise)
        share = {name: int((self.edges - noise) * part) for name, part in SHARES.items()}
        person = int(share["composition"] / (2 + 1 / COMPANY))
        return {
            "person": person,
            "company": person // COMPANY,
            "city": max(person // CITY, 2),
            "place": (share["hierarchy"] + sum(SHALLOW)) // len(SHALLOW),
            "married_to": share["symmetric"] // 2,
            "parent_of": share["inverse"] // 2,
            "noise": noise,
        }

    @property
    def _held_share(self) -> tuple[float, float]:
        """Of conclusions, for valid and test: so that of all triples the right share is held."""
        factor = self.edges * self.ceiling / self.conclusions
        return self.split[VALID] * factor, self.split[TEST] * factor

    def entities(self) -> Iterator[Labels]:
        for nodes in self.nodes.values():
            yield from nodes.labels()

    def links(self) -> list[Links]:
        nodes, sizes = self.nodes, self._sizes
        person, company, city = nodes["person"], nodes["company"], nodes["city"]
        works_for, based_in = self._choice("works_for", company), self._choice("based_in", city)
        married, parent = self._pairs("married_to", person), self._pairs("parent_of", person)

        def link(
            relation: str, head: Nodes, tail: Nodes, count: int, draw: _Draw, *, side: bool = False
        ) -> Links:
            held = self._held(relation) if side else _in_train
            return Links(relation=relation, head=head, tail=tail, count=count, draw=draw, side=held)

        return [
            link("married_to", person, person, sizes["married_to"], married),
            link("married_to", person, person, sizes["married_to"], _swap(married), side=True),
            link("parent_of", person, person, sizes["parent_of"], parent),
            link("child_of", person, person, sizes["parent_of"], _swap(parent), side=True),
            link("works_for", person, company, person.size, lambda i: (i, works_for(i))),
            link("based_in", company, city, company.size, lambda i: (i, based_in(i))),
            link(
                "works_in", person, city, person.size, lambda i: (i, based_in(works_for(i))),
                side=True,
            ),
            *self._hierarchy(nodes["place"]),
            *self._noise(),
        ]  # fmt: skip

    def _hierarchy(self, place: Nodes) -> Iterator[Links]:
        """Place ``i`` is part of ``(i - 1) // BRANCH``; place 0 is the whole."""
        for level, skip in enumerate(SHALLOW):
            yield Links(
                relation="part_of",
                head=place,
                tail=place,
                count=place.size - skip,
                draw=_above(level + 1, skip),
                side=self._held("part_of") if level else _in_train,
            )

    def _noise(self) -> Iterator[Links]:
        """Any two entities of the right types; held out in proportion."""
        nodes = self.nodes
        person, place = nodes["person"], nodes["place"]
        kinds = [
            ("married_to", person, person),
            ("parent_of", person, person),
            ("child_of", person, person),
            ("works_for", person, nodes["company"]),
            ("works_in", person, nodes["city"]),
            ("part_of", place, place),
        ]
        count = self._sizes["noise"]
        for at, (relation, head, tail) in enumerate(kinds):
            size = count * (at + 1) // len(kinds) - count * at // len(kinds)
            yield Links(
                relation=relation,
                head=head,
                tail=tail,
                count=size,
                draw=self._anything(relation, head, tail),
                side=self._sides(f"noise of {relation}", self.split[VALID], self.split[TEST]),
            )

    def _anything(self, relation: str, head: Nodes, tail: Nodes) -> _Draw:
        heads, tails = (Stream(self.seed, f"noise {relation} {end}") for end in ("head", "tail"))
        return lambda index: (heads.below(head.size, index), tails.below(tail.size, index))

    def _choice(self, relation: str, tail: Nodes) -> Callable[[Ints], Ints]:
        """The one tail of each head."""
        stream = Stream(self.seed, relation)
        return lambda head: stream.below(tail.size, head)

    def _pairs(self, relation: str, nodes: Nodes) -> _Draw:
        """Any two; which of them comes first depends on the pair alone."""
        one, other = (Stream(self.seed, f"{relation} {end}") for end in ("one", "other"))
        order = Stream(self.seed, f"{relation} order")

        def draw(index: Ints) -> tuple[Ints, Ints]:
            first = one.below(nodes.size, index)
            second = (first + 1 + other.below(nodes.size - 1, index)) % nodes.size
            low, high = np.minimum(first, second), np.maximum(first, second)
            swap = order.below(2, low * nodes.size + high) == 1
            return np.where(swap, high, low), np.where(swap, low, high)

        return draw

    def _held(self, relation: str) -> _Side:
        return self._sides(f"held {relation}", *self._held_share)

    def _sides(self, name: str, valid: float, test: float) -> _Side:
        """By the triple alone, so that a repeated one is on one side."""
        stream = Stream(self.seed, name)

        def side(head: Ints, tail: Ints) -> Ints:
            draw = stream.uniform(head * self.edges + tail)
            return np.select([draw < valid, draw < valid + test], [VALID, TEST], TRAIN)

        return side


_Draw = Callable[[Ints], tuple[Ints, Ints]]
_Side = Callable[[Ints, Ints], NDArray[np.int64]]


def _in_train(head: Ints, tail: Ints) -> Ints:
    return np.full(len(head), TRAIN)


def _swap(draw: _Draw) -> _Draw:
    def swapped(index: Ints) -> tuple[Ints, Ints]:
        head, tail = draw(index)
        return tail, head

    return swapped


def _above(levels: int, skip: int) -> _Draw:
    """Every place but the first ``skip``, which are not so deep."""

    def draw(index: Ints) -> tuple[Ints, Ints]:
        place = whole = index + skip
        for _ in range(levels):
            whole = (whole - 1) // BRANCH
        return place, whole

    return draw
