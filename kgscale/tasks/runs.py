"""A finished run, opened again: enough to answer and to evaluate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import torch

from kgscale.data.audit import Tell, silent
from kgscale.errors import ConfigError, DataError, is_name
from kgscale.graph.known import KnownFacts
from kgscale.graph.propagate import Propagation, propagate
from kgscale.graph.store import GraphStore
from kgscale.inference.classify import Labeller
from kgscale.inference.embed import Embedder, GraphVectors
from kgscale.inference.evaluate import Ranker, RankReport, evaluate, model_ranker
from kgscale.inference.explain_paths import best_paths
from kgscale.inference.numbers import Estimator, NumberScale
from kgscale.inference.official import official_links, official_nodes
from kgscale.inference.paths import PathPredictor, PathRanker, PathScorer, Rest
from kgscale.inference.predict import Prediction, VectorPredictor, table
from kgscale.inference.recommend import ItemScores, model_scores
from kgscale.metrics.calibration import Calibration
from kgscale.models.encoders.precomputed import MapEncoder
from kgscale.models.link import LinkModel
from kgscale.models.node import NodeModel
from kgscale.models.reasoners import PathReasoner
from kgscale.models.registry import Model, load_model
from kgscale.sampling.interest import Interest
from kgscale.sampling.paths import PathCutter
from kgscale.tasks.calibration import (
    Columns,
    read_calibration,
    read_factor,
    with_probability,
)
from kgscale.tasks.items import (
    columns_of,
    interest_of,
    joined,
    measure_friends,
    measure_items,
    recommender_of,
)
from kgscale.tasks.parts import features_of, some_of
from kgscale.tasks.questions import QuestionSettings, ask, measure_questions
from kgscale.tasks.settings import TaskSettings

SPLITS = ("train", "valid", "test")


class Run(ABC):
    """A run directory with its model and its graph store; open one with ``kgscale.load``.

    Example:
        >>> run = kgscale.load("outputs/link_prediction/2026-11-22_12-00-00-17")  # doctest: +SKIP
        >>> run.predict(head="Joubert syndrome 24", relation="has_phenotype", k=3)  # doctest: +SKIP
    """

    def __init__(
        self, directory: Path, model: Model, spec: dict[str, Any], store: GraphStore, memory: int
    ) -> None:
        self.directory, self.model, self.spec = directory, model, spec
        self.store, self.memory = store, memory

    @abstractmethod
    def predict(self, *, k: int = 10, **asked: Any) -> Columns:
        """Columns of the ``k`` best answers, as in ``predictions.tsv``."""

    @abstractmethod
    def official(self, split: str) -> dict[str, float]:
        """What OGB's Evaluator says of a split; empty where it has no such measure."""

    @cached_property
    def calibration(self) -> Calibration | None:
        """From scores to probabilities, as validation had it."""
        return read_calibration(self.directory)

    @property
    def vectors(self) -> GraphVectors:
        """Of all entities, from all train edges."""
        return self.embedder.every

    @cached_property
    def embedder(self) -> Embedder:
        features = features_of(self.store, self.spec.get("inputs", {}))
        if isinstance(self.model.encoder, MapEncoder):
            maps = propagate(self.store, Propagation(**self.spec["propagation"]))
            features = maps.only(self.model.encoder.places).gather
        assert isinstance(self.model, LinkModel | NodeModel)
        return Embedder(
            model=self.model,
            graph=self.store.adjacency(),
            memory=self.memory,
            features=features,
        )


