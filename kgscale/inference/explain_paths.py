"""Why a reasoner answers what it answers: the paths whose messages its score rests on most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from kgscale.graph.store import GraphStore
from kgscale.inference.paths import PathScorer, questions
from kgscale.kernels.ego import EgoSample

EDGES: Final = 1000
"""Edges of a layer that are looked at, those of the greatest weight."""
BEAM: Final = 8
"""Paths kept to an entity."""


@dataclass(frozen=True, slots=True)
class PathStep:
    """An edge on the way; ``relation`` may be reciprocal."""

    source: int
    relation: int
    target: int


@dataclass(frozen=True, slots=True)
class Path:
    """From the head of a question to an answer; ``weight`` is the sum over its edges."""

    weight: float
    steps: tuple[PathStep, ...]

    def told(self, store: GraphStore) -> str:
        """By name: ``a -[r]-> b <-[s]- c``."""
        if not self.steps:
            return ""
        entities = [self.steps[0].source, *(step.target for step in self.steps)]
        names = store.entity_names(torch.tensor(entities))
        text = names[0]
        for step, name in zip(self.steps, names[1:], strict=True):
            relation = step.relation % store.num_relations
            (called,) = store.relation_names(torch.tensor([relation]))
            back = step.relation >= store.num_relations
            text += f" <-[{called}]- {name}" if back else f" -[{called}]-> {name}"
        return text


def best_paths(
    scorer: PathScorer, *, head: int, relation: int, tail: int, count: int
) -> list[Path]:
    """The paths that an answer's score rests on most; none for one outside the subgraph.

    An edge weighs, in a layer, the gradient of the score with respect to the message along it,
    times the message: to first order, what the score would lose without it (Zhu et al. 2021,
    section 3.3). Paths are found by beam search over the layers; none comes twice to an entity.
    """
    sample = scorer.cutter.sample(torch.tensor([head]))
    places = (sample.entity_id == tail).nonzero()[:, 0]
    if not len(places):
        return []
    answer = int(places[0])
    found: dict[int, dict[tuple[int, ...], float]] = {0: {(): 0.0}}
    row = torch.arange(len(sample.entity_id)).repeat_interleave(sample.indptr.diff())
    source, target = sample.source.tolist(), row.tolist()
    for weight in _weights(scorer, sample, relation, answer):
        chosen = weight.topk(min(EDGES, len(weight))).indices
        longer: dict[int, dict[tuple[int, ...], float]] = {}
        for edge in chosen.tolist():
            goal, own = target[edge], float(weight[edge])
            for path, before in found.get(source[edge], {}).items():
                if goal != 0 and all(target[other] != goal for other in path):
                    longer.setdefault(goal, {})[(*path, edge)] = before + own
        for entity, paths in longer.items():
            found[entity] = _best({**paths, **_larger(found.get(entity, {}), paths)}, BEAM)
    paths = _best({path: w for path, w in found.get(answer, {}).items() if path}, count)
    ids = sample.entity_id
    return [
        Path(
            weight=weight,
            steps=tuple(
                PathStep(int(ids[source[edge]]), int(sample.relation[edge]), int(ids[target[edge]]))
                for edge in path
            ),
        )
        for path, weight in paths.items()
    ]


def _weights(
    scorer: PathScorer, sample: EgoSample, relation: int, answer: int
) -> list[Float[Tensor, " edge"]]:
    """Of every edge in each layer."""
    model = scorer.reasoner
    batch = scorer.cutter.batch(
        sample, questions(sample, torch.tensor([relation])), num_layers=model.num_layers
    ).to(model.question.device)
    with torch.enable_grad():
        score, layers = model.trace(batch)
        gradients = torch.autograd.grad(score[answer], [layer.message for layer in layers])
    row = torch.arange(batch.num_entities, device=score.device).repeat_interleave(
        batch.indptr.diff()
    )
    edge_type = model.edge_types(batch)
    return [
        (gradient[row] * layer.x[batch.source.long()] * layer.vector[edge_type])
        .sum(dim=1)
        .detach()
        .cpu()
        for gradient, layer in zip(gradients, layers, strict=True)
    ]


def _larger(
    old: dict[tuple[int, ...], float], new: dict[tuple[int, ...], float]
) -> dict[tuple[int, ...], float]:
    """The old paths, with the weight of a later layer where that is more."""
    return {path: max(weight, new.get(path, weight)) for path, weight in old.items()}


def _best(paths: dict[tuple[int, ...], float], count: int) -> dict[tuple[int, ...], float]:
    ordered = sorted(paths.items(), key=lambda item: (-item[1], item[0]))
    return dict(ordered[:count])
