"""Maps of train labels, of which no entity gets back its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from kgscale.data.splits import TRAIN
from kgscale.graph.catalog import EntityType
from kgscale.graph.labels import NodeLabels
from kgscale.graph.propagate.hop import Rows, blocks
from kgscale.graph.propagate.making import Making
from kgscale.graph.propagate.paths import Step
from kgscale.graph.reciprocal import inverse
from kgscale.kernels.aggregate.torch_tier import edge_rows
from kgscale.kernels.propagate import InEdges, Returns, count_returns, propagate

Times = Callable[[InEdges, int], Int64[Tensor, " edge"]]
"""How often the row is in what each edge's source has, from the edges and the first row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """One step along some relations: to which entities, and how it is called."""

    relations: Bool[Tensor, " relations"]
    to: EntityType
    name: str
    """What stands before the name of the place it starts from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The train labels of a type, to be sent along walks."""

    making: Making
    kind: EntityType
    one_hot: Rows
    """A row of zeros and ones for each entity; only zeros without a train label."""

    def once(self, walk: Walk, target: EntityType) -> None:
        """``out_i = sum over i's edges from j ≠ i of y_j, over all its edges``."""

        def own(edges: InEdges, first: int) -> Tensor:
            row = edge_rows(edges.indptr, edges.source.shape[0]) + first
            return (row == edges.source).long()

        self._write(1, f"{walk.name}{self.kind.name}", walk, target, self.one_hot, None, own)

    def counts(self, path: Path, walk: Walk) -> tuple[Rows, Float32[Tensor, " row"]]:
        """How many labels of each class each entity has around it, and one over its edges."""
        graph, keep = self.making.given.graph, self.making.keep(walk.relations)
        share = torch.empty(walk.to.stop - walk.to.start)

        def found() -> Iterator[Tensor]:
            for first, last, edges in blocks(graph, walk.to, self.one_hot.dim):
                total, count = propagate(self.one_hot.value, edges, keep, first=self.one_hot.start)
                rows = slice(first - walk.to.start, last - walk.to.start)
                share[rows] = 1 / count.clamp(min=1).float()
                yield total

        counts = self.making.write(path, walk.to, self.one_hot.dim, torch.float32, found())
        return counts, share

    def twice(
        self, walk: Walk, counts: Rows, share: Tensor, then: Walk, target: EntityType
    ) -> None:
        """``out_i = mean over i's edges from k of (sum over k's edges from j ≠ i of y_j) / d_k``.

        Counts are whole numbers, so that nothing is left of ``i``'s own.
        """
        back = inverse_mask(walk.relations)

        def own(edges: InEdges, first: int) -> Tensor:
            return count_returns(edges, back)

        name = f"{then.name}{walk.name}{self.kind.name}"
        self._write(2, name, then, target, counts, share, own)

    def _write(
        self,
        hop: int,
        name: str,
        walk: Walk,
        target: EntityType,
        x: Rows,
        scale: Tensor | None,
        times: Times,
    ) -> None:
        making = self.making
        graph, keep = making.given.graph, making.keep(walk.relations)

        def found() -> Iterator[Tensor]:
            for first, last, edges in blocks(graph, target, x.dim):
                returns = None
                if target == self.kind:
                    own = self.one_hot.part(first, last).float()
                    returns = Returns(times(edges, first), own)
                total, count = propagate(
                    x.value, edges, keep, first=x.start, scale=scale, returns=returns
                )
                yield total / count.clamp(min=1)[:, None]

        path = making.new_map(
            target,
            name=f"labels: {name}",
            kind="label",
            source=self.kind.name,
            hop=hop,
            dim=x.dim,
        )
        making.write(path, target, x.dim, torch.float16, found())


def label_maps(making: Making, kind: EntityType, steps: Sequence[Step] | None) -> None:
    """All of a labelled type; ``steps`` that walks are made of, or None for all relations."""
    assert making.given.labels is not None
    one_hot = train_labels(making, making.given.labels, kind)
    labels = Labels(making=making, kind=kind, one_hot=one_hot)
    everything = making.given.everything
    if steps is None:
        walk = Walk(relations=making.every, to=everything, name="all relations<-")
        _send(labels, walk, [(walk, target) for target in making.targets])
        return
    types = making.given.types
    for step in (step for step in steps if types[step.source] == kind):
        walk = _walk(making, step)
        further = [_walk(making, other) for other in steps if other.source == step.target]
        _send(labels, walk, [(then, then.to) for then in further if then.to in making.targets])


def _send(labels: Labels, walk: Walk, then: list[tuple[Walk, EntityType]]) -> None:
    for target in labels.making.targets:
        if walk.to.start <= target.start and target.stop <= walk.to.stop:
            labels.once(walk, target)
    if labels.making.settings.label_hops > 1 and then:
        path = labels.making.aside()
        counts, share = labels.counts(path, walk)
        for further, target in then:
            labels.twice(walk, counts, share, further, target)
        labels.making.drop(path)


def _walk(making: Making, step: Step) -> Walk:
    kind = making.given.types[step.target]
    name = f"{kind.name}<-{making.given.relation_name(step.relation)}<-"
    return Walk(relations=making.only(step.relation), to=kind, name=name)


def inverse_mask(relations: Bool[Tensor, " relations"]) -> Bool[Tensor, " relations"]:
    size = relations.shape[0]
    return relations[inverse(torch.arange(size), num_relations=size // 2)]


def train_labels(making: Making, labels: NodeLabels, kind: EntityType) -> Rows:
    """A row for each entity of a type: 1 for each class that train says it has."""
    classes, step = len(labels.names), 1 << 14

    def found() -> Iterator[Tensor]:
        for first in range(kind.start, kind.stop, step):
            bounds = labels.indptr[first : min(first + step, kind.stop) + 1]
            label = labels.label_id[int(bounds[0]) : int(bounds[-1])].long()
            row = edge_rows(bounds, label.shape[0])
            train = labels.split[first + row] == TRAIN
            block = torch.zeros(bounds.shape[0] - 1, classes)
            block[row[train], label[train]] = 1
            yield block

    return making.write(making.aside(), kind, classes, torch.float16, found())
