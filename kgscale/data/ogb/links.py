"""Layouts of link prediction: triples, and pairs whose one relation has no name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kgscale.data.audit import Audit
from kgscale.data.features import NumberedFeatures
from kgscale.data.matrices import unpack_npz
from kgscale.data.ogb.layout import Layout, OneType, facts, keys_of, same_length
from kgscale.data.ogb.numbers import check_range, read_rows
from kgscale.data.source import (
    DEFAULT_TYPE,
    Asked,
    Candidates,
    Labels,
    Numbered,
    NumberedFacts,
    Reading,
)
from kgscale.data.splits import SPLITS
from kgscale.data.spool import Array, forget
from kgscale.errors import DataError

Ints = NDArray[np.integer]
Part = Mapping[str, Any]
"""Of a split: arrays by name."""
HELD = ("valid", "test")


class Triples(OneType):
    """ogbl-wikikg2: the split has all triples, and the graph is its training part."""

    def needed(self) -> list[Path]:
        return [self.raw / "num-node-list.csv.gz", *self.torch_split()]

    def name_files(self) -> list[Path]:
        return [*self.mapped("nodeidx2*.csv.gz"), *self.mapped("reltype2relid.csv.gz")]

    def relations(self) -> Iterator[Labels]:
        for path in self.mapped("reltype2relid.csv.gz") if self.names else []:
            yield from self.named(path)

    def read(self, audit: Audit, scratch: Path) -> Reading:
        numbered = self.numbered()
        parts = Parts(self, scratch)
        return Reading(
            facts=self._facts(parts, numbered.size, audit),
            numbered=numbered,
            entities=self.entities(),
            relations=self.relations(),
            asked=self._asked(parts, numbered.size),
        )

    def _facts(self, parts: Parts, size: int, audit: Audit) -> Iterator[NumberedFacts]:
        for split in SPLITS:
            path, part = parts[split]
            same_length(part, ("head", "relation", "tail"), path)
            yield from facts(
                split,
                part["head"],
                part["relation"],
                part["tail"],
                limits=(size, size),
                where=str(path),
                audit=audit,
            )

    def _asked(self, parts: Parts, size: int) -> Iterator[Asked]:
        for split in HELD:
            path, part = parts[split]
            same_length(part, ("head", "head_neg", "tail_neg"), path)
            yield Asked(
                split=split,
                head=part["head"],
                relation=keys_of(part["relation"], slice(None), len(part["head"])),
                tail=part["tail"],
                head_negative=candidates(part["head_neg"], size, f"{path} head_neg"),
                tail_negative=candidates(part["tail_neg"], size, f"{path} tail_neg"),
            )


class Parts:
    """The files of a split, each read once, when it is needed."""

    def __init__(self, layout: Layout, scratch: Path) -> None:
        self._layout, self._scratch = layout, scratch
        self._found: dict[str, Part] = {}

    def __getitem__(self, split: str) -> tuple[Path, Part]:
        path = self._layout.split / f"{split}.pt"
        if split not in self._found:
            self._found[split] = self._layout.torch_file(path, self._scratch)
        return path, self._found[split]


def candidates(number: Array, size: int | Ints, where: str, start: Ints | int = 0) -> Candidates:
    """Checked some rows at a time."""
    if number.ndim != 2:
        raise DataError(f"{where} has the shape {number.shape}, not a row for each question")
    step = 1 << 12
    for first in range(0, len(number), step):
        rows = number[first : first + step]
        limit = size if isinstance(size, int) else size[first : first + step, None]
        bad = (rows < 0) | (rows >= limit)
        if bad.any():
            row, column = (int(at) for at in np.argwhere(bad)[0])
            raise DataError(
                f"{where} row {first + row} column {column} is {rows[row, column]}, which is no "
                "entity: the file is damaged or of another release, download it again"
            )
        forget(number)
    offset = start if isinstance(start, int) else start.astype(np.int64)
    return Candidates(number=number, start=offset)


@dataclass(frozen=True, slots=True)
class Sides:
    """Of triples whose ends have types: for each row, its type's first number and size."""

    start: Ints
    size: Ints

    @classmethod
    def of(cls, types: list[str], numbered: Numbered, where: str) -> Sides:
        words = pa.array(types, pa.string()).dictionary_encode()
        known = words.dictionary.to_pylist()
        for word in known:
            if word not in numbered.sizes:
                at = types.index(word)
                raise DataError(
                    f"{where} row {at} is {word!r}, which is no type of entity: there are "
                    f"{', '.join(numbered.sizes)}"
                )
        starts = np.array([numbered.starts[word] for word in known], np.int64)
        sizes = np.array([numbered.sizes[word] for word in known], np.int64)
        code = words.indices.to_numpy()
        return cls(starts[code], sizes[code])


