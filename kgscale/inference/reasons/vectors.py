"""What a score loses without a fact, of models whose layers pass messages: made anew without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from kgscale.graph.adjacency import readers
from kgscale.inference.embed import ROWS, Embedder, Hidden
from kgscale.inference.reasons.judge import Fact, Judge
from kgscale.types import EntityVectors, Ids

Read = Callable[[EntityVectors], float]
"""A score, from the vectors of the entities that it is about."""
NOTHING: Final = Hidden(torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64))


class VectorJudge(Judge):
    """Makes anew the vectors that change without a fact, layer by layer, and no others.

    Costs, once, the vectors of all that the asked entities see; for each fact, the rows of its two
    ends and of what reads these.

    Args:
        embedder: of a model with layers.
        asked: the entities whose vectors the score is read from.
        read: the score.
        hidden: what is left out in any case.
    """

    def __init__(
        self, embedder: Embedder, asked: Ids, read: Read, hidden: Hidden = NOTHING
    ) -> None:
        self.embedder, self.read, self.hidden = embedder, read, hidden
        self._asked, self._place = torch.unique(asked, return_inverse=True)
        with embedder.inference():
            self._needed = embedder.needed(self._asked)
            self._relations = embedder.model.encoder.relations()
            self._made: list[EntityVectors] = []
            for index, rows in enumerate(self._needed):
                before = self._made[-1] if index else None
                self._made.append(self._layer(index, rows, before, hidden))
            self.score = read(self._made[-1][self._place])

    def losses(self, facts: Sequence[Fact]) -> Iterator[float]:
        for fact in facts:
            with self.embedder.inference():
                yield self.score - self.read(self._without(fact)[self._place])

    def _without(self, fact: Fact) -> EntityVectors:
        ends = torch.tensor([fact.step.source, fact.step.target])
        hidden = Hidden(
            torch.cat([self.hidden.triple, torch.tensor([fact.triple])]),
            torch.cat([self.hidden.end, ends]),
        )
        graph, encoder = self.embedder.graph, self.embedder.model.encoder
        changed, before = torch.empty(0, dtype=torch.int64), None
        for index, rows in enumerate(self._needed):
            touched = readers(graph, ends, rows) if encoder.reads_degree else ends
            changed = torch.unique(torch.cat([touched, readers(graph, changed, rows)]))
            at = torch.searchsorted(rows, changed).clamp(max=len(rows) - 1)
            inside = rows[at] == changed
            changed, at, out = changed[inside], at[inside], self._made[index].clone()
            if len(changed):
                out[at.to(out.device)] = self._layer(index, changed, before, hidden)
            before = out
        assert before is not None
        return before

    def _layer(
        self,
        index: int,
        rows: Int64[Tensor, " row"],
        before: EntityVectors | None,
        hidden: Hidden,
    ) -> Float[Tensor, "row dim"]:
        """A layer's output for some rows, from that of the layer before for all that was needed."""
        embedder = self.embedder
        parts: list[Tensor] = []
        encoder = embedder.model.encoder
        for some in torch.split(rows, ROWS):
            read, block = embedder.block(some, hidden)
            if before is None:
                x = embedder.rows_of(read)
            else:
                place = torch.searchsorted(self._needed[index - 1], read)
                x = before[place.to(before.device)]
            parts.append(encoder.layer(index, x, self._relations[index], block))
        out: Tensor = torch.cat(parts)
        return out
