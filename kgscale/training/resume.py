"""Where a training stands, kept on disk, so that it goes on at the very step.

A batch is a pure function of (seed, epoch, step, rank, world size), and each step seeds what it
draws itself: beside parameters and the optimiser's state, a position is all there is to keep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch
from pytorch_lightning import Callback

from kgscale.errors import ConfigError, DataError
from kgscale.training.checkpoints import SUFFIX, load_state
from kgscale.training.shapes import (
    Pattern,
    amount,
    check,
    check_like,
    count,
    each,
    flag,
    mapping,
    maybe,
    text,
)

FOLDER: Final = "checkpoints"
_PREFIX: Final = "step-"
OWN: Final = "kgscale"
"""Our part of a saved state, beside Lightning's."""
_CHECKPOINTS: Final = "ModelCheckpoint"
_STOPPING: Final = "EarlyStopping"
"""How the names of such callbacks' states begin."""
_NEEDED: Final = {
    "state_dict": each(lambda value: isinstance(value, torch.Tensor)),
    "optimizer_states": lambda value: isinstance(value, list) and len(value) == 1,
    "callbacks": each(mapping),
    "epoch_loss": lambda value: isinstance(value, tuple) and [*map(type, value)] == [float, int],
}
"""Lightning's part, as far as a run goes on from it."""
_OWN_NEEDED: Final[Mapping[str, Pattern]] = {
    "position": {
        **dict.fromkeys(("epoch", "step", "steps", "updates"), count),
        "world_size": lambda value: count(value) and value > 0,
        "finished": flag,
    },
    "loops": {"stepped": count},
    "watches": {"own": amount, "wall": amount},
    "score_dtype": lambda value: value in ("float32", "bfloat16"),
    "limits": {"max_epochs": count, "max_seconds": maybe(amount), "patience": count},
}
_OWN: Final[Mapping[str, Pattern]] = {
    **_OWN_NEEDED,
    "fingerprint": text,
    "settings": mapping,
    "strategy": mapping,
    "usage": {"seconds": each(amount), "peak": count},
}
"""Our part; the last four are those of whole runs."""


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
            DataError: an epoch of as many processes has another length.
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
        try:
            for name, pattern in _NEEDED.items():
                check(state[name], pattern, name)
            own = state[OWN]
            for name in _OWN_NEEDED:
                check(own[name], _OWN_NEEDED[name], name)
            for name in own.keys() & _OWN.keys():
                check(own[name], _OWN[name], name)
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise DataError(_foreign(path, error)) from error
        return cls(path=path, state=state)

    def require(self, *names: str) -> None:
        """Refuse a state that lacks what a run keeps beside Lightning's part.

        Raises:
            DataError: it does.
        """
        if missing := set(names) - self.own.keys():
            raise DataError(_foreign(self.path, f"without {min(missing)}"))

    def check_callbacks(self, fresh: Mapping[str, Callback]) -> None:
        """Refuse what callbacks could not take up.

        Args:
            fresh: those that are there, which have not begun.

        Raises:
            DataError: one is of another kind.
        """
        kept = self.state["callbacks"]
        try:
            for name in fresh.keys() & kept.keys():
                check_like(kept[name], fresh[name].state_dict(), name.partition("{")[0])
                if name.startswith(_STOPPING):
                    copy(fresh[name]).load_state_dict(kept[name])  # it has reasons by number
                has = kept[name].get("best_model_score") is not None
                if name.startswith(_CHECKPOINTS) and bool(kept[name]["best_model_path"]) != has:
                    raise ValueError("a best checkpoint without its score, or the other way round")
                if name.startswith(_CHECKPOINTS):
                    _check_worst(kept[name])
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(_foreign(self.path, error)) from error

    @property
    def position(self) -> Position:
        return Position(**self.own["position"])

    @property
    def best(self) -> Path | None:
        """The checkpoint that validated best so far."""
        for name, state in self.state["callbacks"].items():
            if name.startswith(_CHECKPOINTS) and state["best_model_path"]:
                return self.path.parent / Path(state["best_model_path"]).name
        return None

    def is_over(self, limits: Mapping[str, Any]) -> bool:
        """Whether training came to its own end, and these limits don't say otherwise."""
        return self.position.finished and self.own["limits"] == limits

    @property
    def own(self) -> dict[str, Any]:
        """What the run itself had kept: its settings, clocks and costs."""
        found: dict[str, Any] = self.state[OWN]
        return found

    def for_lightning(
        self, position: Position, directory: Path, *, patience: int
    ) -> dict[str, Any]:
        """The state that a Trainer restores, as if its run directory had always been this one, and
        its patience what it is now."""

        def now(name: str, state: dict[str, Any]) -> dict[str, Any]:
            if name.startswith(_CHECKPOINTS):
                return _at(state, directory)
            return {**state, "patience": patience} if name.startswith(_STOPPING) else state

        callbacks = self.state["callbacks"].items()
        return {
            **{name: self.state[name] for name in _NEEDED},
            "callbacks": {name: now(name, state) for name, state in callbacks},
            "lr_schedulers": [],
            "epoch": position.epoch,
            "global_step": position.updates,
            "pytorch-lightning_version": version("pytorch-lightning"),
            "loops": {"fit_loop": _loops(self.own["loops"], position)},
        }


