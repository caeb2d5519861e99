"""Steps by hand, as benchmarks take them."""

from __future__ import annotations

from pathlib import Path

import torch

from kgscale.cli import compose
from kgscale.tasks.parts import GraphParts
from kgscale.tasks.settings import RunSettings
from kgscale.tasks.steps import Steps
from kgscale.tasks.training import prepared


def test_steps_learn_and_validate(tmp_path: Path) -> None:
    """Anchors too reach a step, and validation."""
    settings = compose.settings(
        [
            "data=synthetic",
            "data.kind=rules",
            "data.edges=3000",
            "encoder=embedding",
            "encoder.dim=16",
            "inputs.learned=anchors",
            "inputs.anchors.count=20",
            "inputs.anchors.width=4",
            "strategy.batch_size=64",
            f"store.root={tmp_path}",
        ]
    )
    run = RunSettings.of(settings)
    steps = Steps(run, GraphParts.of(prepared(run), run.inputs.arguments()))
    before = [p.clone() for p in steps.module.parameters()]
    first = steps.module.validate()["mrr"]
    for _ in range(3):
        steps.step(steps.batch())
    assert 0 < first < 1
    assert steps.module.validate()["mrr"] != first
    after = list(steps.module.parameters())
    assert not any(torch.equal(*pair) for pair in zip(before, after, strict=True))
