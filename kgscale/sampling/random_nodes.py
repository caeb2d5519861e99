"""Random nodes: the naive minibatch, kept as the control that fails."""

from __future__ import annotations

from kgscale.errors import ConfigError
from kgscale.graph.adjacency import Adjacency
from kgscale.sampling.induced import Cut, InducedStrategy
from kgscale.sampling.questions import Questions


class RandomNodesStrategy(InducedStrategy):
    """The subgraph induced by random entities (CS224W, lecture 17: what does not work).

    Costs a look at all in-edges of the entities, of which a share of only ``batch_size /
    entities`` has both ends in the batch: next to nothing carries a message, and there is nearly
    nothing to ask about. Choose it to see why the others exist.

    Args:
        graph: train edges in both directions.
        questions: what is asked; the train triples if nothing else is given.
        num_layers: layers of the encoder.
        batch_size: entities per step and rank; every epoch deals all entities out anew.
        query_share: share of a batch's triples that are asked about and hidden.
        seed: of everything drawn here.
    """

    def __init__(
        self,
        *,
        graph: Adjacency,
        questions: Questions | None = None,
        num_layers: int,
        batch_size: int,
        query_share: float = 0.5,
        seed: int = 0,
    ) -> None:
        super().__init__(
            graph=graph,
            questions=questions,
            num_layers=num_layers,
            query_share=query_share,
            seed=seed,
        )
        if batch_size < 1:
            raise ConfigError(f"strategy.batch_size needs a positive int, got {batch_size}")
        self.batch_size = batch_size

    def describe(self) -> str:
        return (
            f"Random nodes: every step holds {self.batch_size:,} random entities of"
            f" {self.num_entities:,} and the edges between them, and"
            f" {self.questions.describe_inside(self.visits, 'its entities')}."
        )

    @property
    def groups(self) -> int:
        return self.num_entities

    @property
    def per_batch(self) -> int:
        return self.batch_size

    def cut(self, epoch: int, first: int, last: int) -> Cut:
        return self.between(self.shuffled(epoch)[first:last].sort().values)
