"""Fuzzing that looks at which lines a file reaches.

    python scripts/fault/guided.py [READER ...] SECONDS

By hand, with ``pip install atheris``; every reader in turn where none is named. A finding is left
as ``crash-…`` in the current directory.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[1]))

COMPILED = ["kgscale.kernels", "kgscale.data.intern", "kgscale.data.scan"]
SLOW = 20
"""Seconds after which a file is a finding."""
AT_ONCE = 20_000
"""Files for one process: Arrow keeps 76 KB of each gzip stream that is damaged."""
ONE = "--one"


def fuzz(number: int, seconds: int, folder: Path) -> None:
    """In this process, which ends with it; what reached new lines is kept in ``folder``."""
    import atheris  # type: ignore[import-not-found]

    # What numba compiles can't be looked into.
    with atheris.instrument_imports(include=["kgscale"], exclude=COMPILED):
        from fault import fuzz as plain
        from fault.readers import READERS

    from kgscale.errors import KgscaleError

    reader = READERS[number]
    seeds = folder / "seeds"
    seeds.mkdir(exist_ok=True)
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

    limits = {
        "max_total_time": seconds,
        "runs": AT_ONCE,
        "timeout": SLOW,
        "rss_limit_mb": 4096,
        "max_len": max(4096, 2 * len(content)),
        "print_final_stats": 1,
    }
    options = [f"-{name}={value}" for name, value in limits.items()]
    atheris.Setup([sys.argv[0], *options, str(seeds)], one_input)
    atheris.Fuzz()


def guided(number: int, seconds: int) -> bool:
    """Processes one after the other for so long; whether all files were read or refused."""
    from fault.readers import READERS

    files, end = 0, time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="kgscale-guided-") as folder:
        while (left := int(end - time.monotonic())) > 0:
            command = [sys.executable, str(HERE), ONE, str(number), str(left), folder]
            ended = subprocess.run(command, capture_output=True, text=True, errors="replace")
            told = re.search(r"number_of_executed_units: (\d+)", ended.stderr)
            files += int(told[1]) if told else 0
            if ended.returncode:
                print(ended.stderr[-3000:], flush=True)
                break
    name = READERS[number].name
    print(f"{name}: {files:,} files, {'nothing' if left <= 0 else 'something'} found", flush=True)
    return left <= 0


def main() -> int:
    """How many readers something was found in."""
    from fault.readers import READERS

    *names, seconds = sys.argv[1:]
    chosen = [n for n, one in enumerate(READERS) if not names or one.name in names]
    return sum(not guided(number, int(seconds)) for number in chosen)


if __name__ == "__main__":
    if sys.argv[1:2] == [ONE]:
        fuzz(int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
    else:
        sys.exit(main())
