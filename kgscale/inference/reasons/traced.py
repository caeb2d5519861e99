"""Why a reasoner answers what it answers: the paths whose messages its score rests on most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from kgscale.graph.store import GraphStore
from kgscale.inference.paths import PathScorer
from kgscale.inference.reasons.ways import PathStep, told
from kgscale.kernels.reach import Reach, Step

EDGES: Final = 1000
"""Edges of a layer that are looked at, those of the greatest weight."""
BEAM: Final = 8
"""Paths kept to an entity."""
Ways: TypeAlias = dict[tuple[tuple[int, int, int], ...], float]
"""Weights of paths, each of edges (source, relation, target) in the numbers of a subgraph."""


@dataclass(frozen=True, slots=True)
class Path:
    """From the head of a question to an answer; ``weight`` is the sum over its edges."""

    weight: float
    steps: tuple[PathStep, ...]

    def told(self, store: GraphStore) -> str:
        return told(self.steps, store)


def best_paths(
    scorer: PathScorer, *, head: int, relation: int, tail: int, count: int
) -> list[Path]:
    """The paths that an answer's score rests on most; none for one outside the subgraph.

    An edge weighs, in a layer, the gradient of the score with respect to the message along it,
    times the message: to first order, what the score would lose without it (Zhu et al. 2021,
    section 3.3). Paths are found by beam search over the layers; none comes twice to an entity.
    """
    reached = scorer.cutter.sample(torch.tensor([head]), torch.tensor([relation]))
    ids = reached.sample.entity_id
    places = (ids == tail).nonzero()[:, 0]
    if not len(places):
        return []
    answer = int(places[0])
    found: dict[int, Ways] = {0: {(): 0.0}}
    for step, weight in _weights(scorer, reached, relation, answer):
        longer: dict[int, Ways] = {}
        chosen = weight.topk(min(EDGES, len(weight)))
        row = torch.searchsorted(step.indptr, chosen.indices, right=True) - 1
        columns = (step.source[chosen.indices], step.relation[chosen.indices], row, chosen.values)
        for source, kind, goal, own in zip(*map(Tensor.tolist, columns), strict=True):
            for path, before in found.get(source, {}).items():
                if goal != 0 and all(target != goal for _, _, target in path):
                    longer.setdefault(goal, {})[(*path, (source, kind, goal))] = before + own
        for entity, paths in longer.items():
            found[entity] = _best({**paths, **_larger(found.get(entity, {}), paths)}, BEAM)
    paths = _best({path: w for path, w in found.get(answer, {}).items() if path}, count)
    return [
        Path(
            weight=weight,
            steps=tuple(
                PathStep(int(ids[source]), kind, int(ids[target])) for source, kind, target in path
            ),
        )
        for path, weight in paths.items()
    ]


def _weights(
    scorer: PathScorer, reached: Reach, relation: int, answer: int
) -> list[tuple[Step, Float[Tensor, " edge"]]]:
    """Of every edge in each layer. With a single question, relations have their own numbers."""
    model, cutter = scorer.reasoner, scorer.cutter
    query = cutter.queries(reached, torch.tensor([relation]))
    batch = cutter.batch(reached, query).to(model.question.device)
    with torch.enable_grad():
        score, layers = model.trace(batch)
        gradients = torch.autograd.grad(score[answer], [layer.message for layer in layers])
    return [
        (step, _of_edges(step, gradient.cpu(), layer.x.cpu(), layer.vector.cpu()))
        for step, gradient, layer in zip(reached.steps, gradients, layers, strict=True)
    ]


def _of_edges(
    step: Step,
    gradient: Float[Tensor, "reached dim"],
    x: Float[Tensor, "known dim"],
    vector: Float[Tensor, "relation dim"],
) -> Float[Tensor, " edge"]:
    row = torch.arange(len(gradient)).repeat_interleave(step.indptr.diff())
    message = x[step.source.long()] * vector[step.relation.long()]
    return (gradient[row] * message).sum(dim=1).detach()


def _larger(old: Ways, new: Ways) -> Ways:
    """The old paths, with the weight of a later layer where that is more."""
    return {path: max(weight, new.get(path, weight)) for path, weight in old.items()}


def _best(paths: Ways, count: int) -> Ways:
    ordered = sorted(paths.items(), key=lambda item: (-item[1], item[0]))
    return dict(ordered[:count])
