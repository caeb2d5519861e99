"""What a step costs, as measured."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from kgscale.cli import compose
from kgscale.errors import DataError, ResourceError
from kgscale.tasks.measure import failure, measure_step
from kgscale.tasks.memory import INTERVAL, Memory, anonymous_bytes

MIB = 1 << 20
GIVES_BACK = """
import numpy as np
from kgscale.tasks.memory import anonymous_bytes, release_at_once
release_at_once()
blocks, before = [], anonymous_bytes()
for _ in range(200):
    blocks.append(np.ones(1 << 17, np.uint8))
last, held = np.ones(1 << 17, np.uint8), anonymous_bytes() - before
del blocks
print(held, anonymous_bytes() - before)
"""


def test_memory_in_between_is_seen() -> None:
    before = anonymous_bytes()
    with Memory() as memory:
        block = np.ones(64 * MIB, np.uint8)
        time.sleep(20 * INTERVAL)
        del block
        time.sleep(20 * INTERVAL)
        assert memory.peak - before == pytest.approx(64 * MIB, rel=0.1)
        memory.restart()
        assert memory.look() - before < 32 * MIB


def test_freed_memory_is_given_back() -> None:
    """Of many blocks below the usual threshold, of which the last stays."""
    out = subprocess.run(
        [sys.executable, "-c", GIVES_BACK], capture_output=True, text=True, check=True
    ).stdout
    held, left = map(int, out.split())
    assert held > 24 * MIB
    assert left < 4 * MIB


@pytest.mark.slow
def test_a_step_of_a_small_run(tmp_path: Path) -> None:
    settings = compose.settings(
        ["data=synthetic", "data.edges=3000", "task=node_classification", "trainer.threads=1"]
    )
    settings["store"]["root"] = str(tmp_path)
    settings["strategy"]["batch_size"] = 32
    cost = measure_step(settings)
    assert 0 < cost.seeds <= 32
    assert 2400 < cost.triples < 2700  # nine in ten, without the repeated
    assert cost.edges_per_seed > 1
    assert cost.entities > cost.seeds
    assert cost.batch <= cost.memory + MIB
    assert cost.seconds_per_1000_seeds == pytest.approx(1000 * cost.seconds / cost.seeds)


def test_failures_are_those_of_the_run() -> None:
    assert isinstance(failure("steps", 3, "no labels"), DataError)
    assert isinstance(failure("steps", -9, ""), ResourceError)
