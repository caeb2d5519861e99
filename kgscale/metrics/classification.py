"""Metrics of node classification, with one class per node or several.

All but average precision come from sums that add up over batches and ranks. A node with one
class is given the class of its highest logit (the lower class if two are equal), one with several
every class whose logit is above 0, a probability of one half.
"""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from kgscale.errors import ScoreError

_COLUMNS: Final = 3

ClassSums = Float[Tensor, "class_plus_one 3"]
"""Per class the nodes that have it and are given it, that are given it, that have it. The last
row counts the nodes right in all classes, then all nodes twice."""


def empty_class_sums(num_classes: int) -> ClassSums:
    """Sums over no nodes."""
    return torch.zeros(num_classes + 1, _COLUMNS, dtype=torch.float64)


def single_label_sums(
    logits: Float[Tensor, "query class"], label: Int64[Tensor, " query"]
) -> ClassSums:
    """Sums where each node has one class."""
    given = _finite(logits).argmax(dim=1)
    classes = torch.arange(logits.shape[1], device=logits.device)
    return _sums(given[:, None] == classes, label[:, None] == classes)


def multi_label_sums(
    logits: Float[Tensor, "query class"], labels: Float[Tensor, "query class"]
) -> ClassSums:
    """Sums where each node has any number of classes, marked by 1."""
    return _sums(_finite(logits) > 0, labels > 0.5)


def _sums(given: Bool[Tensor, "query class"], has: Bool[Tensor, "query class"]) -> ClassSums:
    right = (given == has).all(dim=1).sum()
    nodes = torch.full_like(right, len(has))
    classes = [(given & has).sum(dim=0), given.sum(dim=0), has.sum(dim=0)]
    rows = torch.cat([torch.stack(classes, dim=1), torch.stack([right, nodes, nodes])[None]])
    return rows.double()


def summarize_classes(sums: ClassSums) -> dict[str, float]:
    """Accuracy, micro and macro F1; empty when there was no node.

    Accuracy is the share of nodes right in all classes. ``F1 = 2 right / (given + have)``: micro
    from the sums over classes (the accuracy again, where nodes have one class), macro the mean
    over the classes that any node has or is given. That is scikit-learn's ``f1_score`` with
    ``zero_division=0`` and, for several classes per node, the same classes as its ``labels``.
    """
    *classes, nodes = sums.unbind()
    if not nodes[1]:
        return {}
    table = torch.stack(classes)
    right, size = table[:, 0], table[:, 1] + table[:, 2]
    occurs = size > 0
    micro = 2 * right.sum() / size.sum().clamp(min=1)
    macro = (2 * right / size)[occurs].sum() / occurs.sum().clamp(min=1)
    return {
        "accuracy": float(nodes[0] / nodes[1]),
        "micro_f1": float(micro),
        "macro_f1": float(macro),
        "nodes": float(nodes[1]),
    }


def average_precision(
    scores: Float[Tensor, "query class"], labels: Float[Tensor, "query class"]
) -> float | None:
    """The mean over classes of ``sum_n (recall_n - recall_(n-1)) precision_n`` over thresholds.

    Exact, from the scores of all nodes: parts can't be added. Nodes of equal score pass a
    threshold together, as in scikit-learn's ``average_precision_score``. Classes without a
    positive node have none and don't count; None if there is no other.
    """
    columns = zip(_finite(scores).unbind(dim=1), (labels > 0.5).unbind(dim=1), strict=True)
    found = [_precision_of_class(score, has) for score, has in columns if has.any()]
    return float(torch.stack(found).mean()) if found else None


def _precision_of_class(
    score: Float[Tensor, " query"], has: Bool[Tensor, " query"]
) -> Float[Tensor, ""]:
    ordered, order = score.sort(descending=True)
    right = has[order].double()
    # How many nodes pass each node's threshold: those of a higher score and all of the same.
    passed = torch.searchsorted(-ordered, -ordered, right=True)
    precision: Tensor = right.cumsum(0)[passed - 1] / passed
    return (precision * right).sum() / right.sum()


def _finite(scores: Tensor) -> Tensor:
    if scores.isnan().any():
        raise ScoreError("NaN among the logits: training has diverged; lower optimizer.lr")
    return scores
