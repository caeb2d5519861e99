"""Fuzzing that looks at which lines a file reaches.

    python scripts/fault/guided.py [READER] SECONDS

By hand, with ``pip install atheris``; every reader in turn where none is named. A finding is left
as ``crash-…`` in the current directory, and ends the program.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[1]))

COMPILED = ["kgscale.kernels", "kgscale.data.intern", "kgscale.data.scan"]
SLOW = 20
"""Seconds after which a file is a finding."""


def fuzz(name: str, seconds: int) -> None:
    """In this process, which ends with it."""
    import atheris  # type: ignore[import-not-found]

    # What numba compiles can't be looked into.
    with atheris.instrument_imports(include=["kgscale"], exclude=COMPILED):
        from fault import fuzz as plain
        from fault.readers import READERS

    from kgscale.errors import KgscaleError

    (reader,) = (one for one in READERS if one.name == name)
    folder = Path(tempfile.mkdtemp(prefix="kgscale-guided-"))
    seeds = folder / "seeds"
    seeds.mkdir()
    content = plain.packed(reader, reader.content())
    good = seeds / reader.name
    good.write_bytes(content)
    reader.read(good)  # what is compiled at the first time is no hang

    def one_input(data: bytes) -> None:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            path = Path(place) / reader.name
            path.write_bytes(data)
            try:
                found = reader.read(path)
            except KgscaleError:
                return
            if reader.lines and found != plain.lines(data):
                raise plain.Flaw(f"{found} of {plain.lines(data)} lines are accounted for")

    limits = [f"-max_total_time={seconds}", f"-timeout={SLOW}", "-rss_limit_mb=4096"]
    most = f"-max_len={max(4096, 2 * len(content))}"
    atheris.Setup([sys.argv[0], *limits, most, "-print_final_stats=1", str(seeds)], one_input)
    atheris.Fuzz()


def every(seconds: int) -> int:
    """Each reader in a process of its own; how many found something."""
    from fault.readers import READERS

    found = 0
    for name in dict.fromkeys(reader.name for reader in READERS):
        command = [sys.executable, str(HERE), name, str(seconds)]
        ended = subprocess.run(command, capture_output=True, text=True, errors="replace")
        runs = [line for line in ended.stderr.splitlines() if "number_of_executed_units" in line]
        print(name, ended.returncode, *runs, flush=True)
        if ended.returncode:
            print(ended.stderr[-3000:], flush=True)
        found += ended.returncode != 0
    return found


if __name__ == "__main__":
    *names, told = sys.argv[1:]
    if names:
        fuzz(names[0], int(told))
    else:
        os._exit(min(every(int(told)), 100))
