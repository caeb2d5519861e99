"""Answer a file of questions into a Parquet file."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kgscale.data.audit import Audit, Tell, silent
from kgscale.data.spool import Spool
from kgscale.durable import whole_files
from kgscale.errors import DataError
from kgscale.tasks.batch.kinds import Part, kind_of
from kgscale.tasks.runs import Run

QUERIES: Final = 1 << 14
"""Most questions answered at a time."""
ANSWERS: Final = 1 << 19
"""Most answers to them: the rows of a row group."""
NAME: Final = "batch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What became of a file of questions."""

    questions: int
    answers: int
    left_out: int
    """Answers less probable than was asked for."""
    rejected: dict[str, int]
    """Lines that ask nothing, by reason."""
    first: list[dict[str, Any]]
    """Some of these."""
    files: list[Path]


def answer_file(
    run: Run,
    queries: Path,
    directory: Path,
    *,
    k: int = 10,
    known: bool = False,
    abstain: float = 0.0,
    max_rejected: float | int = 0.001,
    quote: str | None = None,
    tsv: bool = False,
    tell: Tell = silent,
) -> Batch:
    """Write ``batch.parquet``, perhaps ``batch.tsv``, and ``batch-rejected.tsv``, which lists the
    lines that ask nothing; each whole or not at all.

    A row is an answer: the ``line`` of the file that asks for it, then the columns of
    ``predictions.parquet``. All lines are read before the first question is answered. An answer
    depends neither on memory nor on what else is asked.

    Args:
        known: keep known facts, marked.
        abstain: leave out answers that are less probable.
        max_rejected: share of lines that may ask nothing.
        quote: of the fields of a text.

    Raises:
        DataError: the file can't be read, or too many of its lines ask nothing.
    """
    files = [directory / f"{NAME}{end}" for end in (".parquet", "-rejected.tsv", ".tsv")]
    files = files if tsv else files[:2]
    with (
        TemporaryDirectory(prefix=f".{NAME}.", dir=directory) as scratch,
        whole_files(*files) as (table, listed, *text),
    ):
        listed.touch()
        audit = Audit(listed)
        lines, answer = kind_of(run, k=k, known=known)
        tell("reading the questions")
        try:
            spool = lines.spooled(queries, Path(scratch), audit, quote=quote)
        finally:
            audit.close()
        audit.check(max_rejected, setting="max_rejected")
        if not spool.size:
            raise DataError(f"{queries} asks nothing: below the names of its columns is no line")
        answers = left_out = 0
        with _Writer(table, *text) as writer:
            for part in _parts(spool, min(QUERIES, max(1, ANSWERS // k)), tell):
                found = answer(part)
                sure = _sure(found, abstain)
                answers, left_out = answers + len(sure), left_out + len(found) - len(sure)
                writer.write(sure)
    if not audit.num_rejected:
        files.pop(1).unlink()
    if not tsv:
        # Of another file of questions.
        (directory / f"{NAME}.tsv").unlink(missing_ok=True)
    return Batch(
        questions=spool.size,
        answers=answers,
        left_out=left_out,
        rejected=dict(audit.rejected),
        first=audit.first,
        files=files,
    )


def _parts(spool: Spool, size: int, tell: Tell) -> Iterator[Part]:
    """Some lines at a time, telling how far they are and when they will be done."""
    begin = time.monotonic()
    for number, columns in enumerate(spool.pieces(*spool.types, size=size)):
        done = number * size
        if done:
            left = (time.monotonic() - begin) / done * (spool.size - done)
            tell(f"answering: {done:,} of {spool.size:,} questions, {_duration(left)} left")
        else:
            tell(f"answering {spool.size:,} questions")
        yield dict(zip(spool.types, columns, strict=True))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _sure(table: pa.Table, least: float) -> pa.Table:
    """Rows whose probability is at least so high, and those that have none."""
    if not least:
        return table
    return table.filter(pc.fill_null(pc.greater_equal(table["probability"], least), True))


class _Writer:
    """Row groups of a Parquet file, and perhaps the same lines of a text."""

    def __init__(self, table: Path, text: Path | None = None) -> None:
        self._table, self._text = table, text
        self._stack = ExitStack()

    def write(self, rows: pa.Table) -> None:
        if not hasattr(self, "_parquet"):
            self._open(rows.schema)
        self._parquet.write_table(rows)
        if self._text:
            self._lines.writerows(zip(*(column.to_pylist() for column in rows), strict=True))

    def _open(self, schema: pa.Schema) -> None:
        writer = pq.ParquetWriter(self._table, schema, compression="zstd")
        self._parquet = self._stack.enter_context(writer)
        if self._text:
            file = self._stack.enter_context(self._text.open("w", encoding="utf-8", newline=""))
            self._lines = csv.writer(file, delimiter="\t", lineterminator="\n")
            self._lines.writerow(schema.names)

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *failure: object) -> None:
        self._stack.close()
