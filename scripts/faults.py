"""Break things on purpose and count what is lost: ``scripts/faults.py [FAULT ...] [--tries N]``.

The table of docs/trust.md is what this wrote to results/faults.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from fault import fuzz
from fault.disk import failing, full
from fault.flips import flipped
from fault.kill import killed
from fault.row import Row
from fault.starts import builders, same_second
from rich.console import Console
from rich.table import Table

KEPT = Path(__file__).resolve().parent.parent / "results" / "faults.json"
FAULTS: dict[str, tuple[Callable[[int], list[Row]], int]] = {
    "kill": (killed, 100),
    "full": (full, 100),
    "eio": (failing, 50),
    "flips": (flipped, 10),
    "second": (same_second, 20),
    "builders": (builders, 20),
    "fuzz": (fuzz.fuzzed, 10_000),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fault", nargs="*", metavar="FAULT", help=", ".join(FAULTS))
    parser.add_argument("--tries", type=int)
    options = parser.parse_args()
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for name in options.fault or FAULTS:
        test, tries = FAULTS[name]
        kept[name] = [asdict(row) for row in test(options.tries or tries)]
        KEPT.write_text(json.dumps(kept, indent=2) + "\n")
    rows = [row for name in FAULTS for row in kept.get(name, [])]
    table = Table("fault", "tries", "passed", "lost")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)
    return 0 if all(row["passed"] == row["tries"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
