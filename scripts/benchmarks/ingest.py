"""From a file of triples to a graph ready for use, against PyKEEN's ``TriplesFactory.from_path``.

The file: 5M lines, about 1M entities drawn from a power law, 500 relations, keys like Freebase's.
Ours is the whole way to a verified store (both adjacencies and a split included); theirs ends at
triples as ids in memory. Each side runs in a process of its own, on the same file, one after the
other; imports are not timed but count for memory, which is the peak of proportional set size.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks.process import children, resident

LINES, QUICK_LINES = 5_000_000, 200_000
NUM_RELATIONS = 500
ALPHABET = np.array(list("0123456789bcdfghjklmnpqrstvwxyz_"))
PEER = "PyKEEN TriplesFactory.from_path"
OURS_CODE = """
import json, sys, time
from pathlib import Path
from kgscale.data.triples import TripleFiles
from kgscale.graph.store import prepare
warm, path, root = map(Path, sys.argv[1:])
prepare(TripleFiles(path=warm), root)  # machine code is compiled or loaded
start = time.perf_counter()
store = prepare(TripleFiles(path=path), root)
print(json.dumps([time.perf_counter() - start, sum(store.num_triples.values())]))
"""
PEER_CODE = """
import json, logging, sys, time
from pykeen.triples import TriplesFactory
warm, path, root = sys.argv[1:]
TriplesFactory.from_path(warm)
start = time.perf_counter()
triples = TriplesFactory.from_path(path)
print(json.dumps([time.perf_counter() - start, triples.num_triples]))
"""


def run(*, quick: bool = False) -> list[dict[str, object]]:
    if find_spec("pykeen") is None:
        print("ingest: PyKEEN is not installed (extra: peers), no row")
        return []
    with tempfile.TemporaryDirectory(prefix="kgscale-ingest-") as directory:
        root = Path(directory)
        warm, path = root / "warm.tsv", root / "triples.tsv"
        write_triples(warm, 10_000)
        write_triples(path, QUICK_LINES if quick else LINES)
        ours, theirs = (
            measure(code, warm, path, root / "stores") for code in (OURS_CODE, PEER_CODE)
        )
    if ours[2] != theirs[2]:
        raise RuntimeError(f"{ours[2]:,} triples on our side, {theirs[2]:,} on theirs")
    return [
        {
            "work": work,
            "ours": ours[at],
            "peer": PEER,
            "theirs": theirs[at],
            "ratio": theirs[at] / ours[at],
            "unit": unit,
        }
        for at, (work, unit) in enumerate([("ingest", "s"), ("ingest_memory", "bytes")])
    ]


def write_triples(path: Path, lines: int) -> None:
    rng = np.random.default_rng(0)
    entities = max(lines // 5, 100)
    share = np.cumsum(np.arange(1, entities + 1) ** -0.75)
    keys = np.array([key(number) for number in rng.permutation(entities)], dtype=object)
    relations = np.array(
        [f"/domain_{r % 23}/type_{r % 7}/property_{r}" for r in range(NUM_RELATIONS)], dtype=object
    )
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for start in range(0, lines, 1 << 18):
            size = min(1 << 18, lines - start)
            head, tail = (
                keys[np.searchsorted(share, rng.random(size) * share[-1])] for _ in range(2)
            )
            relation = relations[(rng.random(size) ** 3 * NUM_RELATIONS).astype(int)]
            rows = zip(head, relation, tail, strict=True)
            file.write("".join(f"{h}\t{r}\t{t}\n" for h, r, t in rows))


def key(number: int) -> str:
    digits, rest = [], int(number) + 32**3
    while rest:
        digits.append(ALPHABET[rest % 32])
        rest //= 32
    return "/m/0" + "".join(digits)


def measure(code: str, warm: Path, path: Path, root: Path) -> tuple[float, int, int]:
    """Seconds, peak bytes and triples of one side."""
    command = [sys.executable, "-c", code, str(warm), str(path), str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        peak = 0
        while process.poll() is None:
            peak = max(peak, sum(map(resident, (process.pid, *children(process.pid)))))
            time.sleep(0.2)
        assert process.stdout is not None
        output = process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"exit {process.returncode} of: {code.strip().splitlines()[-1]}")
    seconds, triples = json.loads(output.splitlines()[-1])
    return seconds, peak, triples
