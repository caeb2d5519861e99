"""The Lightning module of link prediction: a step, a validation, an optimiser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytorch_lightning as pl
import torch
from torch import nn
from torch.optim import Optimizer

from kgscale.batch import LinkQueries, SubgraphBatch
from kgscale.errors import ScoreError
from kgscale.graph.adjacency import Adjacency
from kgscale.graph.known import KnownFacts
from kgscale.inference.embed import GraphVectors, embed_graph
from kgscale.inference.evaluate import evaluate, model_ranker
from kgscale.losses import Loss, n3_penalty
from kgscale.models.link import LinkModel
from kgscale.training.distributed import exchange_rows, sum_over_ranks
from kgscale.types import EntityVectors, RelationVectors, Triples, Vectors

OptimizerFactory = Callable[..., Optimizer]
_CHECK_EVERY: Final = 50
"""Steps between looks at the loss on an accelerator."""


class LinkPrediction(pl.LightningModule):
    """Trains a :class:`LinkModel`; validates by full filtered ranking.

    Args:
        graph: train edges, the only ones that carry messages, also in validation.
        known: all facts, left out of the rivals of a true tail.
        valid: triples that choose the checkpoint.
        n3: weight of the nuclear 3-norm of the vectors in each asked triple (Lacroix et al.
            2018), 0 for none.
        memory: bytes for scores in validation.
    """

    def __init__(
        self,
        *,
        model: LinkModel,
        loss: Loss,
        optimizer: OptimizerFactory,
        graph: Adjacency,
        known: KnownFacts,
        valid: Triples,
        n3: float = 0.0,
        memory: int = 1 << 28,
    ) -> None:
        super().__init__()
        self.model, self.loss, self._factory, self.n3 = model, loss, optimizer, n3
        self.graph, self.known, self.valid, self.memory = graph, known, valid, memory
        # Tables exchange the rows a step touched (exchange_rows), not their whole gradient.
        self._ddp_params_and_buffers_to_ignore = ["model.entity.weight"]
        self._accumulated = 0

    def training_step(self, batch: SubgraphBatch, batch_index: int) -> torch.Tensor:
        model, query = self.model, batch.query
        assert isinstance(query, LinkQueries)
        entity, relation = model.encode(batch)
        loss = self.loss(
            model.question(entity, relation, query),
            entity[: query.num_candidates],
            query,
            compare=model.compare,
            product=model.score_dtype if model.decoder.is_product else None,
        )
        if self.n3:
            loss = loss + self.n3 * self._n3(entity, relation, query)
        # Losses of the ranks add up, while DDP takes the mean of their gradients, and logging
        # that of their values.
        loss = loss * self.trainer.world_size
        self._last_loss = loss.detach()
        self.log(
            "train/loss",
            self._last_loss,
            on_step=False,
            on_epoch=True,
            sync_dist=self.trainer.world_size > 1,
            batch_size=query.step_answers,
        )
        self._accumulated += 1
        # Lightning divides by what an epoch's last, shorter accumulation doesn't reach.
        return loss * self.trainer.accumulate_grad_batches

    def _n3(
        self, entity: EntityVectors, relation: RelationVectors, query: LinkQueries
    ) -> torch.Tensor:
        def cube(rows: Vectors) -> torch.Tensor:
            return self.model.decoder.penalty_modulus(rows).pow(3).sum(dim=-1)

        question = cube(entity[query.head]) + cube(relation[query.relation])
        return n3_penalty(question, cube(entity[query.answer]), query)

    def validation_step(self, shard: Any, batch_index: int) -> None:
        rank, world_size = self.trainer.global_rank, self.trainer.world_size
        report = evaluate(self.ranker(), self.valid, self.graph, shard=rank, num_shards=world_size)
        metrics = sum_over_ranks(report).overall()
        for name in ("mrr", "hits@1", "hits@3", "hits@10"):
            self.log(f"valid/{name}", metrics[name], batch_size=1, rank_zero_only=False)

    def ranker(self) -> Any:
        vectors = self.vectors()
        return model_ranker(vectors, self.model.decoder, self.known, memory=self.memory)

    def vectors(self) -> GraphVectors:
        return embed_graph(self.model, self.graph, memory=self.memory)

    def configure_optimizers(self) -> Optimizer:
        tables = [self.model.entity.weight]
        vectors = [self.model.encoder.relation]
        special = {id(parameter) for parameter in tables + vectors}
        weights = [p for p in self.model.parameters() if id(p) not in special]
        return self._factory(tables=tables, vectors=vectors, weights=weights)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Make the gradient the mean over accumulated steps, of which each is the ranks' sum."""
        self._check_loss()
        table = self.model.entity.weight
        if table.grad is not None:
            table.grad = exchange_rows(table.grad)
        if self._accumulated > 1:
            scale_gradients(self.model, 1 / self._accumulated)
        self._accumulated = 0

    def _check_loss(self) -> None:
        # What has diverged stays so; to look at every step would make an accelerator wait.
        rarely = self._last_loss.device.type != "cpu" and self.global_step % _CHECK_EVERY
        if not rarely and not torch.isfinite(self._last_loss):
            raise ScoreError(
                f"the loss is {self._last_loss.item()} in epoch {self.current_epoch + 1}, step"
                f" {self.global_step + 1}: lower optimizer.lr or set trainer.clip"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
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
