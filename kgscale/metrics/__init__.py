"""Metrics: pure functions of ranks and scores, and sums that add up over batches and ranks."""

from typing import Final

_WORDS: Final = {
    "mrr": "MRR",
    "hits@1": "Hits@1",
    "hits@3": "Hits@3",
    "hits@10": "Hits@10",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "average_precision": "average precision",
}


def word(name: str) -> str:
    """A metric's name for people."""
    return _WORDS.get(name, name)
