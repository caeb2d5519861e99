"""Ranked links: metrics and predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from kgscale.data.splits import SPLITS
from kgscale.errors import printable
from kgscale.inference.evaluate import RankReport
from kgscale.metrics import word
from kgscale.metrics.ranking import HITS
from kgscale.tasks.show.terminal import figures, likely, named, plain_table, short


def outcome(results: Mapping[str, Any]) -> Table:
    """Filtered metrics of the model beside the popularity baseline's."""
    metrics = results["metrics"]
    table = plain_table("Full filtered ranking, both sides")
    table.add_column("split")
    table.add_column("model")
    for name in ("MRR", *(f"Hits@{k}" for k in HITS)):
        table.add_column(name, justify="right")
    kinds = ("encoder", "decoder", "reasoner")
    model = " + ".join(results[kind] for kind in kinds if kind in results)
    for split in ("valid", "test"):
        if metrics.get(split):
            table.add_row(split, model, *figures(metrics[split]))
    baseline = metrics.get("baseline")
    if baseline:
        table.add_row(baseline["split"], "popularity", *figures(baseline["popularity"]))
    return table


def evaluation_content(split: str, report: RankReport, relations: list[str]) -> dict[str, Any]:
    """What ``evaluation-<split>.json`` holds."""
    return {
        "split": split,
        "protocol": "filtered",
        "overall": report.overall(),
        **report.breakdown(relations),
    }


def evaluation(content: Mapping[str, Any]) -> Table:
    """One split's metrics: overall, by side, relation category and degree of the true tail."""
    table = plain_table(f"Full filtered ranking of {content['split']}")
    table.add_column("group")
    for name in ("queries", "MRR", *(f"Hits@{k}" for k in HITS), "tie rate"):
        table.add_column(name, justify="right")
    rows = {"overall": content["overall"]}
    for kind in ("side", "category", "degree"):
        rows.update({f"{kind} {name}": metrics for name, metrics in content[kind].items()})
    for name, metrics in rows.items():
        if metrics:
            count, ties = f"{metrics['queries']:,.0f}", f"{metrics['tie_rate']:.4f}"
            table.add_row(name, count, *figures(metrics), ties)
    return table


def predictions(columns: Mapping[str, Sequence[Any]], title: str) -> Table:
    """Ranked triples by name; known facts are marked where there are any."""
    table, mark = plain_table(title), any(columns["known"])
    table.add_column("", justify="right", no_wrap=True)
    for name in ("head", "relation", "tail"):
        table.add_column(name, overflow="fold")
    kind = likely(columns)
    table.add_column(kind, justify="right", overflow="fold")
    if mark:
        table.add_column("known")
    if "path" in columns:
        table.add_column("best path", overflow="fold")
    for row in range(len(columns["head"])):
        cells = [str(columns["rank"][row])]
        cells += [named(columns, kind, row) for kind in ("head", "relation", "tail")]
        cells.append(f"{columns[kind][row]:.3f}")
        cells += ["yes" if columns["known"][row] else "new"] if mark else []
        cells += [short(columns["path"][row])] if "path" in columns else []
        table.add_row(*cells)
    return table


def rule(*, pairs: int, per_relation: int) -> str:
    """How the new facts were chosen."""
    return (
        f"Rule: the best softmax scores over (head, relation) pairs whose head is of a type"
        f" that the relation has in train ({pairs:,} pairs at most, a seeded sample"
        f" where there are more); tails of a type seen with the relation, never the head itself;"
        f" known facts of all splits left out; at most {per_relation} per relation."
        " A probability is that of an answer where one is missing."
    )


def coverage(split: str, found: Mapping[str, Any]) -> str:
    """What share of answers a reasoner could find at all, and what another model's order adds."""
    text = f"{split}: {found['coverage']:.1%} of the answers lie in the subgraph of their head"
    if "without_rest" not in found:
        return text
    return f"{text}; MRR {found['without_rest']['mrr']:.4f} without the other run's scores"


def inductive(split: str, found: Mapping[str, Any]) -> str:
    """Metrics on a graph that training never saw, each with its protocol."""
    some = found["among_negatives"]
    return (
        f"{split} of {printable(found['name'])}, entities never seen: full ranking MRR"
        f" {found['mrr']:.4f}, Hits@10 {found['hits@10']:.4f}; among {some['negatives']:.0f} random"
        f" negatives MRR {some['mrr']:.4f}, Hits@10 {some['hits@10']:.4f};"
        f" {found['coverage']:.1%} of the answers lie in the subgraph of their head"
    )


def official(found: Mapping[str, Any]) -> Iterator[str]:
    """A benchmark's own measure of each split."""
    for split in SPLITS:
        if found.get(split):
            told = ", ".join(f"{word(name)} {value:.4f}" for name, value in found[split].items())
            yield f"{split} by the rules of {found['benchmark']} (OGB's Evaluator): {told}"


def form(found: Mapping[str, Any]) -> Table:
    """The fields of OGB's form."""
    table = plain_table(f"For the leaderboard of {found['dataset']}")
    table.add_column("field", no_wrap=True)
    table.add_column("value", overflow="fold")
    none = "not measured" if found["dataset"].startswith("ogb") else "kept by OGB"
    for name in ("test", "validation"):
        spread = found[name]
        told = none if spread is None else f"{spread['mean']:.4f} ± {spread['deviation']:.4f}"
        table.add_row(f"{name} {word(found['metric'])}", told)
    hardware = found["hardware"]
    table.add_row("runs", f"{found['runs']} (seeds {', '.join(map(str, found['seeds']))})")
    table.add_row("method", found["method"])
    table.add_row("parameters", f"{found['parameters']:,}")
    table.add_row("hardware", ", ".join(str(value) for value in hardware.values() if value))
    table.add_row("evaluator", found["evaluator"])
    table.add_row("commit", found["revision"] or "unknown")
    table.add_row("command", found["commands"][0])
    return table
