"""An audit for the terminal, from what ``audit.json`` holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.table import Table

from kgscale.data.splits import SPLITS
from kgscale.tasks.show.terminal import plain_table, short

_HELD_OUT: Final = {
    "facts": "facts",
    "told": "told by train",
    "reverse": "… by their reverse",
    "inverse": "… by an inverse relation",
    "duplicate": "… by a duplicate relation",
    "joined": "whose ends some fact of train joins",
    "unseen": "about an entity that train lacks",
    "apart": "whose ends no path of train joins",
}
RELATIONS: Final = 15
"""With the most facts, that are listed."""
PAIRS: Final = 10


def audit_verdict(content: Mapping[str, Any]) -> Iterator[str]:
    """In words: what is wrong with a data set, and what to do about it."""
    yield f"verdict on {content['verdict']}"
    for finding in content["findings"]:
        yield f"- {short(finding['words'])}"
        yield f"  what to do: {finding['remedy']}"


def audit_splits(content: Mapping[str, Any]) -> Table | None:
    """Held-out facts by what train tells of them, if there are any."""
    if not any(content["triples"][split] for split in SPLITS[1:]):
        return None
    table = plain_table("Held-out facts")
    table.add_column("")
    held = content["held_out"]
    for split in held:
        table.add_column(split, justify="right")
    for name, words in _HELD_OUT.items():
        cells = [_part(one[name], one["facts"], whole=name == "facts") for one in held.values()]
        table.add_row(words, *cells)
    for splits, number in content["shared"].items():
        *_, last = splits.split()
        table.add_row(
            f"of both {splits}", *(f"{number:,}" if split == last else "" for split in held)
        )
    return table


def audit_relations(content: Mapping[str, Any]) -> Table:
    """The relations with the most facts."""
    rows = content["relations"]
    more = f", the {RELATIONS} largest of {len(rows):,}" if len(rows) > RELATIONS else ""
    table = plain_table(f"Relations{more}")
    table.add_column("relation", overflow="fold")
    names = ("facts", "test", "heads", "tails", "density", "both ways", "loops", "told")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("")
    for row in sorted(rows, key=lambda row: -row["facts"])[:RELATIONS]:
        kinds = [kind for kind in ("symmetric", "cartesian", "constant") if row[kind]]
        table.add_row(
            short(row.get("name", row["key"])),
            *(f"{row[name]:,}" for name in ("facts", "test", "heads", "tails")),
            f"{row['density']:.3f}",
            "" if content["undirected"] else f"{row['mutual']:.1%}",
            f"{row['loops']:,}",
            f"{row['told']:,}",
            ", ".join(kinds),
        )
    return table


def audit_pairs(content: Mapping[str, Any]) -> Table | None:
    """Duplicate and inverse relations, if there are any."""
    pairs = content["pairs"]
    if not pairs:
        return None
    more = f", the first {PAIRS} of {len(pairs):,}" if len(pairs) > PAIRS else ""
    table = plain_table(f"Relations that say the same{more}")
    for name in ("relation", "other"):
        table.add_column(name, overflow="fold")
    table.add_column("")
    for name in ("in common", "of the first", "of the other"):
        table.add_column(name, justify="right")
    for pair in pairs[:PAIRS]:
        names = (short(pair[at].get("name", pair[at]["key"])) for at in ("one", "other"))
        shares = (f"{pair[name]:.1%}" for name in ("share_of_one", "share_of_other"))
        table.add_row(*names, pair["kind"], f"{pair['common']:,}", *shares)
    return table


def audit_shape(content: Mapping[str, Any]) -> Table:
    """Entities, degrees, components and labels in numbers."""
    entities, degrees, parts = content["entities"], content["degrees"], content["components"]
    table = plain_table("Entities and their facts of train")
    table.add_column("")
    table.add_column("", justify="right")
    rows = {
        "entities": f"{entities['all']:,}",
        "… that train lacks": f"{entities['unseen']:,}",
        "… without any fact": f"{entities['alone']:,}",
        "… with a single fact": _part(degrees["once"], entities["seen"]),
        "facts of an entity, mean / median / most": (
            f"{degrees['mean']:.1f} / {degrees['median']:g} / {degrees['most']:,}"
        ),
        "ends of facts at one entity in a hundred": f"{degrees['hub_share']:.1%}",
        "parts that nothing joins": f"{sum(number for _, number in parts):,}",
        "entities of the largest": _part(parts[0][0] if parts else 0, entities["seen"]),
    }
    if labels := content["labels"]:
        told = ", ".join(f"{number:,} {split}" for split, number in labels["entities"].items())
        rows |= {
            "labelled entities": told,
            "classes": f"{labels['classes']:,}",
            "… share of the most frequent": f"{labels['largest']:.1%}",
            "beside the entity that is their label": f"{labels['joined']:,}",
        }
    for name, text in rows.items():
        table.add_row(name, text)
    return table


def audit_ingest(content: Mapping[str, Any]) -> str:
    """The account of an ingest, in a line."""
    told = content["ingest"]
    left_out = {**told["rejected"], **told["dropped"]}
    reasons = "".join(f", {number:,} {reason}" for reason, number in left_out.items())
    repeated = sum(told["duplicates"].values())
    again = f", {repeated:,} repeated" if repeated else ""
    return f"read: {told['lines']:,} lines, {told['accepted']:,} accepted{reasons}{again}"


def _part(number: int, total: int, *, whole: bool = False) -> str:
    return f"{number:,}" if whole or not total else f"{number:,} ({number / total:.1%})"
