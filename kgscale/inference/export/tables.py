"""Vectors with keys and names as Parquet, NPY and TSV, some rows at a time."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from kgscale.data.spool import NpyWriter
from kgscale.graph.store import GraphStore
from kgscale.inference.embed import GraphVectors

ROWS: Final = 1 << 14
"""Written at a time; no more of a table is ever copied."""
Texts = Mapping[str, Any]
"""Columns of some rows."""


def write_entities(directory: Path, vectors: GraphVectors, store: GraphStore) -> None:
    """``entities.parquet``, ``.npy`` and ``.tsv``; row ``i`` of each is the same entity."""
    names = pa.array([kind.name for kind in store.types])
    starts = np.array([kind.start for kind in store.types])

    def texts(row: Tensor) -> Texts:
        return {
            "key": store.entity_column(row, names=False),
            "name": store.entity_column(row, names=True),
            "type": names.take(pa.array(np.searchsorted(starts, row.numpy(), side="right") - 1)),
        }

    _write(directory, "entities", vectors.entity, _parts(store.num_entities, texts))


def write_relations(directory: Path, vectors: GraphVectors, store: GraphStore) -> None:
    """The same of relations, then of their reciprocals, which lead from tails to heads."""
    size = store.num_relations

    def texts(row: Tensor) -> Texts:
        return {
            "key": store.relation_column(row % size, names=False),
            "name": store.relation_column(row % size, names=True),
            "reciprocal": pa.array((row >= size).numpy()),
        }

    _write(directory, "relations", vectors.relation, _parts(2 * size, texts))


def _parts(rows: int, texts: Callable[[Tensor], Texts]) -> Iterator[Texts]:
    for row in torch.split(torch.arange(rows), ROWS):
        yield texts(row)


def _write(directory: Path, name: str, table: Tensor, parts: Iterator[Texts]) -> None:
    length, dim = table.shape
    npy = NpyWriter(directory / f"{name}.npy", np.float32, length, dim)
    vector = pa.list_(pa.float32(), dim)
    with (directory / f"{name}.tsv").open("w", encoding="utf-8", newline="") as file:
        text, parquet, done = csv.writer(file, delimiter="\t", lineterminator="\n"), None, 0
        try:
            for part in parts:
                rows = table[done : done + ROWS].detach().cpu().float().contiguous()
                npy.append(rows.numpy())
                numbers = pa.array(rows.numpy().reshape(-1))
                columns = {
                    **part,
                    "vector": pa.FixedSizeListArray.from_arrays(numbers, type=vector),
                }
                found = pa.table(columns)
                if parquet is None:
                    text.writerow(part)
                    # Neither keys nor numbers repeat: a dictionary of them is no help.
                    parquet = pq.ParquetWriter(
                        directory / f"{name}.parquet",
                        found.schema,
                        compression="zstd",
                        use_dictionary=False,
                    )
                parquet.write_table(found)
                text.writerows(zip(*(found[column].to_pylist() for column in part), strict=True))
                done += len(rows)
        finally:
            if parquet is not None:
                parquet.close()
    npy.finish()
