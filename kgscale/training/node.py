"""Training for node classification: labelled entities in, their classes out."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from kgscale.batch import NodeQueries, SubgraphBatch
from kgscale.inference.classify import class_metrics, logits_of
from kgscale.losses import Scalar, node_bce, node_cross_entropy, node_gaussian, number_and_scale
from kgscale.metrics.regression import number_metrics
from kgscale.models.node import NodeModel
from kgscale.training.module import GraphModule

Numbered = tuple[Int64[Tensor, " node"], Float[Tensor, " node"]]
Labelled = tuple[Int64[Tensor, " node"], Int64[Tensor, " node"] | Float[Tensor, "node class"]]
"""Entities, and the class of each, or a row of zeros and ones for each."""


class NodeClassification(GraphModule):
    """Trains a :class:`NodeModel` by cross entropy, binary where entities have several classes.

    Args:
        valid: entities and labels that choose the checkpoint: by accuracy, or by micro F1 where
            entities have several classes.
        tasks: whether classes are tasks of their own, whose mean ROC-AUC chooses it instead.
        more: as for :class:`GraphModule`.
    """

    model: NodeModel
    uses_all_parameters = False

    def __init__(self, *, valid: Labelled, tasks: bool = False, **more: Any) -> None:
        super().__init__(**more)
        self.valid, self.tasks = valid, tasks

    @property
    def monitor(self) -> str:
        if self.valid[1].ndim == 1:
            return "accuracy"
        return "rocauc" if self.tasks else "micro_f1"

    @property
    def has_validation(self) -> bool:
        return len(self.valid[0]) > 0

    def loss_of(self, batch: SubgraphBatch) -> tuple[Scalar, int]:
        query = batch.query
        assert isinstance(query, NodeQueries)
        loss = node_cross_entropy if query.label.ndim == 1 else node_bce
        steps = query.step_queries
        return loss(self.model(batch), query.label, step_queries=steps), steps

    def validate(self) -> dict[str, float]:
        node, label = self.valid
        vectors = self.embedder().some(node)
        metrics = class_metrics(torch.cat(list(logits_of(vectors, self.model.head))), label)
        return {name: value for name, value in metrics.items() if name != "nodes"}


class NodeRegression(GraphModule):
    """Trains a :class:`NodeModel` whose head gives the mean and the log deviation of a number.

    Args:
        valid: entities and the numbers that choose the checkpoint, by R², as they are learned.
        more: as for :class:`GraphModule`.
    """

    model: NodeModel
    uses_all_parameters = False

    def __init__(self, *, valid: Numbered, **more: Any) -> None:
        super().__init__(**more)
        self.valid = valid

    @property
    def monitor(self) -> str:
        return "r2"

    @property
    def has_validation(self) -> bool:
        return len(self.valid[0]) > 0

    def loss_of(self, batch: SubgraphBatch) -> tuple[Scalar, int]:
        query = batch.query
        assert isinstance(query, NodeQueries)
        steps = query.step_queries
        return node_gaussian(self.model(batch), query.label, step_queries=steps), steps

    def validate(self) -> dict[str, float]:
        node, number = self.valid
        outputs = list(logits_of(self.embedder().some(node), self.model.head))
        mean, _ = number_and_scale(torch.cat(outputs))
        metrics = number_metrics(mean.double(), number.double())
        return {name: value for name, value in metrics.items() if name != "nodes"}
