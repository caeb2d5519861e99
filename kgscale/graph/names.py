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
from kgscale.graph.tables import GROUP

NEAREST = 3


class Names:
    """Keys and names of entities or relations, read from disk as they are asked for."""

    def __init__(self, path: Path, kind: str) -> None:
        self.path, self.kind = path, kind

    def keys(self, ids: NDArray[np.integer]) -> list[str]:
        return self._take(ids, names=False)

    def names(self, ids: NDArray[np.integer]) -> list[str]:
        """Names; the key where there is none."""
        return self._take(ids, names=True)

    def _take(self, ids: NDArray[np.integer], *, names: bool) -> list[str]:
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
            return []
        table = pa.concat_tables(parts).take(pa.array(place))
        text = pc.coalesce(table["name"], table["key"]) if names else table["key"]
        return [str(value) for value in text.to_pylist()]

    def find(self, text: str) -> int:
        """By key, else by exact name, else by name in any case."""
        for condition in ("key = $1", "name = $1", "lower(name) = lower($1)"):
            found = self._query(f"WHERE {condition} ORDER BY id LIMIT {NEAREST + 1}", text)
            if len(found) == 1:
                return found[0][0]
            if found:
                keys = ", ".join(repr(key) for _, key, _ in found[:NEAREST])
                more = ", …" if len(found) > NEAREST else ""
                raise ConfigError(
                    f"{text!r} is the name of several {self.kind}s: give the key ({keys}{more})"
                )
        nearest = ", ".join(self.nearest(text))
        raise ConfigError(f"no {self.kind} has the key or name {text!r}: nearest are {nearest}")

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

    def nearest(self, text: str) -> list[str]:
        """Keys (and names) most like ``text``, for a person who mistyped."""
        likeness = """greatest(
            jaro_winkler_similarity(lower(coalesce(name, key)), lower($1)),
            jaro_winkler_similarity(lower(key), lower($1)))"""
        found = self._query(f"ORDER BY {likeness} DESC, id LIMIT {NEAREST}", text)
        return [repr(key) if name is None else f"{name!r} ({key})" for _, key, name in found]

    def _query(self, rest: str, text: str) -> list[tuple[int, str, str | None]]:
        rows = "read_parquet($2, file_row_number=true)"
        query = f"SELECT file_row_number AS id, key, name FROM {rows} {rest}"
        with duckdb.connect(config={"autoload_known_extensions": False}) as connection:
            return connection.execute(query, [text, str(self.path)]).fetchall()
