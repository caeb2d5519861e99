"""What happens beside the steps: progress for people, limits, a polite way to stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Interrupted(Exception):
    """A signal asked the run to stop; everything so far is on disk."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class StopOnSignal(pl.Callback):
    """Ends training after the running step on SIGINT or SIGTERM; a second one ends it at once."""

    def __init__(self) -> None:
        self.received: int | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Replace the process's handlers for a while (only possible in the main thread)."""

        def handle(number: int, frame: Any) -> None:
            if self.received is not None:
                raise KeyboardInterrupt
            self.received = number

        before = {}
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                before[number] = signal.signal(number, handle)
        except ValueError:  # not the main thread: the caller's handlers stay
            pass
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def check(self) -> None:
        if self.received is not None:
            raise Interrupted(self.received)

    def on_train_batch_end(self, *_: Any) -> None:
        self.check()

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.check()


class TimeLimit(pl.Callback):
    """Makes the epoch that runs after ``seconds`` the last one (it is still validated)."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_train_start(self, *_: Any) -> None:
        self.begin = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        passed = time.monotonic() - self.begin
        per_epoch = passed / (trainer.current_epoch + 1)
        if passed + per_epoch > self.seconds:
            trainer.should_stop = True


class ShowProgress(pl.Callback):
    """A bar where there is a terminal, and a line per validation everywhere."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.console, self.clock = console, clock
        self.progress: Progress | None = None

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.begin = self.clock()
        if self.console.is_terminal:
            self.progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=self.console,
                transient=True,
            )
            self.progress.start()

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.progress:
            for task in self.progress.task_ids:
                self.progress.remove_task(task)
            label = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
            self.task = self.progress.add_task(label, total=trainer.num_training_batches)

    def on_train_batch_end(self, *_: Any) -> None:
        if self.progress:
            self.progress.advance(self.task)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        metrics = trainer.callback_metrics
        mrr = metrics.get("valid/mrr")
        self.console.print(
            f"epoch {trainer.current_epoch + 1:>3}/{trainer.max_epochs}"
            f"  loss {float(metrics['train/loss']):.4f}"
            + (f"  validation MRR {float(mrr):.4f}" if mrr is not None else "")
            + f"  {self.clock() - self.begin:.0f} s"
        )

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._close()

    def on_exception(
        self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self.progress:
            self.progress.stop()
            self.progress = None
