"""Scores of edges, and sums weighted by what has a gradient, as torch operators."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from kgscale.kernels.aggregate.edges import grain, numpy_arrays
from kgscale.kernels.attention import numba_tier, torch_tier
from kgscale.kernels.threads import run_slices
from kgscale.types import EdgeSource, EdgeType, Indptr, Vectors

COLUMNS = 32
"""Width of the slices of features that threads own: two cache lines of float32."""


def edge_dot(
    query: Float[Tensor, "target dim"],
    key: Vectors,
    vector: Float[Tensor, "relations dim"],
    indptr: Indptr,
    source: EdgeSource,
    relation: EdgeType,
    *,
    heads: int,
) -> Float[Tensor, "edge heads"]:
    """``out[e, h] = sum over h's features of query[i] * vector[relation] * key[source]``.

    ``i`` is the row of the edge; a head has ``dim / heads`` consecutive features.
    """
    factors = [query.contiguous(), key.contiguous(), vector.contiguous()]
    out: Tensor = _dot(*factors, *_edge_arrays(indptr, source, relation), heads)
    return out


def edge_sum(
    weight: Float[Tensor, "edge heads"],
    value: Vectors,
    vector: Float[Tensor, "relations dim"],
    indptr: Indptr,
    source: EdgeSource,
    relation: EdgeType,
) -> Float[Tensor, "target dim"]:
    """``out[i] = sum over i's edges of weight[e, head of f] * vector[relation] * value[source]``.

    A head has ``dim / heads`` consecutive features ``f``.
    """
    factors = [weight.contiguous(), value.contiguous(), vector.contiguous()]
    out: Tensor = _total(*factors, *_edge_arrays(indptr, source, relation))
    return out


def _edge_arrays(indptr: Tensor, source: Tensor, relation: Tensor) -> list[Tensor]:
    """One set of widths, so that each kernel is compiled once."""
    return [tensor.contiguous() for tensor in (indptr.long(), source.int(), relation.int())]


EDGES = "Tensor indptr, Tensor source, Tensor relation"
_dot = torch.library.custom_op(
    "kgscale::edge_dot",
    torch_tier.dot,
    mutates_args=(),
    schema=f"(Tensor query, Tensor key, Tensor vector, {EDGES}, int heads) -> Tensor",
)
_total = torch.library.custom_op(
    "kgscale::edge_sum",
    torch_tier.total,
    mutates_args=(),
    schema=f"(Tensor weight, Tensor value, Tensor vector, {EDGES}) -> Tensor",
)
_scatter = torch.library.custom_op(
    "kgscale::edge_scatter",
    torch_tier.scatter,
    mutates_args=(),
    schema=(
        f"(Tensor weight, Tensor query, Tensor key, Tensor vector, {EDGES}) -> (Tensor, Tensor)"
    ),
)
# The torch tier is its own shape function: what runs on meta tensors is what runs on a GPU.
_dot.register_fake(torch_tier.dot)
_total.register_fake(torch_tier.total)
_scatter.register_fake(torch_tier.scatter)


@_dot.register_kernel("cpu")
def _dot_cpu(query: Tensor, key: Tensor, vector: Tensor, *rest: Any) -> Tensor:
    *edges, heads = rest
    if query.dtype != torch.float32:
        return torch_tier.dot(query, key, vector, *rest)
    out = query.new_empty(edges[1].shape[0], heads)
    arrays = numpy_arrays(out, query, key, vector, *edges)
    targets, work = query.shape[0], edges[1].shape[0] * query.shape[1]
    run_slices(lambda *rows: numba_tier.dot(*arrays, *rows), targets, grain=grain(targets, work))
    return out


@_total.register_kernel("cpu")
def _total_cpu(weight: Tensor, value: Tensor, vector: Tensor, *edges: Tensor) -> Tensor:
    if value.dtype != torch.float32:
        return torch_tier.total(weight, value, vector, *edges)
    targets = edges[0].shape[0] - 1
    out = value.new_empty(targets, value.shape[1])
    arrays = numpy_arrays(out, weight, value, vector, *edges)
    work = edges[1].shape[0] * value.shape[1]
    run_slices(lambda *rows: numba_tier.total(*arrays, *rows), targets, grain=grain(targets, work))
    return out


@_scatter.register_kernel("cpu")
def _scatter_cpu(
    weight: Tensor, query: Tensor, key: Tensor, vector: Tensor, *edges: Tensor
) -> tuple[Tensor, Tensor]:
    if key.dtype != torch.float32:
        return torch_tier.scatter(weight, query, key, vector, *edges)
    grad_key, grad_vector = torch.zeros_like(key), torch.zeros_like(vector)
    arrays = numpy_arrays(grad_key, grad_vector, weight, query, key, vector, *edges)
    dim, work = key.shape[1], 2 * edges[1].shape[0] * key.shape[1]
    run_slices(
        lambda *columns: numba_tier.scatter(*arrays, *columns),
        dim,
        grain=grain(dim, work, unit=COLUMNS),
    )
    return grad_key, grad_vector


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:6])


def _dot_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    query, key, vector, *edges = ctx.saved_tensors
    grad = grad.contiguous()
    to_query = _total(grad, key, vector, *edges)
    return (to_query, *_scatter(grad, query, key, vector, *edges), None, None, None, None)


def _total_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    weight, value, vector, *edges = ctx.saved_tensors
    grad = grad.contiguous()
    to_weight = _dot(grad, value, vector, *edges, weight.shape[1])
    return (to_weight, *_scatter(weight, grad, value, vector, *edges), None, None, None)


_dot.register_autograd(_dot_gradient, setup_context=_save)
_total.register_autograd(_total_gradient, setup_context=_save)
