"""Keys become ids: in the order of (type, key bytes), whatever the order of the lines.

Keys are first given *slots* by hash tables of bounded size. Only the keys of these tables go
through the database, which sorts the distinct ones and tells the id of each slot.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kgscale.data.database import Database
from kgscale.data.intern import Interner
from kgscale.data.source import DEFAULT_TYPE, Labels, Numbered
from kgscale.data.spool import mapped
from kgscale.errors import DataError

LABEL_TYPE = pa.schema([(field, pa.string()) for field in ("key", "name", "type", "class")])


class Vocabulary:
    """All keys of one kind (entities or relations) and what is known about them."""

    def __init__(self, database: Database, kind: str, scratch: Path) -> None:
        self._database, self.kind = database, kind
        self.size = self.unused = self.conflicts = 0
        self._stored = self._generations = 0
        self._interner = Interner(self._store)
        self._path = scratch / f"{kind}-slot.raw"
        self._labelled = False
        self._numbered: Numbered | None = None
        database.run(f"CREATE TABLE {kind}_seen (slot BIGINT, key VARCHAR)")
        columns = ", ".join(f"{field} VARCHAR" for field in LABEL_TYPE.names)
        database.run(f"CREATE TABLE {kind}_label ({columns})")

    def declare(self, numbered: Numbered) -> None:
        """Say that the keys are numbers already, and how many there are."""
        self._numbered = numbered

    def encode(self, column: pa.Array | NDArray[np.int64]) -> NDArray[np.int64]:
        """The slot of each key; a number is one already."""
        if isinstance(column, np.ndarray):
            return column
        assert self._numbered is None
        return self._interner.encode(column)

    def _store(self, keys: pa.Array) -> None:
        slot = np.arange(self._stored, self._stored + len(keys), dtype=np.int64)
        self._stored += len(keys)
        self._generations += 1
        self._database.insert(f"{self.kind}_seen", pa.table({"slot": slot, "key": keys}))

    def label(self, labels: Labels) -> None:
        missing = pa.nulls(len(labels.key), pa.string())
        columns = [labels.key, labels.name, labels.type, labels.class_]
        chunk = pa.table(
            [missing if column is None else column for column in columns], schema=LABEL_TYPE
        )
        self._database.insert(f"{self.kind}_label", chunk)
        self._labelled = True

    def number(self) -> None:
        """Give ids; afterwards ``rowid`` of the table ``kind`` is the id."""
        if self._numbered is None:
            self._number_seen()
        else:
            self._number_declared(self._numbered)
        self.size = self._count(f"SELECT count(*) FROM {self.kind}")
        if self._labelled:
            self._audit_labels()
        self._write_slots()

    def _number_declared(self, numbered: Numbered) -> None:
        kind = self.kind
        self._database.run(
            f"CREATE TABLE {kind} (key VARCHAR, slot BIGINT, name VARCHAR, type VARCHAR)"
        )
        for type_, start in numbered.starts.items():
            prefix, stored = (text.replace("'", "''") for text in (numbered.prefix(type_), type_))
            query = f"""SELECT '{prefix}' || range AS key, range + {start} AS slot
                FROM range({numbered.sizes[type_]})"""
            name = "NULL::VARCHAR AS name"
            if self._labelled:
                name = "name"
                query = f"""SELECT key, slot, name FROM ({query}) LEFT JOIN (
                    SELECT key, min(name) AS name FROM {kind}_label GROUP BY key
                ) USING (key) ORDER BY slot"""
            self._database.run(
                f"""INSERT INTO {kind} SELECT key, slot, {name},
                nullif('{stored}', '{DEFAULT_TYPE}') FROM ({query})"""
            )

    def _number_seen(self) -> None:
        self._interner.flush()
        query = f"SELECT DISTINCT key, NULL AS slot FROM {self.kind}_seen"
        if self._generations == 1:
            # One table of keys: they are distinct already.
            query = f"SELECT key, slot FROM {self.kind}_seen"
        if self._labelled:
            # The smallest of several names: the result must not depend on the order of lines.
            query = f"""
                SELECT key, slot, name, type FROM ({query}) LEFT JOIN (
                    SELECT key, min(name) AS name, nullif(min(type), '{DEFAULT_TYPE}') AS type
                    FROM {self.kind}_label GROUP BY key
                ) USING (key) ORDER BY type NULLS FIRST, key"""
        else:
            query = f"""
                SELECT key, slot, NULL::VARCHAR AS name, NULL::VARCHAR AS type
                FROM ({query}) ORDER BY key"""
        self._database.run(f"CREATE TABLE {self.kind} AS {query}")

    def _audit_labels(self) -> None:
        kind = self.kind
        self.unused = self._count(
            f"SELECT count(DISTINCT key) FROM {kind}_label ANTI JOIN {kind} USING (key)"
        )
        self.conflicts = self._count(
            f"""SELECT count(*) FROM (
                SELECT key FROM {kind}_label SEMI JOIN {kind} USING (key)
                GROUP BY key HAVING count(DISTINCT name) > 1)"""
        )
        conflict = self._database.run(
            f"""SELECT key, min(type), max(type), count(*) OVER () FROM {kind}_label
            SEMI JOIN {kind} USING (key) GROUP BY key HAVING min(type) < max(type)
            ORDER BY key LIMIT 1"""
        )
        for key, one, other, count in conflict:
            raise DataError(
                f"{key!r} has the types {one!r} and {other!r} ({count:,} such entities): "
                "an entity has one storage type; give several as data.classes"
            )

    def _count(self, query: str) -> int:
        return int(self._database.run(query)[0][0])

    def _write_slots(self) -> None:
        stored = self._stored if self._numbered is None else self.size
        ids = mapped(self._path, id_type(self.size), max(stored, 1))
        query = f"SELECT slot, rowid FROM {self.kind}"
        if self._generations > 1:
            query = f"""SELECT {self.kind}_seen.slot, {self.kind}.rowid
                FROM {self.kind}_seen JOIN {self.kind} USING (key)"""
        for batch in self._database.stream(query):
            ids[batch.column(0).to_numpy()] = batch.column(1).to_numpy()
        self.ids = ids
        self._database.run(f"DROP TABLE {self.kind}_seen")

    def rows(self) -> Iterator[pa.RecordBatch]:
        """Key, name, type in the order of ids."""
        query = f"SELECT key, name, type FROM {self.kind} ORDER BY rowid"
        yield from self._database.stream(query)

    def class_names(self) -> list[str]:
        """All classes that a key with facts has, sorted; they are numbered in this order."""
        if not self._labelled:
            return []
        self._database.run(
            f"""CREATE TABLE {self.kind}_class AS SELECT DISTINCT class
            FROM {self.kind}_label SEMI JOIN {self.kind} USING (key)
            WHERE class IS NOT NULL ORDER BY class""",
        )
        found = self._database.run(f"SELECT class FROM {self.kind}_class ORDER BY rowid")
        return [name for (name,) in found]

    def classes(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int32]]]:
        """Ids of keys and classes, sorted, each pair once."""
        kind = self.kind
        query = f"""
            SELECT DISTINCT {kind}.rowid AS id, {kind}_class.rowid::INTEGER AS class_id
            FROM {kind}_label AS label JOIN {kind} USING (key)
            JOIN {kind}_class ON label.class = {kind}_class.class ORDER BY id, class_id"""
        for batch in self._database.stream(query):
            yield batch.column(0).to_numpy(), batch.column(1).to_numpy()

    def locate(self, keys: str) -> Iterator[pa.RecordBatch]:
        """The rows of a table with a column ``key``, each with the ``id`` of its key."""
        query = f"SELECT {keys}.*, {self.kind}.rowid AS id FROM {keys} JOIN {self.kind} USING (key)"
        yield from self._database.stream(query)


def id_type(count: int) -> type[np.int32] | type[np.int64]:
    """The narrowest width for ids below ``count``."""
    return np.int32 if count < 1 << 31 else np.int64


def relation_type(num_relations: int) -> type[np.int16] | type[np.int32]:
    """The narrowest width for relations and their reciprocals."""
    return np.int16 if 2 * num_relations < 1 << 15 else np.int32
