"""Precomputed: no subgraph at all; rows of features that were propagated once (SGC, SIGN)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from jaxtyping import Int64
from torch import Tensor

from kgscale.batch import SubgraphBatch
from kgscale.errors import ConfigError
from kgscale.graph.adjacency import Adjacency
from kgscale.graph.propagate import Propagated, Propagation
from kgscale.graph.propagate.settings import Normalize, Paths
from kgscale.sampling.base import SeedStrategy
from kgscale.sampling.queries import mix_seed
from kgscale.sampling.questions import Asked, Candidates, LinkQuestions, Positions, Questions

Propagator = Callable[[Propagation], Propagated]

OVER = {
    "all": "all relations together",
    "subsets": "random subsets of the relations",
    "metapaths": "each sequence of relations",
}


class PrecomputedStrategy:
    """Seeds with the rows that propagation found for them, and no edges.

    Wu et al. 2019 (SGC), Frasca et al. 2020 (SIGN), Yu et al. 2020 (NARS), Yang et al. 2023
    (SeHGNN). Costs one propagation, which is stored, and then, per step, ``seeds × maps × dim``
    numbers, whatever the graph and the hops; choose it where features say much, for large graphs
    and many epochs. What it can't do is learn in between: whom to listen to along the way.

    Questions about links deal the train triples to folds. A step asks about triples of one fold,
    from maps that were made without these: all is propagated once more for each fold. Every train
    triple is asked once from each side in an epoch.

    Args:
        graph: train edges in both directions.
        propagate: makes or finds the maps.
        questions: what is asked; the train triples if nothing else is given.
        num_layers: layers of the encoder; none of those that read maps has any.
        batch_size: distinct (head, relation) queries, or nodes, per step and rank.
        hops: steps of the longest map.
        paths: over which relations, see :class:`Propagation`.
        normalize: mean over in-edges, or symmetric with self loops.
        normalize_rows: divide an entity's features by the sum of their absolute values first.
        subsets: how many subsets of the relations with ``paths=subsets``.
        label_hops: steps that train labels go, for questions about nodes.
        folds: of the train triples, for questions about links.
        profile: columns of the entities' counts of relations, where nothing has features.
        max_paths: sequences of relations beyond which ``paths=metapaths`` is refused.
        candidates: ``all`` entities, or how many random ones are shared by the queries of a step.
        seed: of everything drawn here.
    """

    def __init__(
        self,
        *,
        graph: Adjacency,
        propagate: Propagator,
        questions: Questions | None = None,
        num_layers: int = 0,
        batch_size: int,
        hops: int = 2,
        paths: Paths = "all",
        normalize: Normalize = "mean",
        normalize_rows: bool = False,
        subsets: int = 8,
        label_hops: int = 0,
        folds: int = 4,
        profile: int = 128,
        max_paths: int = 64,
        candidates: int | str = "all",
        seed: int = 0,
    ) -> None:
        if folds < 2:
            raise ConfigError(f"strategy.folds needs an int of at least 2, got {folds}")
        self.questions = LinkQuestions(graph) if questions is None else questions
        parts = self.questions.folds(folds, seed=seed)
        hidden = len(parts) > 1
        self.settings = Propagation(
            hops=hops,
            paths=paths,
            normalize=normalize,
            normalize_rows=normalize_rows,
            subsets=subsets,
            label_hops=label_hops,
            folds=folds if hidden else 0,
            profile=profile,
            max_paths=max_paths,
            seed=seed,
        )
        self.batch_size, self.seed = batch_size, seed
        self.candidates = Candidates.of(candidates, graph.indptr.shape[0] - 1)
        self._propagate, self._num_layers = propagate, num_layers
        self._orders: dict[tuple[int, int], Int64[Tensor, " step"]] = {}
        self._parts = [
            _Part(self, part, fold if hidden else None)
            for fold, part in enumerate(parts)
            if len(part) or len(parts) == 1
        ]

    @cached_property
    def maps(self) -> Propagated:
        return self._propagate(self.settings)

    def prepare(self) -> None:
        """Propagate."""
        _ = self.maps

    def read(self, places: Sequence[int]) -> None:
        """From now on, gather those of the maps alone that an encoder reads."""
        self.maps = self.maps.only(places)

    def describe(self) -> str:
        settings = self.settings
        asked, among = self.questions.describe(self.candidates)
        hops = "1 hop" if settings.hops == 1 else f"{settings.hops} hops"
        folds = (
            f" without the triples of the fold ({settings.folds} in all) that holds the answers"
            if settings.folds
            else ""
        )
        return (
            f"Precomputed: every epoch {asked}, {self.batch_size:,} a step, from features"
            f" propagated {hops} over {OVER[settings.paths]}{folds}{among}."
        )

    def report(self) -> dict[str, float]:
        return {}

    def relations_kept(self) -> Sequence[float]:
        return ()

    def num_batches(self, *, world_size: int) -> int:
        return sum(part.num_batches(world_size=world_size) for part in self._parts)

    def batch(self, epoch: int, index: int, *, rank: int, world_size: int) -> SubgraphBatch:
        part, inner = self._turn(epoch, index, world_size)
        return self._parts[part].batch(epoch, inner, rank=rank, world_size=world_size)

    def rows(self, asked: Asked, *, fold: int | None) -> SubgraphBatch:
        """The seeds with their rows of the maps, those that know nothing of a fold."""
        entity, layers = asked.seeds, self._num_layers
        nothing = torch.empty(0, dtype=torch.int32)
        return SubgraphBatch(
            entity_id=entity,
            indptr=torch.zeros(entity.shape[0] + 1, dtype=torch.int64),
            source=nothing,
            relation=nothing,
            triple=nothing.long(),
            hop_size=(entity.shape[0],) * (layers + 1),
            hop_edges=(0,) * layers,
            query=asked.query(Positions(entity)),
            features=self.maps.gather(entity, fold=fold),
        )

    def _turn(self, epoch: int, index: int, world_size: int) -> tuple[int, int]:
        """Which part's turn it is, and which of its steps: parts are interleaved by chance."""
        order = self._order(epoch, world_size)
        step = int(order[index])
        for part, questions in enumerate(self._parts):
            steps = questions.num_batches(world_size=world_size)
            if step < steps:
                return part, step
            step -= steps
        raise IndexError(f"an epoch has {len(order)} steps, and step {index} was asked for")

    def _order(self, epoch: int, world_size: int) -> Int64[Tensor, " step"]:
        order = self._orders.get((epoch, world_size))
        if order is None:
            generator = torch.Generator().manual_seed(mix_seed(self.seed, epoch))
            order = torch.randperm(self.num_batches(world_size=world_size), generator=generator)
            self._orders = {(epoch, world_size): order}
        return order


class _Part(SeedStrategy):
    """The questions that read the same maps."""

    def __init__(
        self, strategy: PrecomputedStrategy, questions: Questions, fold: int | None
    ) -> None:
        super().__init__(
            questions=questions,
            candidates=strategy.candidates,
            batch_size=strategy.batch_size,
            seed=mix_seed(strategy.seed, -1 if fold is None else fold),
        )
        self.strategy, self.fold = strategy, fold

    def cut(self, asked: Asked, *, seed: int) -> SubgraphBatch:
        return self.strategy.rows(asked, fold=self.fold)
