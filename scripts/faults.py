"""Break things on purpose and count what is lost: ``scripts/faults.py [FAULT ...] [--tries N]``.

The table of docs/trust.md is what this wrote to results/faults.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from fault import corpus, fuzz
from fault.disk import failing, full
from fault.flips import flipped
from fault.kill import killed
from fault.row import Row
from fault.starts import builders, same_second
from fault.suite import tested
from rich.console import Console
from rich.table import Table

CLONE = Path(__file__).resolve().parent.parent
KEPT, PAGE = CLONE / "results" / "faults.json", CLONE / "docs" / "trust.md"
BEGIN, END = "<!-- written by scripts/faults.py -->", "<!-- end -->"
FAULTS: dict[str, tuple[Callable[[int], list[Row]], int]] = {
    "kill": (killed, 100),
    "full": (full, 100),
    "eio": (failing, 50),
    "flips": (flipped, 10),
    "second": (same_second, 20),
    "builders": (builders, 20),
    "corpus": (corpus.refused, 1),
    "tests": (tested, 1),
    "fuzz": (fuzz.fuzzed, 10_000),
}


def write_table(rows: list[dict[str, Any]]) -> None:
    """Into the page, between two marks; readers together."""
    read = [row for row in rows if row["fault"].startswith(fuzz.DAMAGED)]
    told = [row for row in rows if row not in read]
    if read:
        fault = f"damaged files for each of {len(read)} readers"
        sums = {name: sum(row[name] for row in read) for name in ("tries", "passed")}
        told.append({"fault": fault, **sums, "lost": "nothing"})
    lines = ["| fault | tries | passed | lost |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(tell(value) for value in row.values())} |" for row in told]
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    text = "\n".join([f"{before}{BEGIN}", *lines, f"{END}{after}"])
    PAGE.write_text(text, encoding="utf-8")


def tell(value: int | str) -> str:
    return f"{value:,}" if isinstance(value, int) else value


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = f"{', '.join(FAULTS)}; fuzz:NAME for one reader"
    parser.add_argument("fault", nargs="*", metavar="FAULT", help=known)
    parser.add_argument("--tries", type=int)
    options = parser.parse_args()
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for chosen in options.fault or FAULTS:
        name, _, only = chosen.partition(":")
        test, tries = FAULTS[name]
        if only:
            test = partial(fuzz.fuzzed, only=only)
        found = [asdict(row) for row in test(options.tries or tries)]
        if only:
            # Two readers may have one name: they stand in one order.
            new, names = iter(found), {row["fault"] for row in found}
            found = [next(new) if row["fault"] in names else row for row in kept[name]]
            found += new
        kept[name] = found
        KEPT.write_text(json.dumps(kept, indent=2) + "\n")
    rows = [row for name in FAULTS for row in kept.get(name, [])]
    write_table(rows)
    table = Table("fault", "tries", "passed", "lost")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)
    return 0 if all(row["passed"] == row["tries"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
