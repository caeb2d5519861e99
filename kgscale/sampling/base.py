"""What a strategy is: a pure function from a step's coordinates to a subgraph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Int64
from torch import Tensor

from kgscale.batch import SubgraphBatch
from kgscale.errors import ConfigError
from kgscale.sampling.queries import mix_seed
from kgscale.sampling.questions import Asked, Candidates, Questions


@runtime_checkable
class Strategy(Protocol):
    """How a step sees the graph.

    A batch depends only on the graph, the settings and (epoch, index, rank, world size): any
    batch can be made again by any process, in any order.
    """

    def describe(self) -> str:
        """One sentence for people."""

    def prepare(self) -> None:
        """Make or find, before the first step, what all batches need beside the graph."""

    def report(self) -> dict[str, float]:
        """What the batches lack of the graph, measured on an example; for ``results.json``."""

    def relations_kept(self) -> Sequence[float]:
        """Of each relation's train edges, the share that an epoch's batches hold.

        Empty for strategies that cut no edge for good.
        """

    def num_batches(self, *, world_size: int) -> int:
        """Steps of an epoch, the same on every rank."""

    def batch(self, epoch: int, index: int, *, rank: int, world_size: int) -> SubgraphBatch:
        """The share of ``rank`` in step ``index`` of ``epoch``."""


class SeedStrategy(ABC):
    """An epoch asks every question once, ``batch_size`` a step and rank, in a shuffled order."""

    def __init__(
        self, *, questions: Questions, candidates: Candidates, batch_size: int, seed: int
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"strategy.batch_size needs a positive int, got {batch_size}")
        self.questions, self.candidates = questions, candidates
        self.batch_size, self.seed = batch_size, seed
        self._order: dict[int, Int64[Tensor, " query"]] = {}

    @abstractmethod
    def cut(self, asked: Asked, *, seed: int) -> SubgraphBatch:
        """The subgraph of the seeds, without the hidden triples."""

    def prepare(self) -> None:  # noqa: B027  (most need nothing)
        """Nothing: seeds need the graph alone."""

    def report(self) -> dict[str, float]:
        return {}

    def relations_kept(self) -> Sequence[float]:
        return ()

    def num_batches(self, *, world_size: int) -> int:
        return max(1, -(-len(self.questions) // (self.batch_size * world_size)))

    def batch(self, epoch: int, index: int, *, rank: int, world_size: int) -> SubgraphBatch:
        step = self._step(epoch, index, world_size)
        seed = mix_seed(self.seed, epoch, index)
        mine = slice(*share(len(step), world_size, rank))
        return self.cut(self.about(step, mine, seed=seed), seed=seed)

    def about(self, step: Int64[Tensor, " query"], mine: slice, *, seed: int) -> Asked:
        return self.questions.about(step, mine, candidates=self.candidates, seed=seed)

    def _step(self, epoch: int, index: int, world_size: int) -> Int64[Tensor, " query"]:
        """All ranks' questions of a step. Nearly equal parts: none is ever empty."""
        order = self._order.get(epoch)
        if order is None:
            order = self.questions.order(seed=self.seed, epoch=epoch)
            self._order = {epoch: order}
        start, stop = share(len(order), self.num_batches(world_size=world_size), index)
        return order[start:stop]


def share(total: int, parts: int, index: int) -> tuple[int, int]:
    """Bounds of part ``index`` when ``total`` things are dealt into nearly equal parts."""
    size, rest = divmod(total, parts)
    start = index * size + min(index, rest)
    return start, start + size + (index < rest)
