"""Runs that predict links."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kgscale.data.audit import Tell, silent
from kgscale.errors import ConfigError
from kgscale.graph.known import KnownFacts
from kgscale.inference.evaluate import Ranker, RankReport, evaluate, model_ranker
from kgscale.inference.official import official_links
from kgscale.inference.paths import PathPredictor, PathRanker, PathScorer, Rest
from kgscale.inference.predict import Prediction, VectorPredictor, table
from kgscale.inference.reasons import Reason
from kgscale.inference.reasons.traced import best_paths
from kgscale.models.link import LinkModel
from kgscale.models.reasoners import PathReasoner
from kgscale.sampling.paths import PathCutter
from kgscale.tasks.calibration import Columns, with_probability
from kgscale.tasks.explanation import (
    CANDIDATES,
    Explanation,
    explain_answer,
    explain_link,
    explanation,
)
from kgscale.tasks.parts import some_of
from kgscale.tasks.questions import QuestionSettings, ask, measure_questions
from kgscale.tasks.runs.base import Run, check_k, check_split, told


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
        check_k(k)
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
                f"predict needs relation=… beside head=… or tail=… here, got {told(asked)}"
            )
        return self.columns(self.answers(k=k, **asked), backwards=asked.get("head") is None)

    def columns(self, found: Sequence[Prediction], *, backwards: bool) -> Columns:
        """Of answers, which are heads if it was asked ``backwards``."""
        return with_probability(table(found, self.store), self.calibration, odds=True)

    def query_vectors(
        self,
        *,
        relation: Sequence[str],
        head: Sequence[str] | None = None,
        tail: Sequence[str] | None = None,
    ) -> NDArray[np.float32]:
        """What an exported index is searched with for the tails of heads (or heads of tails).

        Example:
            >>> query = run.query_vectors(head=["Albinism"], relation=["shows"])  # doctest: +SKIP
            >>> score, row = faiss.read_index("entities.faiss").search(query, 10)  # doctest: +SKIP
        """
        given = head if tail is None else tail
        if given is None or (head is not None and tail is not None) or len(given) != len(relation):
            raise ConfigError("query_vectors needs as many heads, or tails, as relations")
        entity = torch.tensor([self.store.find_entity(text) for text in given])
        direction = torch.tensor([self.store.find_relation(text) for text in relation])
        direction += self.store.num_relations * (tail is not None)
        with torch.no_grad():
            vectors = self.vectors.rows(entity), self.vectors.of(direction)
            found: NDArray[np.float32] = self.model.decoder.query(*vectors).cpu().numpy()
        return found

    def evaluate(
        self, split: str = "valid", *, ranker: Ranker | None = None, measure_on: int | None = None
    ) -> RankReport:
        """Full filtered ranking of a split, by this model or any other ranker.

        Args:
            measure_on: at most so many triples, drawn once; all without it.
        """
        check_split(split)
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
        check_k(k)
        return ask(self.predictor, question, how, k=k, known=known, memory=self.memory)

    def measure_questions(
        self,
        split: str = "valid",
        how: QuestionSettings = QuestionSettings(),  # noqa: B008
        *,
        tell: Tell = silent,
    ) -> dict[str, Any]:
        """Filtered ranks of answers that need links of a split, by structure."""
        check_split(split)
        return measure_questions(self.predictor, split, how, memory=self.memory, tell=tell)

    def explain(
        self, *, k: int = 10, candidates: int = CANDIDATES, tell: Tell = silent, **asked: Any
    ) -> Explanation:
        """The ``k`` facts and paths that ``(head, relation, tail)`` rests on most.

        Args:
            candidates: paths that are looked at, and as many facts.
        """
        check_k(k)
        if asked.keys() != {"head", "relation", "tail"}:
            raise ConfigError(f"explain needs head=…, relation=… and tail=…, got {told(asked)}")
        store = self.store
        triple = (
            store.find_entity(asked["head"]),
            store.find_relation(asked["relation"]),
            store.find_entity(asked["tail"]),
        )
        score, reasons = self._explained(triple, candidates, tell)
        return explanation(store, triple, score, reasons[:k])

    def _explained(
        self, asked: tuple[int, int, int], candidates: int, tell: Tell
    ) -> tuple[float, list[Reason]]:
        decoder = self.model.decoder
        return explain_link(
            self.embedder, decoder, self.store, self.spec, asked, candidates=candidates, tell=tell
        )

    def ranker(self) -> Ranker:
        return model_ranker(
            self.vectors,
            self.model.decoder,
            KnownFacts(self.store.adjacency(known=True)),
            memory=self.memory,
        )


class PathRun(LinkRun):
    """A run of path reasoning."""

    model: PathReasoner  # type: ignore[assignment]

    def official(self, split: str) -> dict[str, float]:
        """A benchmark's candidates are scored by vectors, which a reasoner has not."""
        return {}

    def query_vectors(self, **asked: Any) -> NDArray[np.float32]:
        """None: a reasoner has no vector of any entity."""
        raise ConfigError(f"{self.directory} is a run of path reasoning, which has no vectors")

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

    def _explained(
        self, asked: tuple[int, int, int], candidates: int, tell: Tell
    ) -> tuple[float, list[Reason]]:
        return explain_answer(self.scorer, self.store, asked, candidates=candidates, tell=tell)

    @cached_property
    def predictor(self) -> PathPredictor:  # type: ignore[override]
        return PathPredictor(self.scorer, self.store, memory=self.memory)

    def ranker(self, *, rest: Rest | None = None, blend: float = 0.0) -> PathRanker:
        """With or without the scores of another run, see :func:`rest_of`."""
        return PathRanker(
            self.scorer,
            KnownFacts(self.store.adjacency(known=True)),
            num_entities=self.store.num_entities,
            rest=rest,
            blend=blend,
        )