class LinkRun(Run):
    """A run of link prediction."""

    model: LinkModel

    @cached_property
    def predictor(self) -> VectorPredictor:
        return VectorPredictor(self.vectors, self.model.decoder, self.store, memory=self.memory)

    def answers(
        self,
        *,
        relation: str,
        head: str | None = None,
        tail: str | None = None,
        k: int = 10,
        known: bool = False,
    ) -> list[Prediction]:
        """The ``k`` best answers; entities and relations by key or by name."""
        if (head is None) == (tail is None):
            raise ConfigError("predict needs either head=… or tail=…, the other is the question")
        _check_k(k)
        return self.predictor.answers(
            relation=self.store.find_relation(relation),
            head=None if head is None else self.store.find_entity(head),
            tail=None if tail is None else self.store.find_entity(tail),
            k=k,
            known=known,
        )

    def predict(self, *, k: int = 10, **asked: Any) -> Columns:
        """Columns of the ``k`` best answers to ``relation`` with ``head`` or ``tail``.

        ``known=True`` keeps known facts among them.
        """
        if "relation" not in asked or not asked.keys() <= {"relation", "head", "tail", "known"}:
            raise ConfigError(
                f"predict needs relation=… beside head=… or tail=… here, got {_told(asked)}"
            )
        return self.columns(self.answers(k=k, **asked), backwards=asked.get("head") is None)

    def columns(self, found: Sequence[Prediction], *, backwards: bool) -> Columns:
        """Of answers, which are heads if it was asked ``backwards``."""
        return with_probability(table(found, self.store), self.calibration, odds=True)

    def evaluate(
        self, split: str = "valid", *, ranker: Ranker | None = None, measure_on: int | None = None
    ) -> RankReport:
        """Full filtered ranking of a split, by this model or any other ranker.

        Args:
            measure_on: at most so many triples, drawn once; all without it.
        """
        _check_split(split)
        ranker = self.ranker() if ranker is None else ranker
        triples = some_of(self.store.triples(split), measure_on)
        with torch.no_grad():
            return evaluate(ranker, triples, self.store.adjacency())

    def official(self, split: str) -> dict[str, float]:
        return official_links(
            self.store, split, self.vectors, self.model.decoder, memory=self.memory
        )

    def ask(
        self,
        question: str,
        *,
        k: int = 10,
        known: bool = False,
        how: QuestionSettings = QuestionSettings(),  # noqa: B008
    ) -> tuple[Columns, int]:
        """Columns of the ``k`` best answers to a question of several hops, each with the links
        that it rests on; and how many answers follow from known facts alone.

        Args:
            question: like ``"?x : knows(?x, ?y) and not likes(?y, 'Ann')"``.
            known: list those too, marked.

        Raises:
            ConfigError: by column, what can't be understood.
        """
        _check_k(k)
        return ask(self.predictor, question, how, k=k, known=known, memory=self.memory)

    def measure_questions(
        self,
        split: str = "valid",
        how: QuestionSettings = QuestionSettings(),  # noqa: B008
        *,
        tell: Tell = silent,
    ) -> dict[str, Any]:
        """Filtered ranks of answers that need links of a split, by structure."""
        _check_split(split)
        return measure_questions(self.predictor, split, how, memory=self.memory, tell=tell)

    def ranker(self) -> Ranker:
        return model_ranker(
            self.vectors,
            self.model.decoder,
            KnownFacts(self.store.adjacency(known=True)),
            memory=self.memory,
        )


class RecommendationRun(Run):
    """A run of recommendation."""

    model: LinkModel

    @cached_property
    def interest(self) -> Interest:
        task = TaskSettings(name="recommendation", **self.spec["recommends"])
        relations = self.store.relation_keys(list(range(self.store.num_relations)))
        types = [{"name": t.name, "start": t.start, "stop": t.stop} for t in self.store.types]
        return interest_of(task, relations, types)

    @cached_property
    def scores(self) -> ItemScores:
        return model_scores(self.vectors, self.model.decoder, self.interest)

    def recommend(self, users: Sequence[str], *, k: int = 10, known: bool = False) -> Columns:
        """Columns of the ``k`` best items of each user, by key or by name.

        Args:
            known: those too that a user has.
        """
        _check_k(k)
        recommender = recommender_of(self.store, self.scores, self.interest, self.memory)
        found = torch.tensor([self._user(user) for user in users])
        if known:
            columns = columns_of(found, recommender.best(found, k, known=True), self.store)
        else:
            columns = joined(list(recommender.lists(found, k)), self.store)
        return self._probable(columns)

    def _probable(self, columns: Columns) -> Columns:
        return with_probability(columns, self.calibration, odds=False)

    def recommend_all(self, *, k: int = 10) -> Iterator[Columns]:
        """The same for everybody, some users at a time."""
        _check_k(k)
        recommender = recommender_of(self.store, self.scores, self.interest, self.memory)
        users = torch.arange(self.interest.users.start, self.interest.users.stop)
        for user, found in recommender.lists(users, k):
            yield self._probable(columns_of(user, found, self.store))

    def predict(self, *, k: int = 10, **asked: Any) -> Columns:
        """Columns of the ``k`` best items of a ``user``; ``known=True`` keeps those it has."""
        if "user" not in asked or not asked.keys() <= {"user", "known"}:
            raise ConfigError(f"predict needs user=… here, got {_told(asked)}")
        return self.recommend([asked["user"]], k=k, known=asked.get("known", False))

    def _user(self, text: str) -> int:
        """By the key in the data, the key in the store, or the name."""
        prefix = f"{self.spec['recommends']['users']}:"
        for key in (prefix + text, text):
            if key in (ids := self.store.entity_ids([key])):
                return self._checked(ids[key], text)
        return self._checked(self.store.find_entity(text), text)

    def _checked(self, entity: int, text: str) -> int:
        if entity not in self.interest.users:
            raise ConfigError(f"{text!r} is no {self.spec['recommends']['users']} of the graph")
        return entity

    def evaluate(self, split: str = "valid", cuts: Sequence[int] = (10, 20)) -> dict[str, Any]:
        """Recall, NDCG, precision, hit rate, MRR and coverage of the lists of a split's users;
        of friends also how they are told from strangers, ``random`` and ``matched``."""
        _check_split(split)
        given = self.store, split, self.scores, self.interest
        if self.store.undirected:
            task = TaskSettings(name="friend_recommendation", cuts=cuts)
            return measure_friends(*given, task, memory=self.memory)
        return measure_items(*given, cuts, memory=self.memory)

    def official(self, split: str) -> dict[str, float]:
        return {}


