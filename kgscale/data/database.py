"""DuckDB as the engine that sorts and joins out of core."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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


@contextmanager
def database(spill: Path, *, threads: int, memory: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Tables live in memory up to ``memory``, then in ``spill``."""
    if threads < 1:
        raise ConfigError(f"threads must be at least 1, got {threads}")
    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": threads,
        "memory_limit": f"{size_in_bytes(memory)}B",
        "temp_directory": str(spill),
        # What a finished step has freed goes back to the system at once.
        "allocator_flush_threshold": "16MB",
        "allocator_bulk_deallocation_flush_threshold": "16MB",
        "autoload_known_extensions": False,
        "autoinstall_known_extensions": False,
    }
    connection = duckdb.connect(config=settings)
    try:
        yield connection
    except duckdb.OutOfMemoryException as error:
        raise ResourceError(
            f"{memory} of memory or the disk of {spill.parent} are not enough to build the store "
            f"({str(error).splitlines()[0]}): raise the memory setting or free disk space"
        ) from error
    finally:
        connection.close()


def run(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    """Do one statement to its end (a result left open would block the next)."""
    return connection.execute(query).fetchall()


def stream(connection: duckdb.DuckDBPyConnection, query: str) -> Iterator[pa.RecordBatch]:
    """The rows of a query, a batch at a time."""
    yield from connection.sql(query).to_arrow_reader(BATCH)


def feed(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    schema: pa.Schema,
    rows: Iterator[list[pa.Array]],
) -> None:
    """Make ``name`` a view of rows that are produced while a query reads them, once."""
    batches = (pa.record_batch(columns, schema=schema) for columns in rows)
    connection.register(name, pa.RecordBatchReader.from_batches(schema, batches))
