"""Metrics: pure functions of ranks and scores, and sums that add up over batches and ranks."""

from typing import Final

_WORDS: Final = {
    "mrr": "MRR",
    "mrr@10": "MRR@10",
    **{f"hits@{k}": f"Hits@{k}" for k in (1, 3, 10, 20, 50, 100)},
    "acc": "accuracy",
    "rocauc": "ROC-AUC",
    "auc": "ROC-AUC",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "average_precision": "average precision",
    "mae": "mean error",
    "rmse": "RMSE",
    "r2": "R²",
    "covered": "in interval",
    "width": "middle width",
}


_LISTS: Final = {"recall": "Recall", "ndcg": "NDCG", "hit": "Hit rate", "mrr": "MRR"}
"""Of lists of items, before the length of a list."""


def word(name: str) -> str:
    """A metric's name for people."""
    own = name.removeprefix("official_")
    kind, mark, cut = own.partition("@")
    own_words = _LISTS.get(kind, kind) + mark + cut
    return _WORDS.get(own, own_words) + (" by OGB's rules" if own != name else "")
