"""Bytes that a run is expected to need, from the sizes of its batches and of its model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from kgscale.inference.embed import ROWS
from kgscale.losses import MarginLoss, SoftmaxLoss
from kgscale.models.encoders.base import FLOAT, LONG, BlockSize, Encoder
from kgscale.models.encoders.precomputed import MapEncoder
from kgscale.models.graph_model import GraphModel
from kgscale.models.inputs import EntityInput
from kgscale.tasks.plan.asked import Asks
from kgscale.tasks.plan.sizes import BatchSize
from kgscale.tasks.plan.statistics import GraphStatistics
from kgscale.training.link import LinkPrediction
from kgscale.training.module import GraphModule

STATES: Final = {"adagrad": 1, "adam": 2}
"""Numbers of an optimiser's state for each number of a table."""


@dataclass(frozen=True, kw_only=True)
class StepBytes:
    """What a step is expected to need, in bytes."""

    making: float
    """At the peak of making a batch."""
    batch: float
    training: float
    """At the peak of forward and backward pass and optimiser step, beside the batch."""

    @property
    def peak(self) -> float:
        """One step after the other, as :func:`measure_step` measures it."""
        return max(self.making, self.batch + self.training)


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """A model, built in miniature: all of it but the rows of its table of entities."""

    module: GraphModule
    types: Sequence[Mapping[str, Any]]
    """Storage types of the graph, with ``start``, ``stop`` and ``features``."""
    method: str
    """Of the optimiser, for tables and vectors."""

    @property
    def model(self) -> GraphModel:
        assert isinstance(self.module.model, GraphModel)
        return self.module.model

    @property
    def encoder(self) -> Encoder:
        return self.model.encoder

    @property
    def inputs(self) -> EntityInput:
        return self.model.inputs

    @property
    def row(self) -> int:
        """Bytes of a vector."""
        return FLOAT * self.encoder.dim

    @property
    def table(self) -> float:
        """Bytes of the entities' learned vectors."""
        held = zip(self.types, self.inputs.learned_types, strict=True)
        return float(self.row) * sum(int(kind["stop"] - kind["start"]) for kind, has in held if has)

    @property
    def weights(self) -> float:
        """Bytes of all other parameters."""
        table = self.inputs.table
        every = sum(p.numel() for p in self.model.parameters())
        return FLOAT * float(every - (0 if table is None else table.weight.numel()))

    @property
    def state(self) -> float:
        """Bytes of the optimiser's state, once all rows have been trained."""
        steps = LONG * self.table / self.row if self.method == "adam" else 0.0
        return STATES[self.method] * self.table + 2 * self.weights + steps


@dataclass(frozen=True, kw_only=True)
class Need:
    """What a run is expected to need, in bytes, on the host and on an accelerator."""

    step: StepBytes
    model: float
    """Parameters and optimiser state."""
    strategy: float
    """What the strategy keeps."""
    preparing: float = 0.0
    """Beside this while the strategy is made, before the model is."""
    validation: float
    """At the peak of validation, beside the model."""
    ahead: int
    workers: int
    devices: int
    """Processes, each with all of this."""
    accelerated: bool

    @property
    def largest(self) -> str:
        """What takes most of it, in words."""
        parts = {
            "a step": self.step.peak,
            "batches made ahead": self.waiting,
            "the model and its optimiser's state": self.model,
            "what the strategy keeps": self.strategy + self.preparing,
            "validation": self.validation,
        }
        return max(parts, key=lambda name: parts[name])

    @property
    def waiting(self) -> float:
        """Batches that wait, and others that are made."""
        return self.ahead * self.step.batch + self.workers * self.step.making

    @property
    def host(self) -> float:
        """While a step computes, batches wait and others are made; validation has no such."""
        if self.accelerated:
            # A model is made, and its checkpoints pass, through the host.
            return self.devices * (self.strategy + max(self.preparing, self.waiting, self.model))
        step = self.step.batch + self.step.training + self.waiting
        running = self.model + max(step, self.validation)
        return self.devices * (self.strategy + max(self.preparing, running))

    @property
    def device(self) -> float:
        """Of each accelerator; with one batch copied ahead."""
        if not self.accelerated:
            return 0.0
        return self.model + max(2 * self.step.batch + self.step.training, self.validation)


def validation_bytes(
    model: ModelSize,
    graph: GraphStatistics,
    *,
    asked: float | None,
    scores: float,
    memory: int,
) -> float:
    """Two layers of vectors, of all entities or of those ``asked`` alone, in a file where they
    exceed ``memory``; beside a block of rows with all their in-edges (which keeps no more than in
    training) and its inputs, and then ``scores``."""
    layers, rows = model.encoder.num_layers, min(float(ROWS), graph.entities)
    edges = rows * graph.edges / max(graph.entities, 1.0)
    block = BlockSize(min(rows + edges, graph.entities), rows, edges)
    kept = max((model.encoder.memory(i, block).kept for i in range(layers)), default=0.0)
    whole = 2 * graph.entities * model.row
    alone = asked is not None and isinstance(model.encoder, MapEncoder)
    vectors = 2 * (asked or 0.0) * model.row if alone else whole
    if model.inputs.is_table and not layers:
        vectors = 0.0
    if layers and whole > memory:
        kept += block.inputs * model.row
    return (vectors if vectors <= memory else 0.0) + max(kept, scores)


