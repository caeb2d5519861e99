"""Stores of every kind, made of files as a user has them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from kgscale.data.triples import TripleFiles
from kgscale.graph.store import GraphStore, prepare

NUMBER = itertools.count()
KEYS = ("a", "b", "Ödön", "2", "10", "x y", "null", "Z")
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, kw_only=True)
class Files:
    """What a store is made of."""

    triples: dict[str, list[tuple[str, str, str]]]
    undirected: bool
    types: dict[str, str]
    names: dict[str, str]
    classes: list[tuple[str, str]]
    relation_names: dict[str, str]
    dims: dict[str, int]
    """Numbers of features by type."""
    labels: list[tuple[str, str, str]]
    numbers: bool

    def store(self, root: Path) -> GraphStore:
        folder = root / f"files-{next(NUMBER)}"
        folder.mkdir()

        def write(name: str, rows: Any) -> str | None:
            lines = ["\t".join(row) for row in rows]
            (folder / name).write_text("".join(f"{line}\n" for line in lines), "utf-8")
            return str(folder / name) if lines else None

        for split, rows in self.triples.items():
            write(f"{split}.tsv", rows)
        labels = write("labels.tsv", self.labels)
        source = TripleFiles(
            path=folder,
            undirected=self.undirected,
            types=write("types.tsv", self.types.items()),
            names=write("names.tsv", self.names.items()),
            classes=write("classes.tsv", self.classes),
            relation_names=write("relations.tsv", self.relation_names.items()),
            labels=None if labels is None else {"path": labels, "columns": [0, 1, 2]},
            label_numbers=self.numbers,
            features=self._features(folder),
        )
        return prepare(source, root / "stores")

    def _features(self, folder: Path) -> dict[str, Any] | None:
        found: dict[str, Any] = {}
        used = {key for rows in self.triples.values() for h, _, t in rows for key in (h, t)}
        for kind, dim in self.dims.items():
            mine = sorted(key for key in used if self.types[key] == kind)
            path = folder / f"{kind}.tsv"
            rng = np.random.default_rng(len(mine))
            rows = ["\t".join([key, *map(str, rng.normal(size=dim).round(3))]) for key in mine]
            path.write_text("".join(f"{row}\n" for row in rows), "utf-8")
            if rows:
                found[kind] = str(path)
        return found or None


@st.composite
def files(draw: st.DrawFn) -> Files:
    triple = st.tuples(st.sampled_from(KEYS), st.sampled_from(["r", "s t"]), st.sampled_from(KEYS))
    ring = [(one, "r", other) for one, other in zip(KEYS, (*KEYS[1:], KEYS[0]), strict=True)]
    loops = draw(st.booleans())
    more = draw(st.lists(triple.filter(lambda row: loops or row[0] != row[2]), max_size=12))
    train = [*ring, *more]
    other = triple.filter(lambda row: row[1] == "r" and row[0] != row[2])
    held = {split: draw(st.lists(other, min_size=1, max_size=3)) for split in SPLITS[1:]}
    types = {key: draw(st.sampled_from(["t", "u"])) for key in KEYS}
    numbers = draw(st.booleans())
    known = ["1.5", "2.0", "-3.25"] if numbers else ["p", "7", "0"]
    # A label in each split, and two of them, are the least that is taken.
    labels = [("a", known[0], "train"), ("b", known[1], "valid"), ("2", known[1], "test")]
    for key in sorted(draw(st.sets(st.sampled_from(KEYS[3:])))):
        if key != "2":
            labels.append((key, draw(st.sampled_from(known)), draw(st.sampled_from(SPLITS))))
    some = draw(st.booleans())
    classes = [(key, draw(st.sampled_from(["k", "l", "m"]))) for key in KEYS for _ in range(2)]
    return Files(
        triples={"train": train, **held},
        undirected=draw(st.booleans()),
        types=types,
        names={key: f"name of {key}" for key in draw(st.sets(st.sampled_from(KEYS)))},
        classes=classes if some else [],
        relation_names={"s t": "S"} if draw(st.booleans()) else {},
        dims={kind: draw(st.integers(1, 3)) for kind in draw(st.sets(st.sampled_from("tu")))},
        labels=labels if draw(st.booleans()) else [],
        numbers=numbers,
    )
