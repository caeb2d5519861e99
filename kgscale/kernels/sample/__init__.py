"""Neighbour sampling on adjacency arrays compressed by target, memory-mapped or not.

Row ``v`` owns the in-edges ``indptr[v]:indptr[v + 1]`` of entity ``v``, sorted by relation.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int, Int64
from numpy.typing import NDArray
from torch import Tensor

from kgscale.kernels.sample import numba_tier, torch_tier
from kgscale.kernels.sample.reference import BITS, STEP, mix
from kgscale.kernels.sample.torch_tier import expand_runs
from kgscale.types import EdgeSource, EdgeType, Indptr

__all__ = ["HiddenEdges", "NeighborSample", "Workspace", "expand_runs", "hide_edges"]
__all__ += ["sample_neighbors"]

Array = NDArray[Any]

MAX_LABEL = np.iinfo(np.int32).max
BITMAP_WORDS = 1 << 12
"""Rows of up to 64 times as many edges are drawn from with a bitmap."""


class NeighborSample(NamedTuple):
    """Entities within reach of the seeds and the sampled edges between them, hop by hop."""

    entity_id: Int64[Tensor, " entity"]
    """The seeds in their order, then by discovery; edges refer to positions in here."""
    indptr: Indptr
    """Row ``i`` holds the sampled in-edges of ``entity_id[i]``, sorted as in the store."""
    source: EdgeSource
    relation: EdgeType
    edge: Int[Tensor, " edge"] | None
    """Positions in the store's arrays."""
    hop_size: tuple[int, ...]
    """Entities within 0, 1, … hops; the last is the number of entities."""
    hop_edges: tuple[int, ...]
    """In-edges of the entities within 0, 1, … hops."""


class HiddenEdges(NamedTuple):
    """What is left of a sample's edges."""

    indptr: Indptr
    source: EdgeSource
    relation: EdgeType
    triple: Int[Tensor, " edge"]
    hop_edges: tuple[int, ...]