def step_bytes(size: BatchSize, asks: Asks, model: ModelSize, graph: GraphStatistics) -> StepBytes:
    """The estimate of a step.

    Layer ``l`` needs at its peak its own ``peak`` beside all inputs, outputs and what layers
    before keep; the loss, what all layers keep. Gradients of tables are as large as the inputs.
    """
    layers = model.encoder.num_layers
    features = _feature_bytes(size, model, graph)
    batch = _batch_bytes(size, asks) + features.given
    held = size.entities * model.row + features.kept
    peaks = [features.work]
    for index in range(layers):
        block = size.block(index, layers)
        need = model.encoder.memory(index, block)
        peaks.append(held + need.peak)
        held += need.kept + block.targets * model.row
    peaks.append(held + _last_bytes(size, model))
    # A table's rows once as they come and once summed, with their ids and their order.
    peaks.append(2 * size.entities * model.row + 5 * LONG * size.entities)
    old = size.entities * (model.row + LONG) if model.table else 0.0
    peaks[-2] += old
    return StepBytes(
        making=size.making + features.given + old + model.weights,
        batch=batch,
        training=max(peaks) + 3 * model.weights,
    )


class _Features(NamedTuple):
    given: float
    """Bytes in the batch."""
    kept: float
    """Copies that the gradient of their map needs."""
    work: float
    """At the peak of their map."""


def _feature_bytes(size: BatchSize, model: ModelSize, graph: GraphStatistics) -> _Features:
    encoder = model.encoder
    if isinstance(encoder, MapEncoder):
        need = encoder.rows_bytes(size.entities)
        given = size.entities * (FLOAT * float(sum(encoder.map_dims)) + LONG * encoder.num_maps)
        return _Features(given, need.kept, need.peak)
    tokens = _token_bytes(size, model)
    given = rows = 0.0
    for number, kind in enumerate(model.types):
        if kind["features"]:
            entities = graph.of_kind(size.kinds, number)
            rows += entities
            given += entities * (FLOAT * kind["features"] + LONG)
    if not rows:
        return tokens
    inputs = model.inputs
    copies = given * ((2 if inputs.dropout.p else 0) + inputs.normalize)
    work = copies + (2 * size.entities + 2 * rows) * model.row
    return _Features(given + tokens.given, copies + tokens.kept, work + tokens.work)


def _token_bytes(size: BatchSize, model: ModelSize) -> _Features:
    """Numbers of tokens, their vectors, and what is between two linear maps."""
    anchored = model.inputs.anchored
    if anchored is None:
        return _Features(0.0, 0.0, 0.0)
    vectors = FLOAT * anchored.first.in_features * float(size.entities)
    between = FLOAT * anchored.first.out_features * float(size.entities)
    given = LONG * (2 * anchored.nearest + anchored.relations) * float(size.entities)
    # The gradient of all tokens' vectors exists beside them, and before it two parts of them.
    return _Features(given, vectors + 2 * between, 3 * vectors + 3 * between)


def _batch_bytes(size: BatchSize, asks: Asks) -> float:
    """Ids, bounds and degrees of entities; source, relation and triple of edges; questions."""
    return 20 * size.entities + 16 * size.stored + asks.query_bytes(size.asked)


def _last_bytes(size: BatchSize, model: ModelSize) -> float:
    """At the peak of the loss and of its gradient with respect to the seeds' vectors."""
    rows, asked, row = size.hops[0], size.asked, model.row
    module = model.module
    if not isinstance(module, LinkPrediction):
        return (2 * asked.queries + 2 * rows) * row
    scores = FLOAT * asked.queries * asked.candidates
    # Heads, relations, and what candidates are compared with; the gradient of that.
    questions = 4 * asked.queries * row
    penalty = 3 * asked.answers * row if module.n3 else 0.0
    if isinstance(module.loss, SoftmaxLoss) and module.model.decoder.is_product:
        forward = 2 * asked.candidates * row + 2 * min(scores, module.loss.memory << 20)
        backward = 2 * asked.candidates * row + 2 * asked.queries * row + 2 * rows * row
        return questions + penalty + max(forward, backward)
    if isinstance(module.loss, MarginLoss):
        # A row of scores for each answer: the violation, its weight, their product, gradients.
        copies = 3 + 5 * asked.answers / max(asked.queries, 1.0)
    else:
        copies = 5
    return questions + penalty + copies * scores + 2 * rows * row
