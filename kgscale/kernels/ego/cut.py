"""How the seeds are dealt to threads, and what these bring back is put together."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import Float32, Int, Int32, Int64
from numpy.typing import NDArray
from torch import Tensor

from kgscale.kernels.ego import numba_tier
from kgscale.kernels.sample import BITMAP_WORDS, MAX_LABEL, Workspace
from kgscale.kernels.threads import run_tasks
from kgscale.types import Indptr

Array: TypeAlias = NDArray[Any]

LEAST_ROOM = 1 << 12
"""Edges to begin with; room doubles when they don't fit."""

_own = threading.local()


class EgoSample(NamedTuple):
    """A disjoint union of subgraphs: an entity stands in it once for each seed that reaches it."""

    entity_id: Int64[Tensor, " entity"]
    """The seeds in their order, then the others seed by seed, the best of each seed first."""
    indptr: Indptr
    """Row ``i`` holds the in-edges of ``entity_id[i]`` from its own subgraph, as in the store."""
    source: Int32[Tensor, " edge"]
    """Positions in ``entity_id``."""
    relation: Int32[Tensor, " edge"]
    edge: Int[Tensor, " edge"]
    """Positions in the store's arrays."""
    owner: Int32[Tensor, " entity"]
    """Position of the seed to whose subgraph an entity belongs."""
    score: Float32[Tensor, " entity"]
    """Personalised PageRank, a lower bound; or minus the hop."""


class Part(NamedTuple):
    """The subgraphs of consecutive seeds, one after the other."""

    entities: Array
    """How many each seed has, itself first."""
    entity: Array
    score: Array
    degree: Array
    edge: Array
    source: Array
    """Positions among the entities of the same seed."""
    relation: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What all seeds have in common; call it with the bounds of some of them."""

    graph: tuple[Array, Array, Array]
    seeds: Array
    asked: tuple[Array, Array, int]
    """Relations of the seeds, weights of edges for each of these, if any, and places reserved."""
    hidden: tuple[Array, Array]
    size: int
    width: int
    reach: int
    """Entities that a seed can touch."""
    settings: tuple[Any, ...]

    def __call__(self, bounds: tuple[int, int]) -> Part:
        start, stop = bounds
        seeds, hidden = self.seeds[start:stop], self.hidden
        if len(hidden[0]) > 2:
            hidden = (hidden[0][start : stop + 1], hidden[1])
        relation, weights, reserved = self.asked
        asked = (relation[start:stop], weights, reserved)
        workspace = _own.__dict__.setdefault("workspace", Workspace())
        rows = self._rows(workspace, len(seeds))
        done = nodes = edges = 0
        found = self._edges(workspace, LEAST_ROOM, keep=0)
        last = MAX_LABEL - self.reach - self.size
        while done < len(seeds):
            label, base = self._label(workspace, last)
            scratch = (label, *self._scratch(workspace))
            progress = (done, nodes, edges, base)
            task = (
                len(seeds),
                self.settings,
                asked,
                hidden,
                scratch,
                last,
                (*rows, found),
                progress,
            )
            done, nodes, edges, end = numba_tier.cut(self.graph, seeds, *task)
            workspace.expire(end - base)
            if done < len(seeds) and end <= last:
                found = self._edges(workspace, 2 * len(found[0]), keep=edges)
        count, *others = rows
        return Part(
            count[: len(seeds)].copy(),
            *(array[:nodes].copy() for array in others),
            *(array[:edges].copy() for array in found),
        )

    def _label(self, workspace: Workspace, last: int) -> tuple[Array, int]:
        entities = self.graph[0].shape[0] - 1
        label, base = workspace.label(entities)
        if base > last:
            workspace.expire(MAX_LABEL)
            label, base = workspace.label(entities)
        return label, base

    def _scratch(self, workspace: Workspace) -> tuple[Array, ...]:
        room, reach = workspace.buffer, self.reach
        return (
            room("state", 4 * reach, np.int64)[: 4 * reach].reshape(reach, 4),
            room("frontier", reach, np.int32),
            room("upcoming", reach, np.int32),
            room("spread", reach, np.int64),
            room("heap", self.size, np.int32),
            room("ids", self.size, np.int64),
            room("position", self.width, np.int64),
            room("bitmap", BITMAP_WORDS, np.uint64),
        )

    def _rows(self, workspace: Workspace, seeds: int) -> tuple[Array, ...]:
        room, most = workspace.buffer, seeds * self.size
        return (
            room("count", seeds, np.int64),
            room("entity", most, np.int64),
            room("score", most, np.float32),
            room("degree", most, np.int64),
        )

    def _edges(self, workspace: Workspace, size: int, *, keep: int) -> tuple[Array, ...]:
        names = {"edge": self.graph[0].dtype, "source": np.int32, "relation": np.int32}
        found = [workspace.buffer(name, size, kind, keep=keep) for name, kind in names.items()]
        shortest = min(len(array) for array in found)
        return tuple(array[:shortest] for array in found)


def union(parts: list[Part]) -> EgoSample:
    """Number the entities, the seeds first, and move the rows to their places.

    In numpy: torch would wake its threads for arrays as small as these, which takes milliseconds
    on a busy machine.
    """
    count, entity, score, degree = (
        np.concatenate([part[field] for part in parts]) for field in range(4)
    )
    seeds = np.arange(len(count))
    owner = np.repeat(seeds, count)
    row = np.arange(len(entity)) + len(seeds) - 1 - owner
    row[np.cumsum(count) - count] = seeds
    indptr = np.zeros(len(entity) + 1, np.int64)
    np.cumsum(_put(degree, row), out=indptr[1:])
    position = np.empty(indptr[-1], parts[0].edge.dtype)
    source, relation = np.empty((2, indptr[-1]), np.int32)
    first = np.cumsum([0] + [len(part.entity) for part in parts])

    def place(index: int) -> None:
        part = parts[index]
        arrays = (part.entities, part.degree, part.edge, part.source, part.relation)
        out = (position, source, relation)
        numba_tier.place(arrays, first[index], row, indptr, out)

    run_tasks(place, range(len(parts)))
    return EgoSample(
        entity_id=torch.from_numpy(_put(entity, row)),
        indptr=torch.from_numpy(indptr),
        source=torch.from_numpy(source),
        relation=torch.from_numpy(relation),
        edge=torch.from_numpy(position),
        owner=torch.from_numpy(_put(owner.astype(np.int32), row)),
        score=torch.from_numpy(_put(score, row)),
    )


def _put(values: Array, row: Array) -> Array:
    out = np.empty_like(values)
    out[row] = values
    return out