class PathRun(LinkRun):
    """A run of path reasoning."""

    model: PathReasoner  # type: ignore[assignment]

    def official(self, split: str) -> dict[str, float]:
        """A benchmark's candidates are scored by vectors, which a reasoner has not."""
        return {}

    @cached_property
    def scorer(self) -> PathScorer:
        paths, ways = self.spec["paths"], self.model.ways
        return PathScorer(self.model, PathCutter(self.store.adjacency(), **paths, ways=ways))

    def columns(self, found: Sequence[Prediction], *, backwards: bool) -> Columns:
        """With the path that each answer rests on most."""
        paths = [self._path(one, backwards) for one in found]
        return {**super().columns(found, backwards=backwards), "path": paths}

    def _path(self, one: Prediction, backwards: bool) -> str:
        head, relation, tail = one.head, one.relation, one.tail
        if backwards:
            head, relation, tail = tail, relation + self.store.num_relations, head
        found = best_paths(self.scorer, head=head, relation=relation, tail=tail, count=1)
        return found[0].told(self.store) if found else ""

    def explain(
        self, *, head: str, relation: str, tail: str, count: int = 3
    ) -> list[tuple[float, str]]:
        """The paths that ``(head, relation, tail)`` rests on most, each with its weight."""
        found = best_paths(
            self.scorer,
            head=self.store.find_entity(head),
            relation=self.store.find_relation(relation),
            tail=self.store.find_entity(tail),
            count=count,
        )
        return [(path.weight, path.told(self.store)) for path in found]

    @cached_property
    def predictor(self) -> PathPredictor:  # type: ignore[override]
        return PathPredictor(self.scorer, self.store, memory=self.memory)

    def ranker(self, *, rest: str | None = None, blend: float = 0.0) -> PathRanker:
        """As ``evaluation.rest`` and ``evaluation.blend`` have it, whatever the run had."""
        return PathRanker(
            self.scorer,
            KnownFacts(self.store.adjacency(known=True)),
            num_entities=self.store.num_entities,
            rest=None if rest is None else rest_of(rest, self.store, memory=self.memory),
            blend=blend,
        )


class NodeRun(Run):
    """A run of node classification."""

    model: NodeModel

    @cached_property
    def labeller(self) -> Labeller:
        labels = self.store.labels()
        assert labels is not None
        found = Labeller(self.embedder, self.model.head, labels, self.store)
        found.calibration = self.calibration
        return found

    def predict(self, *, k: int = 10, **asked: Any) -> Columns:
        """Columns of the ``k`` best classes of an ``entity``, by key or by name."""
        _check_k(k)
        if asked.keys() != {"entity"}:
            raise ConfigError(f"predict needs entity=… here, got {_told(asked)}")
        node = torch.tensor([self.store.find_entity(asked["entity"])])
        return self.labeller.answers(node, k=k)

    def evaluate(self, split: str = "valid") -> dict[str, float]:
        """Accuracy, micro and macro F1; average precision if entities have several classes."""
        _check_split(split)
        return self.labeller.evaluate(split)

    def official(self, split: str) -> dict[str, float]:
        return official_nodes(self.labeller, split)


