"""Classes of entities, from their vectors in the whole graph."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from kgscale.data.splits import SPLITS
from kgscale.graph.labels import UNLABELLED, NodeLabels
from kgscale.graph.store import GraphStore
from kgscale.inference.calibrate import Listed, class_odds, list_classes, probabilities
from kgscale.inference.embed import Embedder
from kgscale.kernels.scores import padded
from kgscale.metrics.calibration import Calibration
from kgscale.metrics.classification import (
    average_precision,
    multi_label_sums,
    single_label_sums,
    summarize_classes,
)
from kgscale.metrics.given import mean_roc_auc
from kgscale.models.heads import ClassificationHead
from kgscale.types import EntityVectors

PIECE: Final = 1 << 16
"""Entities of a piece of a file."""
ROWS: Final = 8192
"""Entities of a product; fixed, since a product of another height may round differently."""


@torch.no_grad()
def logits_of(
    vectors: EntityVectors, head: ClassificationHead
) -> Iterator[Float[Tensor, "row class"]]:
    """Logits of entities by their vectors, ``ROWS`` at a time."""
    training, device = head.training, next(head.parameters()).device
    head.eval()
    for part in torch.split(vectors, ROWS):
        yield head(padded(part.to(device), ROWS)).cpu()[: len(part)]
    head.train(training)


def class_metrics(
    logits: Float[Tensor, "node class"],
    label: Int64[Tensor, " node"] | Float[Tensor, "node class"],
) -> dict[str, float]:
    """Accuracy, micro and macro F1; with several classes, average precision and ROC-AUC too."""
    if not len(logits):
        return {}
    if label.ndim == 1:
        return summarize_classes(single_label_sums(logits, label))
    found = summarize_classes(multi_label_sums(logits, label))
    more = {
        "average_precision": average_precision(logits, label),
        "rocauc": mean_roc_auc(logits, label),
    }
    return {**found, **{name: value for name, value in more.items() if value is not None}}


def majority_logits(
    label: Int64[Tensor, " node"] | Float[Tensor, "node class"], *, num_classes: int
) -> Float[Tensor, "1 class"]:
    """The log odds of each class among train entities: what to say of whoever is unknown."""
    if label.ndim == 1:
        share = torch.bincount(label, minlength=num_classes).float() / max(1, len(label))
    else:
        share = label.mean(dim=0)
    return torch.logit(share, eps=1e-6)[None]


def entities_of(labels: NodeLabels, store: GraphStore) -> Int64[Tensor, " entity"]:
    """All entities of the storage types that have labels."""
    labelled = labels.indptr.diff() > 0
    ranges = [
        torch.arange(kind.start, kind.stop)
        for kind in store.types
        if labelled[kind.start : kind.stop].any()
    ]
    return torch.cat(ranges)


def splits_of(labels: NodeLabels, node: Int64[Tensor, " node"]) -> list[str]:
    """The split of each, or nothing."""
    return [(*SPLITS, "")[min(code, len(SPLITS))] for code in labels.split[node].tolist()]


class Labeller:
    """Classes of entities by name, each with its probability.

    Args:
        embedder: makes their vectors.
        labels: given ones, to mark what is known.
    """

    def __init__(
        self,
        embedder: Embedder,
        head: ClassificationHead,
        labels: NodeLabels,
        store: GraphStore,
    ) -> None:
        self.embedder, self.head, self.labels, self.store = embedder, head, labels, store
        self.calibration: Calibration | None = None
        """From log odds to probabilities, where there is one."""
        self._split: dict[str, Float[Tensor, "node class"]] = {}

    @cached_property
    def entities(self) -> Int64[Tensor, " entity"]:
        return entities_of(self.labels, self.store)

    @torch.no_grad()
    def logits(self, node: Int64[Tensor, " node"]) -> Float[Tensor, "node class"]:
        parts = logits_of(self.embedder.some(node), self.head)
        return torch.cat([torch.empty(0, len(self.labels.names)), *parts])

    def of_split(self, split: str) -> Float[Tensor, "node class"]:
        """Logits of the labelled entities of a split, which several measures look at."""
        if split not in self._split:
            self._split[split] = self.logits(self.labels.of(split)[0])
        return self._split[split]

    def evaluate(self, split: str) -> dict[str, float]:
        """Of a split, see :func:`class_metrics`."""
        return class_metrics(self.of_split(split), self.labels.of(split)[1])

    def probabilities(self, node: Int64[Tensor, " node"]) -> Float[Tensor, "node class"]:
        return self._scores(self.logits(node))

    def _scores(self, logits: Float[Tensor, "node class"]) -> Float[Tensor, "node class"]:
        return logits.sigmoid() if self.labels.multi else logits.softmax(dim=1)

    def calibrated(self, logits: Float[Tensor, "node class"]) -> Float[Tensor, "node class"]:
        """Probabilities by the map that was fitted, or as scored where there is none."""
        if self.calibration is None:
            return self._scores(logits)
        odds = logits if self.labels.multi else class_odds(logits)
        return probabilities(odds, self.calibration, one=not self.labels.multi)

    def listed(self, split: str) -> Listed:
        return list_classes(self.of_split(split), self.labels.of(split)[1])

    def abstention(self, split: str, least: float) -> dict[str, float]:
        """What share of a split's entities has a best class of at least this probability, and for
        what share of them it is right."""
        logits, label = self.of_split(split), self.labels.of(split)[1]
        best = self._scores(logits).argmax(dim=1, keepdim=True)
        answered = self.calibrated(logits).gather(1, best)[:, 0] >= least
        right = best[:, 0] == label if label.ndim == 1 else label.gather(1, best)[:, 0] > 0.5
        found = {"least": least, "answered": float(answered.float().mean())}
        return (
            {**found, "right": float(right[answered].float().mean())} if answered.any() else found
        )

    def every_answer(self) -> Iterator[dict[str, list[Any]]]:
        """Columns of the best class of every entity that may have one, some rows at a time."""
        _ = self.embedder.every  # once for all pieces
        for part in torch.split(self.entities, PIECE):
            yield self.answers(part)

    def answers(self, node: Int64[Tensor, " node"], *, k: int = 1) -> dict[str, list[Any]]:
        """Columns of the ``k`` best classes of each entity, best first."""
        logits = self.logits(node)
        score, label = self._scores(logits).topk(min(k, len(self.labels.names)), dim=1)
        probability = self.calibrated(logits).gather(1, label).flatten().tolist()
        entity = node.repeat_interleave(label.shape[1])
        start, stop = self.labels.indptr[node].tolist(), self.labels.indptr[node + 1].tolist()
        names = self.labels.names
        given = [
            [names[at] for at in self.labels.label_id[low:high].tolist()]
            for low, high in zip(start, stop, strict=True)
        ]
        split = splits_of(self.labels, node)
        each = range(label.shape[1])
        return {
            "entity": self.store.entity_keys(entity),
            "label": [names[at] for at in label.flatten().tolist()],
            "score": score.flatten().tolist(),
            "rank": [rank + 1 for _ in given for rank in each],
            "probability": probability if self.calibration else [None] * len(probability),
            "given": [" | ".join(labels) for labels in given for _ in each],
            "split": [name for name in split for _ in each],
            "entity_name": self.store.entity_names(entity),
        }

    def surest(self, count: int) -> dict[str, list[Any]]:
        """Columns of the surest answers for entities without a label, or else of test."""
        split = self.labels.split[self.entities]
        for code in (UNLABELLED, SPLITS.index("test")):
            node = self.entities[split == code]
            if len(node):
                _ = self.embedder.every  # once for all pieces
                best = [self.probabilities(part).amax(dim=1) for part in torch.split(node, ROWS)]
                order = torch.cat(best).argsort(descending=True, stable=True)
                return self.answers(node[order[:count]])
        return self.answers(self.entities[:0])
