"""Message passing from a question's head along all paths of its subgraph, by the question asked."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, cast, get_args

import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor, nn
from torch.nn import functional

from kgscale.batch import PathQueries, StepEdges, SubgraphBatch
from kgscale.errors import ConfigError
from kgscale.kernels.aggregate import aggregate_compose
from kgscale.kernels.update import layer_update
from kgscale.models.encoders.base import MOST_LAYERS
from kgscale.models.linear import glorot_linear
from kgscale.models.reasoners.profile import ProfileScore

Aggregate = Literal["sum", "mean", "both"]
SUMS: Final[dict[str, int]] = {"sum": 1, "mean": 1, "both": 2}


class Layer(NamedTuple):
    """What a layer reads and makes."""

    x: Float[Tensor, "known dim"]
    """Of the entities reached before it."""
    vector: Float[Tensor, "relation dim"]
    """Of every question and relation, question by question."""
    message: Float[Tensor, "reached dim"]
    """The sum over an entity's edges."""


class PathReasoner(nn.Module):
    """``x_i' = x_i + relu(norm(W [x_i, agg_(j,r) x_j * w_r(q) + s_i]))`` with ``s_head = q``.

    Zhu et al. 2021 (NBFNet): a generalised Bellman-Ford iteration, whose state after ``l`` layers
    sums over all paths of up to ``l`` edges from the head. The weights ``w_r(q)`` of the relations
    on the way are, in every layer, a linear map of the vector ``q`` of the relation asked for. An
    entity's score is a small network of its last state and ``q``. What no path has reached yet has
    a state of zeros and sends nothing (Zhang & Yao 2022, RED-GNN), so that the first layers of a
    sparse graph cost next to nothing.

    With a ``profile``, what the relations of an entity's edges tell is added to the score of every
    entity, and those that no path reaches, whose state is zero, can be answers too.

    There is no vector of an entity: what is learned holds on any graph with the same relations.
    ``ways`` are weights by which subgraphs are cut for it, for every pair of a relation asked for
    and one on the way; kept with it, and not learned with it.

    Args:
        num_relations: relations of the store; with their reciprocals twice as many.
        dim: length of the states.
        num_layers: edges of the longest path.
        aggregate: sum of the messages, their mean, or both side by side.
        dropout: share of the numbers of a layer's change, and of a profile, that training leaves
            out.
        profile: add a :class:`ProfileScore`.
    """

    def __init__(
        self,
        *,
        num_relations: int,
        dim: int = 32,
        num_layers: int = 6,
        aggregate: Aggregate = "sum",
        dropout: float = 0.0,
        profile: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("dim", dim), ("num_layers", num_layers)):
            if value < 1:
                raise ConfigError(f"reasoner.{name} needs a positive int, got {value}")
        if num_layers > MOST_LAYERS:
            raise ConfigError(f"reasoner.num_layers is {MOST_LAYERS} at most, got {num_layers}")
        if aggregate not in get_args(Aggregate):
            raise ConfigError(
                f"reasoner.aggregate is one of {', '.join(get_args(Aggregate))}; got {aggregate!r}"
            )
        if not 0 <= dropout < 1:
            raise ConfigError(f"reasoner.dropout needs a share in [0, 1), got {dropout}")
        self.dim, self.num_layers, self.aggregate = dim, num_layers, aggregate
        self.num_relations = num_relations
        size = 2 * num_relations
        self.question = nn.Parameter(torch.empty(size, dim).normal_(generator=generator))
        self.relation = nn.ModuleList(
            _relation_map(dim, size, generator) for _ in range(num_layers)
        )
        self.mix = nn.ModuleList(
            glorot_linear((1 + SUMS[aggregate]) * dim, dim, generator) for _ in range(num_layers)
        )
        self.norm = nn.ModuleList(nn.LayerNorm(dim) for _ in range(num_layers))
        self.hidden = glorot_linear(2 * dim, dim, generator)
        self.last = glorot_linear(dim, 1, generator)
        self.dropout = nn.Dropout(dropout)
        self.profile = (
            ProfileScore(size=size, dim=dim, dropout=dropout, generator=generator)
            if profile
            else None
        )
        self.ways: Int32[Tensor, "question relation"] | None
        self.register_buffer("ways", None)

    @property
    def score_dim(self) -> int:
        return self.dim

    def tables(self) -> list[nn.Parameter]:
        """No parameter has a row per entity."""
        return []

    def vectors(self) -> list[nn.Parameter]:
        """All are weights."""
        return []

    def on(self, relation: Int64[Tensor, " other"]) -> PathReasoner:
        """The same for another graph, whose relations are ``relation`` of this one in its order."""
        size = 2 * self.num_relations
        both = torch.cat([relation, relation + self.num_relations])
        state = dict(self.state_dict())
        for name, value in state.items():
            if name.startswith("relation."):
                state[name] = value.view(size, -1, *value.shape[1:])[both].flatten(0, 1)
        for name in {"question", "profile.question", "profile.table"} & state.keys():
            state[name] = state[name][both]
        ways = state.pop("ways", None)
        other = PathReasoner(
            num_relations=len(relation),
            dim=self.dim,
            num_layers=self.num_layers,
            aggregate=self.aggregate,
            dropout=self.dropout.p,
            profile=self.profile is not None,
        )
        other.load_state_dict(state)
        if ways is not None:
            other.ways = ways[both][:, both]
        return other.to(self.question.device).eval()

    def forward(self, batch: SubgraphBatch) -> Float[Tensor, " candidate"]:
        """The score of every candidate as an answer to its question: of the entities of the batch,
        and of those outside the subgraphs if it has some."""
        paths, profile = self.parts(batch)
        return paths if profile is None else paths + profile

    def parts(
        self, batch: SubgraphBatch
    ) -> tuple[Float[Tensor, " candidate"], Float[Tensor, " candidate"] | None]:
        """What paths and what profiles add to the scores of the candidates."""
        score, query = self._run(batch, None), batch.query
        if self.profile is None:
            return score, None
        assert isinstance(query, PathQueries)
        assert query.far is not None
        unreached = self.unreached(query.relation)[query.far.owner]
        profile = self.profile(query.relation, query.far.profile, query.candidate_owner)
        return torch.cat([score, unreached]), profile

    def trace(self, batch: SubgraphBatch) -> tuple[Float[Tensor, " entity"], list[Layer]]:
        """The scores by paths alone, and what every layer made, with its graph of gradients."""
        layers: list[Layer] = []
        return self._run(batch, layers), layers

    def _run(self, batch: SubgraphBatch, layers: list[Layer] | None) -> Tensor:
        query = batch.query
        assert isinstance(query, PathQueries)
        x = question = self.question[query.relation]
        head = torch.arange(len(question), device=question.device)
        for number, step in enumerate(query.steps):
            vector = self.relation_vectors(number, question)
            message = aggregate_compose(
                x,
                vector,
                torch.ones_like(step.relation, dtype=x.dtype),
                step.indptr,
                step.source,
                step.relation,
                compose="multiply",
                relations_per_slot=vector.shape[0],
            ).squeeze(1)
            if layers is not None:
                layers.append(Layer(x, vector, message))
            # The question starts anew at its head in every layer.
            total = message.index_add(0, head, question)
            x = self.update(number, x, total, step)
        return self.score(x, question, query.owner)

    def relation_vectors(
        self, layer: int, question: Float[Tensor, "query dim"]
    ) -> Float[Tensor, "relation dim"]:
        """``w_r(q)`` of every question and relation, question by question."""
        vectors: Tensor = self.relation[layer](question)
        return vectors.view(-1, self.dim)

    def update(
        self,
        layer: int,
        x: Float[Tensor, "known dim"],
        total: Float[Tensor, "reached dim"],
        step: StepEdges,
    ) -> Float[Tensor, "reached dim"]:
        if self.aggregate != "sum":
            # The start counts as one message more.
            mean = total / (1 + step.indptr.diff().to(x.dtype))[:, None]
            total = mean if self.aggregate == "mean" else torch.cat([total, mean], dim=1)
        mix, norm = cast(nn.Linear, self.mix[layer]), cast(nn.LayerNorm, self.norm[layer])
        dropped = self.training and self.dropout.p > 0
        out = layer_update(
            x, total, mix.weight, mix.bias, norm.weight, norm.bias, residual=not dropped
        )
        return (
            functional.pad(x, (0, 0, 0, len(out) - len(x))) + self.dropout(out) if dropped else out
        )

    def unreached(self, relation: Int64[Tensor, " query"]) -> Float[Tensor, " query"]:
        """The score by paths of whatever no path reaches."""
        question = self.question[relation]
        return self.score(
            torch.zeros_like(question),
            question,
            torch.arange(len(question), device=question.device),
        )

    def score(
        self,
        x: Float[Tensor, "entity dim"],
        question: Float[Tensor, "query dim"],
        owner: Int64[Tensor, " entity"],
    ) -> Float[Tensor, " entity"]:
        weight, dim = self.hidden.weight, self.dim
        of_entity, of_question = weight[:, :dim], weight[:, dim:]
        asked = functional.linear(question, of_question, self.hidden.bias)
        found: Tensor = self.last((functional.linear(x, of_entity) + asked[owner]).relu())
        return found[:, 0]


def _relation_map(dim: int, size: int, generator: torch.Generator | None) -> nn.Linear:
    """From a question to the weights of all relations, which start as its bias alone, nearly."""
    layer = glorot_linear(dim, size * dim, generator)
    with torch.no_grad():
        layer.weight.normal_(std=0.1 * dim**-0.5, generator=generator)
        layer.bias.normal_(generator=generator)
    return layer
