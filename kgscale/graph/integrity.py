"""What is on disk is what was written: hashes per block, and when they are checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kgscale.durable import first_difference, hash_files, write_text
from kgscale.errors import DataError, ResourceError

RECORD = "verified.json"
"""Size, time and inode of each file when its hashes were last found right."""


class ContentHash:
    """Hash of named columns, the same however they are cut into chunks."""

    def __init__(self) -> None:
        self._parts: dict[str, Any] = {}

    def add(self, column: str, values: NDArray[Any]) -> None:
        # little-endian on every machine
        kind = values.dtype.newbyteorder("<")
        self._part(column).update(np.ascontiguousarray(values, dtype=kind).data)

    def add_text(self, column: str, values: pa.Array) -> None:
        """Lengths and bytes apart; a null has length -1."""
        text = values.cast(pa.large_string())
        size = pc.fill_null(pc.binary_length(text), -1)
        self.add(f"{column}/length", np.asarray(size, dtype=np.int64))
        _, offsets, data = pc.fill_null(text, "").buffers()
        if data is not None:
            start, stop = np.frombuffer(offsets, np.int64)[[text.offset, text.offset + len(text)]]
            self._part(f"{column}/bytes").update(memoryview(data)[start:stop])

    def _part(self, column: str) -> Any:
        return self._parts.setdefault(column, hashlib.blake2b(digest_size=32))

    def hexdigest(self) -> str:
        text = json.dumps(
            {key: part.hexdigest() for key, part in self._parts.items()}, sort_keys=True
        )
        return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()


def check_files(directory: Path, files: dict[str, Any], *, full: bool, threads: int = 2) -> None:
    """Compare hashes of the files that changed since they were last found right, or of all."""
    record = directory / RECORD
    known = _load(record)
    stamps = {name: _stamp(directory / name) for name in files}
    suspects = [name for name in files if full or known.get(name) != stamps[name]]
    if not suspects:
        return
    found = hash_files(directory, suspects, threads=threads)
    for name in suspects:
        if found[name] != files[name]:
            raise _damaged(directory / name, found[name], files[name])
    write_record(record, stamps)


def _damaged(path: Path, found: dict[str, Any], expected: dict[str, Any]) -> DataError:
    where = first_difference(found, expected)
    return DataError(f"{path} is damaged ({where}): delete {path.parent} and it is built again")


def _stamp(path: Path) -> list[int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        raise DataError(f"{path} is missing: delete {path.parent} and it is built again") from None
    return [found.st_size, found.st_mtime_ns, found.st_ino]


def read_json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} is damaged ({error}): delete {path.parent} and it is built again"
        ) from error
    return found


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _load(record: Path) -> dict[str, Any]:
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_record(record: Path, stamps: dict[str, list[int]]) -> None:
    """A store on a read-only disk goes without: its files are then checked at each opening."""
    with suppress(ResourceError):
        write_text(record, json.dumps(stamps, indent=1))
