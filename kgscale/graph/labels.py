"""What node classification asks for: the labels of entities, and the split of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Int32, Int64, UInt8
from numpy.typing import NDArray
from torch import Tensor

from kgscale.data.label_table import NodeLabelTable
from kgscale.data.splits import SPLITS, TEST, TRAIN, VALID
from kgscale.data.spool import NpyWriter, Spool
from kgscale.graph.compress import REPEATED
from kgscale.graph.integrity import ContentHash
from kgscale.graph.tables import TableWriter
from kgscale.kernels.sample import expand_runs

UNLABELLED = 255
NAMES, ARRAYS = "labels.parquet", ("label_indptr.npy", "label_id.npy", "label_split.npy")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLabels:
    """The labels of entity ``i`` are ``label_id[indptr[i] : indptr[i + 1]]``, ascending."""

    indptr: Int64[Tensor, " entity_plus_one"]
    label_id: Int32[Tensor, " labelled"]
    split: UInt8[Tensor, " entity"]
    """0 train, 1 valid, 2 test; 255 where there is no label."""
    names: list[str]

    def numbers(self, split: str) -> tuple[Tensor, Tensor]:
        """Entities of a split, ascending, and the number of each, where labels are numbers."""
        node, label = self.of(split)
        return node, torch.tensor([float(name) for name in self.names], dtype=torch.float64)[label]

    @property
    def multi(self) -> bool:
        """Whether some entity has several labels, or is in a split with none."""
        degree = self.indptr.diff()
        return bool(((degree > 1) | (self.split != UNLABELLED) & (degree == 0)).any())

    def of(self, split: str) -> tuple[Tensor, Tensor]:
        """Labelled entities of a split, ascending, and the class of each.

        Where entities have several, a row of zeros and ones for each.
        """
        node = (self.split == SPLITS.index(split)).nonzero()[:, 0]
        start, stop = self.indptr[node], self.indptr[node + 1]
        if not self.multi:
            return node, self.label_id[start].long()
        edge, row = expand_runs(start, stop)
        hot = torch.zeros(len(node), len(self.names))
        hot[row, self.label_id[edge].long()] = 1
        return node, hot

    @classmethod
    def open(cls, directory: Path) -> NodeLabels:
        """Copy-on-write maps: nothing is read before it is used, nothing is ever written."""
        indptr, label_id, split = (
            torch.from_numpy(np.load(directory / name, mmap_mode="c", allow_pickle=False))
            for name in ARRAYS
        )
        names = pq.read_table(directory / NAMES)["name"].to_pylist()
        return cls(indptr=indptr, label_id=label_id, split=split, names=names)


def held_out(directory: Path) -> NDArray[np.bool_]:
    """Entities whose labels are of valid or test, from what ``write_labels`` wrote."""
    split = np.load(directory / ARRAYS[2], allow_pickle=False)
    held: NDArray[np.bool_] = (split == VALID) | (split == TEST)
    return held


def write_labels(
    directory: Path,
    table: NodeLabelTable,
    num_entities: int,
    content: ContentHash,
    *,
    numbers: bool,
) -> dict[str, Any]:
    """Write the files of ``NodeLabels``; returns what the manifest tells about them."""
    degree = np.zeros(num_entities + 1, np.int64)
    split = np.full(num_entities, UNLABELLED, np.uint8)
    counts = np.zeros((len(table.names), len(SPLITS)), np.int64)
    writer = NpyWriter(directory / ARRAYS[1], np.int32, table.size)
    for batch in table.rows():
        split[batch["id"].to_numpy()] = batch["split"].to_numpy()
        batch = batch.filter(batch["label_id"].is_valid())
        entity, label_id, code = (column.to_numpy() for column in batch.columns)
        np.add.at(degree, entity + 1, 1)
        np.add.at(counts, (label_id, code), 1)
        writer.append(label_id)
        content.add("label/id", label_id)
    writer.finish()
    several = bool(degree.max() > 1 or ((split != UNLABELLED) & (degree[1:] == 0)).any())
    indptr = np.cumsum(degree)
    np.save(directory / ARRAYS[0], indptr)
    np.save(directory / ARRAYS[2], split)
    names = pa.array(table.names, pa.string())
    with TableWriter(directory / NAMES, pa.schema({"name": pa.string()})) as names_file:
        names_file.append(names)
    content.add_text("label/name", names)
    content.add("label/indptr", indptr)
    content.add("label/split", split)
    classes = dict(zip(table.names, map(_by_split, counts), strict=True))
    return {
        "entities": _by_split(np.bincount(split, minlength=len(SPLITS))[: len(SPLITS)]),
        **({"numbers": _spread(table.names, counts.sum(axis=1))} if numbers else {}),
        "classes": {} if numbers else classes,
        "several_per_entity": several,
        "unseen_in_train": 0 if numbers else int((counts[:, TRAIN] == 0).sum()),
        "left_out": asdict(table.left_out),
    }


def _spread(names: Sequence[str], counts: NDArray[np.int64]) -> dict[str, float]:
    """The least, the middle and the largest of numbers that ascend."""
    middle = int(np.searchsorted(counts.cumsum(), (counts.sum() + 1) // 2))
    places = {"least": 0, "median": middle, "largest": len(names) - 1}
    return {name: float(names[at]) for name, at in places.items()}


def _by_split(counts: NDArray[np.int64]) -> dict[str, int]:
    return dict(zip(SPLITS, counts.tolist(), strict=True))


def count_joined(pairs: NDArray[np.int64], facts: Spool, num_entities: int) -> dict[str, int]:
    """How many triples of each relation join an entity to its own label: a leak of answers.

    ``pairs`` holds sorted ``entity * num_entities + label entity``.
    """
    found = np.zeros(0, np.int64)
    for head, relation, tail, flags in facts.pieces("head", "relation", "tail", "flags"):
        head, tail = head.astype(np.int64), tail.astype(np.int64)
        joined = _isin(head * num_entities + tail, pairs) | _isin(tail * num_entities + head, pairs)
        joined &= flags & REPEATED == 0
        count = np.bincount(relation[joined], minlength=len(found))
        count[: len(found)] += found
        found = count
    return {str(relation): int(found[relation]) for relation in np.flatnonzero(found).tolist()}


def _isin(values: NDArray[np.int64], sorted_: NDArray[np.int64]) -> NDArray[np.bool_]:
    place = np.searchsorted(sorted_, values)
    same: NDArray[np.bool_] = sorted_[np.minimum(place, len(sorted_) - 1)] == values
    return same
