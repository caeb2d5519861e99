"""From lines of text to numbers of entities and relations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kgscale.data.audit import Audit
from kgscale.data.query_file import QueryFile, QueryRows
from kgscale.data.spool import Spool
from kgscale.graph.names import SEVERAL, UNKNOWN
from kgscale.graph.store import GraphStore

Ids = NDArray[np.int64]
Find = Callable[[pa.Array], Ids]
"""The ids of distinct texts, negative where there is none."""
REMAINDER: Final = "\t"
"""Between the fields of a line in messages."""


class Lines(ABC):
    """What lines ask of a kind of run: one or two numbers each."""

    needed: tuple[str, ...]
    either: tuple[str, ...] = ()
    numbered: tuple[str, ...] = ("asked",)
    """What :meth:`numbers` gives."""

    def __init__(self, store: GraphStore) -> None:
        self.store = store

    @abstractmethod
    def numbers(self, rows: QueryRows, judge: Judge) -> dict[str, Ids]:
        """Of all rows; ``judge`` hears of those that ask nothing."""

    def spooled(
        self, path: Path, scratch: Path, audit: Audit, *, quote: str | None = None
    ) -> Spool:
        """The numbers of all lines that ask something, on disk."""
        file = QueryFile(path, needed=self.needed, either=self.either, quote=quote)
        spool = Spool(scratch, "asked", dict.fromkeys(("line", *self.numbered), np.int64))
        for rows in file.rows(audit):
            judge = Judge(rows, path.name, audit)
            found = {"line": rows.line, **self.numbers(rows, judge)}
            good = judge.finish()
            spool.append(**{name: column[good] for name, column in found.items()})
        return spool


class Judge:
    """Keeps account of which rows can't be used, and why: the first reason counts."""

    def __init__(self, rows: QueryRows, file: str, audit: Audit) -> None:
        self._rows, self._file, self._audit = rows, file, audit
        self._reason: dict[int, str] = {}

    def refuse(self, bad: NDArray[np.bool_], reason: str) -> None:
        for at in np.flatnonzero(bad).tolist():
            self._reason.setdefault(at, reason)

    def ids(self, column: pa.Array, kind: str, find: Find, asked: NDArray[np.bool_]) -> Ids:
        """Of a column of texts; those that are not asked for are 0."""
        distinct = column.dictionary_encode()
        known = find(distinct.dictionary)
        found = known[distinct.indices.to_numpy()] if len(column) else np.zeros(0, np.int64)
        self.refuse(asked & (found == UNKNOWN), f"no {kind} has this key or name")
        self.refuse(asked & (found == SEVERAL), f"several {kind}s have this name: give the key")
        return np.where(asked, found, 0)

    def finish(self) -> NDArray[np.bool_]:
        """Tell the audit; which rows are left."""
        good = np.ones(len(self._rows.line), bool)
        for at, reason in sorted(self._reason.items()):
            fields = [column[at].as_py() or "" for column in self._rows.columns.values()]
            value = REMAINDER.join(fields)
            self._audit.reject(self._file, int(self._rows.line[at]), reason, value)
            good[at] = False
        self._audit.accept(-len(self._reason))
        return good


class LinkLines(Lines):
    """``relation`` with ``head`` (whose tails are asked for) or ``tail``."""

    needed = ("relation",)
    either = ("head", "tail")
    numbered = ("asked", "relation")

    def numbers(self, rows: QueryRows, judge: Judge) -> dict[str, Ids]:
        """``relation`` may be reciprocal."""
        columns, everything = rows.columns, np.ones(len(rows.line), bool)
        given = {side: _filled(columns[side]) for side in self.either if side in columns}
        judge.refuse(
            np.sum(list(given.values()), axis=0) != 1,
            "asks with a head or with a tail, not both or none",
        )
        relation = judge.ids(columns["relation"], "relation", self.store.find_relations, everything)
        asked = np.zeros(len(rows.line), np.int64)
        for side, there in given.items():
            asked += judge.ids(columns[side], "entity", self.store.find_entities, there)
        tails = given.get("head", ~everything)
        return {"asked": asked, "relation": relation + ~tails * self.store.num_relations}


class EntityLines(Lines):
    """``entity``."""

    needed = ("entity",)

    def numbers(self, rows: QueryRows, judge: Judge) -> dict[str, Ids]:
        everything = np.ones(len(rows.line), bool)
        find = self.store.find_entities
        return {"asked": judge.ids(rows.columns["entity"], "entity", find, everything)}


class UserLines(Lines):
    """``user``, by the key in the data, the key in the store, or the name.

    Args:
        users: the entities that are some.
        kind: the type's name, of which keys in the store begin.
    """

    needed = ("user",)

    def __init__(self, store: GraphStore, users: range, kind: str) -> None:
        super().__init__(store)
        self.users, self.kind = users, kind

    def numbers(self, rows: QueryRows, judge: Judge) -> dict[str, Ids]:
        everything = np.ones(len(rows.line), bool)
        found = judge.ids(rows.columns["user"], "entity", self._find, everything)
        none = (found >= 0) & ((found < self.users.start) | (found >= self.users.stop))
        judge.refuse(none, f"no {self.kind} of the graph")
        return {"asked": found}

    def _find(self, texts: pa.Array) -> Ids:
        own = [f"{self.kind}:{text}" for text in texts.to_pylist()]
        known = self.store.entity_ids(own)
        found = np.array([known.get(key, UNKNOWN) for key in own], np.int64)
        # Of users first; then of all, to say that one is none.
        for among in (self.users, None):
            (left,) = np.nonzero(found == UNKNOWN)
            if len(left):
                found[left] = self.store.find_entities(texts.take(pa.array(left)), among)
        return found


def _filled(column: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(pc.greater(pc.binary_length(column), 0))
