"""What a report says in sentences: the task, the verdict, how it was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kgscale.metrics import word
from kgscale.tasks.directory import DONE

SPLIT_WORDS: Final = {"train": "Training", "valid": "Validation", "test": "Test"}


@dataclass(frozen=True, slots=True)
class Task:
    """A task for people."""

    title: str
    asks: str
    protocol: str


_RANKED: Final = (
    "Both sides of every triple of a split are asked. All entities are candidates, but for other"
    " answers that are known to be right in any split (filtered); equal scores count by the mean of"
    " the ranks that they may have. Popularity ranks entities by how often train has them at that"
    " end of the relation."
)
TASKS: Final = {
    "link_prediction": Task("Link prediction", "which triples are missing", _RANKED),
    "path_reasoning": Task(
        "Path reasoning",
        "which triples are missing, told by paths from a question's head",
        f"{_RANKED} What no path of the subgraph reaches is ranked behind what one does.",
    ),
    "query_answering": Task(
        "Query answering",
        "questions of several hops, by a model that predicts links",
        f"{_RANKED} Questions are asked by their structure; answers count that need links which"
        " training has not seen, ranked among all entities but the other answers.",
    ),
    "node_classification": Task(
        "Node classification",
        "which labels entities lack",
        "Labelled entities of a split, whose labels training has not seen. The baseline says the"
        " most frequent class of train of everybody.",
    ),
    "node_regression": Task(
        "Node regression",
        "which numbers entities lack, each with an interval",
        "Entities of a split that have a number, which training has not seen. The baseline says the"
        " middle number of train of everybody. How far intervals reach was fitted on validation"
        " (split conformal prediction).",
    ),
    "recommendation": Task(
        "Recommendation",
        "which items users lack and would like",
        "Of each user of a split, all items are ranked that the user hasn't got, none of them"
        " sampled. Baselines know what the model knows, and for test validation too.",
    ),
    "friend_recommendation": Task(
        "Friend recommendation",
        "who should know whom",
        "Pairs of a split are told from strangers, drawn at random and as popular ones; lists rank"
        " everybody whom somebody doesn't know yet. Baselines know what the model knows, and for"
        " test validation too.",
    ),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome in a sentence."""

    told: str
    ahead: bool | None
    """Of all baselines; None where there is nothing to compare."""


def headline(results: Mapping[str, Any]) -> tuple[str, str, float] | None:
    """Split, metric and value that a run is judged by: of test, where it was measured."""
    metrics = results["metrics"]
    for split in ("test", "valid"):
        found = metrics.get(split) or {}
        for name in (results.get("monitor", ""), "mrr", "accuracy", "micro_f1", "r2"):
            if name in found:
                return split, name, float(found[name])
    return None


def baselines(results: Mapping[str, Any], name: str) -> dict[str, float]:
    """A metric of each baseline."""
    found = results["metrics"].get("baseline") or {}
    known = {"majority": "the most frequent class", "median": "the middle number"}
    return {
        known.get(kind, kind): float(metrics[name])
        for kind, metrics in found.items()
        if isinstance(metrics, Mapping) and name in metrics
    }


def verdict(results: Mapping[str, Any]) -> Verdict:
    """Whether it is worth anything, by the metric that validation watched."""
    found = headline(results)
    if results["status"] != DONE:
        so_far = "" if found is None else f"; so far: {_told(*found)}"
        return Verdict(f"Interrupted after {results['epochs']:g} epochs{so_far}.", None)
    if found is None:
        return Verdict("Nothing was measured: no split had anything to measure on.", None)
    split, name, value = found
    told = _told(split, name, value)
    others = baselines(results, name)
    if not others:
        return Verdict(f"{told}; no baseline was measured.", None)
    best = max(others, key=lambda kind: (others[kind], kind))
    beside = (results["metrics"]["baseline"] or {}).get("split", split)
    where = "" if beside == split else f" on {SPLIT_WORDS.get(beside, beside).lower()}"
    if value > others[best]:
        which = best if len(others) == 1 else f"the best of {len(others)} baselines, {best},"
        return Verdict(f"{told}, where {which} has {others[best]:.3f}{where}.", True)
    return Verdict(
        f"{told}, and {best} alone has {others[best]:.3f}{where}: the model is no better.", False
    )


def _told(split: str, name: str, value: float) -> str:
    return f"{SPLIT_WORDS[split]} {word(name)} {value:.3f}"


def model_of(results: Mapping[str, Any]) -> str:
    kinds = ("encoder", "decoder", "reasoner")
    told = " + ".join(str(results[kind]) for kind in kinds if kind in results)
    shared = results["metrics"].get("shared") or {}
    if not shared.get("weight"):
        return told
    chosen = ", a weight that validation chose" if shared.get(results["monitor"]) else ""
    return f"{told} + {shared['weight']:g} log(1 + Adamic-Adar) of friends in common{chosen}"


def strategy_of(results: Mapping[str, Any]) -> str:
    """Its name and its settings."""
    settings = results["plan"]["strategy"]
    told = ", ".join(f"{key}={value}" for key, value in settings.items() if key != "_target_")
    return f"{results['strategy']} ({told})" if told else str(results["strategy"])


def effort(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What it took."""
    seconds = results["seconds"]
    phases = ("ingest", "train", "evaluate")
    told = ", ".join(f"{name} {seconds[name]:,.1f} s" for name in phases if name in seconds)
    yield "Time", f"{seconds['total']:,.1f} s ({told}), {seconds['cpu']:,.1f} s of processors"
    yield "Memory", f"{results['peak_memory_bytes'] / 2**20:,.0f} MiB at the peak"
    hardware = results.get("hardware") or {}
    yield "Machine", ", ".join(str(part) for part in hardware.values() if part)
