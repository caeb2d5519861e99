"""What a step costs as made academic graphs grow from 10^5 to 10^7 edges (``--quick``: 10^6).

``ours`` is the largest graph's figure and ``theirs`` the smallest's; the ratio is how many times it
grows. Memory is the peak of a step beyond what stays between steps: mapped files, tables and the
optimiser's state are not in it. Parts of ``cluster`` keep their size, so that there are more.
Default steps of ``neighbor``, 512 seeds with 110 in-edges each, hold most of the smallest graph and
so grow until the graph is larger than they are; smaller ones don't.
"""

from __future__ import annotations

from collections.abc import Sequence

from kgscale.cli import compose
from kgscale.tasks.measure import StepCost, measure_step

SIZES = (100_000, 1_000_000, 10_000_000)
OWN = {
    "neighbor": ("strategy.batch_size=64", "strategy.fanout=[5,5]"),
    "neighbor_default": (),
    "cluster": ("strategy.per_batch=5", "strategy.method=ldg"),
    "precomputed": ("encoder=sign",),
    "full_batch": (),
}
EDGES_PER_PART = 10_000


def run(*, quick: bool = False) -> list[dict[str, object]]:
    sizes = SIZES[:2] if quick else SIZES
    found = {strategy: [cost(strategy, size) for size in sizes] for strategy in OWN}
    rows = [
        row(f"scale_memory_{name}", costs, "memory", 1e6, "MB") for name, costs in found.items()
    ]
    speed = "seconds_per_1000_seeds"
    for name in ("neighbor", "neighbor_default"):
        rows.append(row(f"scale_seconds_{name}", found[name], speed, 1, "s / 1,000 seeds"))
    return rows


def cost(strategy: str, edges: int) -> StepCost:
    own = [f"strategy={strategy.removesuffix('_default')}", *OWN[strategy]]
    if strategy == "cluster":
        own.append(f"strategy.parts={edges // EDGES_PER_PART}")
    graph = ["task=node_classification", "data=synthetic", f"data.edges={edges}", "encoder=sage"]
    return measure_step(compose.settings([*graph, *own]))


def row(
    name: str, costs: Sequence[StepCost], what: str, unit: float, word: str
) -> dict[str, object]:
    """How a figure grows from the first graph to the last."""
    first, last = (getattr(costs[at], what) / unit for at in (0, -1))
    return {
        "work": name,
        "ours": last,
        "peer": "the smallest graph (growth)",
        "theirs": first,
        "ratio": last / first,
        "unit": word,
    }
