"""What happens beside the steps: progress for people, limits, a polite way to stop."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from kgscale.errors import Interrupted
from kgscale.metrics import word
from kgscale.signals import asking_to_end, took_the_terminal
from kgscale.training.distributed import rank
from kgscale.training.stopwatch import Stopwatch

PATIENCE = 1.0
"""Seconds after which another signal means: at once."""


class StopOnSignal(pl.Callback):
    """Ends training after the running step when a signal asks; a second one ends it at once.

    Of several ranks only the first listens; it takes the others along when it ends.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.received: int | None = None
        self.at_once = False
        self.clock, self._first = clock, 0.0
        self._ranking = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Replace the process's handlers for a while (only possible in the main thread)."""
        before = {number: signal.getsignal(number) for number in asking_to_end()}
        try:
            self._install()
            yield
        finally:
            for number, handler in before.items():
                self._set(number, handler)

    def _install(self) -> None:
        for number in asking_to_end():
            # A rank that waits in a collective runs no handler of ours: only the default ends it.
            self._set(number, self._handle if rank() == 0 else signal.SIG_DFL)

    def _set(self, number: int, handler: Any) -> None:
        with suppress(ValueError):  # not the main thread: the caller's handlers stay
            signal.signal(number, handler)

    def _handle(self, number: int, frame: Any) -> None:
        took_the_terminal(number)
        now = self.clock()
        # A launcher passes on what the terminal has sent already: that is one wish, not two.
        self.at_once = self.received is not None and now - self._first > PATIENCE
        if self.received is None:
            self.received, self._first = number, now
        # Ranking changes nothing and may take long, so it need not be waited for.
        if self.at_once or self._ranking:
            raise Interrupted(number)

    def check(self) -> None:
        if self.received is not None:
            raise Interrupted(self.received)

    def on_train_start(self, *_: Any) -> None:
        self._install()  # Lightning has put its own, which talks to other ranks in mid-step

    def on_train_batch_end(self, *_: Any) -> None:
        self.check()

    def on_validation_batch_start(self, *_: Any) -> None:
        self.check()
        self._ranking = True

    def on_validation_batch_end(self, *_: Any) -> None:
        self._ranking = False

    def on_train_epoch_end(self, *_: Any) -> None:
        self.check()


TOGETHER_EVERY = 16
"""Steps after which several ranks agree on whether their time is over."""


class TimeLimit(pl.Callback):
    """Ends training so that a last validation is over after ``seconds``.

    That may be in the middle of an epoch. The validation is taken to be as long as the one before.
    """

    def __init__(self, seconds: float, watch: Stopwatch) -> None:
        self.seconds, self.watch = seconds, watch
        self._validation = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"validation": self._validation}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._validation = state["validation"]

    def on_train_start(self, *_: Any) -> None:
        self.watch.start()

    def on_validation_start(self, *_: Any) -> None:
        self._validating = self.watch.seconds

    def on_validation_end(self, *_: Any) -> None:
        self._validation = self.watch.seconds - self._validating

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        # Ranks' clocks differ, and one that stopped alone would leave the others waiting; to ask
        # all in every step would make them wait too.
        if trainer.world_size > 1 and (index + 1) % TOGETHER_EVERY:
            return
        late = self.watch.seconds + self._validation >= self.seconds
        if trainer.strategy.reduce_boolean_decision(late, all=False):
            trainer.should_stop = True
            # What was learned since the last validation is looked at, whatever epoch it is.
            trainer.check_val_every_n_epoch = 1


LEAST_RATE = 0.02
"""Share of a learning rate that is left when training is over."""


class Decay(pl.Callback):
    """Lowers all learning rates along half a cosine (Loshchilov & Hutter 2017).

    What counts is the share of the epochs that is over, or of ``seconds`` where those end sooner.
    """

    def __init__(self, seconds: float | None, watch: Stopwatch) -> None:
        self.seconds, self.watch = seconds, watch

    def on_train_start(self, *_: Any) -> None:
        self.watch.start()

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, index: int
    ) -> None:
        alone = trainer.world_size == 1
        if not alone and index % TOGETHER_EVERY:
            return
        assert trainer.max_epochs is not None
        over = (trainer.current_epoch + index / trainer.num_training_batches) / trainer.max_epochs
        if self.seconds is not None:
            over = max(over, self.watch.seconds / self.seconds)
        # Ranks must not differ in their rates as their clocks do.
        over = over if alone else trainer.strategy.broadcast(over)
        factor = LEAST_RATE + (1 - LEAST_RATE) * (1 + math.cos(math.pi * min(1.0, over))) / 2
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = factor * group["initial_lr"]


class LogMinutes(pl.Callback):
    """Writes the minutes of training so far beside each validation, by the limit's clock."""

    def __init__(self, watch: Stopwatch) -> None:
        self.watch = watch

    def on_train_start(self, *_: Any) -> None:
        self.watch.start()

    def on_validation_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        module.log("minutes", self.watch.seconds / 60)


def _epochs(trainer: pl.Trainer) -> int:
    assert trainer.max_epochs is not None
    return trainer.max_epochs


def _duration(seconds: float) -> str:
    """In the two largest units that matter to who waits."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


LINE_EVERY = 1.0
"""Seconds between lines about epochs, where those are shorter."""


class ShowProgress(pl.Callback):
    """A bar where there is a terminal, and a line per epoch everywhere, one a second at most.

    Args:
        watch: the time that a person waits.
        limit: seconds of training by the watch of the limit, if there is one.
    """

    def __init__(
        self, console: Console, watch: Stopwatch, limit: tuple[float, Stopwatch] | None = None
    ) -> None:
        self.console, self.watch, self.limit = console, watch, limit
        self.progress: Progress | None = None
        self._last = -math.inf

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.watch.start()
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
            self.progress.add_task(label, total=trainer.num_training_batches)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        if self.progress:
            if not self.progress.task_ids:  # the epoch was begun by another process
                self.on_train_epoch_start(trainer, module)
            over = trainer.current_epoch + (index + 1) / trainer.num_training_batches
            label = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
            label += self._to_go(over / _epochs(trainer))
            task = self.progress.task_ids[0]
            self.progress.update(task, completed=index + 1, description=label)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        passed, is_last = self.watch.seconds, trainer.current_epoch + 1 == trainer.max_epochs
        if passed - self._last < LINE_EVERY and not (is_last or trainer.should_stop):
            return
        self._last = passed
        metrics = trainer.callback_metrics
        name = getattr(module, "monitor", "")
        epoch_loss: Any = module.epoch_loss
        chosen = metrics.get(f"valid/{name}")
        self.console.print(
            f"epoch {trainer.current_epoch + 1:>3}/{trainer.max_epochs}"
            f"  loss {float(epoch_loss.mean):.4f}"
            + (f"  validation {word(name)} {float(chosen):.4f}" if chosen is not None else "")
            + f"  {passed:.0f} s"
            + ("" if is_last else self._to_go((trainer.current_epoch + 1) / _epochs(trainer)))
        )

    def _to_go(self, over: float) -> str:
        """In words, for how long it may go on, given the share of its epochs that is over."""
        passed = self.watch.seconds
        left = passed / over - passed
        if self.limit is not None:
            seconds, watch = self.limit
            pace = passed / max(watch.seconds, 1e-9)
            left = min(left, pace * max(0.0, seconds - watch.seconds))
        return f", at most {_duration(left)} to go"

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
