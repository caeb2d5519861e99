"""Which relations lead from a question to its answers, as weights of a walk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor

from kgscale.errors import ConfigError
from kgscale.graph.adjacency import Adjacency
from kgscale.graph.reciprocal import inverse
from kgscale.kernels.ego import HEAVIEST, EgoSample, HiddenRows, ego_subgraphs, locate
from kgscale.types import Triples

EXAMPLES: Final = 6
"""Train triples of every relation that its weights are learned from."""
STEPS: Final = 3
SIZE: Final = 1000
BLOCK: Final = 64
"""Questions whose subgraphs are looked at together."""
DOUBT: Final = 1e-3
"""What is known of a relation beforehand, as a share of all that a question's walks cross."""
MOST: Final = 4096
"""Relations, in both directions, beyond which a weight for every pair of them is refused."""

Ask = Callable[[Int64[Tensor, " edge"]], tuple[Triples, HiddenRows]]
"""The questions that edges answer, and what each of these must not see."""
Ways = Int32[Tensor, "question relation"]


def even_ways(graph: Adjacency) -> Ways:
    """The same weight for all."""
    size = 2 * graph.num_relations
    if size > MOST:
        raise ConfigError(
            f"strategy.aware=true keeps a weight for every pair of relations, which are {size:,} in"
            f" both directions, and at most {MOST:,} here: leave it false"
        )
    return torch.full((size, size), HEAVIEST, dtype=torch.int32)


def learn_ways(
    graph: Adjacency, ask: Ask, *, restart: float, tolerance: float, seed: int = 0
) -> Ways:
    """Weights of all relations ``r`` for every question ``q`` that is a relation of train triples.

    ``w(q, r)`` is how often walks from the heads of ``q`` that cross an edge of ``r`` come to the
    answer, in examples of train whose own edge is hidden; from the largest of a question, which
    weighs ``HEAVIEST``, down to 1. A walk by these weights is to one step what A*Net's learned
    priority is to all (Zhu et al. 2023), at the cost of a table.

    Args:
        graph: train edges in both directions.
        ask: the questions of some edges.
        restart: chance that a walk ends at each step.
        tolerance: error of the PageRank that chooses the entities of an example.
        seed: of the choice of examples.
    """
    size = 2 * graph.num_relations
    crossed, arrived = torch.zeros(2, size * size, dtype=torch.float64)
    for edges in torch.split(_examples(graph, seed), BLOCK):
        asked, hidden = ask(edges)
        sample = ego_subgraphs(
            graph.indptr,
            graph.source,
            graph.relation,
            asked[:, 0].contiguous(),
            size=SIZE,
            method="ppr",
            restart=restart,
            tolerance=tolerance,
            hidden=hidden,
        )
        answer = locate(sample.owner, sample.entity_id, torch.arange(len(asked)), asked[:, 2])
        row = torch.arange(len(sample.entity_id)).repeat_interleave(sample.indptr.diff())
        pair = asked[sample.owner[row].long(), 1] * size + sample.relation
        for total, flow in zip(
            (crossed, arrived), flows(sample, answer, steps=STEPS, go=1 - restart), strict=True
        ):
            total.index_add_(0, pair, flow)
    return _weights(crossed.view(size, size), arrived.view(size, size))


def flows(
    sample: EgoSample, answer: Int64[Tensor, " seed"], *, steps: int, go: float
) -> tuple[Float[Tensor, " edge"], Float[Tensor, " edge"]]:
    """Of walks from the seeds, which go on with chance ``go`` along any in-edge alike.

    Args:
        sample: the subgraphs of the seeds.
        answer: of each seed, as a place in the sample; -1 for none.
        steps: of a walk until it crosses an edge, that step among them; after it, one less.

    Returns:
        How often an edge is crossed, and how often its seed's answer is come to after that, the
        end of the edge itself included.
    """
    entities = len(sample.entity_id)
    row = torch.arange(entities).repeat_interleave(sample.indptr.diff())
    source = sample.source.long()
    chance = go / sample.indptr.diff()[row].double()
    here, goal = torch.zeros(2, entities, dtype=torch.float64)
    here[: len(answer)] = 1
    goal[answer[answer >= 0]] = 1
    visits, comes = here, goal
    for _ in range(steps - 1):
        here = torch.zeros_like(here).index_add_(0, source, chance * here[row])
        visits = visits + here
        comes = goal + torch.zeros_like(goal).index_add_(0, row, chance * comes[source])
    crossed = visits[row] * chance
    return crossed, crossed * comes[source]


def _examples(graph: Adjacency, seed: int) -> Int64[Tensor, " edge"]:
    """A few edges of every relation, drawn."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(graph.source.shape[0], generator=generator)
    kind, place = inverse(graph.relation[order].long(), num_relations=graph.num_relations).sort(
        stable=True
    )
    first = torch.searchsorted(kind, torch.arange(2 * graph.num_relations))
    return order[place[torch.arange(len(kind)) - first[kind] < EXAMPLES]]


def _weights(
    crossed: Float[Tensor, "question relation"], arrived: Float[Tensor, "question relation"]
) -> Ways:
    """What was hardly crossed is taken for what all relations of the question are on average."""
    whole = crossed.sum(dim=1, keepdim=True)
    average = arrived.sum(dim=1, keepdim=True) / whole
    doubt = DOUBT * whole
    ratio = ((arrived + doubt * average) / (crossed + doubt)).nan_to_num()
    most = ratio.amax(dim=1, keepdim=True)
    # A question that no example answers has no preference.
    share = torch.where(most > 0, ratio / most, 1.0)
    return (share * HEAVIEST).round().clamp(min=1).int()
