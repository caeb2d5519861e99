"""What the Lightning modules of all tasks share: optimiser, ranks, clipping, checkpoints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import pytorch_lightning as pl
import torch
from torch import nn
from torch.optim import Optimizer

from kgscale.batch import SubgraphBatch
from kgscale.errors import ScoreError
from kgscale.graph.adjacency import Adjacency
from kgscale.inference.embed import Embedder, Features, no_features
from kgscale.losses import Scalar
from kgscale.models.link import LinkModel
from kgscale.models.node import NodeModel
from kgscale.models.registry import Model
from kgscale.training.distributed import exchange_rows

OptimizerFactory = Callable[..., Optimizer]
_CHECK_EVERY: Final = 50
"""Steps between looks at the loss on an accelerator."""


class GraphModule(pl.LightningModule, ABC):
    """Trains a model on the batches of a strategy.

    Args:
        graph: train edges, the only ones that carry messages, also in validation.
        features: given features of entities, for validation.
        memory: bytes for what validation keeps at a time.
    """

    uses_all_parameters: ClassVar[bool]
    """Whether every step's loss reaches all of the model, relation vectors too."""

    def __init__(
        self,
        *,
        model: Model,
        optimizer: OptimizerFactory,
        graph: Adjacency,
        features: Features = no_features,
        memory: int = 1 << 28,
    ) -> None:
        super().__init__()
        self.model, self._factory = model, optimizer
        self.graph, self.features, self.memory = graph, features, memory
        # Tables exchange the rows a step touched (exchange_rows), not their whole gradient.
        tables = {id(table) for table in model.tables()}
        self._ddp_params_and_buffers_to_ignore = [
            name for name, parameter in self.named_parameters() if id(parameter) in tables
        ]
        self._accumulated = 0
        self.epoch_loss = EpochLoss()

    @property
    @abstractmethod
    def monitor(self) -> str:
        """The validation metric that chooses the checkpoint; higher is better."""

    @property
    @abstractmethod
    def has_validation(self) -> bool:
        """Whether there is anything to choose a checkpoint by."""

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """The metrics of validation, the same on every rank."""

    @abstractmethod
    def loss_of(self, batch: SubgraphBatch) -> tuple[Scalar, int]:
        """This rank's part of a step's mean loss, and how many questions' mean that is."""

    def set_score_dtype(self, dtype: torch.dtype) -> None:
        """The type of score products in training, where a task has any."""

    def training_step(self, batch: SubgraphBatch, batch_index: int) -> torch.Tensor:
        loss, count = self.loss_of(batch)
        # Losses of the ranks add up, while DDP takes the mean of their gradients, and logging
        # that of their values.
        loss = loss * self.trainer.world_size
        self._check_loss(loss.detach(), batch_index)
        self.epoch_loss.add(loss.detach(), count)
        self._accumulated += 1
        # Lightning divides by what an epoch's last, shorter accumulation doesn't reach.
        return loss * self.trainer.accumulate_grad_batches

    def validation_step(self, shard: Any, batch_index: int) -> None:
        for name, value in self.validate().items():
            self.log(f"valid/{name}", value, batch_size=1, rank_zero_only=False)

    def embedder(self) -> Embedder:
        """Vectors of the model of now, from the whole train graph."""
        assert isinstance(self.model, LinkModel | NodeModel)
        return Embedder(
            model=self.model, graph=self.graph, memory=self.memory, features=self.features
        )

    def configure_optimizers(self) -> Optimizer:
        tables, vectors = self.model.tables(), self.model.vectors()
        special = {id(parameter) for parameter in tables + vectors}
        weights = [p for p in self.model.parameters() if id(p) not in special]
        optimizer = self._factory(tables=tables, vectors=vectors, weights=weights)
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])  # what a decay begins with, however often
        return optimizer

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Make the gradient the mean over accumulated steps, of which each is the ranks' sum."""
        for table in self.model.tables():
            if table.grad is not None:
                table.grad = exchange_rows(table.grad)
        if self._accumulated > 1:
            scale_gradients(self.model, 1 / self._accumulated)
        self._accumulated = 0

    def _check_loss(self, loss: torch.Tensor, batch_index: int) -> None:
        # What has diverged stays so; to look at every step would make an accelerator wait.
        rarely = loss.device.type != "cpu" and batch_index % _CHECK_EVERY
        if not rarely and not torch.isfinite(loss):
            raise ScoreError(
                f"the loss is {loss.item()} in epoch {self.current_epoch + 1}, step"
                f" {batch_index + 1}: lower optimizer.lr or set trainer.clip"
            )

    def on_train_epoch_start(self) -> None:
        self.epoch_loss = EpochLoss()

    def on_train_epoch_end(self) -> None:
        # Not step by step: an epoch may have been begun by another process.
        self.log(
            "train/loss",
            self.epoch_loss.mean,
            sync_dist=self.trainer.world_size > 1,
            batch_size=self.epoch_loss.count,
        )

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.epoch_loss = EpochLoss(*checkpoint["epoch_loss"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["epoch_loss"] = self.epoch_loss.state()
        checkpoint["metrics"] = {
            name.removeprefix("valid/"): float(value)
            for name, value in self.trainer.callback_metrics.items()
            if name.startswith("valid/")
        }

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        if gradient_clip_val:
            clip_gradients(self.model, float(gradient_clip_val))

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        return batch.to(device, non_blocking=True) if isinstance(batch, SubgraphBatch) else batch


@dataclass
class EpochLoss:
    """The mean loss of an epoch's questions so far."""

    sum: float | torch.Tensor = 0.0
    count: int = 0

    def add(self, loss: torch.Tensor, count: int) -> None:
        self.sum, self.count = self.sum + loss * count, self.count + count

    @property
    def mean(self) -> float | torch.Tensor:
        return self.sum / max(1, self.count)

    def state(self) -> tuple[float, int]:
        return float(self.sum), self.count


def clip_gradients(model: nn.Module, limit: float) -> None:
    """Scale all gradients so that their joint 2-norm is at most ``limit``.

    torch's own function has no kernel for sparse gradients.
    """
    norm = torch.stack([part.square().sum() for part in _gradients(model)]).sum().sqrt()
    scale = (limit / (norm + 1e-6)).clamp(max=1.0)
    for part in _gradients(model):
        part.mul_(scale)


def scale_gradients(model: nn.Module, factor: float) -> None:
    for part in _gradients(model):
        part.mul_(factor)


def _gradients(model: nn.Module) -> Iterator[torch.Tensor]:
    """What there is of each gradient; a sparse one must be coalesced."""
    for parameter in model.parameters():
        if parameter.grad is not None:
            yield parameter.grad.values() if parameter.grad.is_sparse else parameter.grad
