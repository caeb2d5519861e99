"""Files of node labels: what node classification asks for, with or without a given split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kgscale.data.audit import Audit
from kgscale.data.files import DataFile
from kgscale.data.labels import LabelFile
from kgscale.data.source import NodeLabelRows
from kgscale.data.splits import NO_SPLIT, OPEN, SPLITS
from kgscale.data.tables import Rows, count_columns, read_rows
from kgscale.errors import ConfigError, DataError

Codes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLabelFiles:
    """One file of (key, label) or (key, label, split), or a file of (key, label) per split."""

    files: Mapping[str, LabelFile]
    """By split; ``open`` if the split is a column or still to be made."""

    @staticmethod
    def of(setting: str | Path | Mapping[str, Any] | None) -> NodeLabelFiles | None:
        """From a setting as of a ``LabelFile``, or ``{train: …, valid: …, test: …}`` of these."""
        if not isinstance(setting, Mapping) or not set(setting) & set(SPLITS):
            file = LabelFile.of(setting, "labels")
            return None if file is None else NodeLabelFiles(files={"open": file})
        unknown = sorted(set(setting) - set(SPLITS))
        if unknown or setting.get("train") is None:
            wrong = f"unknown {unknown}" if unknown else "no train"
            raise ConfigError(
                f"data.labels as files of splits needs train and perhaps valid and test: {wrong}"
            )
        found = {split: LabelFile.of(setting.get(split), f"labels.{split}") for split in SPLITS}
        return NodeLabelFiles(files={split: file for split, file in found.items() if file})

    def parts(self) -> dict[str, LabelFile]:
        """The files by the setting that names them."""
        return {f"labels/{split}": file for split, file in self.files.items()}

    def read(self, audit: Audit) -> Iterator[NodeLabelRows]:
        for split, file in self.files.items():
            yield from _read(file, split, audit)


def _read(file: LabelFile, split: str, audit: Audit) -> Iterator[NodeLabelRows]:
    """A field without a label says that the entity has none."""
    data = DataFile(file.path)
    width = count_columns(data, file.format) if split == "open" else 2
    width = min(max(width, 2), 3)
    for rows in read_rows(data, file.format, audit, width=width, optional=width - 1):
        key, label = rows.columns[:2]
        if width == 3:
            codes = _codes(rows, file)
        else:
            given = SPLITS.index(split) if split in SPLITS else OPEN
            codes = np.full(len(key), given, np.uint8)
        empty = int(pc.sum(pc.equal(label, "")).as_py() or 0)
        if empty:
            audit.leave_out("empty label", empty)
        row = np.arange(len(key))
        if file.separator is not None:
            parts = pc.split_pattern(label, file.separator)
            row, label = np.asarray(pc.list_parent_indices(parts)), pc.list_flatten(parts)
        there = np.asarray(pc.not_equal(label, ""))
        row = row[there]
        yield NodeLabelRows(
            key=key.take(pa.array(row)),
            label=label.filter(pa.array(there)),
            split=codes[row],
            file=str(file.path),
            line=rows.line[row],
        )


def _codes(rows: Rows, file: LabelFile) -> Codes:
    """The split words as codes; an empty one means no split."""
    words = rows.columns[2]
    place = pc.index_in(words, value_set=pa.array(["", *SPLITS]))
    if place.null_count:
        at = int(np.flatnonzero(np.asarray(pc.is_null(place)))[0])
        raise DataError(
            f"{file.path} line {rows.line[at]}: {words[at].as_py()!r} is no split: write train, "
            "valid or test (or nothing, to leave the label out), or choose other columns with "
            "data.labels={path: …, columns: […], header: …}"
        )
    codes: Codes = np.array([NO_SPLIT, *range(len(SPLITS))], np.uint8)[np.asarray(place)]
    return codes
