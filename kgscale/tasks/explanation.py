"""Why a run predicts what it predicts: found, told by name, and drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import torch
from jaxtyping import Int64
from torch import Tensor

from kgscale.data.audit import Tell, silent
from kgscale.errors import ConfigError
from kgscale.graph.propagate import Ingredients, Propagation, propagate
from kgscale.graph.store import GraphStore
from kgscale.inference.calibrate import class_odds
from kgscale.inference.classify import Labeller, logits_of
from kgscale.inference.embed import Embedder, Hidden
from kgscale.inference.numbers import Estimator
from kgscale.inference.paths import PathScorer
from kgscale.inference.reasons import (
    Fact,
    Judge,
    MapJudge,
    PathJudge,
    Reason,
    Search,
    SharedJudge,
    TableJudge,
    VectorJudge,
    Way,
    triples_of,
    way_of,
    weigh,
)
from kgscale.inference.reasons.tables import FACTS, RIVALS
from kgscale.inference.reasons.traced import best_paths
from kgscale.inference.reasons.vectors import Read
from kgscale.losses import number_and_scale
from kgscale.models.decoders import Decoder
from kgscale.models.encoders.precomputed import MapEncoder
from kgscale.models.graph_model import GraphModel
from kgscale.models.link import LinkModel
from kgscale.tasks.calibration import Columns
from kgscale.types import EntityVectors

CANDIDATES: Final = 50
"""Paths that are looked at, and as many facts."""
THOROUGH: Final = 32
"""Candidates below which influence functions look at fewer facts and rivals too."""
Asked = tuple[int, int, int]
"""Head, relation and tail of what is explained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What a prediction rests on.

    Example:
        >>> print(run.explain(entity="paper 7").told)  # doctest: +SKIP
    """

    asked: str
    """The prediction, by name."""
    about: tuple[int, ...]
    """The entities that it is about."""
    score: float
    reasons: Sequence[Reason]
    told: Sequence[str]
    """Each reason by name: ``a -[r]-> b <-[s]- c``."""
    keys: Sequence[str]
    """Each reason by the keys of its triples."""
    names: Sequence[Sequence[str]]
    """Of each reason its entities and, between them, its relations."""

    def columns(self) -> Columns:
        """Of ``explanation.tsv``."""
        return {
            "rank": list(range(1, len(self.reasons) + 1)),
            "loss": [reason.loss for reason in self.reasons],
            "score": [self.score] * len(self.reasons),
            "reason": list(self.told),
            "triples": list(self.keys),
        }


def keeps_learned(model: object, about: Sequence[int]) -> bool:
    """Whether an explanation leaves learned vectors of these entities as training fitted them.

    Layers and propagated features are made anew without a fact; what the fact has done to vectors
    that were learned beneath them is then in no loss.
    """
    if not isinstance(model, GraphModel):
        return False
    encoder = model.encoder
    return bool(
        (encoder.num_layers or isinstance(encoder, MapEncoder))
        and model.inputs.table is not None
        and (model.inputs.table_row(torch.tensor(about)) >= 0).any()
    )


def explain_link(
    embedder: Embedder,
    decoder: Decoder,
    store: GraphStore,
    spec: dict[str, Any],
    asked: Asked,
    *,
    candidates: int,
    shared: float = 0.0,
    tell: Tell = silent,
) -> tuple[float, list[Reason]]:
    """The score of a triple by its entities' vectors, and the reasons for it.

    Args:
        shared: weight of friends in common.
    """
    head, relation, tail = asked
    hidden = triples_of(embedder.graph, head, relation, tail)
    kind = embedder.every.relation[relation]

    def read(vectors: EntityVectors) -> float:
        return float(decoder(vectors[0], kind, vectors[1]))

    ends = torch.tensor([head, tail])
    assert isinstance(embedder.model, LinkModel)
    if embedder.layers or isinstance(embedder.model.encoder, MapEncoder):
        judge: Judge = _judge(embedder, store, spec, ends, read, hidden)
    else:
        share = min(1.0, candidates / THOROUGH)
        judge = TableJudge(
            embedder.every,
            decoder,
            embedder.graph,
            head=head,
            relation=relation,
            tail=tail,
            hidden=hidden,
            facts=math.ceil(share * FACTS),
            rivals=math.ceil(share * RIVALS),
            tell=tell,
        )
    graph = embedder.graph
    if shared:
        # A friend in common counts, of whichever split.
        graph = store.adjacency(known=True)
        judge = SharedJudge(judge, graph, relation, (head, tail), shared)
        hidden = triples_of(graph, head, relation, tail)
    ways = _ways(Search(graph, hidden), head, tail, candidates)
    return judge.score, weigh(_Telling(judge, tell), ways)


def explain_answer(
    scorer: PathScorer, store: GraphStore, asked: Asked, *, candidates: int, tell: Tell = silent
) -> tuple[float, list[Reason]]:
    """The score of an answer by a reasoner, and the reasons for it.

    Paths are also those whose messages the score rests on most.
    """
    head, relation, tail = asked
    graph = scorer.cutter.graph
    hidden = triples_of(graph, head, relation, tail)
    tell("following messages")
    traced = best_paths(scorer, head=head, relation=relation, tail=tail, count=candidates)
    found = [way_of(graph, path.steps) for path in traced]
    gone = set(hidden.tolist())
    ways = [way for way in found if way is not None and not gone & set(way.triples)]
    ways += _ways(Search(graph, hidden), head, tail, candidates)
    judge = PathJudge(scorer, head=head, relation=relation, tail=tail)
    return judge.score, weigh(_Telling(judge, tell), ways)


def explain_entity(
    embedder: Embedder,
    store: GraphStore,
    spec: dict[str, Any],
    entity: int,
    read: Read,
    *,
    candidates: int,
    signed: bool = True,
    tell: Tell = silent,
) -> tuple[float, list[Reason]]:
    """What is read from an entity's vector, and the facts that it rests on.

    Raises:
        ConfigError: the model looks at no fact.
    """
    layers = spec.get("propagation", {}).get("hops", embedder.layers)
    labels = spec.get("propagation", {}).get("label_hops", 0)
    if not layers and not labels:
        raise ConfigError(
            "this model looks at no facts, but at features alone: there is nothing to explain it by"
        )
    none = torch.empty(0, dtype=torch.int64)
    search = Search(embedder.graph, none)
    ways = search.facts(entity, candidates)
    if max(layers, labels) > 1:
        ways += search.further(entity, candidates)
    judge = _judge(embedder, store, spec, torch.tensor([entity]), read, none)
    return judge.score, weigh(_Telling(judge, tell), ways, signed=signed)


def read_class(labeller: Labeller, label: int) -> Read:
    """Log odds of a class."""

    def read(vectors: EntityVectors) -> float:
        (logits,) = logits_of(vectors, labeller.head)
        return float((logits if labeller.labels.multi else class_odds(logits))[0, label])

    return read


def read_number(estimator: Estimator) -> Read:
    """An estimate, in the number's own unit."""

    def read(vectors: EntityVectors) -> float:
        (outputs,) = logits_of(vectors, estimator.head)
        return float(estimator.scale.given(number_and_scale(outputs)[0].double())[0])

    return read