def _check_worst(kept: Mapping[str, Any]) -> None:
    """The worst of the checkpoints that are kept has to be one of them."""
    worst, there = kept["kth_best_model_path"], kept["best_k_models"]
    if worst not in there and (worst or there):
        raise ValueError(f"a worst checkpoint {worst!r:.60} that is none of those kept")


def check_fits(path: Path, kept: Mapping[str, torch.Tensor], module: torch.nn.Module) -> None:
    """Refuse the tensors of another model.

    Raises:
        DataError: they have other names, sizes or numbers.
    """
    found, wanted = (
        {name: (tuple(value.shape), value.dtype) for name, value in part.items()}
        for part in (kept, module.state_dict())
    )
    if differing := sorted(dict(found.items() ^ wanted.items())):
        raise DataError(
            f"{path}: the state of another model, by {differing[0]}"
            f" ({found.get(differing[0])}, not {wanted.get(differing[0])}); train anew"
        )


def _foreign(path: Path, why: object) -> str:
    return f"{path}: no state of a training of this version ({why}); train anew"


def place_of(directory: Path, position: Position) -> Path:
    """Where a state is kept; names are in the order of training."""
    name = f"{_PREFIX}{position.updates:012}-{int(not position.step)}{int(position.finished)}"
    return directory / FOLDER / f"{name}{SUFFIX}"


def states(directory: Path) -> list[Path]:
    """What a run has kept, the newest first."""
    found = (directory / FOLDER).glob(f"{_PREFIX}*{SUFFIX}")
    return sorted(found, key=lambda path: path.name, reverse=True)


def newest(directory: Path) -> Saved:
    """The newest state of a run that is whole.

    Raises:
        DataError: there is none.
    """
    failure: DataError | None = None
    if (directory / FOLDER).is_symlink():
        raise DataError(
            f"{directory / FOLDER} is a link: what is written and removed there would be elsewhere;"
            " put the directory itself in its place"
        )
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


def _at(kept: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """What Lightning keeps of checkpoints, with all of them in this run directory.

    It compares paths as texts, and with others forgets which one was the best.
    """
    folder = (directory / FOLDER).resolve()

    def here(path: Any) -> str:
        return str(folder / Path(path).name) if path else ""

    paths = ("best_model_path", "kth_best_model_path", "last_model_path")
    return {
        **kept,
        **{name: here(kept.get(name)) for name in paths},
        "dirpath": str(folder),
        "best_k_models": {here(path): score for path, score in kept["best_k_models"].items()},
    }


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
