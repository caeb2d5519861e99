"""Questions with their answers, to measure by."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Int64
from torch import Tensor

from kgscale.inference.queries.formula import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question about a graph in which some edges are not known yet."""

    node: Node
    structure: str
    easy: Int64[Tensor, " easy"]
    """Answers by known edges alone."""
    hard: Int64[Tensor, " hard"]
    """Answers that need an unknown one: what is to be found."""
