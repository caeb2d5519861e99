"""For each seed a small subgraph of its own, all together as one disjoint union (ShaDow 2021).

Works on adjacency arrays compressed by target, memory-mapped or not, whose rows are sorted by
(relation, source) and hold both directions of every triple. Subgraphs are cut on the CPU in
prefetch threads, as sampling is: there is no torch tier.
"""

from __future__ import annotations

import itertools
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import Bool, Int, Int32, Int64
from torch import Tensor

from kgscale.kernels.ego import numba_tier
from kgscale.kernels.ego.cut import Array, Cut, EgoSample, union
from kgscale.kernels.ego.reference import ONE
from kgscale.kernels.sample import MAX_LABEL
from kgscale.kernels.sample.reference import STEP, mix
from kgscale.kernels.threads import num_threads, run_tasks
from kgscale.types import Indptr

__all__ = [
    "EdgeWeights",
    "EgoSample",
    "HiddenRows",
    "Method",
    "coverage",
    "ego_subgraphs",
    "find_edges",
    "locate",
]

Method: TypeAlias = Literal["ppr", "khop"]

LONGEST = 1 << 16
"""In-edges of a seed that are pushed along however coarse the tolerance."""
FINEST = 1e-12
"""Below it the rounding of masses would show."""
HEAVIEST = 1 << 10
"""Weight of an edge, at most: shares of mass must not vanish in rounding."""
TASK_SEEDS = 64
"""Seeds whose edges a thread holds at once, at most."""
TASKS_PER_THREAD = 4


class HiddenRows(NamedTuple):
    """Edges, as positions in the store's arrays, that a seed's subgraph must do without.

    They play no part in the choice of entities either. Name both directions of a triple; -1, as
    ``find_edges`` gives for what it doesn't find, names none.
    """

    indptr: Indptr
    """One row for each seed, or a single one for all."""
    edge: Int[Tensor, " hidden"]


class Asked(NamedTuple):
    """What the choice of a seed's entities is for: answers to a question."""

    relation: Int64[Tensor, " seed"]
    """From each seed to its answers."""
    weights: Int32[Tensor, "question relation"] | None = None
    """From 1 to ``HEAVIEST``, for every relation that is asked for: a walk goes along one of two
    edges rather than the other as these are large. All steps are as likely without."""
    reserved: int = 0
    """Places of a subgraph for the best of the entities that an edge of the relation leads to from
    anywhere, as far as there are so many; the best of all others have the rest."""


