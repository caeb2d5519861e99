"""Batches ahead of time: threads that sample while the model computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import pytorch_lightning as pl

from kgscale.batch import SubgraphBatch
from kgscale.errors import ConfigError
from kgscale.inference.embed import Features, no_features
from kgscale.sampling.base import Strategy


class Prefetcher:
    """The batches of one rank and epoch, in order, made ``ahead`` steps early by threads.

    Sampling kernels release the interpreter lock, so threads suffice: nothing is forked and
    nothing is copied between processes.

    Args:
        begin: an epoch, and the step that it begins with.
    """

    def __init__(
        self,
        strategy: Strategy,
        epoch: Callable[[], int],
        *,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 1,
        ahead: int = 2,
        pin: bool = False,
        features: Features = no_features,
        begin: tuple[int, int] = (0, 0),
    ) -> None:
        if workers < 1 or ahead < 1:
            raise ConfigError(
                f"trainer.workers and trainer.ahead need positive ints, got {workers} and {ahead}"
            )
        self.strategy, self.epoch = strategy, epoch
        self.rank, self.world_size = rank, world_size
        self.workers, self.ahead, self.pin = workers, ahead, pin
        self.features, self.begin = features, begin

    def __len__(self) -> int:
        return self.strategy.num_batches(world_size=self.world_size)

    def __iter__(self) -> Iterator[SubgraphBatch]:
        epoch = self.epoch()
        first = self.begin[1] if epoch == self.begin[0] else 0
        steps = iter(range(first, len(self)))
        pending: deque[Future[SubgraphBatch]] = deque()
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="kgscale-sample")
        try:
            for index in steps:
                pending.append(pool.submit(self._make, epoch, index))
                if len(pending) > self.ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _make(self, epoch: int, index: int) -> SubgraphBatch:
        batch = self.strategy.batch(epoch, index, rank=self.rank, world_size=self.world_size)
        if not batch.features:
            batch = replace(batch, features=self.features(batch.entity_id))
        return batch.pin_memory() if self.pin else batch


class Once:
    """A validation of one step: ranking blocks and shards its queries by itself."""

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[None]:
        yield None


class GraphData(pl.LightningDataModule):
    """Train batches by a strategy; validation is one item, which the module does by itself."""

    def __init__(
        self,
        strategy: Strategy,
        *,
        workers: int = 1,
        ahead: int = 2,
        features: Features = no_features,
    ) -> None:
        super().__init__()
        self.strategy, self.workers, self.ahead = strategy, workers, ahead
        self.features = features
        self.begin = (0, 0)
        """An epoch that was begun before, and its first step that was not."""

    def train_dataloader(self) -> Prefetcher:
        assert self.trainer is not None
        return Prefetcher(
            self.strategy,
            lambda: self.trainer.current_epoch,  # type: ignore[union-attr]
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
            workers=self.workers,
            ahead=self.ahead,
            pin=self.trainer.strategy.root_device.type == "cuda",
            features=self.features,
            begin=self.begin,
        )

    def val_dataloader(self) -> Once:
        return Once()
