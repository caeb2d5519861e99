"""Layouts of OGB-LSC: one ``.npy`` file for each array."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kgscale.data.audit import Audit
from kgscale.data.features import NumberedFeatures
from kgscale.data.matrices import map_npy
from kgscale.data.ogb.layout import Layout, facts, keys_of, label_rows
from kgscale.data.ogb.nodes import GIVEN
from kgscale.data.ogb.numbers import check_range
from kgscale.data.source import (
    DEFAULT_TYPE,
    Asked,
    NodeLabelRows,
    Numbered,
    NumberedFacts,
    Reading,
)
from kgscale.data.splits import SPLITS
from kgscale.data.spool import Array
from kgscale.errors import DataError

HIDDEN = ("test-dev", "test-challenge")
"""Parts whose answers OGB keeps."""


def _counts(layout: Layout, scratch: Path, names: tuple[str, ...]) -> list[int]:
    path = layout.folder / "meta.pt"
    found = layout.torch_file(path, scratch)
    for name in names:
        if not isinstance(found.get(name), int):
            raise DataError(f"{path} has no number {name!r}: download it again")
    return [found[name] for name in names]


def _features(path: Path, type: str) -> list[NumberedFeatures]:
    if not path.is_file():
        return []
    return [NumberedFeatures(path=path, type=type, load=lambda copy: map_npy(path))]


class Mag240m(Layout):
    """Papers, authors and institutions; papers from arXiv have subject areas."""

    relations = (
        ("author", "affiliated_with", "institution"),
        ("author", "writes", "paper"),
        ("paper", "cites", "paper"),
    )
    types = ("author", "institution", "paper")

    @property
    def processed(self) -> Path:
        return self.folder / "processed"

    def edges(self, triplet: tuple[str, str, str]) -> Path:
        return self.processed / "___".join(triplet) / "edge_index.npy"

    def needed(self) -> list[Path]:
        return [
            self.folder / "meta.pt",
            self.folder / "split_dict.pt",
            self.processed / "paper" / "node_label.npy",
            *map(self.edges, self.relations),
        ]

    def offered(self) -> list[Path]:
        return [self.processed / "paper" / "node_feat.npy"]

    def read(self, audit: Audit, scratch: Path) -> Reading:
        counts = _counts(self, scratch, self.types)
        numbered = Numbered(dict(zip(self.types, counts, strict=True)))
        parts = split_test(self.torch_file(self.folder / "split_dict.pt", scratch))
        return Reading(
            facts=self._facts(numbered, audit),
            numbered=numbered,
            node_labels=self._labels(parts),
            label_rule=GIVEN,
            features=_features(self.processed / "paper" / "node_feat.npy", "paper"),
            asked=self._asked(parts, numbered),
        )

    def _facts(self, numbered: Numbered, audit: Audit) -> Iterator[NumberedFacts]:
        starts = numbered.starts
        for triplet in self.relations:
            path = self.edges(triplet)
            edge_index = map_npy(path)
            head, relation, tail = triplet
            yield from facts(
                "train",
                edge_index[0],
                relation,
                edge_index[1],
                limits=(numbered.sizes[head], numbered.sizes[tail]),
                starts=(starts[head], starts[tail]),
                where=str(path),
                audit=audit,
            )

    def _labels(self, parts: Mapping[str, Array]) -> Iterator[NodeLabelRows]:
        path = self.processed / "paper" / "node_label.npy"
        held = {code: parts[split] for code, split in enumerate(SPLITS[:2])}
        yield from label_rows(map_npy(path), held, prefix="paper:", where=path)

    def _asked(self, parts: Mapping[str, Array], numbered: Numbered) -> Iterator[Asked]:
        for split in HIDDEN:
            node = parts[split]
            check_range(node, numbered.sizes["paper"], f"{split} of split_dict.pt", "paper")
            yield Asked(split=split, head=node + numbered.starts["paper"])


def split_test(parts: Mapping[str, Any]) -> dict[str, Array]:
    """Three of five test papers in turn are for ``test-dev``, where one file has all of them."""
    found = dict(parts)
    if "test-dev" not in found:
        whole = found["test"]
        dev = np.arange(len(whole)) % 5 < 3
        found |= {"test-dev": whole[dev], "test-challenge": whole[~dev]}
    return found


class Wikikg90mv2(Layout):
    """Wikidata of 2021: tails are asked for among all entities."""

    @property
    def processed(self) -> Path:
        return self.folder / "processed"

    def needed(self) -> list[Path]:
        names = ("train_hrt", "val_hr", "val_t", *(f"{split}_hr" for split in HIDDEN))
        return [self.folder / "meta.pt", *(self.processed / f"{name}.npy" for name in names)]

    def offered(self) -> list[Path]:
        return [self.processed / "entity_feat.npy"]

    def read(self, audit: Audit, scratch: Path) -> Reading:
        size, relations = _counts(self, scratch, ("num_entities", "num_relations"))
        return Reading(
            facts=self._facts(size, relations, audit),
            numbered=Numbered({DEFAULT_TYPE: size}),
            features=_features(self.processed / "entity_feat.npy", DEFAULT_TYPE),
            asked=self._asked(size, relations),
        )

    def _rows(self, name: str, width: int, relations: int) -> tuple[Path, NDArray[np.integer]]:
        path = self.processed / f"{name}.npy"
        found = map_npy(path)
        if found.ndim != 2 or found.shape[1] != width:
            raise DataError(f"{path} has the shape {found.shape}, not {width} columns")
        check_range(found[:, 1], relations, str(path), "relation")
        return path, found

    def _facts(self, size: int, relations: int, audit: Audit) -> Iterator[NumberedFacts]:
        path, train = self._rows("train_hrt", 3, relations)
        columns = [("train", path, *train.T)]
        path, question = self._rows("val_hr", 2, relations)
        columns.append(("valid", path, *question.T, map_npy(self.processed / "val_t.npy")))
        for split, where, head, relation, tail in columns:
            yield from facts(
                split,
                head,
                relation,
                tail,
                limits=(size, size),
                where=str(where),
                audit=audit,
            )

    def _asked(self, size: int, relations: int) -> Iterator[Asked]:
        for split, name in (("valid", "val_hr"), *((split, f"{split}_hr") for split in HIDDEN)):
            path, question = self._rows(name, 2, relations)
            check_range(question[:, 0], size, str(path), "head")
            yield Asked(
                split=split,
                head=question[:, 0],
                relation=keys_of(question[:, 1], slice(None), len(question)),
                tail=map_npy(self.processed / "val_t.npy") if split == "valid" else None,
            )
