"""What the layouts of OGB's folders share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kgscale.data.audit import Audit
from kgscale.data.features import NumberedFeatures
from kgscale.data.ogb.benchmarks import Benchmark
from kgscale.data.ogb.numbers import all_integers, check_range, map_floats, read_texts, the_number
from kgscale.data.ogb.torch_file import read_torch_file
from kgscale.data.source import (
    DEFAULT_TYPE,
    Labels,
    NodeLabelRows,
    Numbered,
    NumberedFacts,
    Reading,
)
from kgscale.data.splits import NO_SPLIT, SPLITS
from kgscale.data.spool import Array, forget
from kgscale.errors import DataError

CHUNK = 1 << 18
"""Facts or labels made at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout(ABC):
    """One data set in its folder, as OGB's archive leaves it."""

    benchmark: Benchmark
    folder: Path
    names: bool
    """Whether entities get the names of the folder ``mapping``."""

    @property
    def raw(self) -> Path:
        return self.folder / "raw"

    @property
    def split(self) -> Path:
        return self.folder / "split" / self.benchmark.split

    def torch_split(self) -> list[Path]:
        """The files of a split that is arrays by name."""
        return [self.split / f"{part}.pt" for part in SPLITS]

    def csv_split(self, folder: str = "") -> dict[int, Path]:
        """The files of a split that is lists of nodes, by its code."""
        return {code: self.split / folder / f"{part}.csv.gz" for code, part in enumerate(SPLITS)}

    @abstractmethod
    def needed(self) -> list[Path]:
        """The files without which nothing can be read."""

    def offered(self) -> list[Path]:
        """Files that tell names, features and the like, if they are there."""
        return self.name_files() if self.names else []

    def name_files(self) -> list[Path]:
        return []

    def files(self) -> list[Path]:
        """All that decides what is read."""
        return [*self.needed(), *(path for path in self.offered() if path.is_file())]

    @abstractmethod
    def read(self, audit: Audit, scratch: Path) -> Reading: ...

    def torch_file(self, path: Path, scratch: Path) -> dict[str, Any]:
        """A part of a split: arrays and lists by name."""
        found = read_torch_file(path, scratch / path.stem)
        if not isinstance(found, dict):
            raise DataError(f"{path} holds a {type(found).__name__} instead of arrays by name")
        return found

    def mapped(self, pattern: str) -> list[Path]:
        """Files of the folder ``mapping``."""
        return sorted((self.folder / "mapping").glob(pattern))

    def named(self, path: Path, prefix: str = "") -> Iterator[Labels]:
        for number, name in read_texts(path):
            key = pc.binary_join_element_wise(prefix, number, "") if prefix else number
            yield Labels(key=key, name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class OneType(Layout):
    """All nodes are alike."""

    def size(self) -> int:
        return the_number(self.raw / "num-node-list.csv.gz")

    def numbered(self) -> Numbered:
        return Numbered({DEFAULT_TYPE: self.size()})

    def name_files(self) -> list[Path]:
        return self.mapped("nodeidx2*.csv.gz")

    def entities(self) -> Iterator[Labels]:
        for path in self.mapped("nodeidx2*.csv.gz") if self.names else []:
            yield from self.named(path)

    @property
    def features(self) -> list[NumberedFeatures]:
        return csv_features(self.raw / "node-feat.csv.gz", DEFAULT_TYPE)


def csv_features(path: Path, type: str) -> list[NumberedFeatures]:
    """Where there is such a file."""
    if not path.is_file():
        return []
    return [NumberedFeatures(path=path, type=type, load=lambda copy: map_floats(path, copy))]


def facts(
    split: str,
    head: NDArray[np.integer],
    relation: NDArray[np.integer] | str,
    tail: NDArray[np.integer],
    *,
    limits: tuple[int, int],
    starts: tuple[int, int] = (0, 0),
    where: str,
    audit: Audit,
) -> Iterator[NumberedFacts]:
    """Rows of a head and a tail, each a number of its type: checked, and numbers among all.

    Args:
        relation: one for all, or the key of each row as a number.
        limits: how many entities the types of head and tail have.
        starts: the numbers of the first entities of these types.
    """
    for first in range(0, len(head), CHUNK):
        rows = slice(first, first + CHUNK)
        ends = []
        for values, limit, start, what in zip(
            (head, tail), limits, starts, ("head", "tail"), strict=True
        ):
            check_range(values[rows], limit, where, what, first=first)
            ends.append(values[rows].astype(np.int64) + start)
        audit.accept(len(ends[0]))
        yield NumberedFacts(
            split=split, head=ends[0], relation=keys_of(relation, rows, len(ends[0])), tail=ends[1]
        )
        forget(head)
        forget(tail)


def keys_of(relation: NDArray[np.integer] | str, rows: slice, count: int) -> pa.Array:
    if isinstance(relation, str):
        return pa.repeat(pa.scalar(relation), count)
    return pa.array(np.asarray(relation[rows])).cast(pa.string())


def same_length(arrays: Mapping[str, Any], names: Sequence[str], where: Path) -> None:
    for name in names:
        if name not in arrays:
            raise DataError(
                f"{where} has no {name!r}, only {', '.join(map(str, arrays))}: download it again"
            )
    sizes = {name: len(arrays[name]) for name in names}
    if len(set(sizes.values())) > 1:
        raise DataError(f"{where} has columns of different lengths, {sizes}: download it again")


def read_parts(files: Mapping[int, Path]) -> dict[int, NDArray[np.int64]]:
    """The nodes of each split."""
    return {code: all_integers(path) for code, path in files.items()}


def label_rows(
    label: Array,
    parts: Mapping[int, NDArray[np.integer]],
    *,
    prefix: str,
    where: Path,
) -> Iterator[NodeLabelRows]:
    """The classes of nodes that are in a split; NaN: none.

    Args:
        label: ``[node]`` or ``[node, 1]``, of all nodes.
        parts: the nodes of each split, by its code.
    """
    label = label.reshape(-1)
    split = np.full(len(label), NO_SPLIT, np.uint8)
    for code, node in parts.items():
        check_range(node, len(label), str(where), f"node of split {code}")
        split[node] = code
    asked = np.flatnonzero(split != NO_SPLIT)
    for first in range(0, len(asked), CHUNK):
        node = asked[first : first + CHUNK]
        value = np.asarray(label[node])
        known = ~np.isnan(value)
        node, value = node[known], value[known]
        if (value != np.floor(value)).any():
            at = int(np.flatnonzero(value != np.floor(value))[0])
            raise DataError(f"{where} row {node[at]} has the label {value[at]}: it is no class")
        yield NodeLabelRows(
            key=keys(node, prefix),
            label=pa.array(value.astype(np.int64)).cast(pa.string()),
            split=split[node],
            file=str(where),
            line=node.astype(np.int64),
        )


def keys(number: NDArray[np.integer], prefix: str) -> pa.Array:
    text = pa.array(np.asarray(number, dtype=np.int64)).cast(pa.string())
    return pc.binary_join_element_wise(prefix, text, "") if prefix else text
