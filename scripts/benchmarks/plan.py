"""The planner's estimates of a step's memory against what steps take.

``ours`` is the estimate and ``theirs`` the measured peak of five steps after three, each run in a
process of its own; the ratio is estimate / measured. Graphs: made academic ones of 100k and 1M
edges (node classification), and FB15k-237 where KGSCALE_SHARED_DATA names a folder that has it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from kgscale.cli import compose
from kgscale.tasks.measure import measure_step, plan_step

STRATEGIES = ("neighbor", "full_batch", "cluster", "random_nodes", "subgraph")
ACADEMIC = ("data=synthetic", "task=node_classification")
ENCODERS = (("encoder=rgcn",), ("encoder=sage",), ("encoder=rgcn", "task.dim=128"))


def run(*, quick: bool = False) -> list[dict[str, object]]:
    return [row(name, overrides) for name, overrides in works(quick=quick)]


def works(*, quick: bool) -> Iterator[tuple[str, list[str]]]:
    """Names and overrides of all runs."""
    sizes = (100_000,) if quick else (100_000, 1_000_000)
    data = {f"academic_{size}": [*ACADEMIC, f"data.edges={size}"] for size in sizes}
    for name, graph in data.items():
        for encoder in ENCODERS[:1] if quick else ENCODERS:
            for strategy in STRATEGIES:
                label = "_".join(part.split("=")[1] for part in encoder)
                yield f"{name}_{label}_{strategy}", [*graph, *encoder, f"strategy={strategy}"]
    shared = os.environ.get("KGSCALE_SHARED_DATA")
    if shared and not quick:
        graph = ["data=triples", f"data.path={Path(shared) / 'fb15k-237'}"]
        for label in ("compgcn", "rgcn"):
            for strategy in STRATEGIES:
                overrides = [*graph, f"encoder={label}", f"strategy={strategy}"]
                yield f"fb15k237_{label}_{strategy}", overrides


def row(name: str, overrides: list[str]) -> dict[str, object]:
    settings = compose.settings(overrides)
    need = plan_step(settings).need
    assert need is not None
    measured = measure_step(settings).memory
    return {
        "work": f"plan_{name}",
        "ours": need.step.peak / 1e6,
        "peer": "measured",
        "theirs": measured / 1e6,
        "ratio": need.step.peak / measured,
        "unit": "MB",
    }