def ego_subgraphs(
    indptr: Indptr,
    source: Int[Tensor, " adjacency"],
    relation: Int[Tensor, " adjacency"],
    seeds: Int[Tensor, " seed"],
    *,
    size: int,
    method: Method,
    restart: float = 0.15,
    tolerance: float = 1e-5,
    hops: int = 2,
    fanout: int = 20,
    seed: int = 0,
    asked: Asked | None = None,
    hidden: HiddenRows | None = None,
) -> EgoSample:
    """Choose up to ``size`` entities for each seed, itself among them, and join them by all edges.

    A seed's subgraph depends on the graph, these settings, its id and its hidden edges alone. It
    costs its choice and, for each entity chosen, a look at each in-edge or, where these are many,
    at most ``PATIENCE * size`` looks for each of their relations.

    Args:
        size: the most entities of a subgraph.
        method: ``ppr`` takes the entities of the highest personalised PageRank (``reference`` has
            the formula), ties by id; ``khop`` goes breadth first along sampled in-edges until it
            has ``size`` entities, those of a hop in the order of their discovery.
        restart: chance that the walk of ``ppr`` ends at each step.
        tolerance: error of a PageRank per in-edge. The edges touched for a seed are fewer than
            ``1 / (restart * tolerance)``, and ``LONGEST`` on top for its own: a seed with more
            than that, and than ``1 / tolerance``, spreads over ``size`` of its in-edges, drawn.
        hops: steps of ``khop``.
        fanout: in-edges drawn for each entity of ``khop``, as ``sample_neighbors`` does; -1 means
            all, which a hub may have many of.
        seed: of the draws.
        asked: what ``ppr`` is to prefer.
        hidden: edges that a subgraph does without.
    """
    _check(indptr, seeds, size, method, restart, tolerance, hops, fanout)
    entities, by_rank = indptr.shape[0] - 1, method == "ppr"
    limit = max(1, round(tolerance * ONE))
    longest = max(LONGEST, ONE // limit)
    width = min(size, longest) if by_rank else min(max(0, fanout), source.shape[0])
    size = min(size, entities)
    bases = [mix(seed + hop * STEP) for hop in range(1 if by_rank else hops)]
    most = int(1.01 / (restart * tolerance)) + longest + 2 if by_rank else size
    reach = min(entities, most)
    if reach + size >= MAX_LABEL:
        raise ValueError(f"tolerance must be coarser, or a seed touches {reach}: got {tolerance}")
    settings = (by_rank, size, 1 - restart, limit, longest)
    cut = Cut(
        graph=(indptr.numpy(), source.numpy(), relation.numpy()),
        seeds=seeds.contiguous().numpy(),
        asked=_asked(asked, seeds.shape[0]),
        hidden=_hidden_rows(hidden, seeds.shape[0], max(1, source.shape[0])),
        size=size,
        width=width,
        reach=reach,
        settings=(*settings, width, fanout, np.array(bases, np.uint64)),
    )
    number = seeds.shape[0]
    tasks = max(1, -(-number // TASK_SEEDS), min(number, TASKS_PER_THREAD * num_threads()))
    bounds = [number * task // tasks for task in range(tasks + 1)]
    return union(run_tasks(cut, list(itertools.pairwise(bounds))))


def find_edges(
    indptr: Indptr,
    source: Int[Tensor, " adjacency"],
    relation: Int[Tensor, " adjacency"],
    *,
    origin: Int64[Tensor, " asked"],
    edge_type: Int64[Tensor, " asked"],
    target: Int64[Tensor, " asked"],
) -> Int64[Tensor, " asked"]:
    """The position of the edge from ``origin`` to ``target`` of that type, or -1 without one."""
    found = torch.empty_like(target)
    graph = [tensor.numpy() for tensor in (indptr, source, relation)]
    triple = tuple(tensor.contiguous().numpy() for tensor in (origin, edge_type, target))
    numba_tier.find_edges(*graph, triple, found.numpy())
    return found


def locate(
    owner: Int32[Tensor, " entity"],
    entity_id: Int64[Tensor, " entity"],
    seed_position: Int64[Tensor, " query"],
    answer: Int64[Tensor, " query"],
) -> Int64[Tensor, " query"]:
    """Where ``answer`` stands in the subgraph of that seed, or -1 if it is not in there."""
    if not len(entity_id) or not len(answer):
        return torch.full_like(answer, -1)
    span = torch.maximum(entity_id.max(), answer.max()) + 1
    key, position = (owner * span + entity_id).sort()
    asked = seed_position * span + answer
    place = torch.searchsorted(key, asked).clamp(max=len(key) - 1)
    return torch.where(key[place] == asked, position[place], -1)


def coverage(
    owner: Int32[Tensor, " entity"],
    entity_id: Int64[Tensor, " entity"],
    seed_position: Int64[Tensor, " query"],
    answer: Int64[Tensor, " query"],
) -> Bool[Tensor, " query"]:
    """Whether the subgraph of that seed has the answer; no model on it can find more."""
    return locate(owner, entity_id, seed_position, answer) >= 0


def _check(
    indptr: Tensor,
    seeds: Tensor,
    size: int,
    method: str,
    restart: float,
    tolerance: float,
    hops: int,
    fanout: int,
) -> None:
    if indptr.device.type != "cpu":
        raise ValueError(f"ego subgraphs are cut in host memory, not on {indptr.device}")
    if method not in get_args(Method):
        raise ValueError(f"method is one of {', '.join(get_args(Method))}, got {method!r}")
    if size < 1:
        raise ValueError(f"size must be at least 1, the seed itself, got {size}")
    if not 0 < restart <= 1:
        raise ValueError(f"restart must be above 0 and at most 1, got {restart}")
    if not FINEST <= tolerance <= 1:
        raise ValueError(f"tolerance must be between {FINEST} and 1, got {tolerance}")
    if hops < 0 or fanout < -1:
        raise ValueError(f"hops and fanout count edges (fanout -1: all), got {hops}, {fanout}")
    entities = indptr.shape[0] - 1
    outside = seeds[(seeds < 0) | (seeds >= entities)]
    if len(outside):
        raise ValueError(f"seeds must be among {entities} entities, got {int(outside[0])}")


def _asked(asked: Asked | None, seeds: int) -> tuple[Array, Array, int]:
    plain = np.empty((0, 0), np.int32)
    if asked is None:
        return np.zeros(seeds, np.int64), plain, 0
    relation, weights, reserved = asked
    if len(relation) != seeds:
        raise ValueError(f"asked needs a relation for each of {seeds} seeds, got {len(relation)}")
    if reserved < 0:
        raise ValueError(f"asked.reserved counts entities, got {reserved}")
    if weights is not None:
        if ((relation < 0) | (relation >= len(weights))).any():
            raise ValueError(f"asked.weights are of {len(weights)} relations, fewer than asked for")
        if len(weights) and not 1 <= int(weights.min()) <= int(weights.max()) <= HEAVIEST:
            raise ValueError(f"asked.weights must be from 1 to {HEAVIEST}")
        plain = weights.contiguous().numpy()
    return relation.contiguous().numpy(), plain, reserved


def _hidden_rows(hidden: HiddenRows | None, seeds: int, edges: int) -> tuple[Array, Array]:
    """Distinct and ascending within each row."""
    if hidden is None:
        return np.zeros(2, np.int64), np.empty(0, np.int64)
    bounds, edge = hidden.indptr.long().numpy(), hidden.edge.long().numpy()
    rows = len(bounds) - 1
    if rows not in (1, seeds):
        raise ValueError(f"hidden needs one row, or one for each of {seeds} seeds, got {rows}")
    if (edge >= edges).any():
        raise ValueError(f"hidden edges must be among {edges}, got {edge.max()}")
    key = np.repeat(np.arange(rows), np.diff(bounds)) * edges + edge
    key = np.unique(key[edge >= 0])
    return np.searchsorted(key, np.arange(rows + 1) * edges), key % edges
