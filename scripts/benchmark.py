"""Measure kgscale against peers and limits: ``scripts/benchmark.py [WORK ...] [--json FILE]``.

A ratio above 1 means that we are better; for a limit it is the share that we reach.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

WORKS = (
    "sample",
    "aggregate",
    "rows",
    "ingest",
    "rank",
    "softmax",
    "partition",
    "plan",
    "scale",
    "ogb",
    "recommend",
    "questions",
    "explain",
    "audit",
    "newcomers",
    "rdf",
    "export",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", nargs="*", metavar="WORK", help=", ".join(WORKS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here")
    parser.add_argument("--quick", action="store_true", help="smaller inputs, fewer repeats")
    options = parser.parse_args()
    if unknown := sorted(set(options.work) - set(WORKS)):
        parser.error(f"unknown work {', '.join(unknown)}; there are {', '.join(WORKS)}")
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    console, rows = Console(), list[dict[str, Any]]()
    for work in options.work or WORKS:
        with console.status(f"measuring {work}"):
            rows += importlib.import_module(f"benchmarks.{work}").run(quick=options.quick)
    console.print(table(rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0


def table(rows: list[dict[str, Any]]) -> Table:
    out = Table("work", "ours", "theirs", "unit", "ratio", "peer or limit")
    for row in rows:
        numbers = [f"{row[name]:,.4g}" for name in ("ours", "theirs")]
        out.add_row(row["work"], *numbers, row["unit"], f"{row['ratio']:.2f}", row["peer"])
    return out


if __name__ == "__main__":
    sys.exit(main())
