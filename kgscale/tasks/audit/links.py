"""What is odd about a graph as a benchmark of links: facts that others give away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from kgscale.graph.survey.counts import Survey
from kgscale.graph.survey.leaks import HeldOut
from kgscale.tasks.audit.finding import Finding, Weight, counted, listed

LEAK: Final = 0.05
"""Share of held-out facts from which on a measure is misleading."""
TRACE: Final = 0.01
"""Share from which on it is told."""
FEW: Final = 1000
"""Held-out facts, below which chance is told."""


def about_links(found: Survey, names: Sequence[str]) -> Iterator[Finding]:
    """``names`` are those of the relations."""
    yield from _shared(found)
    split = measured_split(found)
    if split is not None:
        yield from _told(found, split, names)
    yield from _alike(found, split, names)
    yield from _products(found, split, names)
    yield from _constant(found, split, names)
    yield from _symmetric(found, names)
    yield from _unseen(found)
    if split is not None:
        yield from _apart(found, split)
        yield from _few(found.held_out[split], split)


def measured_split(found: Survey) -> str | None:
    """Test, or valid where there is no test, or none."""
    for split in ("test", "valid"):
        if found.held_out[split].facts:
            return split
    return None


def _shared(found: Survey) -> Iterator[Finding]:
    for splits, number in found.shared.items():
        if not number:
            continue
        of_train = splits.startswith("train")
        why = "remembering answers them" if of_train else "the choice of a checkpoint sees them"
        yield Finding(
            kind="shared",
            weight="wrong" if of_train else "easy",
            count=number,
            words=f"{counted(number, 'fact')} of both {splits}: {why}",
            remedy="leave them out of one of the two files",
        )


def _told(found: Survey, split: str, names: Sequence[str]) -> Iterator[Finding]:
    held = found.held_out[split]
    share = held.told / held.facts
    if share < TRACE:
        return
    ways = (
        (held.reverse, "by their reverse"),
        (held.inverse, "by an inverse relation"),
        (held.duplicate, "by a duplicate relation"),
    )
    how = ", ".join(f"{number:,} {words}" for number, words in ways if number)
    most = max(range(len(names)), key=lambda at: found.relations[at].told)
    number = found.relations[most].told
    whose = f"; {number:,} are of {names[most]!r}" if split == "test" and number else ""
    yield Finding(
        kind="told",
        weight="easy" if share >= LEAK else "mind",
        count=held.told,
        share=share,
        words=(
            f"train tells {held.told:,} of {held.facts:,} facts of {split} ({share:.1%}):"
            f" {how}{whose}"
        ),
        remedy=(
            "report the others apart, or divide anew with all facts between two entities on one"
            " side: a single file as data.path is divided so"
        ),
    )


def _alike(found: Survey, split: str | None, names: Sequence[str]) -> Iterator[Finding]:
    for kind, words in (("duplicate", "saying the same"), ("inverse", "saying the same backwards")):
        pairs = [pair for pair in found.pairs if pair.kind == kind]
        if not pairs:
            continue
        held = 0 if split is None else getattr(found.held_out[split], kind)
        total = 1 if split is None else found.held_out[split].facts
        unharmed = "" if held or split is None else f"; no fact of {split} is told so"
        both = [f"{names[pair.one]!r} and {names[pair.other]!r}" for pair in pairs]
        yield Finding(
            kind=kind,
            weight=_weight(held, total),
            count=len(pairs),
            words=(
                f"{counted(len(pairs), 'pair')} of relations {words}:"
                f" {listed(both, '; ')}{unharmed}"
            ),
            remedy="keep one of each, or hold out what both say together",
        )


def _weight(held: int, total: int) -> Weight:
    return "easy" if held >= LEAK * total else "mind"


def _products(found: Survey, split: str | None, names: Sequence[str]) -> Iterator[Finding]:
    at = [number for number, row in enumerate(found.relations) if row.cartesian]
    if not at:
        return
    held, total = _held(found, split, at)
    yield Finding(
        kind="cartesian",
        weight=_weight(held, total),
        count=len(at),
        share=held / total if split else None,
        words=(
            f"{counted(len(at), 'relation')} joining nearly every head with every tail:"
            f" {_of_these(found, split, names, at)}"
        ),
        remedy="report them apart: whoever knows their heads and tails knows the answers",
    )


def _constant(found: Survey, split: str | None, names: Sequence[str]) -> Iterator[Finding]:
    at = [number for number, row in enumerate(found.relations) if row.constant]
    if not at:
        return
    held, total = _held(found, split, at)
    yield Finding(
        kind="constant",
        # The other of a fact's two questions stays as hard as any.
        weight="mind",
        count=len(at),
        share=held / total if split else None,
        words=(
            f"{counted(len(at), 'relation')} with a single head or tail:"
            f" {_of_these(found, split, names, at)}"
        ),
        remedy="report them apart: whoever knows the relation knows the answer on that side",
    )


def _held(found: Survey, split: str | None, at: Sequence[int]) -> tuple[int, int]:
    """Held-out facts of some relations, and of all."""
    if split is None:
        return 0, 1
    held = sum(getattr(found.relations[number], split) for number in at)
    return held, found.held_out[split].facts


def _of_these(found: Survey, split: str | None, names: Sequence[str], at: Sequence[int]) -> str:
    """Their names, those with most facts first, and how much of a split they are."""
    most = sorted(at, key=lambda number: -found.relations[number].facts)
    text = listed([repr(names[number]) for number in most])
    if split is None:
        return text
    held, total = _held(found, split, at)
    return f"{text}; {held:,} of {total:,} facts of {split} are of these"


def _symmetric(found: Survey, names: Sequence[str]) -> Iterator[Finding]:
    rows = [(row, name) for row, name in zip(found.relations, names, strict=True) if row.symmetric]
    if not rows:
        return
    rows.sort(key=lambda pair: -pair[0].facts)
    yield Finding(
        kind="symmetric",
        weight="mind",
        count=len(rows),
        words=(
            f"{counted(len(rows), 'relation')} holding both ways:"
            f" {listed([repr(name) for _, name in rows])}"
        ),
        remedy=(
            "take a decoder that can hold these and others (ComplEx, RotatE): TransE can't hold"
            " them, DistMult holds no others"
        ),
    )


def _unseen(found: Survey) -> Iterator[Finding]:
    held = [(split, one.unseen) for split, one in found.held_out.items() if one.unseen]
    if held:
        number = sum(count for _, count in held)
        facts = sum(one.facts for one in found.held_out.values())
        told = " and ".join(f"{counted(count, 'fact')} of {split}" for split, count in held)
        yield Finding(
            kind="unseen",
            weight="mind",
            count=number,
            share=number / facts,
            words=f"{told} are about entities that train lacks ({found.unseen:,} entities)",
            remedy=(
                "published results count them, and no learned vector answers them; features or"
                " task=path_reasoning may"
            ),
        )
    rows = [row for row in found.relations if not row.train and row.facts]
    if rows:
        yield Finding(
            kind="unseen_relation",
            weight="mind",
            count=len(rows),
            words=f"{counted(len(rows), 'relation')} that train lacks",
            remedy="leave their facts out with data.unseen_relation=drop",
        )


def _apart(found: Survey, split: str) -> Iterator[Finding]:
    held = found.held_out[split]
    share = held.apart / held.facts
    if share >= TRACE:
        yield Finding(
            kind="apart",
            weight="mind",
            count=held.apart,
            share=share,
            words=(
                f"{held.apart:,} of {held.facts:,} facts of {split} ({share:.1%}) join entities"
                " that no path of train joins"
            ),
            remedy="answers by paths miss these: add reasoner.profile=true or evaluation.rest=RUN",
        )


def _few(held: HeldOut, split: str) -> Iterator[Finding]:
    if held.facts < FEW:
        # A number between 0 and 1 has a standard deviation of 1/2 at most.
        off = 1 / np.sqrt(held.facts)
        yield Finding(
            kind="few",
            weight="mind",
            count=held.facts,
            words=(
                f"{split} has {counted(held.facts, 'fact')}: by the luck of which these are, an"
                f" MRR may be off by up to {off:.3f} (two standard errors)"
            ),
            remedy="compare by the means of several seeds and splits",
        )
