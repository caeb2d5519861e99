"""What is asked of triples beside their tails' scores, and of paths."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from kgscale.batch import LinkQueries, PathQueries
from kgscale.losses.base import Scalar


def path_softmax_loss(scores: Float[Tensor, " candidate"], query: PathQueries) -> Scalar:
    """Cross entropy of each answer against the candidates of its question.

    Candidates are the entities of its subgraph; answers outside count for nothing then, since no
    path leads to them. Or some from outside stand for all there, as often as they are many. What
    is known to be true and not asked is left out.
    """
    queries, owner = query.relation.shape[0], query.candidate_owner
    rival = scores
    if query.far is not None:
        inside = scores.shape[0] - query.far.owner.shape[0]
        rival = torch.cat([scores[:inside], scores[inside:] + query.far.weight])
    rival = rival.index_fill(0, query.known, -torch.inf)
    highest = rival.detach().new_full((queries,), -torch.inf)
    highest = highest.scatter_reduce(0, owner, rival.detach(), "amax")
    share = scores.new_zeros(queries).index_add(0, owner, (rival - highest[owner]).exp())
    row = owner[query.answer]
    return (share.log() + highest)[row].sub(scores[query.answer]).sum() / query.step_answers


def mean_penalty(
    question: Float[Tensor, " query"], tail: Float[Tensor, " answer"], query: LinkQueries
) -> Scalar:
    """Mean over asked triples of what head, relation and tail are penalised by.

    Weighted by the triples as asked, as the nuclear 3-norm of Lacroix et al. 2018.

    Args:
        question: per query, the sum over head and relation.
        tail: per answer.
    """
    return (question[query.answer_query] + tail).sum() / query.step_answers


def relation_queries(query: LinkQueries, *, num_relations: int) -> LinkQueries:
    """Of every asked triple, which of all relations joins its two entities (Chen et al. 2021)."""
    row = query.answer_query
    every = torch.arange(row.shape[0], device=row.device)
    return replace(
        query,
        head=every,
        relation=every,
        num_candidates=num_relations,
        answer_query=every,
        answer=query.relation[row],
        candidate_weight=None,
        known=None,
    )
