"""What a strategy is: a pure function from a step's coordinates to a subgraph."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from kgscale.batch import SubgraphBatch


@runtime_checkable
class Strategy(Protocol):
    """How a step sees the graph.

    A batch depends only on the graph, the settings and (epoch, index, rank, world size): any
    batch can be made again by any process, in any order.
    """

    def describe(self) -> str:
        """One sentence for people."""

    def num_batches(self, *, world_size: int) -> int:
        """Steps of an epoch, the same on every rank."""

    def batch(self, epoch: int, index: int, *, rank: int, world_size: int) -> SubgraphBatch:
        """The share of ``rank`` in step ``index`` of ``epoch``."""
