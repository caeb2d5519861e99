"""Rows of the table that are tests: how many there are, and how many pass."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path
from typing import Final

from fault.row import Row

CLONE: Final = Path(__file__).resolve().parents[2]
RESUME, PROCESS = "tests/cli/test_resume.py", "tests/cli/test_process.py"
TESTS: Final = {
    "a signal after every 7th step, under every strategy, for links, nodes and paths: equal to the"
    " bit": (RESUME, "to_the_bit", "nothing"),
    "2 processes become 1, 1 becomes 2, 2 become 3: each question once an epoch": (
        PROCESS, "another_number_of_processes", "nothing",
    ),
    "another number of processes in the middle of an epoch: refused": (
        RESUME, "number_of_processes_in_mid_epoch", "nothing",
    ),
    "one of two ranks is killed: all gone within 30 s, the restart ends at the same loss": (
        PROCESS, "killed_rank", "what came after the last state",
    ),
    "a signal in training, reading and ranking, a closed terminal, nohup": (
        PROCESS, "signal or ctrl_c or terminal or nohup", "nothing",
    ),
}  # fmt: skip


def tested(tries: int) -> list[Row]:
    """Each row's tests, once."""
    return [
        Row(words, *_counts(file, chosen), lost) for words, (file, chosen, lost) in TESTS.items()
    ]


def _counts(file: str, chosen: str) -> tuple[int, int]:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = ["-q", "-n", "0", "-m", "slow or not slow", f"--junitxml={report}"]
        command = [sys.executable, "-m", "pytest", file, "-k", chosen, *options]
        # Started by nohup, they would never hear of a closed terminal.
        subprocess.run(
            command,
            cwd=CLONE,
            stdout=subprocess.DEVNULL,
            check=False,
            preexec_fn=partial(signal.signal, signal.SIGHUP, signal.SIG_DFL),
        )
        (suite,) = ET.parse(report).getroot()
    tests, *bad = (int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped"))
    return tests, tests - sum(bad)
