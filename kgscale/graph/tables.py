"""Parquet files whose bytes depend on their content alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

GROUP = 1 << 18
"""Rows of a row group: what is read to look up one of them."""


class TableWriter:
    """Cuts whatever arrives into row groups of one size."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema, self._waiting, self._rows = schema, list[pa.RecordBatch](), 0
        text = [field.name for field in schema if pa.types.is_string(field.type)]
        self._file = pq.ParquetWriter(
            path,
            schema,
            compression={name: "zstd" if name in text else "none" for name in schema.names},
            use_dictionary=False,
            store_schema=False,
        )

    def append(self, *columns: pa.Array) -> None:
        batch = pa.record_batch(list(columns), schema=self._schema)
        self._waiting.append(batch)
        self._rows += len(batch)
        while self._rows >= GROUP:
            self._flush(GROUP)

    def _flush(self, rows: int) -> None:
        table = pa.Table.from_batches(self._waiting, self._schema)
        self._file.write_table(table.slice(0, rows), row_group_size=GROUP)
        self._waiting = table.slice(rows).to_batches()
        self._rows -= rows

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self._rows:
            self._flush(self._rows)
        self._file.close()


def read_groups(path: Path, columns: list[str]) -> Iterator[pa.Table]:
    """Row group by row group."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=columns)
