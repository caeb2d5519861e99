"""One optimiser for two kinds of parameters: tables of rows, and everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.optim import Adagrad, Adam, Optimizer

from kgscale.errors import ConfigError
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
        group = self.param_groups[0]
        group["lr"] = state_dict["lr"]
        for table, state in zip(group["params"], state_dict["tables"], strict=True):
            self.state[table] = dict(state)
        for optimizer, state in zip(self._dense, state_dict["dense"], strict=True):
            optimizer.load_state_dict(state)
        self._share_groups()


def gradient_rows(grad: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct row ids and their gradients, of a sparse or a dense gradient."""
    if not grad.is_sparse:
        return torch.arange(grad.shape[0], device=grad.device), grad
    if grad.is_coalesced():
        return grad.indices()[0], grad.values()
    return sum_duplicates(grad._indices()[0], grad._values())