class TypedTriples(Layout):
    """ogbl-biokg: entities are numbered within their type."""

    def needed(self) -> list[Path]:
        return [self.raw / "num-node-dict.csv.gz", *self.torch_split()]

    def name_files(self) -> list[Path]:
        return [*self.mapped("*_entidx2name.csv.gz"), *self.mapped("relidx2relname.csv.gz")]

    def read(self, audit: Audit, scratch: Path) -> Reading:
        numbered = typed_sizes(self.raw / "num-node-dict.csv.gz")
        parts = Parts(self, scratch)
        return Reading(
            facts=self._facts(parts, numbered, audit),
            numbered=numbered,
            entities=typed_names(self, numbered),
            relations=relation_names(self),
            asked=self._asked(parts, numbered),
        )

    def _facts(self, parts: Parts, numbered: Numbered, audit: Audit) -> Iterator[NumberedFacts]:
        for split in SPLITS:
            path, part = parts[split]
            head, tail = self._ends(part, path, numbered)
            yield from facts(
                split,
                head,
                part["relation"],
                tail,
                limits=(numbered.size, numbered.size),
                where=str(path),
                audit=audit,
            )

    def _ends(self, part: Part, path: Path, numbered: Numbered) -> list[Ints]:
        """Numbers among all entities."""
        same_length(part, ("head", "head_type", "relation", "tail", "tail_type"), path)
        ends = []
        for side in ("head", "tail"):
            types = Sides.of(part[f"{side}_type"], numbered, f"{path} {side}_type")
            candidates(part[side][:, None], types.size, f"{path} {side}")
            ends.append(part[side] + types.start)
        return ends

    def _asked(self, parts: Parts, numbered: Numbered) -> Iterator[Asked]:
        for split in HELD:
            path, part = parts[split]
            head, tail = self._ends(part, path, numbered)
            same_length(part, ("head", "head_neg", "tail_neg"), path)
            yield Asked(
                split=split,
                head=head,
                relation=keys_of(part["relation"], slice(None), len(head)),
                tail=tail,
                head_negative=self._rivals("head", part, path, numbered),
                tail_negative=self._rivals("tail", part, path, numbered),
            )

    def _rivals(self, side: str, part: Part, path: Path, numbered: Numbered) -> Candidates:
        """Of the type that the side has."""
        types = Sides.of(part[f"{side}_type"], numbered, f"{path} {side}_type")
        return candidates(part[f"{side}_neg"], types.size, f"{path} {side}_neg", types.start)


def typed_sizes(path: Path) -> Numbered:
    """How many entities each type has: a row of names and one of numbers."""
    rows = list(read_rows(path))
    if len(rows) != 2 or len(rows[0]) != len(rows[1]) or not all(n.isdigit() for n in rows[1]):
        raise DataError(f"{path} needs a row of types and one of numbers: download it again")
    return Numbered(dict(zip(rows[0], map(int, rows[1]), strict=True)))


def typed_names(layout: Layout, numbered: Numbered) -> Iterator[Labels]:
    for path in layout.mapped("*_entidx2name.csv.gz") if layout.names else []:
        type = path.name.removesuffix("_entidx2name.csv.gz")
        if type in numbered.sizes:
            yield from layout.named(path, numbered.prefix(type))


def relation_names(layout: Layout) -> Iterator[Labels]:
    for path in layout.mapped("relidx2relname.csv.gz") if layout.names else []:
        yield from layout.named(path)


