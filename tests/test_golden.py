"""One seeded training whose numbers a refactor must leave alone.

Identical on one machine; other processors and libraries may round differently, so 1e-4 here.
To accept a change of numbers: ``KGSCALE_WRITE_GOLDEN=1 pytest tests/test_golden.py``, with a
record in ``docs/decisions``.
"""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

import kgscale

GOLDEN = Path(__file__).with_name("golden.json")
PEOPLE, TOWNS = 60, 6


def write_graph(file: Path) -> None:
    """Who lives in the same town likes each other: a rule that one hop can see."""
    lines = [f"p{n}\tlives_in\tt{n % TOWNS}" for n in range(PEOPLE)]
    lines += [f"t{n}\tnear\tt{(n + 1) % TOWNS}" for n in range(TOWNS)]
    for n in range(PEOPLE):
        lines += [f"p{n}\tlikes\tp{(n + TOWNS * k) % PEOPLE}" for k in (1, 2, 4)]
    file.write_text("\n".join(lines) + "\n")


def test_a_seeded_run_gives_the_golden_numbers(tmp_path: Path) -> None:
    write_graph(tmp_path / "town.tsv")
    run = kgscale.train(
        "data=triples",
        f"data.path={tmp_path / 'town.tsv'}",
        f"root={tmp_path / 'outputs'}",
        f"store.root={tmp_path / 'stores'}",
        "encoder=compgcn",
        "encoder.dim=16",
        "encoder.dropout=0",
        "encoder.scale=0.1",
        "decoder=complex",
        "loss=softmax",
        "loss.n3=0.01",
        "optimizer=adagrad",
        "optimizer.lr=0.1",
        "optimizer.weight_lr=0.001",
        "strategy.batch_size=16",
        "strategy.candidates=20",
        "strategy.fanout=[3]",
        "trainer.max_epochs=5",
        "trainer.patience=5",
        quiet=True,
    )
    with (run.directory / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    results = json.loads((run.directory / "results.json").read_text())
    found = {
        "loss": [float(row["train/loss"]) for row in rows if row["train/loss"]],
        "validation": [float(row["valid/mrr"]) for row in rows if row["valid/mrr"]],
        "popularity": results["metrics"]["baseline"]["popularity"]["mrr"],
    }
    if os.environ.get("KGSCALE_WRITE_GOLDEN"):
        GOLDEN.write_text(json.dumps(found, indent=2) + "\n")
    golden = json.loads(GOLDEN.read_text())
    for name, values in golden.items():
        assert found[name] == pytest.approx(values, abs=1e-4)
    assert found["validation"][-1] > found["popularity"]
