"""The program in a forked process: no second import of it, and what it breaks is its own."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kgscale.cli import main as kgscale

LIMIT = 120.0
"""Seconds for a child to get anywhere."""


@dataclass(frozen=True)
class Ended:
    code: int
    error: str


SMALL = (
    "encoder.dim=16",
    "strategy.batch_size=8",
    "trainer.threads=1",
    "predictions.pairs=64",
)


def start(arguments: list[str], error: Path, before: Callable[[], object] = lambda: None) -> int:
    """The number of a process that runs the program after ``before``; it writes errors there."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(error, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        before()
        code = kgscale(arguments)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def run(arguments: list[str], error: Path, before: Callable[[], object] = lambda: None) -> Ended:
    """The same, waited for."""
    return Ended(wait(start(arguments, error, before)), error.read_text())


def wait(child: int) -> int:
    """Its exit code; it is killed if it hangs."""
    deadline = time.monotonic() + LIMIT
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)


def settings(folder: Path, data: Path | None = None, *, epochs: int = 1) -> list[str]:
    """A small training within a folder."""
    return [
        *(f"root={folder / 'runs'}", f"store.root={folder / 'stores'}", *SMALL),
        *("data=triples", f"data.path={data or triples(folder / 'data')}"),
        f"trainer.max_epochs={epochs}",
    ]


def triples(folder: Path, *, seed: int = 0, count: int = 400) -> Path:
    draw = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for split, size in (("train", count), ("valid", count // 10), ("test", count // 10)):
        lines = {
            f"{draw.randrange(60)}\tr{draw.randrange(4)}\t{draw.randrange(60)}" for _ in range(size)
        }
        (folder / f"{split}.tsv").write_text("\n".join(sorted(lines)) + "\n")
    return folder


def must(ended: Ended) -> None:
    if ended.code:
        raise RuntimeError(f"exit code {ended.code}: {ended.error}")


def the_run(folder: Path) -> Path:
    (found,) = (folder / "runs").glob("*/[!.]*")
    return found
