"""From ids to keys and names, and back from what a person types."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kgscale.errors import ConfigError
from kgscale.graph.tables import GROUP, read_groups

NEAREST = 3
UNKNOWN, SEVERAL = -1, -2
"""No entity or relation is called so, or several are."""


class Names:
    """Keys and names of entities or relations, read from disk as they are asked for."""

    def __init__(self, path: Path, kind: str) -> None:
        self.path, self.kind = path, kind

    @property
    def kinds(self) -> str:
        return f"{self.kind[:-1]}ies" if self.kind.endswith("y") else f"{self.kind}s"

    def keys(self, ids: NDArray[np.integer]) -> list[str]:
        return [str(key) for key in self.column(ids, names=False).to_pylist()]

    def names(self, ids: NDArray[np.integer]) -> list[str]:
        """Names; the key where there is none."""
        return [str(name) for name in self.column(ids, names=True).to_pylist()]

    def column(self, ids: NDArray[np.integer], *, names: bool) -> pa.ChunkedArray:
        """The same as a column of a table, which is faster where there are many."""
        wanted, place = np.unique(ids, return_inverse=True)
        columns = ["key", "name"] if names else ["key"]
        with pq.ParquetFile(self.path) as file:
            parts = [
                file.read_row_group(int(group), columns=columns).take(
                    pa.array(wanted[wanted // GROUP == group] % GROUP)
                )
                for group in np.unique(wanted // GROUP)
            ]
        if not parts:
            return pa.chunked_array([], pa.string())
        table = pa.concat_tables(parts).take(pa.array(place))
        return pc.coalesce(table["name"], table["key"]) if names else table["key"]

    def find(self, text: str, among: range | None = None) -> int:
        """By key, else by exact name, else by name in any case; of all, or of some rows."""
        for condition in ("key = $1", "name = $1", "lower(name) = lower($1)"):
            found = self._query(f"{condition} ORDER BY id LIMIT {NEAREST + 1}", text, among)
            if len(found) == 1:
                return found[0][0]
            if found:
                keys = ", ".join(repr(key) for _, key, _ in found[:NEAREST])
                more = ", …" if len(found) > NEAREST else ""
                raise ConfigError(
                    f"{text!r} is the name of several {self.kinds}: give the key ({keys}{more})"
                )
        nearest = ", ".join(self.nearest(text, among))
        raise ConfigError(f"no {self.kind} has the key or name {text!r}: nearest are {nearest}")

    def find_all(self, texts: pa.Array, among: range | None = None) -> NDArray[np.int64]:
        """As :meth:`find` for distinct texts at once; ``UNKNOWN`` or ``SEVERAL`` where it fails."""
        found = np.full(len(texts), UNKNOWN, np.int64)
        for column, lower in (("key", False), ("name", False), ("name", True)):
            (left,) = np.nonzero(found == UNKNOWN)
            if not len(left):
                break
            wanted = texts.take(pa.array(left))
            first, count = self._places(column, wanted, among, lower=lower)
            found[left] = np.where(count > 1, SEVERAL, np.where(count == 1, first, UNKNOWN))
        return found

    def _places(
        self, column: str, wanted: pa.Array, among: range | None, *, lower: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first row that has each text, and how many have it."""
        if lower:
            wanted = pc.utf8_lower(wanted)
        distinct = pc.unique(wanted)
        first, count = (np.full(len(distinct), value, np.int64) for value in (-1, 0))
        before = 0
        for group in read_groups(self.path, [column]):
            text = pc.utf8_lower(group[column]) if lower else group[column]
            place = pc.index_in(text, value_set=distinct, skip_nulls=True)
            rows = np.flatnonzero(pc.is_valid(place).to_numpy())
            which = pc.drop_null(place).to_numpy().astype(np.int64)
            if among is not None:
                mine = (before + rows >= among.start) & (before + rows < among.stop)
                rows, which = rows[mine], which[mine]
            # From the end, so that the first of several stays.
            new = first[which] < 0
            first[which[new][::-1]] = before + rows[new][::-1]
            count += np.bincount(which, minlength=len(distinct))
            before += len(text)
        own = pc.index_in(wanted, value_set=distinct).to_numpy()
        return first[own], count[own]

    def ids(self, keys: Sequence[str]) -> dict[str, int]:
        """The number of each of many keys; unknown ones are left out."""
        wanted, before = pa.array(set(keys), pa.string()), 0
        found: dict[str, int] = {}
        with pq.ParquetFile(self.path) as file:
            for group in range(file.num_row_groups):
                column = file.read_row_group(group, columns=["key"])["key"]
                (rows,) = pc.is_in(column, value_set=wanted).to_numpy().nonzero()
                known = column.take(pa.array(rows)).to_pylist()
                found.update(zip(known, (before + rows).tolist(), strict=True))
                before += len(column)
        return found

    def nearest(self, text: str, among: range | None = None) -> list[str]:
        """Keys (and names) most like ``text``, for a person who mistyped."""
        likeness = """greatest(
            jaro_winkler_similarity(lower(coalesce(name, key)), lower($1)),
            jaro_winkler_similarity(lower(key), lower($1)))"""
        found = self._query(f"true ORDER BY {likeness} DESC, id LIMIT {NEAREST}", text, among)
        return [repr(key) if name is None else f"{name!r} ({key})" for _, key, name in found]

    def _query(
        self, rest: str, text: str, among: range | None = None
    ) -> list[tuple[int, str, str | None]]:
        rows = "read_parquet($2, file_row_number=true)"
        where = "" if among is None else f"id BETWEEN {among.start} AND {among.stop - 1} AND "
        query = f"SELECT file_row_number AS id, key, name FROM {rows} WHERE {where}{rest}"
        with duckdb.connect(config={"autoload_known_extensions": False}) as connection:
            return connection.execute(query, [text, str(self.path)]).fetchall()
