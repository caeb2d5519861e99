"""Questions of several hops as trees, whose root is what is asked for.

A tree may stand for many questions of one form at once: its leaves hold a number for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Int64
from torch import Tensor

Each: TypeAlias = Int64[Tensor, " question"]


@dataclass(frozen=True, slots=True)
class Anchor:
    """A given entity."""

    entity: Each


@dataclass(frozen=True, slots=True)
class Anything:
    """Every entity: of a variable nothing is said but the link it stands in."""


@dataclass(frozen=True, slots=True)
class Hop:
    """The tails of the source's entities."""

    relation: Each
    """Reciprocal ones lead from tails to heads."""
    source: Node
    variable: str = ""
    """The name of what the source stands for, "" of an anchor."""


@dataclass(frozen=True, slots=True)
class Both:
    """What all parts have."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """What one of the parts has."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Without:
    """What the part has not; always one of the parts of :class:`Both`, beside another."""

    part: Node


Node: TypeAlias = Anchor | Anything | Hop | Both | Either | Without


def form(node: Node) -> str:
    """What questions have in common that can be answered together, and in any order of parts."""
    match node:
        case Anchor():
            return "a"
        case Anything():
            return "?"
        case Hop():
            return f"r({form(node.source)})"
        case Without():
            return f"not {form(node.part)}"
        case Both() | Either():
            parts = ", ".join(sorted(map(form, node.parts)))
            return f"{'and' if isinstance(node, Both) else 'or'}({parts})"


def ordered(node: Node) -> Node:
    """The same question, with the parts in the order of their forms."""
    match node:
        case Anchor() | Anything():
            return node
        case Hop():
            return Hop(node.relation, ordered(node.source), node.variable)
        case Without():
            return Without(ordered(node.part))
        case Both() | Either():
            return type(node)(tuple(sorted(map(ordered, node.parts), key=form)))


def together(nodes: Sequence[Node]) -> Node:
    """Questions of one form, with their parts in one order, as one tree."""
    first = nodes[0]
    assert len({form(node) for node in nodes}) == 1, "questions of another form"
    match first:
        case Anchor():
            anchors = [node.entity for node in nodes if isinstance(node, Anchor)]
            return Anchor(torch.cat(anchors))
        case Anything():
            return first
        case Hop():
            hops = [node for node in nodes if isinstance(node, Hop)]
            relation = torch.cat([hop.relation for hop in hops])
            return Hop(relation, together([hop.source for hop in hops]), first.variable)
        case Without():
            return Without(together([node.part for node in nodes if isinstance(node, Without)]))
        case Both() | Either():
            parts = [node.parts for node in nodes if isinstance(node, Both | Either)]
            return type(first)(tuple(map(together, zip(*parts, strict=True))))


def leaves(node: Node) -> tuple[int, ...]:
    """The entities and relations of one question: with its form, what it is."""
    match node:
        case Anchor():
            return (int(node.entity),)
        case Anything():
            return ()
        case Hop():
            return (int(node.relation), *leaves(node.source))
        case Without():
            return leaves(node.part)
        case Both() | Either():
            return tuple(leaf for part in node.parts for leaf in leaves(part))
