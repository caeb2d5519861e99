"""What a score loses without a fact, of models that read propagated features: these made anew."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor
from torch.nn import functional

from kgscale.batch import FeatureRows, Given
from kgscale.graph.adjacency import Adjacency, only, with_neighbors
from kgscale.graph.catalog import EntityType
from kgscale.graph.labels import NodeLabels
from kgscale.graph.propagate import (
    Ingredients,
    MapSpec,
    Propagated,
    Propagation,
    targets_of,
    write_maps,
)
from kgscale.inference.embed import Embedder
from kgscale.inference.reasons.judge import Fact, Judge
from kgscale.inference.reasons.vectors import Read
from kgscale.kernels.sample import expand_runs
from kgscale.models.encoders.precomputed import MapEncoder
from kgscale.types import EntityVectors, Ids


class MapJudge(Judge):
    """Propagates anew in the part of the graph that the asked entities see.

    Args:
        embedder: of a model that reads maps.
        given: what was propagated.
        settings: how.
        specs: all maps of which the model reads some.
        hidden: triples that are left out in any case.
    """

    def __init__(
        self,
        embedder: Embedder,
        asked: Ids,
        read: Read,
        *,
        given: Ingredients,
        settings: Propagation,
        specs: Sequence[MapSpec],
        hidden: Int64[Tensor, " hidden"],
    ) -> None:
        assert isinstance(embedder.model.encoder, MapEncoder)
        self._embedder, self._asked, self._read = embedder, asked, read
        self._hidden = hidden
        self._settings = settings
        places = embedder.model.encoder.places
        self._specs = [specs[at] for at in places]
        self._keys = [_key(specs[at], given.types) for at in places]
        self._seen, self._given = _part(given, asked, settings)
        # Also where nobody here has a label.
        self._targets = [
            self._given.types[given.types.index(kind)]
            if kind in given.types
            else self._given.everything
            for kind in targets_of(given, settings)
        ]
        self.score = self._score(hidden)

    def losses(self, facts: Sequence[Fact]) -> Iterator[float]:
        for fact in facts:
            hidden = torch.cat([self._hidden, torch.tensor([fact.triple])])
            yield self.score - self._score(hidden)

    def _score(self, hidden: Int64[Tensor, " hidden"]) -> float:
        with tempfile.TemporaryDirectory(prefix="kgscale-") as folder:
            maps = self._maps(Path(folder), hidden)
            with self._embedder.inference():
                return self._read(self._vectors(maps))

    def _vectors(self, maps: Propagated) -> EntityVectors:
        keys = {_key(spec, self._given.types): at for at, spec in enumerate(maps.maps)}

        def features(entity_id: Int64[Tensor, " entity"]) -> Given:
            local = torch.searchsorted(self._seen, entity_id)
            rows = maps.gather(local)
            # A sequence of relations that doesn't occur here brings nothing.
            return tuple(
                rows[keys[key]] if key in keys else _zeros(spec, entity_id)
                for key, spec in zip(self._keys, self._specs, strict=True)
            )

        return replace(self._embedder, features=features).rows_of(self._asked)

    def _maps(self, directory: Path, hidden: Int64[Tensor, " hidden"]) -> Propagated:
        graph = self._given.graph
        without = only(graph, ~torch.isin(graph.triple.long(), hidden))
        given = replace(self._given, graph=without)
        write_maps(directory, given, self._settings, targets=self._targets, folds=False)
        return Propagated.open(directory, given.features)


def _key(spec: MapSpec, types: Sequence[EntityType]) -> tuple[Any, ...]:
    """What a map is called in any part of a graph."""
    inside = [at for at, t in enumerate(types) if t.start < spec.stop and spec.start < t.stop]
    return spec.name, spec.kind, spec.hop, spec.subset, inside[0], inside[-1]


def _zeros(spec: MapSpec, entity_id: Int64[Tensor, " entity"]) -> FeatureRows:
    inside = ((spec.start <= entity_id) & (entity_id < spec.stop)).nonzero()[:, 0]
    return FeatureRows(entity=inside, value=torch.zeros(len(inside), spec.dim))


def _part(
    given: Ingredients, asked: Int64[Tensor, " asked"], settings: Propagation
) -> tuple[Int64[Tensor, " seen"], Ingredients]:
    """The entities that the maps of the asked ones know of, ascending; and the graph of these."""
    graph, hops = given.graph, max(settings.hops, settings.label_hops)
    bounds, complete = graph.indptr.long(), torch.unique(asked)
    # Degrees and counts of relations are known only where all edges are.
    more = settings.normalize == "symmetric" or not given.features
    for _ in range(hops - 1 + more):
        complete = with_neighbors(graph, complete)
    seen = with_neighbors(graph, complete)
    place = torch.searchsorted(seen, complete)
    edge, row = expand_runs(bounds[complete], bounds[complete + 1])
    count = torch.bincount(place[row], minlength=len(seen))
    local = Adjacency(
        indptr=functional.pad(count.cumsum(0), (1, 0)),
        source=torch.searchsorted(seen, graph.source[edge].long()).to(graph.source.dtype),
        relation=graph.relation[edge],
        triple=graph.triple[edge],
        num_relations=graph.num_relations,
        undirected=graph.undirected,
    )
    bound = [
        torch.searchsorted(seen, torch.tensor([t.start, t.stop])).tolist() for t in given.types
    ]
    types = [
        EntityType(name=t.name, start=start, stop=stop)
        for t, (start, stop) in zip(given.types, bound, strict=True)
    ]
    features = {
        at: rows[seen[types[at].start : types[at].stop] - given.types[at].start]
        for at, rows in given.features.items()
    }
    labels = None if given.labels is None else _labels(given.labels, seen)
    return seen, replace(given, graph=local, types=types, features=features, labels=labels)


def _labels(labels: NodeLabels, entity: Int64[Tensor, " seen"]) -> NodeLabels:
    start, stop = labels.indptr[entity], labels.indptr[entity + 1]
    edge, _ = expand_runs(start, stop)
    return NodeLabels(
        indptr=functional.pad((stop - start).cumsum(0), (1, 0)),
        label_id=labels.label_id[edge],
        split=labels.split[entity],
        names=labels.names,
    )
