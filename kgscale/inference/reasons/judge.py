"""How much a prediction rests on each fact: what its score would lose without it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from kgscale.inference.reasons.ways import PathStep, Way

SHARE: Final = 0.5
"""A fact that a path rests on is told with the path, if the path has this share of its loss."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A triple of train, as the step of a way."""

    step: PathStep
    triple: int


class Judge(ABC):
    """Knows a prediction's score, and what it would lose without a fact."""

    score: float

    @abstractmethod
    def losses(self, facts: Sequence[Fact]) -> Iterator[float]:
        """``score`` less what it would be without each fact, one fact at a time."""


@dataclass(frozen=True, slots=True)
class Reason:
    """What a prediction rests on."""

    way: Way
    loss: float
    """Of the score without the fact; of a path, without that fact of it that is needed least."""


def weigh(judge: Judge, ways: Sequence[Way], *, signed: bool = True) -> list[Reason]:
    """The reasons for a prediction, the strongest first.

    A path is as strong as its weakest fact: one that has a needed fact by chance doesn't count as
    needed. A fact that is told by a path is not told again by itself.

    Args:
        signed: what lowers the score without a fact counts; otherwise what changes it.
    """
    facts = {
        triple: Fact(step, triple)
        for way in ways
        for step, triple in zip(way.steps, way.triples, strict=True)
    }
    losses = dict(zip(facts, judge.losses(list(facts.values())), strict=True))
    found = {way.triples: _reason(way, losses, signed=signed) for way in ways}
    return _told_once(sorted(found.values(), key=lambda r: (-_size(r.loss, signed), r.way.triples)))


def _reason(way: Way, losses: dict[int, float], *, signed: bool) -> Reason:
    own = (losses[triple] for triple in way.triples)
    return Reason(way, min(own, key=lambda loss: _size(loss, signed)))


def _size(loss: float, signed: bool) -> float:
    if math.isnan(loss):
        return -math.inf
    return loss if signed else abs(loss)


def _told_once(reasons: list[Reason]) -> list[Reason]:
    """Without facts that a path tells, and without paths that have nothing but such facts."""
    paths = [reason for reason in reasons if len(reason.way.triples) > 1]
    told = {
        triple: max((p.loss for p in paths if triple in p.way.triples), default=-math.inf)
        for reason in reasons
        if len(reason.way.triples) == 1
        for triple in reason.way.triples
    }
    return [
        reason
        for reason in reasons
        if len(reason.way.triples) > 1
        or reason.loss <= 0
        or told[reason.way.triples[0]] < SHARE * reason.loss
    ]
