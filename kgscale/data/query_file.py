"""Files of many questions: columns by name, a question a line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kgscale.data.audit import Audit
from kgscale.data.files import KINDS, DataFile, check_readable
from kgscale.data.tables import Format, column_names, read_rows
from kgscale.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryRows:
    """Some lines of a file."""

    columns: dict[str, pa.Array]
    """Texts; empty where one of several is left out."""
    line: NDArray[np.int64]


class QueryFile:
    """A TSV, CSV or Parquet file whose first line names its columns, others than ours too.

    Args:
        needed: columns that every line fills.
        either: of these at least one is a column; where several are, lines may leave some empty.
        quote: of the fields of a text; none without it.

    Raises:
        DataError: it can't be read, or lacks a column.
    """

    def __init__(
        self,
        path: Path,
        *,
        needed: tuple[str, ...],
        either: tuple[str, ...] = (),
        quote: str | None = None,
    ) -> None:
        self.file = DataFile(path)
        check_readable(path, setting="queries")
        if self.file.kind not in KINDS:
            raise DataError(
                f"{path} is none of {', '.join(KINDS)} (or .gz or .zst of the texts): write the"
                " questions as one of these"
            )
        there = column_names(self.file, Format(quote=quote))
        chosen = tuple(name for name in either if name in there)
        lacks = [name for name in needed if name not in there]
        if either and not chosen:
            lacks.append(" or ".join(either))
        if lacks:
            has = ", ".join(map(repr, there))
            raise DataError(
                f"{path} line 1 has no column {' and '.join(lacks)} but {has:.300}: the first line"
                " has to name the columns"
            )
        self.columns = (*needed, *chosen)
        self._order = sorted(self.columns, key=there.index)
        self._optional = len(chosen) if len(chosen) > 1 else 0
        self._form = Format(columns=self.columns, header=True, quote=quote)

    def rows(self, audit: Audit) -> Iterator[QueryRows]:
        """All lines, block by block; the audit hears of those that can't be used."""
        for rows in read_rows(
            self.file, self._form, audit, width=len(self.columns), optional=self._optional
        ):
            found = dict(zip(self.columns, rows.columns, strict=True))
            # As they stand in the file, since lines are quoted.
            yield QueryRows(columns={name: found[name] for name in self._order}, line=rows.line)
