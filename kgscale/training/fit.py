"""Lightning's Trainer as kgscale uses it."""

from __future__ import annotations

import errno
import logging
import math
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.strategies import DDPStrategy, Strategy
from rich.console import Console

from kgscale.durable import disk_errors
from kgscale.errors import ConfigError, DataError, Interrupted
from kgscale.training.callbacks import Decay, LogMinutes, ShowProgress, StopOnSignal, TimeLimit
from kgscale.training.checkpoints import BEST, SafetensorsIO, load_state, save_state
from kgscale.training.data import GraphData
from kgscale.training.keep import KeepState, SeedSteps
from kgscale.training.logs import loggers
from kgscale.training.module import GraphModule
from kgscale.training.resume import FOLDER, Position, Saved, check_fits
from kgscale.training.shapes import check, each
from kgscale.training.stopwatch import Stopwatch

ScoreDtype = Literal["float32", "bfloat16", "auto"]
Accelerator = Literal["cpu", "gpu", "auto"]
Clock = Literal["wall", "cpu"]
MOST: Final = 4096
"""Threads, processes, or batches made ahead."""
FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
"""What is raised where nothing more can be written."""
TRIES: Final = 10
"""Products timed of each kind of number."""
ADVICE: Final = (
    r".*isinstance\(treespec, LeafSpec\).*",
    r"Checkpoint directory .* exists and is not empty.*",
    r"Experiment logs directory .* exists.*",
    r".*does not have many workers.*",
    r".*overridden `transfer_batch_to_device`.*",
    r".*recommended to use .*sync_dist=True.*",
    r"The number of training batches .* is smaller than the logging interval.*",
    r".*have no `val_dataloader`.*",
    r"You're resuming from a checkpoint that ended before the epoch ended.*",
)
"""Warnings of Lightning that no user of this program can act on."""


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """``conf/trainer``; see there for what each means."""

    accelerator: Accelerator = "cpu"
    devices: int = 1
    threads: int = 2
    max_epochs: int = 20
    max_seconds: float | None = None
    clock: Clock = "wall"
    validate_every: int = 1
    patience: int = 3
    score_dtype: ScoreDtype = "float32"
    accumulate: int = 1
    clip: float | None = None
    decay: Literal["cosine"] | None = None
    workers: int = 1
    ahead: int = 2
    memory: str | None = None
    save_minutes: float | None = 5.0
    save_steps: int | None = None

    def __post_init__(self) -> None:
        if self.memory is not None:
            size_bytes("trainer.memory", self.memory)
        counts = ("devices", "threads", "max_epochs", "validate_every", "patience")
        for name in (*counts, "accumulate", "workers", "ahead"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"trainer.{name} needs a positive int, got {getattr(self, name)!r}"
                )
        for name in ("devices", "threads", "workers", "ahead"):
            if getattr(self, name) > MOST:
                raise ConfigError(f"trainer.{name} is {MOST:,} at most, got {getattr(self, name)}")
        if self.save_steps is not None and self.save_steps < 1:
            raise ConfigError(
                f"trainer.save_steps needs a positive int or null, got {self.save_steps!r}"
            )
        for name in ("max_seconds", "clip", "save_minutes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"trainer.{name} needs a positive number or null, got {value!r}")

    def limits(self) -> dict[str, Any]:
        """What ends a training."""
        return {name: getattr(self, name) for name in ("max_epochs", "max_seconds", "patience")}


def size_bytes(name: str, size: str) -> int:
    """Bytes of a size as a person writes it: 500MB, 2 GB or 1.5GiB."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([KMGT])(i?)B", size)
    if not found:
        raise ConfigError(f"{name} needs a size like 500MB or 2GB, got {size!r}")
    number, unit, binary = found.groups()
    power: int = (1024 if binary else 1000) ** (1 + "KMGT".index(unit))
    return int(float(number) * power)


@dataclass(frozen=True, slots=True)
class FitResult:
    """What training left: the best validation metrics, and whether a signal cut it short."""

    metrics: dict[str, float]
    epochs: float
    """The last may have been cut short."""
    interrupted: int | None
    """Exit code asked for by a signal, or None."""
    score_dtype: str
    """Numbers that score products were of, where a task has any."""


def fit(
    module: GraphModule,
    data: GraphData,
    directory: Path,
    settings: TrainerSettings,
    *,
    console: Console,
    seed: int = 0,
    saved: Saved | None = None,
    own: Callable[[], dict[str, Any]] = dict,
) -> FitResult:
    """Train, keep the checkpoint that validates best, and load it into the module.

    Without a validation split there is nothing to choose by: the last weights are kept.

    Args:
        seed: of dropout, the one thing that draws from torch's global generator here.
        saved: where an earlier training stood, to go on from there.
        own: what to keep in this one's states, of the caller.
    """
    if saved is not None:
        check_fits(saved.path, saved.state["state_dict"], module)
        if saved.is_over(settings.limits()) or saved.position.epoch >= settings.max_epochs:
            return _over(module, saved)
    position = _position(settings, data, saved)
    dtype = score_dtype(settings, module) if saved is None else _dtype(saved.own["score_dtype"])
    module.set_score_dtype(dtype)
    watches = _watches(settings, saved)
    files = SafetensorsIO(directory / FOLDER)
    keep = KeepState(
        directory,
        files,
        minutes=settings.save_minutes,
        steps=settings.save_steps,
        watches=watches,
        own=lambda: {"score_dtype": _name(dtype), "limits": settings.limits(), **own()},
        begun=position,
    )
    stop = StopOnSignal()
    with _quiet(), torch.random.fork_rng(), stop.listening():
        limit = None if settings.max_seconds is None else (settings.max_seconds, watches["own"])
        others = [ShowProgress(console, watches["wall"], limit), SeedSteps(seed), keep, stop]
        trainer = _trainer(directory, settings, module, watches["own"], files, saved, others)
        if saved is not None and position is not None:
            saved.check_callbacks({one.state_key: one for one in _stateful(trainer)})
            files.restored = saved.for_lightning(position, directory, patience=settings.patience)
            data.begin = (position.epoch, position.step)
        interrupted = _fit(trainer, module, data, saved, stop, keep)
    module.set_score_dtype(torch.float32)
    return FitResult(
        _load_best(module, trainer, directory, interrupted=interrupted is not None),
        _epochs(trainer),
        interrupted,
        _name(dtype),
    )


def _fit(
    trainer: pl.Trainer,
    module: GraphModule,
    data: GraphData,
    saved: Saved | None,
    stop: StopOnSignal,
    keep: KeepState,
) -> int | None:
    """The exit code that a signal asked for, or None."""
    path = None if saved is None else str(saved.path)
    try:
        trainer.fit(module, datamodule=data, ckpt_path=path)
    except (Interrupted, RuntimeError):
        # A launcher may signal all processes at once: then ranks lose each other, which gloo
        # tells by a plain RuntimeError.
        if stop.received is None or stop.at_once:
            raise
        return Interrupted(stop.received).exit_code
    except DataError as error:
        if saved is None or keep.position is not None:
            raise
        raise DataError(f"{saved.path}: {error}") from error  # before a step
    except OSError as error:
        if error.errno not in FULL:
            raise
        with disk_errors(keep.directory):  # loggers don't say which file it was
            raise
    return None


def _watches(settings: TrainerSettings, saved: Saved | None) -> dict[str, Stopwatch]:
    """They go on from where the saved training's stood."""
    already = {"own": 0.0, "wall": 0.0} if saved is None else saved.own["watches"]
    return {
        "own": Stopwatch(clock_of(settings), already=already["own"]),
        "wall": Stopwatch(already=already["wall"]),
    }


def _over(module: GraphModule, saved: Saved) -> FitResult:
    """What a training left that had ended before."""
    metrics = {}
    if saved.best is None:
        module.load_state_dict(saved.state["state_dict"])
    else:
        metrics = _load(module, saved.best)
    return FitResult(metrics, saved.position.epochs, None, saved.own["score_dtype"])


def _epochs(trainer: pl.Trainer) -> float:
    batches = trainer.fit_loop.epoch_loop.batch_progress.total.completed
    return batches / max(1, trainer.num_training_batches)


def _position(settings: TrainerSettings, data: GraphData, saved: Saved | None) -> Position | None:
    """Where the saved training stood, for as many processes as there are now."""
    if saved is None:
        return None
    steps = data.strategy.num_batches(world_size=settings.devices)
    return saved.position.dealt_to(settings.devices, steps)


def _stateful(trainer: pl.Trainer) -> list[pl.Callback]:
    return [one for one in trainer.callbacks if one.state_dict()]  # type: ignore[attr-defined]


def _dtype(name: str) -> torch.dtype:
    return getattr(torch, name)  # type: ignore[no-any-return]


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _load(module: GraphModule, checkpoint: Path) -> dict[str, float]:
    """The weights of a checkpoint, and its metrics.

    Raises:
        DataError: it has none, or those of another model.
    """
    state = load_state(checkpoint)
    try:
        check(state["state_dict"], each(lambda value: isinstance(value, torch.Tensor)), "weights")
        check(state["metrics"], each(lambda value: isinstance(value, float)), "metrics")
    except (TypeError, KeyError, ValueError) as error:
        raise DataError(f"{checkpoint}: no checkpoint of a training ({error})") from error
    check_fits(checkpoint, state["state_dict"], module)
    module.load_state_dict(state["state_dict"])
    metrics: dict[str, float] = state["metrics"]
    return metrics


def _load_best(
    module: GraphModule, trainer: pl.Trainer, directory: Path, *, interrupted: bool
) -> dict[str, float]:
    best = trainer.checkpoint_callback
    if isinstance(best, ModelCheckpoint) and best.best_model_path:
        return _load(module, Path(best.best_model_path))
    # A signal is in a hurry, and the state that was kept has the weights too.
    if trainer.is_global_zero and not interrupted:
        save_state({"state_dict": module.state_dict()}, directory / FOLDER / "last.ckpt")
    return {}


def _trainer(
    directory: Path,
    settings: TrainerSettings,
    module: GraphModule,
    watch: Stopwatch,
    files: SafetensorsIO,
    saved: Saved | None,
    others: Sequence[pl.Callback],
) -> pl.Trainer:
    callbacks: list[pl.Callback] = [LogMinutes(watch)]
    if module.has_validation:
        monitor = f"valid/{module.monitor}"
        callbacks += [
            EarlyStopping(
                monitor,
                mode="max",
                patience=settings.patience,
                check_finite=False,
                check_on_train_epoch_end=False,
            ),
            # The best so far under a name of its own: the one before goes when the next is whole.
            ModelCheckpoint(
                dirpath=directory / FOLDER,
                filename=BEST + "{epoch}",
                monitor=monitor,
                mode="max",
                save_top_k=1,
                save_on_train_epoch_end=False,
                enable_version_counter=False,
            ),
        ]
    if settings.max_seconds is not None:
        callbacks.append(TimeLimit(settings.max_seconds, watch))
    if settings.decay is not None:
        callbacks.append(Decay(settings.max_seconds, watch))
    strategy: str | Strategy = "auto"
    if settings.devices > 1:
        strategy = DDPStrategy(
            process_group_backend=backend(settings),
            find_unused_parameters=not module.uses_all_parameters,
        )
    try:
        return pl.Trainer(
            accelerator=settings.accelerator,
            devices=settings.devices,
            strategy=strategy,
            max_epochs=settings.max_epochs,
            check_val_every_n_epoch=settings.validate_every,
            limit_val_batches=1 if module.has_validation else 0,
            accumulate_grad_batches=settings.accumulate,
            gradient_clip_val=settings.clip,
            callbacks=[*callbacks, *others],
            logger=loggers(directory, None if saved is None else saved.position.updates),
            # Our own launch (or torchrun's) is all there is: a scheduler's variables around an
            # interactive session must not be mistaken for one.
            plugins=[files, LightningEnvironment()],
            default_root_dir=directory,
            # A strategy deals its own shares; another sampler would deal them twice.
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            enable_checkpointing=module.has_validation,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except (ValueError, RuntimeError, MisconfigurationException) as error:
        raise ConfigError(f"trainer: {' '.join(str(error).split())}") from error


def clock_of(settings: TrainerSettings) -> Callable[[], float]:
    """Seconds that pass, or processor seconds of this process per thread that it may use."""
    if settings.clock == "wall":
        return time.monotonic
    return lambda: time.process_time() / settings.threads


def check_accelerator(settings: TrainerSettings) -> None:
    """Refuse, before any work, an accelerator that torch doesn't have."""
    if settings.accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise ConfigError(
            f"trainer.accelerator={settings.accelerator}: torch finds no GPU here; use trainer=cpu,"
            " or install a build of torch that knows your GPU"
        )


def accelerated(settings: TrainerSettings) -> bool:
    """Whether the model is on a GPU."""
    return settings.accelerator != "cpu" and torch.cuda.is_available()


def backend(settings: TrainerSettings) -> str:
    """How ranks talk: NCCL between GPUs, gloo between processors (rank counts, words)."""
    use_gpu = settings.accelerator in ("gpu", "auto") and torch.cuda.is_available()
    return "cpu:gloo,cuda:nccl" if use_gpu else "gloo"


def score_dtype(settings: TrainerSettings, module: GraphModule) -> torch.dtype:
    """What ``trainer.score_dtype`` says, or the faster."""
    if settings.score_dtype != "auto":
        return _dtype(settings.score_dtype)
    device = torch.device("cuda" if accelerated(settings) else "cpu")
    return faster_dtype(module.model.score_dim, device)


def faster_dtype(dim: int, device: torch.device) -> torch.dtype:
    """float32 or bfloat16, by timing a product of the shape of scores.

    The best of many tries, by turns: whatever else runs here delays some of them.
    """
    times: dict[torch.dtype, float] = {}
    for _ in range(TRIES):
        for dtype in (torch.float32, torch.bfloat16):
            left = torch.ones(256, dim, dtype=dtype, device=device)
            right = torch.ones(dim, 2048, dtype=dtype, device=device)
            begin = time.perf_counter()
            float((left @ right)[0, 0])
            took = time.perf_counter() - begin
            times[dtype] = min(took, times.get(dtype, math.inf))
    return min(times, key=lambda dtype: times[dtype])


def _told_by_main(hook: Callable[[Any], Any], told: Any) -> None:
    """A thread that writes a log ends on a full disk; the main thread then raises the same."""
    if not isinstance(told.exc_value, OSError):
        hook(told)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave Lightning's advice for its own developers out of a user's terminal."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message in ADVICE:
            warnings.filterwarnings("ignore", message=message)
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        hook = threading.excepthook
        threading.excepthook = partial(_told_by_main, hook)
        try:
            yield
        finally:
            threading.excepthook = hook
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
