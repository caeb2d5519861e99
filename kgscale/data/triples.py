"""Your own triples: a file to be split, or a directory with its splits."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgscale.data.audit import Audit
from kgscale.data.files import COMPRESSION, KINDS, DataFile, stamp
from kgscale.data.labels import LabelFile
from kgscale.data.source import SPLITS, Facts, Labels, Reading
from kgscale.data.splits import SplitRule
from kgscale.data.tables import Column, Format, Rows, read_rows
from kgscale.errors import ConfigError, DataError

READER = 1
"""Part of the digest: raise it when the same input gives another result."""


class TripleFiles:
    """Triples from TSV, CSV or Parquet, possibly in ``.gz`` or ``.zst``.

    A directory holds ``train`` and perhaps ``valid`` and ``test``; what is missing is made from
    ``train``. Lines are taken literally: see ``kgscale.data.scan``.
    """

    def __init__(
        self,
        *,
        path: str | Path | None,
        name: str | None = None,
        columns: Sequence[Column] | None = None,
        header: bool | None = None,
        delimiter: str | None = None,
        quote: str | None = None,
        names: str | Mapping[str, Any] | None = None,
        relation_names: str | Mapping[str, Any] | None = None,
        classes: str | Mapping[str, Any] | None = None,
        split: Sequence[float | int] = (0.9, 0.05, 0.05),
        seed: int = 0,
        max_rejected: float | int = 0.001,
        unseen_relation: str = "error",
    ) -> None:
        if path is None:
            raise ConfigError("data.path is not set: give a file of triples or a directory")
        if not 0 <= max_rejected <= 1:
            raise ConfigError(f"data.max_rejected is a share from 0 to 1, got {max_rejected}")
        if unseen_relation not in ("error", "drop"):
            raise ConfigError(f"data.unseen_relation is error or drop, got {unseen_relation!r}")
        self.path = Path(path).expanduser()
        self.name = _clean(name or _stem(self.path))
        self.format = Format(
            columns=None if columns is None else tuple(columns),
            header=header,
            delimiter=delimiter,
            quote=quote,
        )
        if len(split) != 3:
            raise ConfigError(f"data.split needs three shares, got {list(split)}")
        self.split = SplitRule(ratio=(split[0], split[1], split[2]), seed=seed)
        self.names = LabelFile.of(names, "names")
        self.relation_names = LabelFile.of(relation_names, "relation_names")
        self.classes = LabelFile.of(classes, "classes")
        self.max_rejected = max_rejected
        self.drop_unseen = unseen_relation == "drop"

    def describe(self) -> str:
        return f"Your own triples from {self.path}; their terms of use are yours to know."

    def files(self) -> dict[str, DataFile]:
        """The file of each split; ``open`` is one still to be divided."""
        if not self.path.is_dir():
            return {"open": DataFile(self.path)}
        found = {split: file for split in SPLITS if (file := _find(self.path, split))}
        if "train" not in found:
            raise DataError(
                f"{self.path} has no train file: it needs train{{{','.join(KINDS)}}}, "
                "perhaps with .gz or .zst"
            )
        if len(found) < len(SPLITS):
            found = {"open": found.pop("train"), **found}
        return found

    def digest(self) -> str:
        files = {split: file.digest() for split, file in self.files().items()}
        labels = {name: file.digest() for name, file in self._label_files().items()}
        text = json.dumps([self._settings(), files, labels], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()

    def stamp(self) -> tuple[str, float]:
        paths = [file.path for file in self.files().values()]
        paths += [file.path for file in self._label_files().values()]
        return stamp(paths, self._settings())

    def _settings(self) -> dict[str, Any]:
        return {
            "reader": READER,
            "format": asdict(self.format),
            "kinds": {split: file.kind for split, file in self.files().items()},
            "labels": {name: file.settings() for name, file in self._label_files().items()},
            "split": asdict(self.split),
            "max_rejected": self.max_rejected,
            "drop_unseen": self.drop_unseen,
        }

    def _label_files(self) -> dict[str, LabelFile]:
        files = {
            "names": self.names,
            "relation_names": self.relation_names,
            "classes": self.classes,
        }
        return {name: file for name, file in files.items() if file is not None}

    def read(self, audit: Audit) -> Reading:
        return Reading(
            facts=self._facts(audit),
            entities=self._entities(audit),
            relations=self._labels(self.relation_names, audit, "name"),
        )

    def _facts(self, audit: Audit) -> Iterator[Facts]:
        known: pa.Array = pa.array([], pa.string())
        files = self.files()
        for split, file in files.items():
            before = audit.lines
            for rows in read_rows(file, self.format, audit, width=3):
                if len(files) > 1 and split in ("train", "open"):
                    known = pc.unique(pa.chunked_array([known, pc.unique(rows.columns[1])]))
                elif len(files) > 1:
                    rows = self._check_relations(rows, known, file, audit)
                head, relation, tail = rows.columns
                yield Facts(split=split, head=head, relation=relation, tail=tail)
            if audit.lines == before:
                raise DataError(f"{file.path} is empty: it needs a triple a line")
            audit.check(self.max_rejected)

    def _check_relations(self, rows: Rows, known: pa.Array, file: DataFile, audit: Audit) -> Rows:
        seen = np.asarray(pc.is_in(rows.columns[1], value_set=known))
        if seen.all():
            return rows
        unseen = np.flatnonzero(~seen)
        if not self.drop_unseen:
            at = int(unseen[0])
            raise DataError(
                f"{file.path} line {rows.line[at]}: relation {rows.columns[1][at].as_py()!r} "
                f"is not in train ({len(unseen):,} such lines or more): correct it, "
                "or leave these lines out with data.unseen_relation=drop"
            )
        for at in unseen.tolist():
            text = "\t".join(column[at].as_py() for column in rows.columns)
            audit.drop(file.path.name, int(rows.line[at]), "relation unseen in train", text)
        audit.accept(-len(unseen))
        keep = pa.array(seen)
        return replace(
            rows, columns=[column.filter(keep) for column in rows.columns], line=rows.line[seen]
        )

    def _entities(self, audit: Audit) -> Iterator[Labels]:
        yield from self._labels(self.names, audit, "name")
        yield from self._labels(self.classes, audit, "class_")

    def _labels(self, file: LabelFile | None, audit: Audit, kind: str) -> Iterator[Labels]:
        if file is None:
            return
        for key, value in file.read(audit):
            yield Labels(key=key, **{kind: value})
        audit.check(self.max_rejected)


def _find(directory: Path, split: str) -> DataFile | None:
    names = [f"{split}{kind}{more}" for kind in KINDS for more in ("", *COMPRESSION)]
    found = [directory / name for name in names if (directory / name).is_file()]
    if len(found) > 1:
        raise DataError(
            f"{directory} has {found[0].name} and {found[1].name}: keep one of them, "
            "so that it is clear which is meant"
        )
    return DataFile(found[0]) if found else None


def _stem(path: Path) -> str:
    while path.suffix in (*KINDS, *COMPRESSION):
        path = path.with_suffix("")
    return path.name or path.resolve().name


def _clean(name: str) -> str:
    """A name that can be part of a directory's name on any file system."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "triples"