class Workspace:
    """Scratch memory of one thread that samples again and again: 4 bytes an entity and buffers."""

    def __init__(self) -> None:
        self._buffer: dict[str, Array] = {}
        self._label = np.empty(0, np.int32)
        self._base = 0

    def buffer(self, name: str, size: int, dtype: Any, *, keep: int = 0) -> Array:
        """At least ``size`` long; the first ``keep`` values survive when it has to grow."""
        found = self._buffer.get(name)
        if found is None or found.shape[0] < size or found.dtype != dtype:
            grown = np.zeros(size + size // 2, dtype)
            if keep and found is not None:
                grown[:keep] = found[:keep]
            found = self._buffer[name] = grown
        return found

    def label(self, num_entities: int) -> tuple[Array, int]:
        """The map from entity to label, and a base above all labels given so far."""
        if self._label.shape[0] < num_entities or self._base > MAX_LABEL - num_entities:
            self._label = np.zeros(max(num_entities, self._label.shape[0]), np.int32)
            self._base = 1
        return self._label, self._base

    def expire(self, known: int) -> None:
        self._base += known


_own = threading.local()


def sample_neighbors(
    indptr: Indptr,
    source: Int[Tensor, " adjacency"],
    relation: Int[Tensor, " adjacency"],
    seeds: Int[Tensor, " seed"],
    fanout: Sequence[int],
    *,
    seed: int,
    per_relation: bool = False,
    with_edge: bool = True,
    workspace: Workspace | None = None,
) -> NeighborSample:
    """Sample in-neighbours hop by hop, uniformly and without replacement.

    An entity first reached at hop ``k`` gets ``min(degree, fanout[k])`` of its in-edges, or that
    many of each relation; -1 means all. The draw for an entity depends on ``seed``, the hop and
    the entity alone. Seeds must be distinct. Without a ``workspace`` each thread keeps its own.
    """
    if indptr.device.type != "cpu":
        found = torch_tier.sample_neighbors(
            indptr, source, relation, seeds, list(fanout), seed=seed, per_relation=per_relation
        )
        entity, bounds, local, kind, edge, hop_size, hop_edges = found
        return NeighborSample(
            entity, bounds, local, kind, edge if with_edge else None, hop_size, hop_edges
        )
    if workspace is None:
        workspace = _own.__dict__.setdefault("workspace", Workspace())
    graph = (indptr.numpy(), source.numpy(), relation.numpy())
    walk = _Walk(workspace, graph, seeds.numpy())
    for hop, width in enumerate(fanout):
        walk.step(width, mix(seed + hop * STEP & BITS), per_relation=per_relation)
    return walk.finish(with_edge=with_edge)


class _Walk:
    """The state of one sample between hops; everything lives in the workspace."""

    def __init__(
        self, workspace: Workspace, graph: tuple[Array, Array, Array], seeds: Array
    ) -> None:
        self.workspace, self.graph = workspace, graph
        self.label, self.base = workspace.label(graph[0].shape[0] - 1)
        self.entity = workspace.buffer("entity", len(seeds), np.int64)
        self.bounds = workspace.buffer("bounds", len(seeds) + 1, np.int64)
        self.bounds[0] = 0
        self.hop_size, self.hop_edges = [len(seeds)], list[int]()
        repeated = numba_tier.relabel_seeds(seeds, self.label, self.base, self.entity)
        if repeated >= 0:
            workspace.expire(len(seeds))
            raise ValueError(f"seeds must be distinct, but {seeds[repeated]} comes again")

    def step(self, width: int, base: int, *, per_relation: bool) -> None:
        indptr, source, relation = self.graph
        low = self.hop_size[-2] if self.hop_edges else 0
        high, known = self.hop_size[-1], self.hop_size[-1]
        done = self.hop_edges[-1] if self.hop_edges else 0
        room, runs = self.workspace.buffer, high - low
        if split := per_relation and width >= 0:
            runs = numba_tier.count_relation_runs(indptr, relation, self.entity, low, high)
        start, degree = room("start", runs, np.int64), room("degree", runs, np.int64)
        key = room("key", runs, np.uint64)
        self.bounds = room("bounds", high + 1, np.int64, keep=low + 1)
        arguments = (self.entity, low, high, width, np.uint64(base), start, degree, key)
        if split:
            total = numba_tier.open_relation_runs(indptr, relation, *arguments, self.bounds)
        else:
            total = numba_tier.open_rows(indptr, *arguments, self.bounds)
        position = room("position", total, indptr.dtype, keep=done)
        self.entity = room("entity", known + total - done + 1, np.int64, keep=known)
        out = room("source", total, source.dtype, keep=done)
        kind = room("relation", total, np.int32, keep=done)
        bitmap = room("bitmap", BITMAP_WORDS, np.uint64)
        drawn = (start, degree, key, runs), width, done
        found = self.label, self.base, self.entity, known, position, out, kind, bitmap
        known = numba_tier.expand(source, relation, *drawn, *found)
        self.hop_size.append(known)
        self.hop_edges.append(total)

    def finish(self, *, with_edge: bool) -> NeighborSample:
        rows = self.hop_size[-2] if self.hop_edges else 0
        edges = self.hop_edges[-1] if self.hop_edges else 0
        room = self.workspace.buffer
        self.workspace.expire(self.hop_size[-1])
        edge = _copy(room("position", edges, self.graph[0].dtype), edges) if with_edge else None
        return NeighborSample(
            entity_id=_copy(self.entity, self.hop_size[-1]),
            indptr=_copy(self.bounds, rows + 1),
            source=_copy(room("source", edges, self.graph[1].dtype), edges).int(),
            relation=_copy(room("relation", edges, np.int32), edges),
            edge=edge,
            hop_size=tuple(self.hop_size),
            hop_edges=tuple(self.hop_edges),
        )


def _copy(buffer: Array, size: int) -> Tensor:
    return torch.from_numpy(buffer[:size].copy())


def hide_edges(
    indptr: Indptr,
    source: EdgeSource,
    relation: EdgeType,
    triple: Int[Tensor, " edge"],
    hidden: Int[Tensor, " hidden"],
    hop_size: Sequence[int],
    hop_edges: Sequence[int],
) -> HiddenEdges:
    """The same edges without those whose triple is in ``hidden``; entities stay."""
    if indptr.device.type != "cpu":
        stay, bounds = torch_tier.hide_edges(indptr, triple, hidden)
        kept = (bounds, source[stay], relation[stay], triple[stay])
    else:
        arrays = [tensor.contiguous().numpy() for tensor in (indptr, source, relation, triple)]
        room = 1 << max(4, 2 * hidden.shape[0]).bit_length()
        table = np.full(room, -1, np.int64)
        out = tuple(np.empty_like(array) for array in arrays)
        size = numba_tier.hide(*arrays, hidden.long().numpy(), table, out)
        bounds, *rest = (torch.from_numpy(array) for array in out)
        kept = (bounds, rest[0][:size], rest[1][:size], rest[2][:size])
    ends = tuple(int(kept[0][hop_size[hop]]) for hop in range(len(hop_edges)))
    return HiddenEdges(*kept, ends)
