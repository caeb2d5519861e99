"""A run of a study: a training in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from kgscale.durable import write_text
from kgscale.errors import Interrupted
from kgscale.signals import asking_to_end
from kgscale.studies.record import Record, read_record
from kgscale.tasks.measure import failure

INTERRUPTIONS: Final = {128 + number: number for number in asking_to_end()}
LOOK_SECONDS: Final = 1.0
"""Between two looks at what a run has come to."""


def train_apart(
    settings: Mapping[str, Any], named: str, *, stop: Callable[[Path], bool] | None = None
) -> Record:
    """Train as ``settings`` say, below their ``root``, and read what came of it.

    Args:
        named: the run, for messages.
        stop: asked now and then whether the run in ``root`` should end early.

    Raises:
        KgscaleError: the run's own failure.
        Interrupted: somebody ended the run.
    """
    root = Path(settings["root"])
    root.mkdir(parents=True)
    file, log = root / "settings.yaml", root / "log.txt"
    # JSON is YAML, and needs no library here.
    write_text(file, json.dumps(settings, indent=2))
    code, stopped = _run(file, log, None if stop is None else lambda: stop(root))
    if code in INTERRUPTIONS and not stopped:
        raise Interrupted(INTERRUPTIONS[code])
    if code and not (stopped and code in INTERRUPTIONS):
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        told = f"{named}: {''.join(last).removeprefix('kgscale: ')} (all of it in {log})"
        raise failure(f"the processes of {named}", code, told)
    (results,) = root.glob("*/*/results.json")
    return read_record(results.parent)


def _run(settings: Path, log: Path, stop: Callable[[], bool] | None) -> tuple[int, bool]:
    """The exit code, and whether it was stopped here."""
    given = ["--settings", str(settings), "--parent", str(os.getpid())]
    command = [sys.executable, "-m", "kgscale", "train", *given]
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            while stop is not None and process.poll() is None:
                if stop():
                    process.terminate()
                    return process.wait(), True
                _wait(process)
            return process.wait(), False
        except BaseException:
            # Its own handling of the signal may be under way.
            process.terminate()
            process.wait()
            raise


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(LOOK_SECONDS)
    except subprocess.TimeoutExpired:
        return