class RankedPairs(OneType):
    """ogbl-citation2: for each source, targets that it does not have."""

    def needed(self) -> list[Path]:
        return [self.raw / "num-node-list.csv.gz", *self.torch_split()]

    def offered(self) -> list[Path]:
        return [*super().offered(), self.raw / "node-feat.csv.gz"]

    def read(self, audit: Audit, scratch: Path) -> Reading:
        numbered = self.numbered()
        parts = Parts(self, scratch)
        return Reading(
            facts=self._facts(parts, numbered.size, audit),
            numbered=numbered,
            entities=self.entities(),
            features=self.features,
            asked=self._asked(parts, numbered.size),
        )

    def _facts(self, parts: Parts, size: int, audit: Audit) -> Iterator[NumberedFacts]:
        for split in SPLITS:
            path, part = parts[split]
            same_length(part, ("source_node", "target_node"), path)
            yield from facts(
                split,
                part["source_node"],
                self.benchmark.relation,
                part["target_node"],
                limits=(size, size),
                where=str(path),
                audit=audit,
            )

    def _asked(self, parts: Parts, size: int) -> Iterator[Asked]:
        for split in HELD:
            path, part = parts[split]
            same_length(part, ("source_node", "target_node_neg"), path)
            where = f"{path} target_node_neg"
            yield Asked(
                split=split,
                head=part["source_node"],
                relation=keys_of(self.benchmark.relation, slice(None), len(part["source_node"])),
                tail=part["target_node"],
                tail_negative=candidates(part["target_node_neg"], size, where),
            )


class Pairs(OneType):
    """ogbl-collab, -ppa, -ddi: edges without direction, ranked among common pairs without one.

    ogbl-vessel is the same in other files: a packed graph, and its split in one.
    """

    @property
    def _packed(self) -> Path:
        return self.raw / "data.npz"

    @property
    def _whole(self) -> Path:
        return self.split / "split_dict.pt"

    def needed(self) -> list[Path]:
        if self._packed.is_file():
            return [self._packed, self._whole]
        return [self.raw / "num-node-list.csv.gz", *self.torch_split()]

    def offered(self) -> list[Path]:
        return [*super().offered(), self.raw / "node-feat.csv.gz"]

    def read(self, audit: Audit, scratch: Path) -> Reading:
        if self._packed.is_file():
            arrays = unpack_npz(self._packed, scratch)
            numbered = Numbered({DEFAULT_TYPE: int(arrays["num_nodes_list"][0])})
            features = packed_features(self._packed, arrays, "node_feat")
        else:
            numbered, features = self.numbered(), self.features
        parts = self._parts(scratch)
        return Reading(
            facts=self._facts(parts, numbered.size, audit),
            numbered=numbered,
            entities=self.entities(),
            features=features,
            asked=self._asked(parts, numbered.size),
        )

    def _parts(self, scratch: Path) -> Mapping[str, tuple[Path, Part]] | Parts:
        if not self._packed.is_file():
            return Parts(self, scratch)
        found = self.torch_file(self._whole, scratch)
        return {split: (self._whole, found[split]) for split in SPLITS}

    def _facts(
        self, parts: Mapping[str, tuple[Path, Part]] | Parts, size: int, audit: Audit
    ) -> Iterator[NumberedFacts]:
        for split in SPLITS:
            path, part = parts[split]
            edge = _pairs(part, "edge", path, size)
            yield from facts(
                split,
                edge[:, 0],
                self.benchmark.relation,
                edge[:, 1],
                limits=(size, size),
                where=str(path),
                audit=audit,
            )

    def _asked(self, parts: Mapping[str, tuple[Path, Part]] | Parts, size: int) -> Iterator[Asked]:
        for split in HELD:
            path, part = parts[split]
            edge, other = (_pairs(part, name, path, size) for name in ("edge", "edge_neg"))
            yield Asked(
                split=split,
                head=edge[:, 0],
                relation=keys_of(self.benchmark.relation, slice(None), len(edge)),
                tail=edge[:, 1],
                other=(other[:, 0], other[:, 1]),
            )


def _pairs(part: Part, name: str, path: Path, size: int) -> Ints:
    same_length(part, (name,), path)
    pairs: Ints = part[name]
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise DataError(f"{path} {name} has the shape {pairs.shape}, not two columns")
    for side, what in enumerate(("head", "tail")):
        check_range(pairs[:, side], size, f"{path} {name}", what)
    return pairs


def packed_features(path: Path, arrays: Mapping[str, Array], name: str) -> list[NumberedFeatures]:
    """Of an ``.npz`` file that is unpacked already."""
    if name not in arrays:
        return []
    return [NumberedFeatures(path=path, type=DEFAULT_TYPE, load=lambda copy: arrays[name])]
