"""A training that was cut short and goes on is the one that was not, to the bit."""

from __future__ import annotations

from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from rich.console import Console

from kgscale.training import callbacks
from kgscale.training.data import GraphData
from kgscale.training.fit import FitResult, TrainerSettings, fit
from kgscale.training.link import LinkPrediction
from kgscale.training.resume import newest
from tests.training import toys

STEPS = toys.strategy().num_batches(world_size=1)


class Log:
    """The questions of each step, and a signal after some of them."""

    def __init__(self, module: LinkPrediction, stop_after: int | None = None) -> None:
        self.asked: list[list[int]] = []
        self.stop_after = stop_after
        original = module.training_step

        @wraps(original)
        def step(batch: Any, index: int) -> torch.Tensor:
            self.asked.append([*batch.query.head.tolist(), *batch.query.relation.tolist()])
            return original(batch, index)

        module.training_step = step  # type: ignore[method-assign]


def run(
    directory: Path, monkeypatch: pytest.MonkeyPatch, *, stop_after: int | None = None, **more: Any
) -> tuple[LinkPrediction, FitResult, list[list[int]]]:
    module = toys.module(encoder_settings={"dropout": 0.3}, method=more.pop("method", "adam"))
    log = Log(module)
    original = callbacks.StopOnSignal.on_train_batch_end

    def check(self: Any, *given: Any) -> None:
        if stop_after is not None and len(log.asked) >= stop_after:
            self.received = 15
        original(self, *given)

    monkeypatch.setattr(callbacks.StopOnSignal, "on_train_batch_end", check)
    saved = newest(directory) if more.pop("resume", False) else None
    settings = TrainerSettings(**{"max_epochs": 3, "threads": 1, "decay": "cosine", **more})
    result = fit(
        module, GraphData(toys.strategy()), directory, settings,
        console=Console(quiet=True), seed=4, saved=saved,
    )  # fmt: skip
    monkeypatch.undo()
    return module, result, log.asked


def weights(module: pl.LightningModule) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("stop", range(1, 3 * STEPS))
def test_interrupted_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int) -> None:
    whole, expected, asked = run(tmp_path / "whole", monkeypatch)
    _, cut, before = run(tmp_path / "cut", monkeypatch, stop_after=stop)
    assert cut.interrupted == 143
    again, found, after = run(tmp_path / "cut", monkeypatch, resume=True)
    assert before + after == asked
    for name, value in weights(whole).items():
        assert torch.equal(weights(again)[name], value), name
    assert found.metrics == expected.metrics
