"""Made links: the ``i``-th of a relation is a function of ``i`` alone, so that chunks are free."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kgscale.data.audit import Audit
from kgscale.data.draws import Ints, Shuffle, Stream
from kgscale.data.source import Facts, Labels
from kgscale.data.splits import SPLITS

WORDS = (*SPLITS, "open")
OPEN = WORDS.index("open")
CHUNK = 1 << 17
"""Links made at once."""


class Nodes:
    """The entities of a type, ``0`` to ``size``; their keys are numbered in another order."""

    def __init__(self, type: str, size: int, seed: int) -> None:
        self.type, self.size = type, size
        self._number = Shuffle(size, Stream(seed, f"keys of {type}"))

    def keys(self, index: Ints) -> pa.Array:
        number = pa.array(self._number(index)).cast(pa.string())
        return pc.binary_join_element_wise(f"{self.type}:", number, "")

    def chunks(self) -> Iterator[Ints]:
        for start in range(0, self.size, CHUNK):
            yield np.arange(start, min(start + CHUNK, self.size))

    def labels(self) -> Iterator[Labels]:
        for index in self.chunks():
            key = self.keys(index)
            yield Labels(key=key, type=pa.repeat(pa.scalar(self.type), len(key)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """All links of a relation."""

    relation: str
    head: Nodes
    tail: Nodes
    count: int
    draw: Callable[[Ints], tuple[Ints, Ints]]
    """Head and tail of each."""
    side: Callable[[Ints, Ints], NDArray[np.int64]] | None = None
    """By head and tail: the place in ``WORDS``; none: open."""

    def chunks(self) -> Iterator[Facts]:
        for start in range(0, self.count, CHUNK):
            head, tail = self.draw(np.arange(start, min(start + CHUNK, self.count)))
            side = np.full(len(head), OPEN) if self.side is None else self.side(head, tail)
            for code in np.unique(side).tolist():
                mine = side == code
                yield self._facts(WORDS[code], head[mine], tail[mine])

    def _facts(self, split: str, head: Ints, tail: Ints) -> Facts:
        relation = pa.repeat(pa.scalar(self.relation), len(head))
        return Facts(
            split=split, head=self.head.keys(head), relation=relation, tail=self.tail.keys(tail)
        )


def read_links(links: Sequence[Links], audit: Audit) -> Iterator[Facts]:
    for some in links:
        for facts in some.chunks():
            audit.accept(len(facts.head))
            yield facts
