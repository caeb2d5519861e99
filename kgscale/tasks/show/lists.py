"""Lists of items, and friends among strangers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.table import Table

from kgscale.metrics import word
from kgscale.tasks.show.terminal import figures, likely, named, plain_table

STRANGERS: Final = {"random": "random", "matched": "as popular"}


def items_outcome(results: Mapping[str, Any], cuts: Sequence[int]) -> Table:
    """Metrics of lists of items, the model's beside the baselines'."""
    metrics, longest = results["metrics"], cuts[-1]
    names = [f"{name}@{longest}" for name in ("recall", "ndcg", "hit", "mrr", "coverage")]
    table = plain_table(f"Lists of {longest} items, of all that users don't have")
    table.add_column("split")
    table.add_column("model")
    for name in names:
        table.add_column(word(name), justify="right")
    model = _model(results)
    for split in ("valid", "test"):
        if metrics.get(split):
            table.add_row(split, model, *figures(metrics[split], names))
    baselines = dict(metrics.get("baseline") or {})
    split = baselines.pop("split", "")
    for name, found in baselines.items():
        table.add_row(split, name, *figures(found, names))
    return table


def _model(results: Mapping[str, Any]) -> str:
    """What makes the scores."""
    shared = (results["metrics"].get("shared") or {}).get("weight")
    parts = [results["encoder"], results["decoder"], *(["shared friends"] if shared else [])]
    return " + ".join(parts)


def cold_items(split: str, found: Mapping[str, Any], cut: int) -> str:
    """How well the items of few users are found."""
    told = ", ".join(
        f"{found[part].get(f'recall@{cut}', 0.0):.4f} {words}"
        for part, words in (("among_all", "among all items"), ("among_cold", "among these"))
    )
    return (
        f"{split}: {found['links']:,} links to the {found['items']:,} items that the fewest users"
        f" have: Recall@{cut} {told}"
    )


def pairs_outcome(results: Mapping[str, Any], hits: Sequence[int]) -> Table:
    """How friends are told from strangers, by the model and by what it has to beat."""
    metrics = results["metrics"]
    model = _model(results)
    rows = [(split, model, metrics.get(split) or {}) for split in ("valid", "test")]
    baselines = dict(metrics.get("baseline") or {})
    split = baselines.pop("split", "")
    rows += [(split, name, found) for name, found in baselines.items()]
    table = plain_table("Friends among strangers")
    names = ("auc", *(f"hits@{cut}" for cut in hits))
    for name in ("split", "model", "strangers"):
        table.add_column(name)
    for name in names:
        table.add_column(word(name), justify="right")
    for split, name, found in rows:
        for kind, told in STRANGERS.items():
            if found.get(kind):
                table.add_row(split, name, told, *figures(found[kind], names))
    return table


def shared_friends(found: Mapping[str, Any] | None) -> str:
    """What friends in common weigh, and what that brought; empty if nothing was weighed."""
    if not found:
        return ""
    weight = found["weight"]
    monitor, by_weight = next(pair for pair in found.items() if pair[0] != "weight")
    if by_weight is not None and not weight:
        return "friends in common are left out: with them, lists of validation are no better"
    told = f"a pair's score has {weight:g} times log(1 + Adamic-Adar) of friends in common"
    if by_weight is None:
        return told if weight else ""
    best, alone = (by_weight[str(one)] for one in (weight, 0.0))
    return f"{told}, chosen by validation: {word(monitor)} {best:.4f}, without {alone:.4f}"


def items_evaluation_content(
    split: str, found: Mapping[str, Any], task: str = "recommendation"
) -> dict[str, Any]:
    """What ``evaluation-<split>.json`` holds of recommendation."""
    return {"split": split, "task": task, "overall": dict(found)}


def items_evaluation(content: Mapping[str, Any]) -> Table:
    """One split's lists, by their lengths."""
    found = content["overall"]
    cuts = sorted(int(name.partition("@")[2]) for name in found if name.startswith("recall@"))
    kinds = ("recall", "ndcg", "precision", "hit", "mrr", "coverage")
    table = plain_table(
        f"Lists of items for {found.get('users', 0):,.0f} users of {content['split']}"
    )
    table.add_column("items", justify="right")
    for kind in kinds:
        table.add_column(word(kind), justify="right")
    for cut in cuts:
        table.add_row(str(cut), *figures(found, [f"{kind}@{cut}" for kind in kinds]))
    for kind, told in STRANGERS.items():
        if found.get(kind):
            numbers = {name: value for name, value in found[kind].items() if name != "strangers"}
            words = ", ".join(f"{word(name)} {value:.4f}" for name, value in numbers.items())
            table.caption = f"{table.caption or ''}\namong {told} strangers: {words}".strip()
    return table


def items(columns: Mapping[str, Sequence[Any]], title: str) -> Table:
    """Lists of items of users, by name."""
    table = plain_table(title)
    table.add_column("user", overflow="fold")
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("item", overflow="fold")
    kind = likely(columns)
    table.add_column(kind, justify="right", overflow="fold")
    before, known = None, columns.get("known")
    for row, user in enumerate(columns["user"]):
        shown = named(columns, "user", row) if user != before else ""
        before = user
        rank, score = str(columns["rank"][row]), columns[kind][row]
        said = "known" if known and known[row] else "" if score is None else f"{score:.3f}"
        table.add_row(shown, rank, named(columns, "item", row), said)
    return table
