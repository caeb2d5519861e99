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
                if not begun:
                    wait_for(lambda: any((folder / "runs").glob("*/*/checkpoints/step-*")), child)
                    begun = True
                time.sleep(draw.random() * 1.5)
                early, status = os.waitpid(child, os.WNOHANG)
                if not early:
                    break
                if code := os.waitstatus_to_exitcode(status):
                    raise RuntimeError(f"the training that went on ended with exit code {code}")
                # It has come to its end before: begin another.
                shutil.rmtree(folder / "runs")
                begun = False
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            (run,) = (folder / "runs").glob("*/[!.]*")
            done = [int(line) for line in steps.read_text().split()] if steps.exists() else []
            state = newest(run)
            lost = max(0, done[-1] + 1 - state.position.updates) if done else 0
            worst, resumed = max(worst, lost), resumed + (lost <= INTERVAL)
        child = start(again, folder / "error", noting(steps))
        _, status = os.waitpid(child, 0)
        last = os.waitstatus_to_exitcode(status)
    fault = f"kill -9 at a random moment, a state every {INTERVAL} steps"
    return [Row(fault, tries, resumed if last == 0 else 0, f"at most {worst} steps")]


def wait_for(condition: Callable[[], bool], child: int) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline or os.waitpid(child, os.WNOHANG)[0]:
            raise RuntimeError("the training did not begin")
        time.sleep(0.01)
