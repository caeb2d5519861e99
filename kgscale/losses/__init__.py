"""Losses of queries against candidates: pure functions, and thin shells that settings name.

Each is a sum over this batch divided by the number of answers (or queries) of the whole *step*,
so that the losses of several ranks add up to the loss of the joined batch.
"""

from kgscale.losses.base import Compare, Loss, Scalar
from kgscale.losses.entries import bce_loss, bpr_loss, margin_loss
from kgscale.losses.named import BCELoss, BPRLoss, MarginLoss, SoftmaxLoss
from kgscale.losses.nodes import node_bce, node_cross_entropy, node_gaussian, number_and_scale
from kgscale.losses.softmax import chunked_softmax_loss, fused_softmax_loss, softmax_loss
from kgscale.losses.triples import mean_penalty, path_softmax_loss, relation_queries

__all__ = [
    "BCELoss",
    "BPRLoss",
    "Compare",
    "Loss",
    "MarginLoss",
    "Scalar",
    "SoftmaxLoss",
    "bce_loss",
    "bpr_loss",
    "chunked_softmax_loss",
    "fused_softmax_loss",
    "margin_loss",
    "mean_penalty",
    "node_bce",
    "node_cross_entropy",
    "node_gaussian",
    "number_and_scale",
    "path_softmax_loss",
    "relation_queries",
    "softmax_loss",
]
