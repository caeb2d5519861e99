"""An audit in pictures: degrees, and what relations are like."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from kgscale.data.splits import SPLITS
from kgscale.durable import whole_file
from kgscale.tasks.picture import plain

RELATIONS: Final = 25
"""With the most facts, that are drawn."""
WIDTH: Final = 46
"""Letters of a name; of a longer one the middle is left out, since many begin alike."""
BEGIN: Final = 12
FEW: Final = 20
"""Up to which numbers are drawn as they are."""


def draw_degrees(content: Mapping[str, Any], file: Path) -> None:
    """How many entities have at least so many facts, and how large the parts are."""
    # Late, since importing it takes a second.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for panel, rows, look in (
        (left, content["degrees"]["histogram"], "."),
        (right, content["components"][::-1], "s"),
    ):
        value, number = np.array(rows, np.int64).reshape(-1, 2).T
        if len(value):
            panel.plot(value, number[::-1].cumsum()[::-1], look, color="C0", markersize=4)
            panel.set_xscale("log")
            if number.sum() > FEW:
                panel.set_yscale("log")
            else:
                panel.set_yticks(range(int(number.sum()) + 1))
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    left.set_xlabel("train facts of an entity, at least")
    left.set_ylabel("entities")
    left.set_title("degrees")
    right.set_xlabel("entities of a part, at least")
    right.set_ylabel("parts")
    right.set_title("parts that nothing joins")
    _save(figure, file)


def draw_relations(content: Mapping[str, Any], file: Path) -> None:
    """Facts of the largest relations by split, and how easily they are known."""
    from matplotlib.figure import Figure

    rows = sorted(content["relations"], key=lambda row: -row["facts"])[:RELATIONS]
    figure = Figure(figsize=(13, 1.6 + 0.28 * max(len(rows), 3)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    place, before = np.arange(len(rows)), np.zeros(len(rows))
    for number, split in enumerate(SPLITS):
        facts = np.array([row[split] for row in rows], float)
        left.barh(place, facts, left=before, color=f"C{number}", height=0.7, label=split)
        before += facts
    left.set_yticks(place, [_name(row) for row in rows], fontsize=8)
    left.set_ylim(len(rows) - 0.5, -0.5)
    left.set_xlabel("facts")
    left.locator_params(axis="x", nbins=5)
    left.legend(frameon=False, fontsize=8)
    shares = {
        "share that holds both ways": ([row["mutual"] for row in rows], "o"),
        "share of heads times tails": ([row["density"] for row in rows], "s"),
        "share of test that train tells": ([_told(row) for row in rows], "x"),
    }
    if content["undirected"]:
        del shares["share that holds both ways"]
    marks = [
        right.plot(values, place, mark, color=f"C{number + 3}", label=label, markersize=5)[0]
        for number, (label, (values, mark)) in enumerate(shares.items())
    ]
    right.axvline(content["thresholds"]["overlap"], color="0.6", linewidth=0.8, linestyle="--")
    right.set_xlim(-0.03, 1.03)
    figure.legend(handles=marks, frameon=False, fontsize=8, loc="outside lower right", ncols=3)
    for panel in (left, right):
        panel.grid(alpha=0.3, axis="x")
        panel.spines[["top", "right"]].set_visible(False)
    _save(figure, file)


def _name(row: Mapping[str, Any]) -> str:
    name = plain(row.get("name", row["key"]), 1 << 16)
    return name if len(name) <= WIDTH else f"{name[:BEGIN]}…{name[BEGIN + 1 - WIDTH :]}"


def _told(row: Mapping[str, Any]) -> float:
    return row["told"] / row["test"] if row["test"] else float("nan")


def _save(figure: Any, file: Path) -> None:
    with whole_file(file) as temporary:
        figure.savefig(temporary, dpi=150, format="png")
