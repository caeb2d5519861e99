"""What is odd about a graph as something to learn from, whatever is asked of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from kgscale.graph.survey.counts import LabelCounts, Survey
from kgscale.tasks.audit.finding import Finding, counted, listed

LONELY: Final = 0.5
"""Share of entities with a single fact from which on it is told."""
HUBS: Final = 0.5
"""Share of all ends of facts that a hundredth of the entities has, likewise."""
JOINED: Final = 0.9
"""Share of the entities in the largest component below which it is told."""
LEAK: Final = 0.05
"""Share of labelled entities beside their label."""
TOLD: Final = 0.5
"""Share of them from which on nothing is left to learn."""
ONE_CLASS: Final = 0.8
"""Share of labels of one class."""


def about_learning(
    found: Survey, names: Sequence[str], manifest: Mapping[str, Any]
) -> Iterator[Finding]:
    """``names`` are those of the relations, and the ``manifest`` is the store's."""
    if found.labels is not None:
        yield from _labels(found.labels, names)
    yield from _ingest(manifest)
    yield from _degrees(found)
    yield from _components(found)


def _labels(labels: LabelCounts, names: Sequence[str]) -> Iterator[Finding]:
    number = sum(labels.entities.values())
    if labels.joined and labels.joined >= LEAK * number:
        yield Finding(
            kind="label_in_graph",
            weight="wrong" if labels.joined > TOLD * number else "easy",
            count=labels.joined,
            share=labels.joined / number,
            words=(
                f"{labels.joined:,} of {number:,} labelled entities are joined to the entity that"
                f" is their label, by {listed([repr(names[at]) for at, _ in labels.joined_by])}"
            ),
            remedy="leave these relations out with data.label_relation=[…]",
        )
    if labels.alone:
        are = "entity has" if labels.alone == 1 else "entities have"
        yield Finding(
            kind="label_without_facts",
            weight="mind",
            count=labels.alone,
            share=labels.alone / number,
            words=f"{labels.alone:,} labelled {are} no fact of train",
            remedy="nothing but features tells of these",
        )
    if labels.largest >= ONE_CLASS:
        yield Finding(
            kind="one_class",
            weight="mind",
            count=labels.classes,
            share=labels.largest,
            words=f"{labels.largest:.0%} of the labels of train are of one class",
            remedy="look at macro F1 rather than accuracy",
        )


def _ingest(manifest: Mapping[str, Any]) -> Iterator[Finding]:
    told, counts = manifest["input"], manifest["counts"]
    rejected = sum(told["rejected"].values())
    if rejected:
        yield Finding(
            kind="rejected",
            weight="mind",
            count=rejected,
            share=rejected / told["lines"],
            words=f"{rejected:,} of {counted(told['lines'], 'line')} can't be used",
            remedy="correct them; rejected.tsv in the store lists each with its reason",
        )
    if repeated := sum(counts["duplicates"].values()):
        yield Finding(
            kind="repeated",
            weight="mind",
            count=repeated,
            words=f"{counted(repeated, 'fact')} repeated within a split",
            remedy="they count once",
        )
    for what, number in counts["keys_with_several_names"].items():
        if number:
            keys = f"{what} key has" if number == 1 else f"{what} keys have"
            yield Finding(
                kind="several_names",
                weight="mind",
                count=number,
                words=f"{number:,} {keys} several names: two things may share a key",
                remedy="give each its own key; until then the facts of both are one's",
            )


def _degrees(found: Survey) -> Iterator[Finding]:
    degrees = found.degrees
    if degrees.once > LONELY * found.seen:
        share = degrees.once / found.seen
        yield Finding(
            kind="lonely",
            weight="mind",
            count=degrees.once,
            share=share,
            words=f"{degrees.once:,} of {found.seen:,} entities ({share:.0%}) have a single fact",
            remedy="learned vectors know little of them; features and messages may know more",
        )
    if degrees.hub_share > HUBS:
        yield Finding(
            kind="hubs",
            weight="mind",
            count=degrees.most,
            share=degrees.hub_share,
            words=(
                f"{degrees.hub_share:.0%} of the ends of all facts are at one entity in a hundred"
                f" ({degrees.most:,} at one)"
            ),
            remedy="compare with popularity, which stands beside every model",
        )


def _components(found: Survey) -> Iterator[Finding]:
    if not found.components or found.components[0][0] >= JOINED * found.seen:
        return
    largest, number = found.components[0][0], sum(count for _, count in found.components)
    share = largest / found.seen
    yield Finding(
        kind="components",
        weight="mind",
        count=number,
        share=share,
        words=(
            f"train falls into {number:,} parts that nothing joins; the largest has {share:.0%} of"
            " the entities"
        ),
        remedy="nothing learned by messages crosses from one to another",
    )
