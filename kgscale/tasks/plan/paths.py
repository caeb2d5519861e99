"""What a step of path reasoning is expected to need, from an example of its batches."""

from __future__ import annotations

from typing import Final

from kgscale.batch import PathQueries, SubgraphBatch
from kgscale.inference.paths import QUERIES
from kgscale.models.encoders.base import FLOAT, LONG
from kgscale.models.reasoners import PathReasoner
from kgscale.models.reasoners.paths import SUMS
from kgscale.sampling.paths import PathStrategy
from kgscale.tasks.plan.estimate import Need, StepBytes
from kgscale.training.fit import TrainerSettings, accelerated

EDGE_BYTES: Final = 40.0
"""At the peak of cutting subgraphs, per edge: what each thread finds, and the union of it."""


def path_need(strategy: PathStrategy, model: PathReasoner, trainer: TrainerSettings) -> Need:
    """A subgraph's size is a setting, and how dense it is shows in a batch."""
    batch = strategy.batch(0, 0, rank=0, world_size=1)
    weights = FLOAT * float(sum(parameter.numel() for parameter in model.parameters()))
    queries = strategy.batch_size
    rows = FLOAT * float(batch.num_entities) * model.dim
    return Need(
        step=step_bytes(batch, model, weights),
        model=3 * weights,
        strategy=LONG * float(strategy.graph.source.shape[0]),
        # Without gradients a layer's tensors go when the next one's are there.
        validation=QUERIES / queries * (8 * rows + _edges(batch)),
        ahead=trainer.ahead,
        workers=trainer.workers,
        devices=trainer.devices,
        accelerated=accelerated(trainer),
    )


def step_bytes(batch: SubgraphBatch, model: PathReasoner, weights: float) -> StepBytes:
    """With ``n`` entities and ``d`` numbers each, a layer keeps for its gradient the ``2 + s``
    blocks of ``n d`` that it maps (its input, ``s`` sums and the messages), what comes of the map,
    of the norm and of the ramp, and the weights of every question's relations. At the peak of its
    gradient there are those of the blocks that it maps, twice, and of its output."""
    query = batch.query
    assert isinstance(query, PathQueries)
    rows = FLOAT * float(batch.num_entities) * model.dim
    vectors = FLOAT * float(query.relation.shape[0]) * 2 * model.num_relations * model.dim
    sums = SUMS[model.aggregate]
    layer = (5 + sums) * rows + vectors
    held = LONG * float(batch.indptr.shape[0] + 2 * batch.num_entities) + 20.0 * len(batch.source)
    return StepBytes(
        making=EDGE_BYTES * len(batch.source) + 60.0 * batch.num_entities,
        batch=held,
        training=model.num_layers * layer
        + (3 + 2 * sums) * rows
        + vectors
        + _edges(batch)
        + 3 * weights,
    )


def _edges(batch: SubgraphBatch) -> float:
    """The number of an edge's relation among those of all questions, and its weight."""
    return (LONG + FLOAT) * float(len(batch.source))
