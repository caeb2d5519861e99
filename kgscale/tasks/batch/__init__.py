"""Answers to millions of questions: read in blocks, written as they come, bounded in memory."""

from kgscale.tasks.batch.answers import Batch, answer_file

__all__ = ["Batch", "answer_file"]
