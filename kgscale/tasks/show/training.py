"""What a training tells of probabilities and of its batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from kgscale.data.splits import SPLITS
from kgscale.errors import printable


def probabilities(metrics: Mapping[str, Any]) -> Iterator[str]:
    """How scores became probabilities, and how far off they are."""
    found = metrics.get("calibration", {})
    for split in SPLITS:
        if split in found:
            off, before = found[split]["ece"], found[split].get("ece_of_scores")
            told = "" if before is None else f" ({before:.4f} of the scores as they are)"
            yield (
                f"{split}: probabilities ({found['method']}, fitted on {found['questions']:,}"
                f" questions of valid) are off by {off:.4f} in the mean{told}"
            )
    if abstains := metrics.get("abstention"):
        right = f", of which {abstains['right']:.1%} are right" if "right" in abstains else ""
        yield (
            f"{abstains['split']}: {abstains['answered']:.1%} of the entities have a label of"
            f" probability {abstains['least']:g} or more{right}; the others are left out"
        )


_REPORTED: Final = {
    "edges_kept": "of the train edges are in some batch of an epoch",
    "edges_kept_worst_relation": "of those of the relation that loses most, {worst}",
    "answers_covered": "of the answers lie in the subgraph of their head",
}


def report(measured: Mapping[str, float], relations: Mapping[str, float]) -> Iterator[str]:
    """What a strategy's batches lack of the graph; ``relations`` are the shares kept of each."""
    worst = printable(min(relations, key=lambda key: relations[key], default=""))
    for name, share in measured.items():
        yield f"note: {share:.1%} {_REPORTED[name].format(worst=worst)}"
