"""Metrics: pure functions of ranks and scores, and sums that add up over batches and ranks."""

from typing import Final

_WORDS: Final = {
    "mrr": "MRR",
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


_LISTS: Final = {
    "hits": "Hits",
    "recall": "Recall",
    "ndcg": "NDCG",
    "hit": "Hit rate",
    "mrr": "MRR",
}
"""Before the length of a list."""


def word(name: str) -> str:
    """A metric's name for people."""
    own = name.removeprefix("official_")
    kind, mark, cut = own.partition("@")
    own_words = _LISTS.get(kind, kind) + mark + cut
    return _WORDS.get(own, own_words) + (" by OGB's rules" if own != name else "")
