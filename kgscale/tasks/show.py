"""What a person sees: tables and sentences for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from kgscale.graph.store import GraphStore
from kgscale.metrics.ranking import HITS

_METRICS = ("mrr", *(f"hits@{k}" for k in HITS))


def graph(store: GraphStore) -> str:
    """One line about a store."""
    counts = ", ".join(f"{store.num_triples[split]:,} {split}" for split in store.num_triples)
    return (
        f"graph: {store.num_entities:,} entities, {store.num_relations:,} relations,"
        f" triples {counts} ({store.path.name})"
    )


def outcome(results: Mapping[str, Any], strategy: str) -> Table:
    """Filtered metrics of the model beside the popularity baseline's."""
    metrics = results["metrics"]
    table = Table(title="Full filtered ranking, both sides", caption=strategy)
    table.add_column("split")
    table.add_column("model")
    for name in ("MRR", *(f"Hits@{k}" for k in HITS)):
        table.add_column(name, justify="right")
    model = f"{results['encoder']} + {results['decoder']}"
    for split in ("valid", "test"):
        if metrics.get(split):
            table.add_row(split, model, *_numbers(metrics[split]))
    baseline = metrics.get("baseline")
    if baseline:
        table.add_row(baseline["split"], "popularity", *_numbers(baseline["popularity"]))
    return table


def _numbers(metrics: Mapping[str, float]) -> list[str]:
    return [f"{metrics[name]:.4f}" if name in metrics else "" for name in _METRICS]


def evaluation(content: Mapping[str, Any]) -> Table:
    """One split's metrics: overall, by side, relation category and degree of the true tail."""
    table = Table(title=f"Full filtered ranking of {content['split']}")
    table.add_column("group")
    for name in ("queries", "MRR", *(f"Hits@{k}" for k in HITS), "tie rate"):
        table.add_column(name, justify="right")
    rows = {"overall": content["overall"]}
    for kind in ("side", "category", "degree"):
        rows.update({f"{kind} {name}": metrics for name, metrics in content[kind].items()})
    for name, metrics in rows.items():
        if metrics:
            count, ties = f"{metrics['queries']:,.0f}", f"{metrics['tie_rate']:.4f}"
            table.add_row(name, count, *_numbers(metrics), ties)
    return table


def predictions(columns: Mapping[str, Sequence[Any]]) -> Table:
    """Ranked triples by name."""
    table = Table(title="Predictions")
    for name in ("rank", "head", "relation", "tail", "score", "known"):
        table.add_column(name, justify="right" if name in ("rank", "score") else "left")
    for row in range(len(columns["head"])):
        table.add_row(
            str(columns["rank"][row]),
            *(_named(columns, kind, row) for kind in ("head", "relation", "tail")),
            f"{columns['score'][row]:.3f}",
            "yes" if columns["known"][row] else "new",
        )
    return table


def _named(columns: Mapping[str, Sequence[Any]], kind: str, row: int) -> str:
    key, name = columns[kind][row], columns[f"{kind}_name"][row]
    text = key if key == name else f"{name} ({key})"
    return text.replace("[", r"\[")


def rule(settings: Mapping[str, Any]) -> str:
    """How the new facts were chosen."""
    return (
        f"Rule: the best softmax probabilities over (head, relation) pairs whose head is of a type"
        f" that the relation has in train ({settings['pairs']:,} pairs at most, a seeded sample"
        f" where there are more); tails of a type seen with the relation, never the head itself;"
        f" known facts of all splits left out; at most {settings['per_relation']} per relation."
    )
