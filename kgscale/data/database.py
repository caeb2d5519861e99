"""DuckDB as the engine that sorts and joins out of core."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any

import duckdb
import pyarrow as pa

from kgscale.errors import ConfigError, ResourceError

BATCH = 1 << 16
"""Rows handed over at once."""


def size_in_bytes(text: str) -> int:
    """``1GB``, ``512 MiB``, …"""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B", text)
    if match is None:
        raise ConfigError(f"memory must be a size such as 1GB or 500MB, got {text!r}")
    number, unit, binary = match.groups()
    return int(float(number) * (1024 if binary else 1000) ** " KMGT".index(unit or " "))


class Database:
    """Tables live in memory up to ``memory``, then in the directory ``spill``."""

    def __init__(self, spill: Path, *, threads: int, memory: str) -> None:
        if threads < 1:
            raise ConfigError(f"threads must be at least 1, got {threads}")
        self._memory = memory
        settings: dict[str, str | bool | int | float | list[str]] = {
            "threads": threads,
            "memory_limit": f"{size_in_bytes(memory)}B",
            "temp_directory": str(spill),
            # What a finished step has freed goes back to the system at once.
            "allocator_flush_threshold": "16MB",
            "allocator_bulk_deallocation_flush_threshold": "16MB",
            "allocator_background_threads": True,
            "autoload_known_extensions": False,
            "autoinstall_known_extensions": False,
        }
        # Any: a runtime type checker that keeps DuckDB's types alive makes it warn at exit.
        self._connection: Any = duckdb.connect(config=settings)
        self._lock = Lock()

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        if isinstance(error, duckdb.OutOfMemoryException):
            raise ResourceError(
                f"{self._memory} of memory, or the free disk space, cannot hold the build "
                f"({str(error).splitlines()[0]}): raise the memory setting or free disk space"
            ) from error

    def close(self) -> None:
        """Give all memory back at once, which dropping tables does not."""
        self._connection.close()

    def run(self, query: str) -> list[tuple[Any, ...]]:
        """Do one statement to its end (a result left open would block the next)."""
        rows: list[tuple[Any, ...]] = self._connection.execute(query).fetchall()
        return rows

    def stream(self, query: str) -> Iterator[pa.RecordBatch]:
        """The rows of a query, a batch at a time."""
        yield from self._connection.sql(query).to_arrow_reader(BATCH)

    def insert(self, table: str, rows: pa.Table) -> None:
        """Also from several threads at once."""
        with self._lock, self.view("arriving", rows):
            self.run(f"INSERT INTO {table} SELECT * FROM arriving")

    def sort(
        self, rows: Iterator[list[pa.Array]], schema: pa.Schema, by: list[str]
    ) -> Iterator[pa.RecordBatch]:
        """Rows in the order of some columns; they may be produced as they are read."""
        batches = (pa.record_batch(columns, schema=schema) for columns in rows)
        with self.view("unsorted", pa.RecordBatchReader.from_batches(schema, batches)):
            yield from self.stream(f"SELECT * FROM unsorted ORDER BY {', '.join(by)}")

    @contextmanager
    def view(self, name: str, rows: pa.Table | pa.RecordBatchReader) -> Iterator[None]:
        self._connection.register(name, rows)
        try:
            yield
        finally:
            self._connection.unregister(name)
