"""Induced subgraphs: the edges of the graph that join some chosen entities, all of them."""

from __future__ import annotations

import threading
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int, Int64
from torch import Tensor

from kgscale.kernels.induce import numba_tier, torch_tier
from kgscale.kernels.sample import Workspace
from kgscale.types import EdgeSource, EdgeType, Indptr

__all__ = ["Induced", "induce"]


class Induced(NamedTuple):
    """In-edges of the first rows among some entities; indices are local."""

    entity_id: Int64[Tensor, " entity"]
    indptr: Indptr
    """One row for each of the first ``rows`` entities, in the order of the store."""
    source: EdgeSource
    relation: EdgeType
    edge: Int[Tensor, " edge"]
    """Positions in the store's arrays."""


_own = threading.local()


def induce(
    indptr: Indptr,
    source: Int[Tensor, " adjacency"],
    relation: Int[Tensor, " adjacency"],
    entity_id: Int64[Tensor, " entity"],
    *,
    rows: int | None = None,
    workspace: Workspace | None = None,
) -> Induced:
    """The edges from any of ``entity_id`` (distinct) to its first ``rows``; all of it by default.

    Costs one look at every in-edge of these rows. Without a ``workspace`` each thread keeps its
    own: 4 bytes an entity of the graph.
    """
    rows = entity_id.shape[0] if rows is None else rows
    if indptr.device.type != "cpu":
        return Induced(entity_id, *torch_tier.induce(indptr, source, relation, entity_id, rows))
    if workspace is None:
        workspace = _own.__dict__.setdefault("workspace", Workspace())
    bounds, starts, sources, kinds = (
        tensor.numpy() for tensor in (indptr, entity_id[:rows], source, relation)
    )
    label, base = workspace.label(bounds.shape[0] - 1)
    repeated = numba_tier.mark(entity_id.numpy(), label, base)
    workspace.expire(entity_id.shape[0])
    if repeated >= 0:
        raise ValueError(f"entities must be distinct, but {entity_id[repeated]} comes again")
    most = int((bounds[starts + 1].astype(np.int64) - bounds[starts]).sum()) + 1
    out = workspace.buffer("source", most, np.int32)
    kind = workspace.buffer("relation", most, np.int32)
    position = workspace.buffer("position", most, bounds.dtype)
    ends = np.zeros(rows + 1, np.int64)
    numba_tier.induce(bounds, sources, kinds, starts, label, base, ends, out, kind, position)
    found = (torch.from_numpy(part[: ends[-1]].copy()) for part in (out, kind, position))
    return Induced(entity_id, torch.from_numpy(ends), *found)
