"""Filtered ranks of the answers to questions of several hops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from kgscale.errors import ScoreError
from kgscale.inference.queries.answer import Answerer
from kgscale.inference.queries.edges import Edges, missing
from kgscale.inference.queries.formula import form, leaves, ordered, together
from kgscale.inference.queries.questions import Asked
from kgscale.inference.queries.structures import NEGATIVE, POSITIVE, STRUCTURES

CUTS: Final = (1, 3, 10)
ORDER: Final = list(STRUCTURES)
SOME: Final = 64
"""Questions that are answered together, at most."""


def filtered_ranks(
    truth: Float[Tensor, " entity"], easy: Int64[Tensor, " easy"], hard: Int64[Tensor, " hard"]
) -> Float[Tensor, " hard"]:
    """The rank of each hard answer among all that are no answers; ties count half.

    Raises:
        ScoreError: NaN among them.
    """
    if truth.isnan().any():
        raise ScoreError("NaN among the truths of a question: the model has diverged")
    rival = torch.ones(len(truth), dtype=torch.bool)
    rival[easy] = False
    rival[hard] = False
    others = truth[rival].sort().values
    mine = truth[hard].contiguous()
    below, upto = (torch.searchsorted(others, mine, right=right) for right in (False, True))
    return 1 + (len(others) - upto) + (upto - below) / 2


@dataclass
class Sums:
    """Of questions: each is the mean over its answers (Ren & Leskovec 2020)."""

    questions: int = 0
    reciprocal: float = 0.0
    hits: dict[int, float] = field(default_factory=lambda: dict.fromkeys(CUTS, 0.0))

    def add(self, ranks: Float[Tensor, " answer"]) -> None:
        if not len(ranks):
            return
        self.questions += 1
        self.reciprocal += float(ranks.reciprocal().mean())
        for cut in CUTS:
            self.hits[cut] += float((ranks <= cut).float().mean())

    def means(self) -> dict[str, float]:
        count = max(1, self.questions)
        hits = {f"hits@{cut}": value / count for cut, value in self.hits.items()}
        return {"mrr": self.reciprocal / count, **hits, "questions": self.questions}


@dataclass
class Report:
    """Sums by structure: of all hard answers, of those that lack one link, and of the others."""

    every: dict[str, Sums] = field(default_factory=dict)
    one_link: dict[str, Sums] = field(default_factory=dict)
    more_links: dict[str, Sums] = field(default_factory=dict)

    def add(
        self,
        structure: str,
        ranks: Float[Tensor, " answer"],
        links: Int64[Tensor, " answer"],
    ) -> None:
        for sums, which in (
            (self.every, links >= 0),
            (self.one_link, links <= 1),
            (self.more_links, links > 1),
        ):
            sums.setdefault(structure, Sums()).add(ranks[which])

    def content(self) -> dict[str, dict[str, dict[str, float]]]:
        """Metrics by structure and in the mean over structures, for JSON."""
        parts = {"all": self.every, "one_link": self.one_link, "more_links": self.more_links}
        return {part: _with_means(sums) for part, sums in parts.items()}


def _with_means(sums: dict[str, Sums]) -> dict[str, dict[str, float]]:
    order = sorted(
        sums, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name)
    )
    found = {name: sums[name].means() for name in order}
    means = {}
    for word, names in (("positive", POSITIVE), ("negative", NEGATIVE)):
        asked = [found[name] for name in names if name in found and found[name]["questions"]]
        if asked:
            metrics = [name for name in asked[0] if name != "questions"]
            means[word] = {name: sum(one[name] for one in asked) / len(asked) for name in metrics}
            means[word]["structures"] = len(asked)
    return {**found, **means}


def measure(
    questions: Iterable[Asked],
    answerer: Answerer,
    edges: Edges,
    *,
    tell: Callable[[str], object] = lambda _: None,
) -> Report:
    """Answer questions and rank their hard answers.

    Args:
        tell: called with how far it is.
    """
    report, done = Report(), 0
    kind = lambda one: (one.structure, form(one.node))  # noqa: E731
    for _, group in groupby(sorted(questions, key=kind), key=kind):
        # Those with the same last relation beside each other: they ask for some links together.
        for some in _portions(sorted(group, key=lambda one: leaves(ordered(one.node)))):
            truths = answerer(together([ordered(one.node) for one in some]))
            for one, truth in zip(some, truths, strict=True):
                ranks = filtered_ranks(truth, one.easy, one.hard)
                report.add(one.structure, ranks, missing(one.node, edges)[one.hard])
            done += len(some)
            tell(f"{done:,} questions")
    return report


def _portions(questions: Sequence[Asked]) -> Iterable[Sequence[Asked]]:
    for first in range(0, len(questions), SOME):
        yield questions[first : first + SOME]
