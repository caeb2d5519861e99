"""Batches ahead of time."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from kgscale.batch import SubgraphBatch
from kgscale.errors import ConfigError
from kgscale.training.data import Prefetcher
from tests.training import toys


def sampling_threads() -> int:
    return sum(thread.name.startswith("kgscale-sample") for thread in threading.enumerate())


class Failing:
    """A strategy that is slow for early steps and fails at the third."""

    def describe(self) -> str:
        return ""

    def prepare(self) -> None:
        pass

    def report(self) -> dict[str, float]:
        return {}

    def relations_kept(self) -> tuple[float, ...]:
        return ()

    def num_batches(self, *, world_size: int) -> int:
        return 8

    def batch(self, epoch: int, index: int, *, rank: int, world_size: int) -> SubgraphBatch:
        time.sleep(0.02 * (3 - min(index, 3)))
        if index == 3:
            raise ValueError("the fourth")
        return toys.strategy().batch(0, index % 2, rank=0, world_size=1)


@pytest.mark.parametrize(("workers", "ahead"), [(1, 1), (3, 2), (2, 50)])
def test_order_is_kept(workers: int, ahead: int) -> None:
    strategy = toys.strategy()
    made = list(Prefetcher(strategy, lambda: 4, workers=workers, ahead=ahead))
    assert len(made) == strategy.num_batches(world_size=1)
    for index, batch in enumerate(made):
        expected = strategy.batch(4, index, rank=0, world_size=1)
        assert torch.equal(batch.entity_id, expected.entity_id)
        assert torch.equal(batch.query.head, expected.query.head)
    assert sampling_threads() == 0


def test_a_failure_arrives_in_its_turn() -> None:
    batches = iter(Prefetcher(Failing(), lambda: 0, workers=3, ahead=3))
    for _ in range(3):
        next(batches)
    with pytest.raises(ValueError, match="the fourth"):
        next(batches)
    assert sampling_threads() == 0


def test_an_abandoned_epoch_stops_its_threads() -> None:
    batches = iter(Prefetcher(toys.strategy(batch_size=2), lambda: 0, workers=2))
    next(batches)
    assert sampling_threads() > 0
    del batches
    assert sampling_threads() == 0


def test_every_epoch_has_its_own_order() -> None:
    epochs = iter([0, 1])
    loader = Prefetcher(toys.strategy(), lambda: next(epochs))
    first, second = ([b.query.head.tolist() for b in loader] for _ in range(2))
    assert first != second


@pytest.mark.parametrize("settings", [{"workers": 0}, {"ahead": 0}])
def test_wrong_settings(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="positive ints"):
        Prefetcher(toys.strategy(), lambda: 0, **settings)
