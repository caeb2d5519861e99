"""How large the batches of each strategy are expected to be, from a graph's statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from kgscale.models.encoders.base import BlockSize
from kgscale.sampling.cluster import ClusterStrategy
from kgscale.sampling.full_batch import FullBatchStrategy
from kgscale.sampling.neighbor import NeighborStrategy
from kgscale.sampling.precomputed import PrecomputedStrategy
from kgscale.sampling.questions import Candidates
from kgscale.sampling.random_nodes import RandomNodesStrategy
from kgscale.sampling.subgraph import SubgraphStrategy
from kgscale.tasks.plan.asked import AskedSize, Asks
from kgscale.tasks.plan.statistics import Bins, GraphStatistics

INSIDE: Final = 0.4
"""Share of edges inside parts of a good partition, where the graph isn't cut yet."""
NEAR: Final = 4.0
"""In-edges of an entity in the subgraph of a seed."""
CUT_BYTES: Final = 50.0
SAMPLED_BYTES: Final = 36.0
"""At the peak of making a batch, per edge that is cut out, or sampled: its places, its triple as
stored and as a number, what is hidden, and the copy that is left."""


@dataclass(frozen=True, kw_only=True)
class BatchSize:
    """Expected numbers of a batch."""

    hops: tuple[float, ...]
    """Entities within 0, 1, … hops of the seeds."""
    edges: tuple[float, ...]
    """In-edges of the entities within 0, 1, … hops, one number fewer."""
    asked: AskedSize
    stored: float
    """Edges of the batch: more than the layers' where these need not all."""
    kinds: Bins
    """Entities in each bin, as the statistics have them."""
    making: float
    """Bytes at the peak of making it."""
    kept: float
    """Bytes that the strategy keeps between steps."""
    preparing: float = 0.0
    """Bytes at the peak of making the strategy, beside what it keeps."""

    @property
    def entities(self) -> float:
        return self.hops[-1]

    def block(self, layer: int, num_layers: int) -> BlockSize:
        """As of :class:`SubgraphBatch`."""
        hop = num_layers - 1 - layer
        return BlockSize(self.hops[hop + 1], self.hops[hop], self.edges[hop])


def batch_size(
    kind: type, settings: Mapping[str, Any], asks: Asks, graph: GraphStatistics, num_layers: int
) -> BatchSize | None:
    """Of a strategy by its class and settings; None if nobody knows."""
    known = SIZES.get(kind)
    return None if known is None else known(settings, asks, graph, num_layers)


