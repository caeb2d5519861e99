"""The best of all candidates, a block of scores at a time: no more of them ever exists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import torch
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor

from kgscale.errors import ScoreError
from kgscale.kernels.scores import ScoreBlock, ScoreBlocks, dot_product
from kgscale.kernels.threads import run_tasks
from kgscale.kernels.top import numba_tier, torch_tier
from kgscale.types import Indptr

CPU: Final = torch.device("cpu")
INSERTED: Final = 256
"""Longest list that is kept by moving what is behind a new one."""
QueryBlock: TypeAlias = Callable[[int], Tensor]
"""The query vectors of the rows from one on, as many as a block has, whatever the last ones are."""


@dataclass(frozen=True, slots=True)
class Top:
    """The best candidates of some queries."""

    score: Float[Tensor, "query place"]
    """Minus infinity where a query has fewer."""
    item: Int64[Tensor, "query place"]
    """-1 there."""
    logsum: Float64[Tensor, " query"]
    """The logarithm of the sum of the powers of e of all scores, known candidates included."""


@torch.no_grad()
def top_all(
    query_block: QueryBlock,
    num_queries: int,
    candidate: Float[Tensor, "candidate width"],
    known_indptr: Indptr,
    known: Int[Tensor, " known"],
    *,
    k: int,
    score_block: ScoreBlock = dot_product,
    rows_per_block: int = 256,
    candidates_per_block: int = 1024,
    device: torch.device = CPU,
) -> Top:
    """The ``k`` best of all rows of ``candidate``, fewer if there are fewer.

    What a query gets depends on its vector and the candidates alone.

    Args:
        known: candidates that each query leaves out, ascending.
        device: where query vectors are, and scores are computed.

    Raises:
        ScoreError: NaN or infinity among the scores.
    """
    blocks = ScoreBlocks(
        candidate, None, score_block, rows=rows_per_block, columns=candidates_per_block
    )
    num, known_indptr, known = candidate.shape[0], known_indptr.long(), known.long()
    k = max(1, min(k, num))

    def take(first: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        query = query_block(first)
        rows = min(rows_per_block, num_queries - first)
        score = torch.full((rows, k), -torch.inf, device=device)
        item = torch.full((rows, k), -1, device=device)
        most = torch.full((rows,), -torch.inf, device=device)
        total = torch.zeros(rows, dtype=torch.float64, device=device)
        ends = known_indptr[first : first + rows + 1]
        low = int(ends[0])
        own = (ends - low).to(device), known[low : int(ends[-1])].to(device)
        bad = torch.zeros((), dtype=torch.bool, device=device)
        for offset in range(0, num, candidates_per_block):
            width = min(candidates_per_block, num - offset)
            scores = blocks(query, offset)
            bad |= _take(scores, width, offset, *own, score, item, most, total)
        return score, item, most.double() + total.log(), bad

    firsts = range(0, num_queries, rows_per_block)
    found = run_tasks(take, firsts) if device == CPU else [take(first) for first in firsts]
    if not found:
        return Top(torch.empty(0, k), torch.empty(0, k, dtype=torch.int64), torch.empty(0).double())
    score, item, logsum, bad = zip(*found, strict=True)
    if bool(torch.stack(bad).any()):
        raise ScoreError(
            "NaN or infinity among the scores: the model has diverged; train it with a lower"
            " optimizer.lr"
        )
    return Top(torch.cat(score).cpu(), torch.cat(item).cpu(), torch.cat(logsum).cpu())


def _take(scores: Tensor, width: int, offset: int, *state: Tensor) -> Tensor:
    known_indptr, known, score, item, most, total = state
    if scores.device.type != "cpu" or scores.dtype != torch.float32 or score.shape[1] > INSERTED:
        return torch_tier.take(scores, width, offset, *state)
    arrays = (part.numpy() for part in (known_indptr, known, score, item, most, total))
    return torch.tensor(bool(numba_tier.take(scores.numpy(), width, offset, *arrays)))
