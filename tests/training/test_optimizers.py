"""One optimiser for tables and the rest."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kgscale.errors import ConfigError
from kgscale.training.optimizers import Method, VectorOptimizer, gradient_rows

ROWS, DIM = 9, 4


def parameters() -> tuple[nn.Parameter, nn.Parameter, nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    table, vector, weight = (
        nn.Parameter(torch.randn(rows, DIM, generator=generator)) for rows in (ROWS, 3, 2)
    )
    return table, vector, weight


def optimizer(method: Method, *given: nn.Parameter) -> VectorOptimizer:
    table, vector, weight = given
    return VectorOptimizer(
        tables=[table], vectors=[vector], weights=[weight], method=method, lr=0.1, weight_lr=0.01
    )


def sparse(ids: list[int], rows: Tensor) -> Tensor:
    return torch.sparse_coo_tensor(torch.tensor([ids]), rows, (ROWS, DIM), check_invariants=True)


def set_gradients(given: tuple[nn.Parameter, ...], ids: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(len(ids), DIM, generator=generator)
    given[0].grad = sparse(ids, rows)
    for parameter in given[1:]:
        parameter.grad = torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize("method", ["adagrad", "adam"])
def test_with_all_rows_touched_it_is_torchs_own(method: Method) -> None:
    ours, theirs = parameters(), parameters()
    step = optimizer(method, *ours)
    dense: list[Any] = [torch.optim.Adagrad, torch.optim.Adam]
    kind = dense[method == "adam"]
    peers = [kind(theirs[:2], lr=0.1), torch.optim.Adam(theirs[2:], lr=0.01)]
    for seed in range(4):
        set_gradients(ours, list(range(ROWS)), seed)
        for mine, other in zip(ours, theirs, strict=True):
            assert mine.grad is not None
            other.grad = mine.grad.to_dense()
        step.step()
        for peer in peers:
            peer.step()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["adagrad", "adam"])
def test_a_step_touches_only_the_given_rows(method: Method) -> None:
    given = parameters()
    step, before = optimizer(method, *given), given[0].detach().clone()
    set_gradients(given, [5, 2, 5], seed=1)
    step.step()
    changed = (given[0].detach() != before).any(dim=1)
    assert changed.nonzero().flatten().tolist() == [2, 5]


@pytest.mark.parametrize("method", ["adagrad", "adam"])
def test_state_round_trip(method: Method) -> None:
    """A second optimiser with the first one's state takes the same steps, to the bit."""
    one = parameters()
    first = optimizer(method, *one)
    set_gradients(one, [0, 3], seed=1)
    first.step()
    other = tuple(nn.Parameter(p.detach().clone()) for p in one)
    second = optimizer(method, *other)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for given, step in ((one, first), (other, second)):
        set_gradients(given, [3, 4], seed=2)
        step.step()
    for mine, theirs in zip(one, other, strict=True):
        assert torch.equal(mine, theirs)


def test_a_schedule_reaches_every_parameter() -> None:
    """Also after a state was loaded, which gives the dense optimisers new groups."""
    given = parameters()
    step = optimizer("adagrad", *given)
    step.load_state_dict(copy.deepcopy(step.state_dict()))
    for group in step.param_groups:
        group["lr"] = 0.0
    before = [p.detach().clone() for p in given]
    set_gradients(given, [1], seed=0)
    step.step()
    for was, now in zip(before, given, strict=True):
        assert torch.equal(was, now)


def test_gradient_rows_sums_duplicates() -> None:
    grad = sparse([4, 1, 4], torch.ones(3, DIM))
    ids, rows = gradient_rows(grad)
    assert ids.tolist() == [1, 4]
    assert rows.tolist() == [[1] * DIM, [2] * DIM]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lr": 0.0}, r"optimizer\.lr"),
        ({"weight_lr": -1.0}, "weight_lr"),
        ({"method": "sgd"}, "sgd"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], words: str) -> None:
    table, vector, weight = parameters()
    given = {"method": "adam", "lr": 0.1, "weight_lr": 0.1, **settings}
    with pytest.raises(Exception, match=words) as caught:
        VectorOptimizer(tables=[table], vectors=[vector], weights=[weight], **given)
    assert isinstance(caught.value, ConfigError) or "method" in settings  # the hook may be first
