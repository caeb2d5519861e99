"""Which sequences of relations lead from one type to another, and how many there are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch

from kgscale.errors import ConfigError
from kgscale.graph.adjacency import Adjacency
from kgscale.graph.catalog import EntityType
from kgscale.graph.propagate.hop import blocks


class Step(NamedTuple):
    """Edges of one relation from one type to another; types by their places."""

    relation: int
    """Perhaps reciprocal."""
    source: int
    target: int


def steps(graph: Adjacency, types: Sequence[EntityType]) -> list[Step]:
    """Those that occur, in order."""
    found = []
    stops = torch.tensor([kind.stop for kind in types])
    for target, kind in enumerate(types):
        seen = torch.zeros(2 * graph.num_relations, len(types), dtype=torch.bool)
        for *_, edges in blocks(graph, kind, 0):
            source = torch.searchsorted(stops, edges.source.long(), right=True)
            seen[edges.relation.long(), source] = True
        found += [Step(relation, source, target) for relation, source in seen.nonzero().tolist()]
    return sorted(found)


class PathTree:
    """All sequences of at most ``length`` steps that end at one of some types.

    Args:
        steps: what a sequence is made of.
        ends: where it may end.
    """

    def __init__(self, steps: Sequence[Step], ends: Collection[int], length: int) -> None:
        self.steps, self.ends, self.length = steps, frozenset(ends), length
        places = {place for step in steps for place in (step.source, step.target)} | self.ends
        # _ways[k][type]: sequences of at most k steps from the type, that of none included.
        self._ways = [{place: int(place in self.ends) for place in places}]
        for _ in range(length):
            more = {place: int(place in self.ends) for place in places}
            for step in steps:
                more[step.source] += self._ways[-1][step.target]
            self._ways.append(more)

    def after(self, place: int, left: int) -> list[Step]:
        """The next steps from a type where ``left`` steps are left and some end is in reach."""
        return [
            step
            for step in self.steps
            if left and step.source == place and self._ways[left - 1].get(step.target)
        ]

    def check(self, starts: Collection[int], limit: int) -> None:
        """Refuse more sequences of one step or more than ``limit``."""
        count = sum(
            self._ways[self.length].get(place, 0) - (place in self.ends) for place in starts
        )
        if count > limit:
            raise ConfigError(
                f"strategy.paths=metapaths has {count:,} sequences of up to {self.length}"
                f" relations here, and strategy.max_paths is {limit}: set fewer hops, or"
                " strategy.paths=subsets"
            )
