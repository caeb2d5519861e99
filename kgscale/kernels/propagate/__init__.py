"""One step of propagation: sums of the rows at the other ends of the edges that are kept.

Nothing here has a gradient: what is propagated is given, and is propagated once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, Int64
from torch import Tensor

from kgscale.kernels.aggregate.edges import grain, numpy_arrays
from kgscale.kernels.propagate import numba_tier, torch_tier
from kgscale.kernels.sample.reference import mix
from kgscale.kernels.threads import run_slices
from kgscale.types import EdgeSource, EdgeType, Indptr

__all__ = ["InEdges", "Keep", "Returns", "count_returns", "fold_of", "kept", "propagate"]


class InEdges(NamedTuple):
    """The in-edges of consecutive rows; a triple's two directions share its id."""

    indptr: Indptr
    source: EdgeSource
    relation: EdgeType
    triple: Int[Tensor, " edge"]

    @property
    def num_rows(self) -> int:
        return self.indptr.shape[0] - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Which edges carry anything: those of some relations, without the triples of a fold."""

    relation: Bool[Tensor, " relations"]
    """For each relation and reciprocal one."""
    folds: int = 0
    """How many folds there are; 0 keeps all triples."""
    hidden: int = 0
    """The fold that is left out."""
    seed: int = 0
    """Of the folds."""


class Returns(NamedTuple):
    """What a row sent out and gets back from its sources, which is not for it to know."""

    times: Int64[Tensor, " edge"]
    """How often the row ``own`` is in what the edge's source has."""
    own: Float32[Tensor, "target dim"]


def fold_of(triple: Int[Tensor, " triple"], *, folds: int, seed: int) -> Int64[Tensor, " triple"]:
    """Which of several nearly equal folds each triple is in: a hash of its id."""
    return torch_tier.fold_of(triple, folds, seed)


def kept(edges: InEdges, keep: Keep) -> Bool[Tensor, " edge"]:
    """Which edges carry anything."""
    return torch_tier.kept(
        edges.relation, edges.triple, keep.relation, keep.folds, keep.hidden, keep.seed
    )


def count_returns(edges: InEdges, back: Bool[Tensor, " relations"]) -> Int64[Tensor, " edge"]:
    """For each edge ``i <- k``, the row's edges with the same source and a relation of ``back``.

    An edge ``k <- i`` is the other direction of an edge ``i <- k`` with the inverse relation. So
    with the inverses of some relations as ``back``, this counts the edges of these relations from
    ``i`` to ``k``, without a look at the row of ``k``.
    """
    return torch_tier.count_returns(edges.indptr, edges.source, edges.relation, back)


def propagate(
    x: Float[Tensor, "input dim"],
    edges: InEdges,
    keep: Keep,
    *,
    first: int = 0,
    scale: Float32[Tensor, " input"] | None = None,
    returns: Returns | None = None,
) -> tuple[Float32[Tensor, "target dim"], Int64[Tensor, " target"]]:
    """``sum over a row's kept edges of scale[source] * x[source]``, and how many are kept.

    ``x`` holds the vectors of the entities from ``first`` on; edges from others are not kept. With
    ``returns``, each ``x[source]`` is taken without ``times[edge] * own[row]`` (in float32, hence
    exactly if all are whole numbers). ``x`` may be a memory map of float16 or float32.
    """
    times, own = (None, None) if returns is None else returns
    if x.device.type != "cpu" or x.dtype not in (torch.float16, torch.float32):
        settings = (keep.relation, keep.folds, keep.hidden, keep.seed)
        return torch_tier.propagate(x, first, *edges, *settings, scale, times, own)
    # One set of widths, so that the kernel is compiled once for each width of x.
    arrays = numpy_arrays(
        edges.indptr.long(), edges.source.int(), edges.relation.int(), edges.triple.long()
    )
    total, count = torch.empty(edges.num_rows, x.shape[1]), torch.empty(edges.num_rows).long()
    x_array = x.numpy() if x.dtype == torch.float32 else x.numpy().view(np.uint16)
    kernel = (
        *numpy_arrays(total, count),
        x_array,
        first,
        *arrays,
        keep.relation.numpy(),
        keep.folds,
        keep.hidden,
        np.uint64(mix(keep.seed)),
        (torch.empty(0) if scale is None else scale).contiguous().numpy(),
        (torch.empty(0).long() if times is None else times).contiguous().numpy(),
        (torch.empty(0, 0) if own is None else own).contiguous().numpy(),
    )
    work = edges.source.shape[0] * max(1, x.shape[1])
    run_slices(
        lambda *rows: numba_tier.propagate(*kernel, *rows),
        edges.num_rows,
        grain=grain(edges.num_rows, work),
    )
    return total, count
