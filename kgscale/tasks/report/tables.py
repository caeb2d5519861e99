"""Tables of a page: those of the terminal, and one of relations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.table import Table as Terminal

from kgscale.data.splits import SPLITS
from kgscale.metrics import word
from kgscale.tasks import show
from kgscale.tasks.show.terminal import METRICS, figures

LONGEST: Final = 160
"""Letters of a name; longer ones are cut."""
ENDS: Final = 5
"""Relations that are best, and that are worst, which are shown at once."""
MOST: Final = 1000
"""Relations that are listed."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Text by row and column, all rows as long as the header."""

    title: str
    header: Sequence[str]
    right: Sequence[bool]
    """Of each column, whether it holds numbers."""
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Relation:
    """How well one relation is predicted."""

    name: str
    queries: str
    figures: Sequence[str]
    mrr: float
    kept: str
    """Share of its edges that some batch had, where that is known."""


def clip(text: str, most: int = LONGEST) -> str:
    """Cut, with a mark, where it is longer."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def of_terminal(table: Terminal) -> Table:
    """What a person saw in the terminal."""
    columns = [[clip(str(cell)) for cell in column.cells] for column in table.columns]
    return Table(
        title=str(table.title),
        header=[str(column.header) for column in table.columns],
        right=[column.justify == "right" for column in table.columns],
        rows=list(zip(*columns, strict=True)),
    )


def measured(results: Mapping[str, Any], cuts: Mapping[str, Sequence[int]]) -> list[Table]:
    """Metrics of the model beside those of its baselines, by task.

    Args:
        cuts: lengths of lists, ``cuts``, and of pairs, ``hits``, which have metrics of their own.
    """
    task = results["task"]
    if task == "node_classification":
        found = [show.node_outcome(results)]
    elif task == "node_regression":
        found = [show.number_outcome(results)]
    elif task == "recommendation":
        found = [show.items_outcome(results, cuts["cuts"])]
    elif task == "friend_recommendation":
        found = [show.pairs_outcome(results, cuts["hits"])]
        found += [show.items_outcome(results, cuts["cuts"])]
    else:
        found = [show.outcome(results)]
    tables = [of_terminal(table) for table in found]
    return [table for table in tables if table.rows]


def cuts_of(metrics: Mapping[str, Any]) -> dict[str, list[int]]:
    """The lengths of lists that were measured: those of items, and those of strangers."""
    whole = [metrics.get(split) or {} for split in SPLITS]
    pairs = [part.get(kind) or {} for part in whole for kind in ("random", "matched")]
    return {"cuts": _cuts("ndcg@", whole) or [1], "hits": _cuts("hits@", pairs)}


def _cuts(prefix: str, found: Sequence[Mapping[str, Any]]) -> list[int]:
    names = {name.removeprefix(prefix) for part in found for name in part if prefix in name}
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def split_of(content: Mapping[str, Any]) -> Table | None:
    """One split's metrics by side, category and degree, of ranked links."""
    if "side" not in content:
        return None
    return of_terminal(show.evaluation(content))


def questions(found: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    return [of_terminal(show.questions(split, one["all"])) for split, one in found.items()]


def remarks(metrics: Mapping[str, Any]) -> Iterator[str]:
    """What is told of metrics in sentences."""
    if official := metrics.get("official"):
        yield from show.official(official)
    for split, found in (metrics.get("cold_items") or {}).items():
        cuts = _cuts("recall@", [found["among_all"]])
        yield show.cold_items(split, found, cuts[-1] if cuts else 1)
    for split in SPLITS:
        if "coverage" in (metrics.get(split) or {}):
            yield show.coverage(split, metrics[split])
    for split, found in (metrics.get("inductive") or {}).items():
        yield show.inductive(split, found)
    for found in (metrics.get("questions") or {}).values():
        yield show.hardness(found)


def relations(
    content: Mapping[str, Any], kept: Mapping[str, float], names: Mapping[str, str]
) -> list[Relation]:
    """Those of a split, the worst first.

    Args:
        content: of ``evaluation-<split>.json``.
        kept: shares of edges, by key.
        names: by key.
    """
    found = content.get("relation") or {}
    worst = sorted(found, key=lambda key: (found[key]["mrr"], key))
    return [
        Relation(
            name=clip(names.get(key, key)),
            queries=f"{found[key]['queries']:,.0f}",
            figures=figures(found[key]),
            mrr=min(1.0, max(0.0, float(found[key]["mrr"]))),
            kept=f"{kept[key]:.1%}" if key in kept else "",
        )
        for key in worst
    ]


RELATION_FIGURES: Final = tuple(word(name) for name in METRICS)
