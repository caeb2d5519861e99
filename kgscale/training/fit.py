"""Lightning's Trainer as kgscale uses it."""

from __future__ import annotations

import logging
import math
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.strategies import DDPStrategy, Strategy
from rich.console import Console

from kgscale.errors import ConfigError
from kgscale.training.callbacks import Interrupted, ShowProgress, StopOnSignal, TimeLimit
from kgscale.training.checkpoints import SafetensorsIO, load_state, save_state
from kgscale.training.data import LinkData
from kgscale.training.module import LinkPrediction

ScoreDtype = Literal["float32", "bfloat16", "auto"]
MONITOR = "valid/mrr"


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """``conf/trainer``; see there for what each means."""

    accelerator: str = "cpu"
    devices: int = 1
    threads: int = 2
    max_epochs: int = 20
    max_seconds: float | None = None
    validate_every: int = 1
    patience: int = 3
    score_dtype: ScoreDtype = "float32"
    accumulate: int = 1
    clip: float | None = None
    workers: int = 1
    ahead: int = 2

    def __post_init__(self) -> None:
        for name in ("devices", "threads", "max_epochs", "validate_every", "patience"):
            self._positive_int(name)
        for name in ("accumulate", "workers", "ahead"):
            self._positive_int(name)
        for name in ("max_seconds", "clip"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and value > 0):
                raise ConfigError(f"trainer.{name} needs a positive number or null, got {value!r}")
        if self.score_dtype not in get_args(ScoreDtype):
            raise ConfigError(
                f"trainer.score_dtype is one of {', '.join(get_args(ScoreDtype))};"
                f" got {self.score_dtype!r}"
            )

    def _positive_int(self, name: str) -> None:
        value = getattr(self, name)
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"trainer.{name} needs a positive int, got {value!r}")


@dataclass(frozen=True, slots=True)
class FitResult:
    """What training left: the best validation metrics, and whether a signal cut it short."""

    metrics: dict[str, float]
    epochs: int
    interrupted: int | None
    """Exit code asked for by a signal, or None."""


def fit(
    module: LinkPrediction,
    data: LinkData,
    directory: Path,
    settings: TrainerSettings,
    *,
    console: Console,
) -> FitResult:
    """Train, keep the checkpoint with the best validation MRR, and load it into the module."""
    _quiet()
    module.model.score_dtype = _score_dtype(settings, module)
    stop = StopOnSignal()
    best = ModelCheckpoint(
        dirpath=directory / "checkpoints",
        filename="best",
        monitor=MONITOR,
        mode="max",
        save_top_k=1,
        enable_version_counter=False,
    )
    trainer = _trainer(directory, settings, [best, stop], console)
    interrupted = None
    try:
        with stop.listening():
            trainer.fit(module, datamodule=data)
    except Interrupted as signal:
        interrupted = signal.exit_code
    module.model.score_dtype = torch.float32
    if best.best_model_path:
        state = load_state(Path(best.best_model_path))
        module.load_state_dict(state["state_dict"])
    elif trainer.is_global_zero:
        save_state({"state_dict": module.state_dict()}, directory / "checkpoints" / "last.ckpt")
    return FitResult(_best_metrics(best), trainer.current_epoch, interrupted)


def _best_metrics(best: ModelCheckpoint) -> dict[str, float]:
    if best.best_model_score is None:
        return {}
    return {"mrr": float(best.best_model_score)}


def _trainer(
    directory: Path, settings: TrainerSettings, callbacks: list[pl.Callback], console: Console
) -> pl.Trainer:
    callbacks = [
        EarlyStopping(MONITOR, mode="max", patience=settings.patience, check_finite=False),
        ShowProgress(console),
        *callbacks,
    ]
    if settings.max_seconds is not None:
        callbacks.append(TimeLimit(settings.max_seconds))
    strategy: str | Strategy = "auto"
    if settings.devices > 1:
        strategy = DDPStrategy(process_group_backend=backend(settings))
    try:
        return pl.Trainer(
            accelerator=settings.accelerator,
            devices=settings.devices,
            strategy=strategy,
            max_epochs=settings.max_epochs,
            check_val_every_n_epoch=settings.validate_every,
            accumulate_grad_batches=settings.accumulate,
            gradient_clip_val=settings.clip,
            callbacks=callbacks,
            logger=[
                CSVLogger(directory, name="", version=""),
                TensorBoardLogger(directory, name="", version="tensorboard"),
            ],
            plugins=[SafetensorsIO()],
            default_root_dir=directory,
            # A strategy deals its own shares; another sampler would deal them twice.
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except (ValueError, RuntimeError, MisconfigurationException) as error:
        raise ConfigError(f"trainer: {error}") from error


def backend(settings: TrainerSettings) -> str:
    """How ranks talk: NCCL between GPUs, gloo between processors."""
    use_gpu = settings.accelerator in ("gpu", "cuda", "auto") and torch.cuda.is_available()
    return "nccl" if use_gpu else "gloo"


def _score_dtype(settings: TrainerSettings, module: LinkPrediction) -> torch.dtype:
    if settings.score_dtype != "auto":
        return getattr(torch, settings.score_dtype)  # type: ignore[no-any-return]
    accelerated = settings.accelerator != "cpu" and torch.cuda.is_available()
    device = torch.device("cuda" if accelerated else "cpu")
    return faster_dtype(module.model.encoder.dim, device)


def faster_dtype(dim: int, device: torch.device) -> torch.dtype:
    """float32 or bfloat16, by timing a product of the shape of scores."""
    times = {}
    for dtype in (torch.float32, torch.bfloat16):
        left = torch.ones(512, dim, dtype=dtype, device=device)
        right = torch.ones(dim, 8192, dtype=dtype, device=device)
        best = math.inf
        for _ in range(4):
            begin = time.perf_counter()
            float((left @ right)[0, 0])
            best = min(best, time.perf_counter() - begin)
        times[dtype] = best
    return min(times, key=lambda dtype: times[dtype])


def _quiet() -> None:
    """Leave Lightning's advice for its own developers out of a user's terminal."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        r".*isinstance\(treespec, LeafSpec\).*",
        r"Checkpoint directory .* exists and is not empty.*",
        r"Experiment logs directory .* exists.*",
        r".*does not have many workers.*",
        r"You have overridden `transfer_batch_to_device`.*",
        r".*recommended to use .*sync_dist=True.*",
        r"The number of training batches .* is smaller than the logging interval.*",
    ):
        warnings.filterwarnings("ignore", message=message)
