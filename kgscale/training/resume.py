"""Where a training stands, kept on disk, so that it goes on at the very step.

A batch is a pure function of (seed, epoch, step, rank, world size), and each step seeds what it
draws itself: beside parameters and the optimiser's state, a position is all there is to keep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytorch_lightning as pl
import torch

from kgscale.durable import remove_directory
from kgscale.errors import ConfigError, DataError, Interrupted, ScoreError
from kgscale.sampling.queries import mix_seed
from kgscale.training.checkpoints import SafetensorsIO, load_state, save_state
from kgscale.training.distributed import rank
from kgscale.training.stopwatch import Stopwatch

FOLDER: Final = "checkpoints"
DIVERGED: Final = "diverged"
"""The batch whose loss was not finite."""
_PREFIX, _SUFFIX = "step-", ".ckpt"
_OWN: Final = "kgscale"
"""Our part of a saved state, beside Lightning's."""
_NEEDED: Final = {"state_dict", "optimizer_states", "callbacks", "epoch_loss"}
_OWN_NEEDED: Final = ("position", "loops", "directory", "watches", "score_dtype", "limits")


@dataclass(frozen=True, kw_only=True)
class Position:
    """What is over of a training."""

    epoch: int
    """Epochs, with their validation."""
    step: int
    """Steps of the epoch that runs; all ``steps`` if its validation is what comes next."""
    steps: int
    """Of an epoch."""
    updates: int
    """Of the parameters."""
    world_size: int
    finished: bool = False
    """Whether training came to its own end."""

    @property
    def epochs(self) -> float:
        return self.epoch + self.step / max(1, self.steps)

    def told(self) -> str:
        begun = f", {self.step:,} of {self.steps:,} steps of the next" if self.step else ""
        return f"{self.epoch:,} epochs{begun}"

    def dealt_to(self, world_size: int, steps: int) -> Position:
        """The same for another number of processes.

        Raises:
            ConfigError: an epoch has begun, and its rest can't be dealt anew.
        """
        if world_size == self.world_size:
            if steps != self.steps:
                raise DataError(
                    f"an epoch had {self.steps:,} steps and now has {steps:,}: this is not the"
                    " graph or the strategy that the run began with; train anew"
                )
            return self
        if self.step:
            raise ConfigError(
                f"{self.step:,} of {self.steps:,} steps of epoch {self.epoch + 1} were done by"
                f" {self.world_size} processes, and {world_size} would deal the rest differently:"
                f" resume with trainer.devices={self.world_size}; their number can change between"
                " two epochs"
            )
        return replace(self, world_size=world_size, steps=steps)


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A state as it was kept."""

    path: Path
    state: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> Saved:
        """What was kept there.

        Raises:
            DataError: something else.
        """
        state = load_state(path)
        if not isinstance(state, dict):
            raise DataError(_foreign(path, f"a {type(state).__name__}"))
        saved = cls(path=path, state=state)
        try:
            position = saved.position
            numbers = [position.epoch, position.step, position.steps, position.updates]
            if not all(isinstance(number, int) and number >= 0 for number in numbers):
                raise ValueError(f"a position of {numbers}")
            if missing := _NEEDED - saved.state.keys():
                raise KeyError(*missing)
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise DataError(_foreign(path, error)) from error
        saved.require(*_OWN_NEEDED)
        return saved

    def require(self, *names: str) -> None:
        """Refuse a state that lacks what a run keeps beside Lightning's part.

        Raises:
            DataError: it does.
        """
        if missing := set(names) - self.own.keys():
            raise DataError(_foreign(self.path, f"without {min(missing)}"))

    def check_fits(self, module: torch.nn.Module) -> None:
        """Refuse the state of another model.

        Raises:
            DataError: its tensors have other names or sizes.
        """
        kept, wanted = (
            {name: tuple(value.shape) for name, value in part.items()}
            for part in (self.state["state_dict"], module.state_dict())
        )
        if differing := sorted(dict(kept.items() ^ wanted.items())):
            raise DataError(
                f"{self.path}: the state of another model, by {differing[0]}"
                f" ({kept.get(differing[0])}, not {wanted.get(differing[0])}); train anew"
            )

    @property
    def position(self) -> Position:
        return Position(**self.own["position"])

    @property
    def best(self) -> Path | None:
        """The checkpoint that validated best so far."""
        for name, state in self.state["callbacks"].items():
            if name.startswith("ModelCheckpoint") and state["best_model_path"]:
                return self.path.parent / Path(state["best_model_path"]).name
        return None

    def is_over(self, limits: Mapping[str, Any]) -> bool:
        """Whether training came to its own end, and these limits don't say otherwise."""
        return self.position.finished and self.own["limits"] == limits

    @property
    def own(self) -> dict[str, Any]:
        """What the run itself had kept: its settings, clocks and costs."""
        found: dict[str, Any] = self.state[_OWN]
        return found

    def for_lightning(self, position: Position, directory: Path) -> dict[str, Any]:
        """The state that a Trainer restores, as if its run directory had always been this one."""
        state = {name: value for name, value in self.state.items() if name != _OWN}
        state = _moved(state, str(self.own["directory"]), str(directory))
        return {**state, "loops": {"fit_loop": _loops(self.own["loops"], position)}}


