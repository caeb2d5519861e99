"""Reading N-Triples, against rdflib's parser: the same file, taken in turns.

The file: 200,000 statements with IRIs like those of a published data set, a fifth of them with
literals. Ours goes to columns of keys (a store's input), names and counts of what is left out
included; theirs to a graph in memory. The median of the processor seconds that
three turns took, each in a process of its own, without imports.
"""

from __future__ import annotations

import statistics
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks.process import run_code

STATEMENTS, QUICK_STATEMENTS = 200_000, 20_000
TURNS, QUICK_TURNS = 3, 1
BASE = "http://www.example.org/publications/view"
OURS_CODE = """
import sys, tempfile, time
from pathlib import Path
from kgscale.data.audit import Audit
from kgscale.data.rdf import RdfFiles
import pyoxigraph
with tempfile.TemporaryDirectory() as scratch:
    start = time.process_time()
    audit = Audit()
    for facts in RdfFiles(path=sys.argv[1]).read(audit, Path(scratch)).facts:
        pass
    print(time.process_time() - start, audit.lines)
"""
PEER_CODE = """
import sys, time
from rdflib import Graph
start = time.process_time()
graph = Graph().parse(sys.argv[1], format="nt")
print(time.process_time() - start, len(graph))
"""


def run(*, quick: bool = False) -> list[dict[str, object]]:
    if missing := [name for name in ("rdflib", "pyoxigraph") if find_spec(name) is None]:
        print(f"rdf: {missing[0]} is not installed (extras: peers, rdf), no row")
        return []
    statements = QUICK_STATEMENTS if quick else STATEMENTS
    with tempfile.TemporaryDirectory(prefix="kgscale-rdf-") as directory:
        path = Path(directory) / "statements.nt"
        write_statements(path, statements)
        turns = [
            [run_code(code, path).split() for code in (OURS_CODE, PEER_CODE)]
            for _ in range(QUICK_TURNS if quick else TURNS)
        ]
    for turn in turns:
        if {int(read) for _, read in turn} != {statements}:
            raise RuntimeError(f"not {statements:,} statements on both sides: {turn}")
    ours, theirs = (
        statistics.median(float(turn[side][0]) for turn in turns) / statements for side in (0, 1)
    )
    return [
        {
            "work": "rdf",
            "ours": 1 / ours,
            "peer": "rdflib Graph.parse, N-Triples",
            "theirs": 1 / theirs,
            "ratio": theirs / ours,
            "unit": "statements/s",
        }
    ]


def write_statements(path: Path, count: int) -> None:
    """Distinct ones."""
    rng = np.random.default_rng(0)
    size = max(10, count // 8)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for number in range(count):
            head, tail = rng.integers(size), f"<{BASE}PersonOWL/id{rng.integers(size)}instance>"
            relation = f"http://swrc.example.org/ontology#property{number % 40}"
            if number % 5 == 0:
                tail = f'"On graphs, part {number}"@en'
            # The number of the statement makes it one of a kind.
            head_key = f"<{BASE}PublicationOWL/id{head}instance{number % 8}>"
            file.write(f"{head_key} <{relation}/{number // size}> {tail} .\n")