def _seeds(settings: Mapping[str, Any], asks: Asks, graph: GraphStatistics) -> Any:
    """An epoch's questions are dealt to steps of nearly equal size."""
    steps = max(1, -(-asks.total // settings["batch_size"]))
    among = Candidates.of(settings.get("candidates", "all"), round(graph.entities))
    return asks.seeds(asks.total / steps, among)


def neighbor_size(
    settings: Mapping[str, Any], asks: Asks, graph: GraphStatistics, num_layers: int
) -> BatchSize:
    """Each hop, the entities reached last draw ``min(degree, fanout)`` of their in-edges.

    Sources come up in proportion to their degree; those that are there already are not new.
    """
    held, asked = _seeds(settings, asks, graph)
    hops, edges, last = [float(held.sum())], list[float](), held
    for fanout in settings["fanout"][:num_layers]:
        drawn = float((last * _kept_edges(fanout, settings, graph)).sum())
        last = graph.drawn(graph.degree, drawn, held)
        held = held + last
        hops.append(float(held.sum()))
        edges.append((edges[-1] if edges else 0.0) + drawn)
    most = edges[-1] if edges else 0.0
    return BatchSize(
        hops=tuple(hops),
        edges=tuple(edges),
        stored=most,
        asked=asked,
        kinds=held,
        making=SAMPLED_BYTES * most + 32 * hops[-1] + 3 * asks.query_bytes(asked),
        kept=4 * graph.entities + 30 * most + 8 * hops[-1] + asks.kept,
    )


def _kept_edges(fanout: int, settings: Mapping[str, Any], graph: GraphStatistics) -> Bins:
    """In-edges that an entity of each bin draws."""
    if fanout < 0:
        return graph.degree
    most = fanout * graph.relations if settings.get("per_relation") else float(fanout)
    return np.minimum(graph.degree, most)


def full_size(
    settings: Mapping[str, Any], asks: Asks, graph: GraphStatistics, num_layers: int
) -> BatchSize:
    kept = 8 * graph.edges + 16 * graph.entities
    return _cut(asks, graph, num_layers, graph.count, 1.0, settings["query_share"], kept)


def random_size(
    settings: Mapping[str, Any], asks: Asks, graph: GraphStatistics, num_layers: int
) -> BatchSize:
    """``E b^2 / N^2`` edges have both ends among ``b`` of ``N`` entities."""
    unions = max(1, -(-graph.entities // settings["batch_size"]))
    return _cut(asks, graph, num_layers, graph.count / unions, 1 / unions, settings["query_share"])


def cluster_size(
    settings: Mapping[str, Any], asks: Asks, graph: GraphStatistics, num_layers: int
) -> BatchSize:
    """Of the in-edges of ``q`` of ``p`` parts, those inside parts stay, and of the others
    ``(q - 1) / (p - 1)``; and what hubs and a halo bring."""
    parts = settings["parts"]
    unions = max(1, -(-parts // settings["per_batch"]))
    taken = parts / unions
    held = graph.count / unions
    inside = 1 / parts if settings["method"] == "random" else max(INSIDE, 1 / parts)
    kept = inside + (1 - inside) * (taken - 1) / max(parts - 1, 1)
    hubs = _hubs(graph, settings["hubs"])
    # What a hub has to do with the union is there, whatever its part is.
    more = float(((hubs - hubs * held / graph.count) * graph.degree).sum()) / unions
    held = np.maximum(held, hubs)
    own = float((held * graph.degree).sum())
    kept = min(1.0, kept + 2 * more / max(own, 1.0))
    return _cut(asks, graph, num_layers, held, kept, settings["query_share"], halo=settings["halo"])


def _hubs(graph: GraphStatistics, number: int) -> Bins:
    """The entities of highest degree, in each bin."""
    order = np.argsort(-graph.degree)
    before = np.cumsum(graph.count[order]) - graph.count[order]
    taken = np.zeros_like(graph.count)
    taken[order] = np.clip(number - before, 0, graph.count[order])
    return taken


def _cut(
    asks: Asks,
    graph: GraphStatistics,
    num_layers: int,
    held: Bins,
    kept: float,
    query_share: float,
    state: float = 0.0,
    halo: int = 0,
) -> BatchSize:
    """Some entities with a share of their in-edges, all of it in every layer."""
    asked = asks.inside(held, kept, query_share)
    edges = float((held * graph.degree).sum())
    if halo:
        outside = float((held * np.minimum(graph.degree, halo)).sum())
        near = graph.drawn(graph.degree, outside, held)
        beyond = max(graph.edges - edges, 1.0)
        kept += (1 - kept) * min(1.0, float((near * graph.degree).sum()) / beyond)
        held = held + near
    scanned, entities = edges, float(held.sum())
    edges *= kept
    shown = edges - asked.answers
    return BatchSize(
        hops=(entities,) * (num_layers + 1),
        edges=(shown,) * num_layers,
        stored=shown,
        asked=asked,
        kinds=held,
        making=CUT_BYTES * edges + 32 * entities + 4 * asks.query_bytes(asked),
        kept=(state or 4 * graph.entities + 18 * scanned) + asks.kept,
    )


def subgraph_size(
    settings: Mapping[str, Any], asks: Asks, graph: GraphStatistics, num_layers: int
) -> BatchSize:
    """Each seed has ``size`` entities, most of them neighbours, which come up by their degree.

    Among them are ``NEAR`` in-edges an entity: a tree in both directions has 2.
    """
    seeds, asked = _seeds(settings, asks, graph)
    number = float(seeds.sum())
    size = min(settings["size"], graph.entities)
    entities = number * size
    edges = entities * min(graph.edges / graph.entities, NEAR)
    own = float((seeds * np.minimum(graph.degree, size - 1)).sum())
    others = graph.count * graph.degree * (entities - number) / graph.edges
    return BatchSize(
        hops=(number, *(entities,) * num_layers),
        edges=(own, *(edges,) * (num_layers - 1))[:num_layers],
        stored=edges,
        asked=asked,
        kinds=seeds + others,
        making=SAMPLED_BYTES * edges + 60 * entities,
        kept=4 * graph.entities + asks.kept,
    )


def precomputed_size(
    settings: Mapping[str, Any], asks: Asks, graph: GraphStatistics, num_layers: int
) -> BatchSize:
    """The seeds alone, without an edge; their rows of maps are counted with the model."""
    folded, asks = asks.folded(settings["folds"]), asks.by_folds(settings["folds"])
    held, asked = _seeds(settings, asks, graph)
    number = float(held.sum())
    return BatchSize(
        hops=(number,) * (num_layers + 1),
        edges=(0.0,) * num_layers,
        stored=0.0,
        asked=asked,
        kinds=held,
        making=32 * number + 3 * asks.query_bytes(asked),
        kept=folded.kept,
        preparing=folded.preparing,
    )


SIZES: Final[dict[type, Callable[..., BatchSize]]] = {
    NeighborStrategy: neighbor_size,
    FullBatchStrategy: full_size,
    ClusterStrategy: cluster_size,
    RandomNodesStrategy: random_size,
    SubgraphStrategy: subgraph_size,
    PrecomputedStrategy: precomputed_size,
}
