"""``strategy=auto``: settings of the strategies among which a plan chooses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from kgscale.errors import ConfigError

Settings = dict[str, Any]

FULL: Final = "kgscale.sampling.full_batch.FullBatchStrategy"
NEIGHBOR: Final = "kgscale.sampling.neighbor.NeighborStrategy"
LEAST: Final = 16
"""Questions of the smallest step that is offered."""

FEW: Final = (2048, 512, 128)
"""Candidates that are offered."""


class AutoStrategy:
    """Full batches where a step is small and an epoch costs no more than a sampled one; else
    neighbour sampling; with smaller steps where those don't fit into memory.

    Args:
        query_share: of full batches, see :class:`FullBatchStrategy`.
        fanout: of neighbour sampling, one number per layer; the last stands for layers beyond.
        batch_size: questions of a sampled step, the most that is tried.
        candidates: of neighbour sampling, see :class:`NeighborStrategy`.
    """

    def __init__(
        self,
        *,
        query_share: float = 0.1,
        fanout: Sequence[int] = (8,),
        batch_size: int = 512,
        candidates: int | str = 2048,
    ) -> None:
        if not fanout:
            raise ConfigError("strategy.fanout needs at least one number")
        if batch_size < 1:
            raise ConfigError(f"strategy.batch_size needs a positive int, got {batch_size}")
        self.query_share, self.fanout = query_share, list(fanout)
        self.batch_size, self.candidates = batch_size, candidates

    def full_batch(self) -> Settings:
        return {"_target_": FULL, "query_share": self.query_share}

    def neighbor(self, num_layers: int) -> Settings:
        more = [self.fanout[-1]] * (num_layers - len(self.fanout))
        return {
            "_target_": NEIGHBOR,
            "fanout": [*self.fanout, *more][:num_layers],
            "batch_size": self.batch_size,
            "candidates": self.candidates,
        }


def fewer(settings: Mapping[str, Any]) -> Iterator[Settings]:
    """The same strategy with fewer and fewer candidates, if it draws any."""
    number = settings.get("candidates")
    for few in FEW:
        if number == "all" or (isinstance(number, int) and few < number):
            yield {**settings, "candidates": few}


def smaller(settings: Mapping[str, Any]) -> Iterator[Settings]:
    """The same strategy with smaller and smaller steps, if it has a size that tells."""
    for name, least in (("batch_size", LEAST), ("per_batch", 1)):
        size = settings.get(name)
        while isinstance(size, int) and size // 2 >= least:
            size //= 2
            yield {**settings, name: size}
