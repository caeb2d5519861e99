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
    entities = float(strategy.graph.indptr.shape[0] - 1)
    known = strategy.cutter.profiles
    # Relation and count of each entry, and the bounds of entities.
    profiles = 0.0 if known is None else LONG * (2.0 * len(known.relation) + entities)
    return Need(
        step=step_bytes(batch, model, weights),
        model=3 * weights,
        strategy=LONG * float(strategy.graph.source.shape[0]) + profiles,
        # Without gradients a layer's tensors go when the next one's are there.
        validation=QUERIES / queries * (6 * rows + FLOAT * len(batch.source))
        + (0.0 if model.profile is None else FLOAT * entities * (3 * QUERIES + 5 * model.dim)),
        ahead=trainer.ahead,
        workers=trainer.workers,
        devices=trainer.devices,
        accelerated=accelerated(trainer),
    )


def step_bytes(batch: SubgraphBatch, model: PathReasoner, weights: float) -> StepBytes:
    """A layer reaches ``n`` entities of ``d`` numbers, ``m`` of which were reached before. For its
    gradient it keeps the messages, with those that start anew, the ``s`` sums that it maps, what
    comes of the map and what it hands on, ``(3 + s) n d`` in all, and the weights of every
    question's relations. At the peak of its gradient there are the blocks of the sums and of the
    map and its output, and the ``2 m d`` of its input. Of every candidate with a profile there are
    two vectors of ``2 d`` and one of ``d`` as a tail, beside its question's, and their gradients.
    """
    query = batch.query
    assert isinstance(query, PathQueries)
    far = query.far
    candidates = 0.0 if far is None else float(len(query.candidate_owner))
    entries = 0.0 if far is None else float(len(far.profile.relation))
    vectors = FLOAT * float(query.relation.shape[0]) * 2 * model.num_relations * model.dim
    sums, row = SUMS[model.aggregate], FLOAT * float(model.dim)
    reached = [float(size) for size in batch.hop_size[1:]]
    edges = [float(len(step.source)) for step in query.steps]
    held = LONG * float(batch.indptr.shape[0] + 2 * batch.num_entities) + 20.0 * len(batch.source)
    held += sum(LONG * (rows + edge) for rows, edge in zip(reached, edges, strict=True))
    held += (LONG + FLOAT) * entries + 3 * LONG * candidates
    return StepBytes(
        making=EDGE_BYTES * len(batch.source)
        + 60.0 * (batch.num_entities + candidates)
        + 50 * entries,
        batch=held,
        training=8 * row * candidates
        + row * sum((3 + sums) * rows for rows in reached)
        + FLOAT * sum(edges)
        + model.num_layers * vectors
        + (4 + sums) * row * reached[-1]
        + vectors
        + 3 * weights,
    )
