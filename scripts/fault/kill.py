"""kill -9 at random moments of a training."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fault.child import LIMIT, settings, start
from fault.row import Row
from kgscale.training.module import GraphModule
from kgscale.training.resume import newest

INTERVAL = 3
"""Steps between two saved states."""
MOST = 1.0
"""Seconds after a first step."""


def noting(file: Path) -> Callable[[], None]:
    """Makes a process note each of its steps in a file."""

    def prepare() -> None:
        note = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        step = GraphModule.training_step

        def noted(self: Any, batch: Any, index: int) -> Any:
            os.write(note, f"{self.global_step}\n".encode())
            return step(self, batch, index)

        GraphModule.training_step = noted  # type: ignore[method-assign, assignment]

    return prepare


def killed(tries: int) -> list[Row]:
    """kill -9 at a random moment of a training that saves every third step; then it goes on.

    The same run is killed again and again until it ends, then another begins. Lost are the steps
    that were begun and are not in the newest state: an interval, and the step that ran.
    """
    draw = random.Random(1)
    resumed = worst = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        own = [*settings(folder, epochs=3), f"trainer.save_steps={INTERVAL}"]
        again = ["resume=latest", f"root={folder / 'runs'}"]
        steps, begun = folder / "steps", False
        for _ in range(tries):
            while True:
                steps.unlink(missing_ok=True)
                child = start(again if begun else own, folder / "error", noting(steps))
                ended = stepped(steps, child)
                if ended is None:
                    time.sleep(draw.random() * MOST)
                    ended = status_of(child)
                if ended is None:
                    break
                if ended:
                    raise RuntimeError(f"the training that went on ended with exit code {ended}")
                # It has come to its end before: begin another.
                shutil.rmtree(folder / "runs")
                begun = False
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            begun = kept(folder)
            done = [int(line) for line in steps.read_text().split()]
            if not begun:  # before anything was kept: nothing but a first interval can be lost
                shutil.rmtree(folder / "runs")
                lost = len(done)
            else:
                (run,) = (folder / "runs").glob("*/[!.]*")
                lost = max(0, done[-1] + 1 - newest(run).position.updates)
            worst, resumed = max(worst, lost), resumed + (lost <= INTERVAL)
        child = start(again if begun else own, folder / "error", noting(steps))
        _, status = os.waitpid(child, 0)
        last = os.waitstatus_to_exitcode(status)
    fault = f"kill -9 at a random moment, a state every {INTERVAL} steps"
    return [Row(fault, tries, resumed if last == 0 else 0, f"at most {worst} steps")]


def stepped(steps: Path, child: int) -> int | None:
    """Wait for a step; the exit code if it came to its end before, as a training that is done."""
    deadline = time.monotonic() + LIMIT
    while not steps.exists() or not steps.stat().st_size:
        ended = status_of(child)
        if ended is not None:
            return ended
        if time.monotonic() > deadline:
            raise RuntimeError("the training did not begin")
        time.sleep(0.002)
    return None


def status_of(child: int) -> int | None:
    ended, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def kept(folder: Path) -> bool:
    return any((folder / "runs").glob("*/*/checkpoints/step-*"))
