"""All tiers of aggregation agree in values and gradients, whatever the threads."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kgscale.kernels import threads
from kgscale.kernels.aggregate import (
    aggregate_basis,
    aggregate_compose,
    basis_linear,
    reference,
    relation_mean_weight,
    row_mean_weight,
    torch_tier,
)
from tests.kernels.strategies import SEEDS, Edges, random_edges, sizes

COMPOSE = ("multiply", "subtract", "rotate")
Layer = Callable[..., Tensor]


def results(
    layer: Layer, parameters: list[Tensor], edges: Edges, **settings: object
) -> list[Tensor]:
    """The output and the gradients of a fixed random functional of it."""
    leaves = [parameter.detach().requires_grad_() for parameter in parameters]
    out = layer(*leaves, *edges, **settings)
    out = out + 0 * sum(leaf.sum() for leaf in leaves)  # a gradient even without edges
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    weight = weight.to(out.device, out.dtype)
    return [out.detach(), *torch.autograd.grad(out, leaves, weight)]


def assert_tiers_agree(
    layer: Layer, oracle: Layer, parameters: list[Tensor], edges: Edges, **settings: object
) -> None:
    """float32 runs the numba tier, float64 the torch tier."""
    double = [parameter.double() for parameter in parameters]
    wide = Edges(edges.weight.double(), edges.indptr, edges.source, edges.relation)
    expected = results(oracle, double, wide, **settings)
    for found, tolerance in (
        (results(layer, double, wide, **settings), 1e-10),
        (results(layer, parameters, edges, **settings), 1e-3),
    ):
        for ours, theirs in zip(found, expected, strict=True):
            right = theirs.to(ours.dtype)
            torch.testing.assert_close(ours, right, rtol=tolerance, atol=tolerance)


def linear_oracle(x: Tensor, coefficient: Tensor, basis: Tensor, *edges: Tensor) -> Tensor:
    z = reference.aggregate_basis(x, coefficient, *edges)
    return z.flatten(1) @ basis.flatten(0, 1)


@given(sizes(), st.integers(1, 70), st.integers(1, 3), SEEDS)
def test_basis(shape: tuple[int, int, int, int], dim: int, bases: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    edges = random_edges(*shape, generator)
    x = torch.randn(shape[1], dim, generator=generator)
    coefficient = torch.randn(shape[2], bases, generator=generator)
    basis = torch.randn(bases, dim, 3, generator=generator)
    assert_tiers_agree(aggregate_basis, reference.aggregate_basis, [x, coefficient], edges)
    assert_tiers_agree(basis_linear, linear_oracle, [x, coefficient, basis], edges)


@pytest.mark.parametrize("compose", COMPOSE)
@given(shape=sizes(), half=st.integers(1, 36), per_slot=st.integers(1, 5), seed=SEEDS)
def test_compose(
    shape: tuple[int, int, int, int], half: int, per_slot: int, seed: int, compose: str
) -> None:
    generator = torch.Generator().manual_seed(seed)
    edges = random_edges(*shape, generator)
    x = torch.randn(shape[1], 2 * half, generator=generator)
    vector = torch.randn(shape[2], 2 * half, generator=generator)
    settings = {"compose": compose, "relations_per_slot": per_slot}
    oracle = reference.aggregate_compose
    assert_tiers_agree(aggregate_compose, oracle, [x, vector], edges, **settings)


@given(sizes(), SEEDS)
def test_mean_weights(shape: tuple[int, int, int, int], seed: int) -> None:
    edges = random_edges(*shape, torch.Generator().manual_seed(seed))
    expected = reference.relation_mean_weight(edges.indptr, edges.relation)
    for found in (relation_mean_weight, torch_tier.relation_mean_weight):
        torch.testing.assert_close(found(edges.indptr, edges.relation, shape[2]), expected)
    torch.testing.assert_close(
        row_mean_weight(edges.indptr), reference.row_mean_weight(edges.indptr)
    )


def large() -> tuple[list[Tensor], Tensor, Tensor, Edges]:
    generator = torch.Generator().manual_seed(0)
    edges = random_edges(700, 600, 5, 4000, generator)
    x = torch.randn(600, 150, generator=generator)
    coefficient = torch.randn(5, 2, generator=generator)
    basis = torch.randn(2, 150, 20, generator=generator)
    return [x, coefficient, basis], coefficient, torch.randn(5, 150, generator=generator), edges


def every_layer() -> list[list[Tensor]]:
    parameters, _, vector, edges = large()
    found = [results(basis_linear, parameters, edges)]
    found.append(results(aggregate_basis, parameters[:2], edges))
    settings = {"relations_per_slot": 2}
    for compose in COMPOSE:
        vectors = [parameters[0], vector]
        found.append(results(aggregate_compose, vectors, edges, compose=compose, **settings))
    return found


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    before, found = threads.num_threads(), []
    try:
        for number in (1, 2, 3):
            threads.set_threads(number)
            found.append(every_layer())
    finally:
        threads.set_threads(before)
    for other in found[1:]:
        for ours, theirs in zip(found[0], other, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_chunks_of_edges_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters, _, vector, edges = large()
    for chunk in (1 << 24, 3000):
        monkeypatch.setattr(torch_tier, "MESSAGE_FLOATS", chunk)
        layers = (
            (aggregate_basis, reference.aggregate_basis, parameters[:2], {}),
            (
                aggregate_compose,
                reference.aggregate_compose,
                [parameters[0], vector],
                {"compose": "rotate", "relations_per_slot": 3},
            ),
        )
        for layer, oracle, of, settings in layers:
            few = Edges(edges.weight[:90], edges.indptr.clamp(max=90), *(e[:90] for e in edges[2:]))
            assert_tiers_agree(layer, oracle, of, few, **settings)


def test_torch_tier_runs_on_meta_tensors() -> None:
    parameters, _, vector, edges = large()
    meta = Edges(*(tensor.to("meta") for tensor in edges))
    settings = {"relations_per_slot": 2}
    layers: list[tuple[Layer, list[Tensor], dict[str, object]]] = [
        (basis_linear, parameters, {}),
        (aggregate_basis, parameters[:2], {}),
        *(
            (aggregate_compose, [parameters[0], vector], {"compose": compose, **settings})
            for compose in COMPOSE
        ),
    ]
    for layer, of, settings in layers:
        found = results(layer, [tensor.to("meta") for tensor in of], meta, **settings)
        here = results(layer, of, edges, **settings)
        assert [t.shape for t in found] == [t.shape for t in here]
        assert all(t.device.type == "meta" for t in found)


def test_unknown_composition_is_refused() -> None:
    parameters, _, vector, edges = large()
    with pytest.raises(ValueError, match="even number"):
        aggregate_compose(
            parameters[0][:, :5], vector[:, :5], *edges, compose="rotate", relations_per_slot=1
        )