def _foreign(path: Path, why: object) -> str:
    return f"{path}: no state of a training of this version ({why}); train anew"


def states(directory: Path) -> list[Path]:
    """What a run has kept, the newest first."""
    found = (directory / FOLDER).glob(f"{_PREFIX}*{_SUFFIX}")
    return sorted(found, key=lambda path: path.name, reverse=True)


def newest(directory: Path) -> Saved:
    """The newest state of a run that is whole.

    Raises:
        DataError: there is none.
    """
    failure: DataError | None = None
    for path in states(directory):
        try:
            return Saved.read(path)
        except DataError as error:
            failure = failure or error
    if failure is not None:
        raise failure
    raise DataError(
        f"{directory}: nothing to resume there, since no state was saved yet; train anew, or save"
        " more often with trainer.save_minutes"
    )


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
    ) -> None:
        self.directory, self.files = directory, files
        self.minutes, self.steps = minutes, steps
        self.watches, self.own = watches, own
        self.position: Position | None = None
        """None while a step runs, of which half can't be kept."""
        self._batch: Any = None
        self._saved: Position | None = None
        self._last = 0.0

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        for watch in self.watches.values():
            watch.start()
        self._last = self.watches["wall"].seconds

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, index: int
    ) -> None:
        self.position, self._batch = None, batch

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        steps = int(trainer.num_training_batches)
        if (index + 1) % trainer.accumulate_grad_batches and index + 1 < steps:
            return  # half a step of the optimiser can't be kept
        self.position = self._at(trainer, trainer.current_epoch, index + 1)
        due = self.steps is not None and trainer.global_step % self.steps == 0
        self._save_if_due(trainer, due)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.position is None or self.position.step == self.position.steps:
            self.position = self._at(trainer, trainer.current_epoch + 1, 0)
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
        state = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        _check_finite(state["state_dict"], position)
        own = {
            "position": asdict(position),
            "loops": {"stepped": trainer.fit_loop.epoch_loop._batches_that_stepped},
            "directory": str(self.directory),
            "watches": {name: watch.seconds for name, watch in self.watches.items()},
            **self.own(),
        }
        state.pop("loops")
        name = f"{_PREFIX}{position.updates:012}-{int(not position.step)}{int(position.finished)}"
        path = self.directory / FOLDER / f"{name}{_SUFFIX}"
        save_state({**state, _OWN: own}, path)
        for old in states(self.directory):
            if old != path:
                remove_directory(old)
        self.files.sweep()
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


def _moved(value: Any, before: str, now: str) -> Any:
    """With the run directory's new path, where it has been moved."""
    if isinstance(value, str):
        return now + value.removeprefix(before) if value.startswith(before) else value
    if isinstance(value, dict):
        return {_moved(k, before, now): _moved(v, before, now) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_moved(item, before, now) for item in value)
    return value


def _loops(kept: Mapping[str, Any], position: Position) -> dict[str, Any]:
    """A position in the words of Lightning's loops.

    Between two epochs, they begin the next. In an epoch, its steps so far are over; if these are
    all, validation has begun and not ended.
    """
    epoch, step = position.epoch, position.step
    begun = epoch + (step > 0)
    validating = int(step == position.steps)
    batches = epoch * position.steps + step

    def progress(total: Sequence[int], current: Sequence[int], **more: Any) -> dict[str, Any]:
        names = ("ready", "started", "processed", "completed")
        return {
            "total": dict(zip(names, total, strict=True)),
            "current": dict(zip(names, current, strict=True)),
            **more,
        }

    epochs = (begun, begun, epoch, epoch)
    evaluated = (validating, validating, 0, 0)
    updates = {"ready": position.updates, "completed": position.updates}
    stepped = kept["stepped"] + (0 < step < position.steps)
    return {
        "state_dict": {},
        "epoch_progress": progress(epochs, epochs),
        "epoch_loop.state_dict": {"_batches_that_stepped": stepped},
        "epoch_loop.batch_progress": progress(
            [batches] * 4, [step] * 4, is_last_batch=bool(validating)
        ),
        "epoch_loop.automatic_optimization.optim_progress": {
            "optimizer": {
                "step": {"total": updates, "current": updates},
                "zero_grad": {
                    name: {**updates, "started": position.updates} for name in ("total", "current")
                },
            }
        },
        "epoch_loop.val_loop.batch_progress": progress(evaluated, evaluated, is_last_batch=False),
    }
