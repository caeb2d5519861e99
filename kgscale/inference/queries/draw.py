"""Questions drawn from a graph, each with an answer that needs a link which is not known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import torch
from jaxtyping import Int64
from torch import Tensor

from kgscale.errors import DataError
from kgscale.inference.queries.edges import Observed, holds
from kgscale.inference.queries.formula import (
    Anchor,
    Anything,
    Both,
    Either,
    Hop,
    Node,
    Without,
    leaves,
)
from kgscale.inference.queries.questions import Asked
from kgscale.inference.queries.structures import STRUCTURES, templates

MOST: Final = 100
"""Answers to find of a question, as in BetaE's data: one with more says little."""
PATIENCE: Final = 1000
"""Tries one after the other that find nothing new."""


@dataclass(frozen=True, kw_only=True)
class Drawer:
    """Draws questions backwards: an answer first, then where it can come from.

    Args:
        graph: what is known of it, and what is to be found.
        seed: questions are a pure function of it and their number.
    """

    graph: Observed
    seed: int

    def draw(self, structure: str, count: int) -> Iterator[Asked]:
        """So many different questions of a structure.

        Raises:
            DataError: the graph hasn't got them.
        """
        template, generator = templates()[structure], torch.Generator()
        generator.manual_seed(self.seed + 1009 * list(STRUCTURES).index(structure))
        seen: set[tuple[int, ...]] = set()
        misses = 0
        while len(seen) < count:
            found = self._one(template, structure, generator)
            misses += 1
            if found is not None and leaves(found.node) not in seen:
                seen.add(leaves(found.node))
                misses = 0
                yield found
            if misses == PATIENCE:
                raise DataError(
                    f"only {len(seen)} questions of the structure {structure} were found, and"
                    f" {count} are asked for: ask for fewer"
                )

    def _one(self, template: Node, structure: str, generator: torch.Generator) -> Asked | None:
        node = self._fill(template, self._answer(generator), generator)
        if node is None:
            return None
        easy, every = holds(node, self.graph.edges, known=True), holds(node, self.graph.edges)
        hard = (every & ~easy).nonzero()[:, 0]
        if not 0 < len(hard) <= MOST:
            return None
        return Asked(node=node, structure=structure, easy=(every & easy).nonzero()[:, 0], hard=hard)

    def _answer(self, generator: torch.Generator) -> int:
        """An entity that an unknown edge leads to."""
        edge = self._unknown[torch.randint(len(self._unknown), (1,), generator=generator)]
        return int(self.graph.edges.tail[edge])

    @cached_property
    def _unknown(self) -> Int64[Tensor, " edge"]:
        return self.graph.edges.held_out.nonzero()[:, 0]

    def _fill(self, template: Node, answer: int, generator: torch.Generator) -> Node | None:
        """A question of this form with this answer; None where chance has led to nothing."""
        match template:
            case Anchor():
                return Anchor(torch.tensor([answer]))
            case Hop():
                relation, head = self._in_edge(answer, generator)
                source = self._fill(template.source, head, generator)
                return source and Hop(torch.tensor([relation]), source, template.variable)
            case Either():
                # The others may have other answers.
                others = [self._answer(generator) for _ in template.parts[1:]]
                return self._joined(template, [answer, *others], generator)
            case Both():
                return self._both(template, answer, generator)
            case Anything() | Without():
                raise AssertionError("no structure has this by itself")

    def _joined(
        self, template: Both | Either, answers: list[int], generator: torch.Generator
    ) -> Node | None:
        found: list[Node] = []
        for part, answer in zip(template.parts, answers, strict=True):
            one = self._fill(part, answer, generator)
            if one is None or leaves(one) in map(leaves, found):
                return None
            found.append(one)
        return type(template)(tuple(found))

    def _both(self, template: Both, answer: int, generator: torch.Generator) -> Node | None:
        wanted = [part for part in template.parts if not isinstance(part, Without)]
        found = self._joined(Both(tuple(wanted)), [answer] * len(wanted), generator)
        if found is None or len(wanted) == len(template.parts):
            return found
        assert isinstance(found, Both)
        # What is said not to be so is so of another answer, which it excludes.
        others = holds(found, self.graph.edges)
        others[answer] = False
        (choice,) = others.nonzero(as_tuple=True)
        if not len(choice):
            return None
        parts: list[Node] = list(found.parts)
        for part in template.parts:
            if isinstance(part, Without):
                victim = int(choice[torch.randint(len(choice), (1,), generator=generator)])
                one = self._fill(part.part, victim, generator)
                if one is None or leaves(one) in map(leaves, parts):
                    return None
                parts.append(Without(one))
        return Both(tuple(parts))

    def _in_edge(self, tail: int, generator: torch.Generator) -> tuple[int, int]:
        """A link to an entity: a relation first, so that frequent ones don't make up all."""
        first, last = self.graph.every.indptr[tail : tail + 2].tolist()
        relations = self.graph.every.relation[first:last].long()
        choice = torch.unique(relations)
        relation = choice[torch.randint(len(choice), (1,), generator=generator)]
        heads = self.graph.every.source[first:last][relations == relation]
        return int(relation), int(heads[torch.randint(len(heads), (1,), generator=generator)])
