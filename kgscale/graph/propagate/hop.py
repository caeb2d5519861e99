"""One hop over a graph, a block of rows after the other, from disk to disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn import functional

from kgscale.data.spool import NpyWriter
from kgscale.graph.adjacency import Adjacency
from kgscale.graph.catalog import EntityType
from kgscale.graph.propagate.maps import open_rows
from kgscale.kernels.propagate import InEdges, Keep, propagate

BYTES = 8 << 20
"""Of a block's rows."""
EDGES = 1 << 20
"""Of a block, unless a single row has more."""


class Rows(NamedTuple):
    """The vectors of consecutive entities from ``start`` on, in memory or mapped."""

    start: int
    value: Float[Tensor, "row dim"]

    @property
    def dim(self) -> int:
        return self.value.shape[1]

    @property
    def stop(self) -> int:
        return self.start + self.value.shape[0]

    def part(self, first: int, last: int) -> Tensor:
        """Of the entities ``first : last``."""
        return self.value[first - self.start : last - self.start]


def blocks(graph: Adjacency, within: EntityType, dim: int) -> Iterator[tuple[int, int, InEdges]]:
    """First row, the row after the last, and the in-edges between, for all of a range."""
    step, first = max(1, BYTES // (4 * max(1, dim))), within.start
    while first < within.stop:
        most = min(int(graph.indptr[first]) + EDGES, int(graph.indptr[-1]))
        last = int(torch.searchsorted(graph.indptr, most, right=True)) - 1
        last = max(first + 1, min(last, first + step, within.stop))
        low, high = int(graph.indptr[first]), int(graph.indptr[last])
        columns = (part[low:high] for part in (graph.source, graph.relation, graph.triple))
        yield first, last, InEdges((graph.indptr[first : last + 1] - low).long(), *columns)
        first = last


def write_rows(
    path: Path, within: EntityType, dim: int, kind: torch.dtype, found: Iterable[Tensor]
) -> Rows:
    """A matrix on disk, of which ``found`` yields one block of rows after the other."""
    numpy_kind = torch.empty(0, dtype=kind).numpy().dtype
    writer = NpyWriter(path, numpy_kind, within.stop - within.start, dim)
    for block in found:
        writer.append(block.to(kind).numpy())
    writer.finish()
    return Rows(within.start, open_rows(path))


def copy_rows(path: Path, x: Rows, within: EntityType, *, normalize: bool = False) -> Rows:
    """Some rows as they are, or each divided by the sum of its absolute values."""
    step = max(1, BYTES // (4 * x.dim))
    parts = (
        x.part(first, min(first + step, within.stop))
        for first in range(within.start, within.stop, step)
    )
    if normalize:
        parts = (functional.normalize(part.float(), p=1.0, dim=1) for part in parts)
    return write_rows(path, within, x.dim, x.value.dtype, parts)


def mean_hop(path: Path, graph: Adjacency, x: Rows, keep: Keep, to: EntityType) -> Rows:
    """``out_i = mean of x_j over i's kept edges from j``; zeros where there are none."""

    def found() -> Iterator[Tensor]:
        for _, _, edges in blocks(graph, to, x.dim):
            total, count = propagate(x.value, edges, keep, first=x.start)
            yield total / count.clamp(min=1)[:, None]

    return write_rows(path, to, x.dim, x.value.dtype, found())


def symmetric_hop(path: Path, graph: Adjacency, x: Rows, keep: Keep, to: EntityType) -> Rows:
    """``D^-1/2 (A + I) D^-1/2 x`` with ``D`` the degrees of ``A + I`` (Kipf & Welling 2017).

    Written as float32: sums may grow by the root of a degree.
    """
    scale = (1 + degrees(graph, x, keep)).rsqrt()

    def found() -> Iterator[Tensor]:
        for first, last, edges in blocks(graph, to, x.dim):
            total, _ = propagate(x.value, edges, keep, first=x.start, scale=scale)
            own = scale[first - x.start : last - x.start, None]
            yield own * (total + own * x.part(first, last))

    return write_rows(path, to, x.dim, torch.float32, found())


def degrees(graph: Adjacency, of: Rows, keep: Keep) -> Float32[Tensor, " row"]:
    """Kept edges between entities of a range, for each of them."""
    nothing = torch.empty(of.stop - of.start, 0)
    within = EntityType(name="", start=of.start, stop=of.stop)
    counts = [
        propagate(nothing, edges, keep, first=of.start)[1] for *_, edges in blocks(graph, within, 0)
    ]
    return torch.cat(counts).float()
