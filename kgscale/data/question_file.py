"""Files of questions of several hops with their answers: Parquet, or a JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from kgscale.data.files import UNREADABLE, DataFile, check_readable, unreadable
from kgscale.errors import DataError

COLUMNS: Final = ("question", "easy", "hard", "structure")
LONGEST: Final = 1 << 24
"""Bytes of a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionRow:
    """A question as it is written."""

    place: str
    """File and line, for messages."""
    text: str
    easy: list[str]
    """Keys of the answers that are known."""
    hard: list[str]
    """Keys of the answers to find."""
    structure: str | None = None


def read_questions(path: Path) -> Iterator[QuestionRow]:
    """The rows of a file.

    Raises:
        DataError: by line, what is not as it should be.
    """
    file = DataFile(path)
    check_readable(path)
    if not file.is_parquet and file.kind != ".jsonl":
        raise DataError(f"{path} is neither .parquet nor .jsonl (or .gz or .zst of these)")
    rows = _parquet(path) if file.is_parquet else _lines(file)
    try:
        for number, row in enumerate(rows, start=1):
            yield _checked(row, f"{path}, {'row' if file.is_parquet else 'line'} {number:,}")
    except UNREADABLE as error:
        raise unreadable(path, error) from error


def _parquet(path: Path) -> Iterator[Any]:
    with pq.ParquetFile(path) as file:
        columns = [name for name in COLUMNS if name in file.schema_arrow.names]
        for batch in file.iter_batches(1024, columns=columns):
            yield from batch.to_pylist()


def _lines(file: DataFile) -> Iterator[Any]:
    with file.open() as stream:
        waiting = b""
        while part := stream.read(1 << 20):
            *lines, waiting = (waiting + part).split(b"\n")
            yield from map(_parsed, lines)
            if len(waiting) > LONGEST:
                raise pa.ArrowInvalid(f"a line of more than {LONGEST >> 20} MiB")
        if waiting:
            yield _parsed(waiting)


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _checked(row: Any, place: str) -> QuestionRow:
    if not isinstance(row, Mapping):
        raise DataError(
            f'{place}: no JSON object like {{"question": "?x : r(a, ?x)", "hard": ["b"]}}'
        )
    text, structure = row.get("question"), row.get("structure")
    if not isinstance(text, str):
        raise DataError(f"{place}: question needs a text, got {text!r:.100}")
    if not isinstance(structure, str | None):
        raise DataError(f"{place}: structure needs a text or nothing, got {structure!r:.100}")
    keys = {name: _keys(row.get(name), f"{place}: {name}") for name in ("easy", "hard")}
    if not keys["hard"]:
        raise DataError(f"{place}: hard is empty, and a question needs an answer to find")
    if both := set(keys["easy"]) & set(keys["hard"]):
        raise DataError(f"{place}: {min(both)!r} is among the easy and the hard answers")
    return QuestionRow(place=place, text=text, structure=structure, **keys)


def _keys(value: Any, what: str) -> list[str]:
    value = [] if value is None else value
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise DataError(f"{what} needs a list of keys as texts, got {value!r:.100}")
    return list(dict.fromkeys(value))