def explanation(
    store: GraphStore, asked: Asked, score: float, reasons: Sequence[Reason]
) -> Explanation:
    """By name, of a triple."""
    head, relation, tail = asked
    names = store.entity_names([head, tail])
    (called,) = store.relation_names([relation])
    told = f"{names[0]} -[{called}]-> {names[1]}"
    return _by_name(store, (head, tail), told, score, reasons)


def explanation_of_entity(
    store: GraphStore, entity: int, what: str, score: float, reasons: Sequence[Reason]
) -> Explanation:
    """By name, of what an entity is said to be."""
    (name,) = store.entity_names([entity])
    return _by_name(store, (entity,), f"{name}: {what}", score, reasons)


def _by_name(
    store: GraphStore,
    about: tuple[int, ...],
    asked: str,
    score: float,
    reasons: Sequence[Reason],
) -> Explanation:
    return Explanation(
        asked=asked,
        about=about,
        score=score,
        reasons=reasons,
        told=[reason.way.told(store) for reason in reasons],
        keys=[_keys(reason.way, store) for reason in reasons],
        names=[_names(reason.way, store) for reason in reasons],
    )


def _judge(
    embedder: Embedder,
    store: GraphStore,
    spec: dict[str, Any],
    asked: Int64[Tensor, " asked"],
    read: Read,
    hidden: Int64[Tensor, " hidden"],
) -> Judge:
    if not isinstance(embedder.model.encoder, MapEncoder):
        return VectorJudge(embedder, asked, read, Hidden(hidden, asked))
    settings = Propagation(**spec["propagation"])
    return MapJudge(
        embedder,
        asked,
        read,
        given=Ingredients.of(store),
        settings=settings,
        specs=propagate(store, settings).maps,
        hidden=hidden,
    )


def _ways(search: Search, head: int, tail: int, candidates: int) -> list[Way]:
    half = -(-candidates // 2)
    ways = search.paths(head, tail, candidates)
    return ways + search.facts(head, half) + search.facts(tail, half)


class _Telling(Judge):
    """Another, that says how far it is."""

    def __init__(self, judge: Judge, tell: Tell) -> None:
        self._judge, self._tell, self.score = judge, tell, judge.score

    def losses(self, facts: Sequence[Fact]) -> Iterator[float]:
        for number, loss in enumerate(self._judge.losses(facts), start=1):
            self._tell(f"weighing facts: {number:,} of {len(facts):,}")
            yield loss


def _keys(way: Way, store: GraphStore) -> str:
    """``head, relation, tail`` of each triple."""
    told = []
    for step in way.steps:
        back = step.relation >= store.num_relations
        ends = (step.target, step.source) if back else (step.source, step.target)
        head, tail = store.entity_keys(list(ends))
        (relation,) = store.relation_keys([step.relation % store.num_relations])
        told.append(f"{head}, {relation}, {tail}")
    return "; ".join(told)


def _names(way: Way, store: GraphStore) -> list[str]:
    size = store.num_relations
    entities = [way.steps[0].source, *(step.target for step in way.steps)]
    relations = store.relation_names([step.relation % size for step in way.steps])
    shown = [
        f"← {name}" if step.relation >= size else f"{name} →"
        for step, name in zip(way.steps, relations, strict=True)
    ]
    names = store.entity_names(entities)
    return [names[0], *chain.from_iterable(zip(shown, names[1:], strict=True))]
