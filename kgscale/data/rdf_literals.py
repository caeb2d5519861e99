"""Literals of RDF that describe their subjects: numbers by predicate, and texts."""

from __future__ import annotations

import re
import tempfile
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from kgscale.data.described import Described as DescribedRows
from kgscale.data.literals import LITERAL, LiteralTable
from kgscale.data.ngrams import DIM, SIZES, NGrams
from kgscale.data.tables import number_in

Described: TypeAlias = tuple[str, str, float | None, str | None]
"""Subject, predicate, and a number or a text."""
XSD = "http://www.w3.org/2001/XMLSchema#"
NUMBERS = frozenset(
    (
        *("byte", "decimal", "double", "float", "int", "integer", "long", "short"),
        *("negativeInteger", "nonNegativeInteger", "nonPositiveInteger", "positiveInteger"),
        *("unsignedByte", "unsignedInt", "unsignedLong", "unsignedShort"),
    )
)
BOOLEANS = {"true": 1.0, "1": 1.0, "false": 0.0, "0": 0.0}
DATES = frozenset(("date", "dateTime", "gYear", "gYearMonth"))
DATE = re.compile(
    r"(-?[0-9]{4,9})(?:-(0[1-9]|1[0-2]))?(?:-(0[1-9]|[12][0-9]|3[01]))?"
    r"(?:T[0-9:.]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})?"
)
"""Times and zones are left out."""
LARGEST = float(np.finfo(np.float32).max)


def number_of(value: str, datatype: str) -> float | None:
    """The number that a literal is, a date in years; ``None``: a text.

    Raises:
        ValueError: by its type it is a number, a date or a boolean, but it is none.
    """
    kind = datatype.removeprefix(XSD)
    if kind == datatype:
        return None
    value = value.strip()
    if kind == "boolean":
        if (truth := BOOLEANS.get(value)) is None:
            raise ValueError("literal that is no boolean")
        return truth
    if kind in DATES:
        if (found := DATE.fullmatch(value)) is None:
            raise ValueError("literal that is no date")
        year, month, day = (int(part or 1) for part in found.groups())
        return year + (month - 1) / 12 + (day - 1) / 365
    if kind not in NUMBERS:
        return None
    number = number_in(value)
    if not abs(number) <= LARGEST:
        raise ValueError("literal that is no finite number")
    return number


class RdfLiterals:
    """Features that are gathered while the facts are read, in a temporary file."""

    type: str | None = None

    def __init__(self, path: Path) -> None:
        self.path: Path | str = path
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as this)
        self._writer = pa.ipc.new_stream(self._file, LITERAL)
        weakref.finalize(self, self._file.close)

    def keep(self, rows: Sequence[Described]) -> None:
        if rows:
            columns = [
                pa.array([row[at] for row in rows], LITERAL.field(at).type) for at in range(4)
            ]
            self._writer.write_batch(pa.record_batch(columns, schema=LITERAL))

    def open(self, scratch: Path, add: Callable[[pa.Array], None]) -> DescribedRows:
        """The columns; ``add`` gets the keys of rows, in order.

        Raises:
            DataError: there is no literal.
        """
        scratch.mkdir()
        self._writer.close()
        self._file.seek(0)
        with LiteralTable(scratch) as table:
            for batch in pa.ipc.open_stream(self._file):
                table.insert(pa.table(batch.columns, schema=LITERAL))
            return table.columns(
                Path(self.path), add, least=1, encoder=NGrams(), told=(DIM, *SIZES)
            )
