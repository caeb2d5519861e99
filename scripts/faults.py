"""Break a run on purpose and count what is lost: ``scripts/faults.py [FAULT ...] [--tries N]``.

The table of docs/trust.md is what this wrote to results/faults.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from kgscale.cli import main as kgscale
from kgscale.training.module import GraphModule
from kgscale.training.resume import newest

KEPT = Path(__file__).resolve().parent.parent / "results" / "faults.json"
INTERVAL = 3
"""Steps between two saved states."""
LIMIT = 120.0
"""Seconds for a child to get anywhere."""


def run_in_child(arguments: list[str], steps: Path) -> int:
    """Start a training as a forked process, which notes each of its steps in a file."""
    child = os.fork()
    if child:
        return child
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what it says of an error is shown
    note = os.open(steps, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    step = GraphModule.training_step

    def noted(self: Any, batch: Any, index: int) -> Any:
        os.write(note, f"{self.global_step}\n".encode())
        return step(self, batch, index)

    GraphModule.training_step = noted  # type: ignore[method-assign, assignment]
    code = 1
    try:
        code = kgscale(arguments)
    finally:
        os._exit(code)


def triples(folder: Path) -> Path:
    draw = random.Random(0)
    for split, count in (("train", 400), ("valid", 40), ("test", 40)):
        lines = {
            f"{draw.randrange(60)}\tr{draw.randrange(4)}\t{draw.randrange(60)}"
            for _ in range(count)
        }
        (folder / f"{split}.tsv").write_text("\n".join(sorted(lines)) + "\n")
    return folder


def killed(tries: int) -> dict[str, Any]:
    """kill -9 at a random moment of a training that saves every third step; then it goes on.

    The same run is killed again and again until it ends, then another begins. Lost are the steps
    that were begun and are not in the newest state: an interval, and the step that ran.
    """
    draw = random.Random(1)
    resumed = worst = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = triples(folder)
        own = [
            "data=triples", f"data.path={data}", f"root={folder / 'runs'}",
            f"store.root={folder / 'stores'}", "encoder.dim=16", "strategy.batch_size=8",
            "trainer.threads=1", "trainer.max_epochs=3", f"trainer.save_steps={INTERVAL}",
            "predictions.pairs=64",
        ]  # fmt: skip
        again = ["resume=latest", f"root={folder / 'runs'}"]
        steps, begun = folder / "steps", False
        for _ in range(tries):
            while True:
                steps.unlink(missing_ok=True)
                child = run_in_child(again if begun else own, steps)
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
            worst, resumed = max(worst, lost), resumed + 1
        child = run_in_child(again, steps)
        _, status = os.waitpid(child, 0)
        last = os.waitstatus_to_exitcode(status)
    return {
        "fault": f"kill -9 at a random moment, a state every {INTERVAL} steps",
        "tries": tries,
        "passed": resumed if last == 0 else 0,
        "lost": f"at most {worst} steps",
    }


def wait_for(condition: Callable[[], bool], child: int) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline or os.waitpid(child, os.WNOHANG)[0]:
            raise RuntimeError("the training did not begin")
        time.sleep(0.01)


FAULTS: dict[str, tuple[Callable[[int], dict[str, Any]], int]] = {"kill": (killed, 100)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fault", nargs="*", metavar="FAULT", help=", ".join(FAULTS))
    parser.add_argument("--tries", type=int)
    options = parser.parse_args()
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    table = Table("fault", "tries", "passed", "lost")
    for name in options.fault or FAULTS:
        test, tries = FAULTS[name]
        kept[name] = test(options.tries or tries)
        table.add_row(*(str(kept[name][key]) for key in ("fault", "tries", "passed", "lost")))
        KEPT.write_text(json.dumps(kept, indent=2) + "\n")
    Console().print(table)
    return 0 if all(one["passed"] == one["tries"] for one in kept.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
