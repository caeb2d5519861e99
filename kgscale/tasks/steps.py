"""Training steps one by one, without a Trainer, and what their batches hold."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import fields, replace
from types import SimpleNamespace

import torch

from kgscale.batch import Movable, SubgraphBatch
from kgscale.sampling.base import Strategy
from kgscale.tasks.parts import GraphParts
from kgscale.tasks.settings import RunSettings
from kgscale.tasks.start import TASKS
from kgscale.training.fit import score_dtype
from kgscale.training.module import GraphModule, clip_gradients


class Steps:
    """Training steps by hand, in the order in which Lightning does their parts."""

    def __init__(self, settings: RunSettings, parts: GraphParts) -> None:
        self.clip, self.parts = settings.trainer.clip, parts
        self.module, self.strategy, _ = TASKS[settings.task.name].assemble(settings, parts)
        self.module.set_score_dtype(score_dtype(settings.trainer, self.module))
        _stand_alone(self.module)
        self.optimizer = self.module.configure_optimizers()
        self.index = _indices(self.strategy)

    def batch(self) -> SubgraphBatch:
        epoch, index = next(self.index)
        batch = self.strategy.batch(epoch, index, rank=0, world_size=1)
        if batch.features:
            return batch
        return replace(batch, features=self.parts.features(batch.entity_id))

    def step(self, batch: SubgraphBatch) -> None:
        loss = self.module.training_step(batch, 0)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.module.on_before_optimizer_step(self.optimizer)
        if self.clip:
            clip_gradients(self.module.model, self.clip)
        self.optimizer.step()

    @property
    def gradient_bytes(self) -> int:
        """Of the last step's gradients, which live until the next one's are computed."""
        grads = [p.grad for p in self.module.parameters() if p.grad is not None]
        return sum(map(tensor_bytes, grads))


def _stand_alone(module: GraphModule) -> None:
    """As if a Trainer were there, of a single process."""
    module._trainer = SimpleNamespace(  # type: ignore[assignment]
        world_size=1, global_rank=0, accumulate_grad_batches=1, global_step=0, current_epoch=0
    )
    module.log = lambda *_, **__: None  # type: ignore[method-assign]


def _indices(strategy: Strategy) -> Iterator[tuple[int, int]]:
    for epoch in itertools.count():
        for index in range(strategy.num_batches(world_size=1)):
            yield epoch, index


def tensor_bytes(tensor: torch.Tensor) -> int:
    if tensor.is_sparse:
        return tensor_bytes(tensor._indices()) + tensor_bytes(tensor._values())
    return tensor.numel() * tensor.element_size()


def batch_bytes(part: Movable) -> int:
    """Of all tensors of a batch."""
    total = 0
    for field in fields(part):  # type: ignore[arg-type]
        value = getattr(part, field.name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, torch.Tensor):
                total += tensor_bytes(one)
            elif isinstance(one, Movable):
                total += batch_bytes(one)
    return total
