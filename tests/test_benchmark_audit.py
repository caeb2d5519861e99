"""What the benchmark says of an audit, beside what the source of the data says."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from tests.scripts import script

SOURCE = "# aifb\n\n## Counted\n\n- classes: 4\n- leaking_label_triples: 0\n\n## Files\n"
SPLITS = ("train", "valid", "test")


@pytest.fixture
def benchmark() -> Any:
    script("benchmark.py")
    return import_module("benchmarks.audit")


def people(**joined_by: int) -> dict[str, Any]:
    """An audit of twenty people, joined to their group by these relations."""
    return {
        "held_out": {split: {"unseen": 0} for split in SPLITS[1:]},
        "triples": dict.fromkeys(SPLITS, 0),
        "shared": {},
        "entities": {"all": 24, "alone": 0},
        "relations": [],
        "labels": {
            "entities": {"train": 15, "valid": 0, "test": 5},
            "classes": 4,
            "joined": sum(joined_by.values()),
            "joined_by": [{"key": f"x#{key}", "entities": n} for key, n in joined_by.items()],
        },
    }


def test_what_is_found_beyond_the_source_is_told(benchmark: Any) -> None:
    """The source counts two relations, and the audit all."""
    data = benchmark.SETS["aifb"]
    assert benchmark.agreed(data, people(), SOURCE) == "2 of 2 findings as stated"
    assert benchmark.agreed(data, people(member=7, head=2), SOURCE) == (
        "2 of 2 findings as stated; more than stated: of 20 labelled entities the graph joins to"
        " their label 7 by member and 2 by head"
    )


def test_what_is_not_as_stated_is_told(benchmark: Any) -> None:
    """And is not told again as more than that."""
    assert benchmark.agreed(benchmark.SETS["aifb"], people(employs=3), SOURCE) == (
        "1 of 2 findings as stated; leaking_label_triples is 3, not 0"
    )
