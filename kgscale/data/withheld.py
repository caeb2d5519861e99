"""Relations that never reach the graph, because they tell what is to be predicted."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kgscale.data.audit import Audit
from kgscale.data.files import DataFile
from kgscale.data.source import Facts, NodeLabelRows
from kgscale.data.splits import OPEN
from kgscale.errors import ConfigError, DataError

Lines: TypeAlias = NDArray[np.int64]


class Withheld:
    """Takes the triples of some relations out of a pass; the first one's may become labels."""

    def __init__(self, relations: Sequence[str], audit: Audit, *, labels: bool) -> None:
        self._relations, self._audit, self._labels = list(relations), audit, labels
        self._seen: pa.Array = pa.array([], pa.string())

    def take(self, facts: Facts, line: Lines, file: DataFile) -> tuple[Facts, Lines]:
        """What is left of a chunk, with the labels taken from it, and the lines of its triples."""
        if not self._relations:
            return facts, line
        unique = pc.unique(facts.relation)
        self._seen = pc.unique(pa.chunked_array([self._seen, unique]))
        keep = pc.invert(pc.is_in(facts.relation, value_set=pa.array(self._relations)))
        for relation in self._relations:
            count = int(pc.sum(pc.equal(facts.relation, relation)).as_py() or 0)
            if count:
                self._audit.leave_out(f"triple of {relation!r} (data.label_relation)", count)
        labels = self._as_labels(facts, line, file) if self._labels else None
        left = replace(facts.filter(keep), node_labels=labels)
        return left, line[np.asarray(keep)]

    def _as_labels(self, facts: Facts, line: Lines, file: DataFile) -> NodeLabelRows:
        """The head is labelled with the tail.

        Whatever split the triple is in, that of its label is made: entities are divided here,
        and a triple per split may speak of the same entity.
        """
        mine = pc.equal(facts.relation, self._relations[0])
        found = line[np.asarray(mine)]
        return NodeLabelRows(
            key=facts.head.filter(mine),
            label=facts.tail.filter(mine),
            split=np.full(len(found), OPEN, np.uint8),
            file=str(file.path),
            line=found,
        )

    def check(self, path: object) -> None:
        """Once all is read: a relation that does not occur is a mistake."""
        seen = self._seen.to_pylist()
        for relation in self._relations:
            if relation not in seen:
                near = difflib.get_close_matches(relation, seen, n=1, cutoff=0)
                hint = f": did you mean {near[0]!r}?" if near else ""
                raise ConfigError(f"data.label_relation: {path} has no relation {relation!r}{hint}")
        if self._relations and not self._audit.accepted:
            raise DataError(
                f"{path} has no triples but those of data.label_relation, which never reach the "
                "graph: add the triples to learn from"
            )
