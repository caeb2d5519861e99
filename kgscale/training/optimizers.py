"""One optimiser for two kinds of parameters: tables of rows, and everything else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal, get_args

import torch
from torch import Tensor, nn
from torch.optim import Adagrad, Adam, Optimizer

from kgscale.errors import ConfigError, DataError
from kgscale.kernels.rows import rowwise_adagrad_, rowwise_adam_, sum_duplicates

Method = Literal["adagrad", "adam"]
_BETAS = (0.9, 0.999)
_EPS = 1e-10


class VectorOptimizer(Optimizer):
    """Row-wise Adagrad or Adam for tables, dense Adagrad or Adam for the rest.

    A table's gradient is sparse and its step touches the rows in it and no others: rows that a
    batch didn't read keep their vector and their state (lazy Adam).

    Args:
        tables: parameters with sparse gradients, ``[rows, dim]``.
        vectors: dense parameters that follow the tables' method and rate (relation vectors).
        weights: the other dense parameters, always by Adam.
        method: for tables and vectors.
        lr: learning rate of tables and vectors.
        weight_lr: learning rate of weights.
        weight_decay: times each weight, added to its gradient (an L2 penalty).
    """

    def __init__(
        self,
        *,
        tables: Iterable[nn.Parameter],
        vectors: Iterable[nn.Parameter],
        weights: Iterable[nn.Parameter],
        method: Method,
        lr: float,
        weight_lr: float,
        weight_decay: float = 0.0,
    ) -> None:
        if method not in get_args(Method):
            raise ConfigError(f"optimizer.method is adagrad or adam, got {method!r}")
        for name, rate in (("lr", lr), ("weight_lr", weight_lr)):
            if not rate > 0:
                raise ConfigError(f"optimizer.{name} needs a positive number, got {rate}")
        if not weight_decay >= 0:
            raise ConfigError(
                f"optimizer.weight_decay needs a number of at least 0, got {weight_decay}"
            )
        self.method = method
        super().__init__([{"params": list(tables), "lr": lr}], {"lr": lr})
        dense: type[Optimizer] = Adagrad if method == "adagrad" else Adam
        given = ((dense, list(vectors), lr, 0.0), (Adam, list(weights), weight_lr, weight_decay))
        self._dense = [
            kind(parameters, lr=rate, weight_decay=decay)  # type: ignore[call-arg]
            for kind, parameters, rate, decay in given
            if parameters
        ]
        self._share_groups()

    def _share_groups(self) -> None:
        """Show the dense optimisers' groups (the same objects), so that a schedule reaches all."""
        own = self.param_groups[:1]
        self.param_groups = own + [g for dense in self._dense for g in dense.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        group = self.param_groups[0]
        for table in group["params"]:
            if table.grad is not None:
                self._step_rows(table, group["lr"])
        for optimizer in self._dense:
            optimizer.step()
        return loss

    def _step_rows(self, table: nn.Parameter, lr: float) -> None:
        assert table.grad is not None
        ids, grad = gradient_rows(table.grad)
        state = self.state[table]
        if self.method == "adagrad":
            if not state:
                state["sum"] = torch.zeros_like(table)
            rowwise_adagrad_(table.data, state["sum"], ids, grad, lr=lr, eps=_EPS)
            return
        if not state:
            state["first"], state["second"] = torch.zeros_like(table), torch.zeros_like(table)
            state["step"] = torch.zeros(table.shape[0], dtype=torch.int32, device=table.device)
        rowwise_adam_(
            table.data,
            state["first"],
            state["second"],
            state["step"],
            ids,
            grad,
            lr=lr,
            betas=_BETAS,
            eps=1e-8,
        )

    def state_dict(self) -> dict[str, Any]:
        tables = [dict(self.state[table]) for table in self.param_groups[0]["params"]]
        return {
            "tables": tables,
            "lr": self.param_groups[0]["lr"],
            "dense": [optimizer.state_dict() for optimizer in self._dense],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what :meth:`state_dict` gave.

        Raises:
            DataError: it is that of other parameters, or none.
        """
        try:
            self._check(state_dict)
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise DataError(
                f"the optimiser's state is none of this model's ({error}); train anew"
            ) from error
        group = self.param_groups[0]
        group["lr"] = state_dict["lr"]
        for table, state in zip(group["params"], state_dict["tables"], strict=True):
            self.state[table] = dict(state)
        for optimizer, state in zip(self._dense, state_dict["dense"], strict=True):
            optimizer.load_state_dict(state)
        self._share_groups()

    def _check(self, state: dict[str, Any]) -> None:
        table_state = _STATE["rows"][self.method]
        _is_number(state["lr"])
        tables = self.param_groups[0]["params"]
        for table, kept in zip(tables, state["tables"], strict=True):
            _check_state(table, kept, table_state)
        for optimizer, kept in zip(self._dense, state["dense"], strict=True):
            own, numbers = optimizer.param_groups, optimizer.state_dict()["param_groups"]
            for group, other in zip(numbers, kept["param_groups"], strict=True):
                if list(map(repr, group["params"])) != list(map(repr, other["params"])):
                    raise ValueError(f"parameters {other['params']!r:.60}")
            for group, other in zip(own, kept["param_groups"], strict=True):
                # All but the rate as they were set.
                for name in group.keys() - {"params", "lr", "initial_lr"}:
                    if other[name] != group[name] or type(other[name]) is not type(group[name]):
                        raise TypeError(f"{name} is {other[name]!r:.60}, not {group[name]!r}")
                _is_number(other["lr"])
                _is_number(other.get("initial_lr", 1.0))
                if more := other.keys() - group.keys() - {"initial_lr"}:
                    raise ValueError(f"a group with {min(more)}")
            parameters = [parameter for group in own for parameter in group["params"]]
            names = _STATE["dense"][type(optimizer).__name__.lower()]
            for number, one in kept["state"].items():
                if type(number) is not int or not 0 <= number < len(parameters) or not one:
                    raise ValueError(f"a parameter {number!r:.60}, or nothing of it")
                _check_state(parameters[number], one, names)


_STATE: Final[dict[str, dict[str, dict[str, Callable[[Tensor], tuple[int, ...]]]]]] = {
    "rows": {
        "adagrad": {"sum": lambda x: tuple(x.shape)},
        "adam": {
            "first": lambda x: tuple(x.shape),
            "second": lambda x: tuple(x.shape),
            "step": lambda x: (x.shape[0],),
        },
    },
    "dense": {
        "adagrad": {"sum": lambda x: tuple(x.shape), "step": lambda x: ()},
        "adam": {
            "exp_avg": lambda x: tuple(x.shape),
            "exp_avg_sq": lambda x: tuple(x.shape),
            "step": lambda x: (),
        },
    },
}
"""What is kept for a parameter, and the sizes that it has."""


def _check_state(
    parameter: Tensor, kept: dict[str, Any], sizes: dict[str, Callable[[Tensor], tuple[int, ...]]]
) -> None:
    """Nothing, or all that belongs to a parameter.

    Raises:
        ValueError, TypeError, AttributeError: something else.
    """
    if kept and kept.keys() != sizes.keys():
        raise ValueError(f"it has {', '.join(sorted(map(str, kept)))}")
    for name, value in kept.items():
        wanted = sizes[name](parameter)
        if tuple(value.shape) != wanted:
            raise ValueError(f"{name} of {tuple(value.shape)}, not {wanted}")
        number = torch.int32 if name == "step" and wanted else parameter.dtype
        if value.dtype != number and wanted:
            raise TypeError(f"{name} of {value.dtype}")


def _is_number(value: Any) -> None:
    if type(value) not in (int, float) or not 0 <= value < math.inf:
        raise TypeError(f"a rate is {value!r:.60}")


def gradient_rows(grad: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct row ids and their gradients, of a sparse or a dense gradient."""
    if not grad.is_sparse:
        return torch.arange(grad.shape[0], device=grad.device), grad
    if grad.is_coalesced():
        return grad.indices()[0], grad.values()
    return sum_duplicates(grad._indices()[0], grad._values())
