"""Metrics: pure functions of ranks and scores, and sums that add up over batches and ranks."""