class NumberRun(Run):
    """A run of node regression."""

    model: NodeModel

    @cached_property
    def estimator(self) -> Estimator:
        labels = self.store.labels()
        assert labels is not None
        try:
            scale = NumberScale(**self.spec["numbers"])
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{self.directory}: model/model.json doesn't say how numbers were scaled: train"
                " again"
            ) from error
        factor = read_factor(self.directory)
        return Estimator(self.embedder, self.model.head, labels, self.store, scale, factor)

    def predict(self, *, k: int = 10, **asked: Any) -> Columns:
        """Columns of the estimate of an ``entity``, by key or by name."""
        _check_k(k)
        if asked.keys() != {"entity"}:
            raise ConfigError(f"predict needs entity=… here, got {_told(asked)}")
        return self.estimator.answers(torch.tensor([self.store.find_entity(asked["entity"])]))

    def evaluate(self, split: str = "valid") -> dict[str, float]:
        """Mean error, root mean squared error, R², and how many numbers intervals hold."""
        _check_split(split)
        return self.estimator.evaluate(split)

    def official(self, split: str) -> dict[str, float]:
        return {}


def rest_of(name: str, store: GraphStore, *, memory: int) -> Rest:
    """Scores of all entities by a run of link prediction on the same graph.

    Raises:
        ConfigError: another run, or another graph.
    """
    run = open_run(Path(name).expanduser(), memory=memory)
    if not isinstance(run, LinkRun) or isinstance(run, PathRun):
        raise ConfigError(f"evaluation.rest={name} is no run of link prediction")
    if run.store.fingerprint != store.fingerprint:
        raise ConfigError(
            f"evaluation.rest={name} was trained on another graph, {run.store.name}; train it on"
            f" {store.name}"
        )
    return run.predictor.scores


RUNS: Final[dict[type, type[Run]]] = {
    LinkModel: LinkRun,
    NodeModel: NodeRun,
    PathReasoner: PathRun,
}


SPECIAL: Final[dict[str, type[Run]]] = {"recommends": RecommendationRun, "numbers": NumberRun}
"""By what only their models' specifications have."""


def open_run(directory: Path | str, *, memory: int = 1 << 28) -> Run:
    """Open a run directory.

    Args:
        memory: bytes for what answering keeps at a time.

    Raises:
        DataError: no finished run there, or its graph store is gone or another one.
    """
    directory = Path(directory)
    if not (directory / "model").is_dir():
        raise DataError(
            f"{directory}: no run with a model there; name a directory that train printed"
        )
    model, spec = load_model(directory / "model")
    for name in ("store", "fingerprint"):
        if not isinstance(spec.get(name), str) or not is_name(spec[name]):
            raise DataError(f"{directory}: model/model.json names no {name}: train again")
    store_path = Path(spec["store"])
    if not store_path.is_absolute() or store_path.resolve().is_relative_to(directory.resolve()):
        raise DataError(
            f"{directory}: model/model.json names the store {spec['store']!r:.200}, which came with"
            " the run: stores are read as they are, and only those that were built here; train"
            " again on its triples"
        )
    if not store_path.is_dir():
        raise DataError(
            f"{spec['store']}: the graph store of {directory} is gone; train again,"
            f" or build it again with the settings in {directory / 'config.yaml'}"
        )
    store = GraphStore.open(Path(spec["store"]))
    if store.fingerprint != spec["fingerprint"]:
        raise DataError(
            f"{store.path}: the graph store has changed since {directory} was trained; train again"
        )
    _check_fits(directory, model, spec, store)
    special = [kind for part, kind in SPECIAL.items() if part in spec]
    kind = special[0] if special else RUNS[type(model)]
    return kind(directory, model, spec, store, memory)


def _check_fits(directory: Path, model: Model, spec: Mapping[str, Any], store: GraphStore) -> None:
    """Refuse a model of another graph, whatever it says that it was trained on.

    Raises:
        DataError: it knows other entities, relations or labels.
    """
    told: dict[str, Any] = {"relations": spec["num_relations"]}
    there: dict[str, Any] = {"relations": store.num_relations}
    if not isinstance(model, PathReasoner):
        types = spec.get("types") or [{"start": 0, "stop": spec.get("num_entities")}]
        told["entities"] = [[kind["start"], kind["stop"]] for kind in types]
        there["entities"] = [[kind.start, kind.stop] for kind in store.types]
    if isinstance(model, NodeModel):
        labels = store.labels()
        told["labels"] = spec["head"]["num_classes"]
        there["labels"] = 0 if labels is None else len(labels.names)
        if "numbers" in spec:
            # A mean and a deviation.
            there["labels"] = 2 if store.has_numbers else 0
    for name, number in told.items():
        if number != there[name]:
            raise DataError(
                f"{directory}: its model knows other {name} than {store.name} has ({number}, not"
                f" {there[name]}): train again"
            )


def _told(asked: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}=" for name in asked) or "nothing"


def _check_k(k: int) -> None:
    if k < 1:
        raise ConfigError(f"k needs a positive int, got {k}")


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise ConfigError(f"split is train, valid or test, got {split!r}")
