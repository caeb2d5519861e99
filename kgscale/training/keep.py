"""What lets a training go on later: every step is seeded, and states are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytorch_lightning as pl
import torch

from kgscale.durable import remove_directory
from kgscale.errors import Interrupted, ScoreError
from kgscale.sampling.queries import mix_seed
from kgscale.training.checkpoints import SafetensorsIO, save_state
from kgscale.training.distributed import rank
from kgscale.training.module import EpochLoss, GraphModule
from kgscale.training.resume import OWN, Position, place_of, states
from kgscale.training.stopwatch import Stopwatch

DIVERGED: Final = "diverged"
"""The batch whose loss was not finite."""


class SeedSteps(pl.Callback):
    """Seeds each step by its place, so that what it draws depends on nothing that came before."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, index: int
    ) -> None:
        torch.manual_seed(mix_seed(self.seed, rank(), trainer.current_epoch, index))


class KeepState(pl.Callback):
    """Writes where training stands now and then, at its end, and when a signal stops it.

    Rank 0 writes, and the new state is whole before the one before it goes.

    Args:
        minutes, steps: how often; None for never.
        own: what else to keep.
        watches: clocks of training, by name.
        begun: where a training that goes on stood.
    """

    def __init__(
        self,
        directory: Path,
        files: SafetensorsIO,
        *,
        minutes: float | None,
        steps: int | None,
        watches: Mapping[str, Stopwatch],
        own: Callable[[], dict[str, Any]] = dict,
        begun: Position | None = None,
    ) -> None:
        self.begun = begun
        self.directory, self.files = directory, files
        self.minutes, self.steps = minutes, steps
        self.watches, self.own = watches, own
        self.position: Position | None = None
        """None while a step runs, of which half can't be kept."""
        self._updated: Position | None = None
        """After the last update of the parameters: steps that are summed up since are done anew."""
        self._epoch_loss = EpochLoss()
        self._stepped = 0
        """What stood there at that position; in an epoch Lightning counts its step afterwards."""
        self._batch: Any = None
        self._saved: Position | None = None
        self._last = 0.0

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        for watch in self.watches.values():
            watch.start()
        self._last = self.watches["wall"].seconds
        if self.begun is None:
            self._keep_in_mind(trainer, module, self._at(trainer, 0, 0))
        else:
            self._saved = self.begun
            self._keep_in_mind(trainer, module, self.begun)
            self._stepped -= 0 < self.begun.step < self.begun.steps

    def _keep_in_mind(
        self, trainer: pl.Trainer, module: pl.LightningModule, position: Position
    ) -> None:
        assert isinstance(module, GraphModule)
        self.position = self._updated = position
        # No number is looked at: an accelerator would have to be waited for.
        self._epoch_loss = replace(module.epoch_loss)
        self._stepped = trainer.fit_loop.epoch_loop._batches_that_stepped

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, index: int
    ) -> None:
        self.position, self._batch = None, batch

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        steps = int(trainer.num_training_batches)
        if (index + 1) % trainer.accumulate_grad_batches and index + 1 < steps:
            self.position = self._updated
            return
        self._keep_in_mind(trainer, module, self._at(trainer, trainer.current_epoch, index + 1))
        every = trainer.check_val_every_n_epoch or 1
        validates = trainer.enable_validation and not (trainer.current_epoch + 1) % every
        if index + 1 == steps and not validates:
            self._stepped += 1  # what comes after validation comes without it too
        due = self.steps is not None and trainer.global_step % self.steps == 0
        self._save_if_due(trainer, due)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.position is None or self.position.step == self.position.steps:
            self._keep_in_mind(trainer, module, self._at(trainer, trainer.current_epoch + 1, 0))
        # Else a limit has cut the epoch short: with a higher one, its rest comes next.
        self._save_if_due(trainer, due=False)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        position = self.position or self._at(trainer, trainer.current_epoch, 0)
        self.position = replace(position, finished=True)
        self.save(trainer)

    def on_exception(
        self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException
    ) -> None:
        if isinstance(exception, Interrupted) and self.position is not None:
            self.save(trainer)
        if isinstance(exception, ScoreError) and self._batch is not None:
            path = self.directory / (f"{DIVERGED}-{rank()}" if rank() else DIVERGED)
            save_state(_plain(self._batch), path)
            exception.args = (f"{exception}; the batch is in {path}",)

    def _at(self, trainer: pl.Trainer, epoch: int, step: int) -> Position:
        return Position(
            epoch=epoch,
            step=step,
            steps=int(trainer.num_training_batches),
            updates=trainer.global_step,
            world_size=trainer.world_size,
        )

    def _save_if_due(self, trainer: pl.Trainer, due: bool) -> None:
        passed = self.watches["wall"].seconds - self._last
        if due or (self.minutes is not None and passed >= 60 * self.minutes):
            self.save(trainer)

    def save(self, trainer: pl.Trainer) -> None:
        """Keep the position, unless that is what is kept already."""
        position = self.position
        if not trainer.is_global_zero or position is None or position == self._saved:
            return
        # With the optimiser's state: nothing is loaded here.
        state = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        _check_finite(state["state_dict"], position)
        own = {
            "position": asdict(position),
            "loops": {"stepped": self._stepped},
            "watches": {name: watch.seconds for name, watch in self.watches.items()},
            **self.own(),
        }
        state.pop("loops")
        state["epoch_loss"] = self._epoch_loss.state()
        path = place_of(self.directory, position)
        save_state({**state, OWN: own}, path)
        for old in states(self.directory):
            if old != path:
                remove_directory(old)
        self.files.sweep(state["callbacks"])
        self._saved, self._last = position, self.watches["wall"].seconds


def _plain(value: Any) -> Any:
    """A batch as nested dicts."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, torch.Tensor | bool | int | float | None) else str(value)


def _check_finite(parameters: Mapping[str, torch.Tensor], position: Position) -> None:
    for name, value in parameters.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ScoreError(
                f"{name} is not finite after {position.told()}: lower optimizer.lr or set"
                " trainer.clip; the state saved before is kept"
            )
