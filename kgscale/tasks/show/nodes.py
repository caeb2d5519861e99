"""Classes and numbers of entities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.table import Table

from kgscale.data.splits import SPLITS
from kgscale.graph.store import GraphStore
from kgscale.metrics import word
from kgscale.tasks.show.terminal import figures, likely, named, plain_table, short

_NODE_METRICS = ("accuracy", "micro_f1", "macro_f1", "average_precision", "rocauc")
_NUMBER_METRICS: Final = ("mae", "rmse", "r2", "covered", "width")


def kinds(store: GraphStore, asked: int, what: str) -> Iterator[str]:
    """A note where entities may be of several kinds, and nothing tells these apart."""
    labels = store.labels()
    labelled = 0 if labels is None else int((labels.split < len(SPLITS)).sum())
    if len(store.types) == 1 and labelled < asked:
        yield (
            f"note: {asked - labelled:,} entities without a {what} are answered for, whatever they"
            " are; where only some can have one, say which with data.types"
        )


def node_outcome(results: Mapping[str, Any]) -> Table:
    """Metrics of the model beside those of the most frequent class."""
    metrics = results["metrics"]
    baseline = metrics.get("baseline") or {"majority": {}, "split": ""}
    rows = [(split, results["encoder"], metrics.get(split) or {}) for split in ("valid", "test")]
    rows.append((baseline["split"], "most frequent class", baseline["majority"]))
    names = [name for name in _NODE_METRICS if any(name in found for _, _, found in rows)]
    table = plain_table("Classes of labelled entities")
    table.add_column("split")
    table.add_column("model")
    for name in names:
        table.add_column(word(name), justify="right")
    for split, model, found in rows:
        if found:
            table.add_row(split, model, *figures(found, names))
    return table


def node_evaluation_content(split: str, metrics: Mapping[str, float]) -> dict[str, Any]:
    """What ``evaluation-<split>.json`` holds of node classification."""
    return {"split": split, "task": "node_classification", "overall": dict(metrics)}


def node_evaluation(content: Mapping[str, Any]) -> Table:
    """One split's metrics."""
    table = plain_table(f"Classes of the labelled entities of {content['split']}")
    names = [name for name in _NODE_METRICS if name in content["overall"]]
    table.add_column("entities", justify="right")
    for name in names:
        table.add_column(word(name), justify="right")
    count = content["overall"].get("nodes", 0)
    table.add_row(f"{count:,.0f}", *figures(content["overall"], names))
    return table


def number_outcome(results: Mapping[str, Any]) -> Table:
    """Errors of the model beside those of the middle number of train."""
    metrics = results["metrics"]
    baseline = metrics.get("baseline") or {"median": {}, "split": ""}
    rows = [(split, results["encoder"], metrics.get(split) or {}) for split in ("valid", "test")]
    rows.append((baseline["split"], "middle number", baseline["median"]))
    table = plain_table("Numbers of entities")
    table.add_column("split")
    table.add_column("model")
    for name in _NUMBER_METRICS:
        table.add_column(word(name), justify="right")
    for split, model, found in rows:
        if found:
            table.add_row(split, model, *_figures(found))
    return table


def number_evaluation_content(split: str, metrics: Mapping[str, float]) -> dict[str, Any]:
    """What ``evaluation-<split>.json`` holds of node regression."""
    return {"split": split, "task": "node_regression", "overall": dict(metrics)}


def number_evaluation(content: Mapping[str, Any]) -> Table:
    """One split's errors and intervals."""
    table = plain_table(f"Numbers of the entities of {content['split']}")
    table.add_column("entities", justify="right")
    for name in _NUMBER_METRICS:
        table.add_column(word(name), justify="right")
    found = content["overall"]
    table.add_row(f"{found.get('nodes', 0):,.0f}", *_figures(found))
    return table


def _figures(metrics: Mapping[str, float]) -> list[str]:
    return [f"{metrics[name]:.4g}" if name in metrics else "" for name in _NUMBER_METRICS]


def numbers(columns: Mapping[str, Sequence[Any]], title: str) -> Table:
    """Estimates of entities by name, with their intervals, beside what is given."""
    table, mark = plain_table(title), any(columns["given"])
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("entity", overflow="fold")
    for name in ("estimate", "from", "to"):
        table.add_column(name, justify="right", overflow="fold")
    if mark:
        table.add_column("given", overflow="fold")
    for row in range(len(columns["entity"])):
        cells = [str(row + 1), named(columns, "entity", row)]
        ends = (columns[name][row] for name in ("value", "low", "high"))
        cells += ["" if end is None else f"{end:,.5g}" for end in ends]
        table.add_row(*cells, *([short(columns["given"][row])] if mark else []))
    return table


def labels(columns: Mapping[str, Sequence[Any]], title: str) -> Table:
    """Classes of entities by name, beside what is given."""
    table, mark = plain_table(title), any(columns["given"])
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("entity", overflow="fold")
    table.add_column("label", overflow="fold")
    kind = likely(columns)
    table.add_column(kind, justify="right", overflow="fold")
    if mark:
        table.add_column("given", overflow="fold")
    for row in range(len(columns["entity"])):
        cells = [str(row + 1), named(columns, "entity", row)]
        cells += [short(columns["label"][row]), f"{columns[kind][row]:.3f}"]
        table.add_row(*cells, *([short(columns["given"][row])] if mark else []))
    return table
