"""Runs that recommend items to users, or users to each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Bool, Int64
from numpy.typing import NDArray
from torch import Tensor

from kgscale.data.audit import Tell, silent
from kgscale.errors import ConfigError
from kgscale.graph.known import KnownFacts
from kgscale.inference.friends import with_shared
from kgscale.inference.recommend import (
    ItemScores,
    TopItems,
    are_known,
    best_items,
    best_scored,
    model_scores,
)
from kgscale.models.link import LinkModel
from kgscale.sampling.interest import Interest
from kgscale.tasks.calibration import Columns, with_probability
from kgscale.tasks.explanation import CANDIDATES, Explanation, explain_link, explanation
from kgscale.tasks.items import (
    columns_of,
    interest_of,
    known_before,
    measure_friends,
    measure_items,
)
from kgscale.tasks.runs.base import Run, check_k, check_split, told
from kgscale.tasks.schema import from_settings
from kgscale.tasks.settings import TaskSettings
from kgscale.types import Ids

USERS: Final = 1 << 13
"""Users whose lists are made at a time."""


class RecommendationRun(Run):
    """A run of recommendation."""

    model: LinkModel
    predicted = ("user", "item")

    @cached_property
    def task(self) -> TaskSettings:
        """As it was asked for in training; without friends in common, if none were weighed."""
        kind = "friend_recommendation" if self.store.undirected else "recommendation"
        given = {"name": kind, "shared": 0.0, **self.spec["recommends"]}
        return from_settings("recommends", TaskSettings, given)

    @property
    def weight(self) -> float:
        """Of friends in common."""
        return 0.0 if self.task.shared == "auto" else self.task.shared

    @cached_property
    def interest(self) -> Interest:
        task = self.task
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
        check_k(k)
        found = torch.tensor([self.find_user(user) for user in users])
        return self.lists(found, k=k, known=known)

    def lists(self, user: Ids, *, k: int, known: bool = False) -> Columns:
        """The same of users by their numbers."""
        best = self.best(user, k=k, known=known)
        has = self.has(user, best.item) if known else None
        return self._probable(columns_of(user, best, self.store, has))

    def has(self, user: Ids, item: Int64[Tensor, "user place"]) -> Bool[Tensor, "user place"]:
        """Which of some items each user has already."""
        return are_known(KnownFacts(self.store.adjacency(known=True)), self.interest, user, item)

    def best(self, user: Ids, *, k: int, known: bool = False) -> TopItems:
        """The best items of each user by its number, with their scores."""
        decoder, seen = self.model.decoder, KnownFacts(self.store.adjacency(known=True))
        if self.weight:
            return best_scored(self.known_scores, self.interest, seen, user, k, known=known)
        return best_items(self.vectors, decoder, self.interest, seen, user, k, known=known)

    @cached_property
    def known_scores(self) -> ItemScores:
        """By all that is known."""
        return self.scores_before(None)

    def scores_before(self, split: str | None) -> ItemScores:
        """By what is known when a split is asked for; all without one."""
        known = known_before(self.store, split)
        return with_shared(self.scores, known, self.interest, self.weight)

    def _probable(self, columns: Columns) -> Columns:
        """What a user has already is no prediction, and has no probability."""
        found = with_probability(columns, self.calibration, odds=False)
        both = zip(found["probability"], found["known"], strict=True)
        return {**found, "probability": [None if known else p for p, known in both]}

    def recommend_all(self, *, k: int = 10, known: bool = False) -> Iterator[Columns]:
        """The same for everybody, some users at a time."""
        check_k(k)
        users = torch.arange(self.interest.users.start, self.interest.users.stop)
        for part in torch.split(users, USERS):
            yield self.lists(part, k=k, known=known)

    def predict(self, *, k: int = 10, **asked: Any) -> Columns:
        """Columns of the ``k`` best items of a ``user``; ``known=True`` keeps those it has."""
        if "user" not in asked or not asked.keys() <= {"user", "known"}:
            raise ConfigError(f"predict needs user=… here, got {told(asked)}")
        return self.recommend([asked["user"]], k=k, known=asked.get("known", False))

    def explain(
        self, *, k: int = 10, candidates: int = CANDIDATES, tell: Tell = silent, **asked: Any
    ) -> Explanation:
        """The ``k`` facts and paths on which it rests most that ``user`` is told ``item``."""
        check_k(k)
        if asked.keys() != {"user", "item"}:
            raise ConfigError(f"explain needs user=… and item=… here, got {told(asked)}")
        triple = self.find_user(asked["user"]), self.interest.relation, self._item(asked["item"])
        score, reasons = explain_link(
            self.embedder,
            self.model.decoder,
            self.store,
            self.spec,
            triple,
            candidates=candidates,
            shared=self.weight,
            tell=tell,
        )
        return explanation(self.store, triple, score, reasons[:k])

    def query_vectors(self, users: Sequence[str]) -> NDArray[np.float32]:
        """What an exported index of items is searched with for those of users."""
        entity = torch.tensor([self.find_user(user) for user in users])
        relation = torch.full_like(entity, self.interest.relation)
        with torch.no_grad():
            vectors = self.vectors.rows(entity), self.vectors.of(relation)
            found: NDArray[np.float32] = self.model.decoder.query(*vectors).cpu().numpy()
        return found

    def find_user(self, text: str) -> int:
        return self._one_of(self.interest.users, self.spec["recommends"]["users"], text)

    def _item(self, text: str) -> int:
        return self._one_of(self.interest.items, self.spec["recommends"]["items"], text)

    def _one_of(self, known: range, kind: str, text: str) -> int:
        """By the key in the data, the key in the store, or the name."""
        for key in (f"{kind}:{text}", text):
            if key in (ids := self.store.entity_ids([key])):
                if ids[key] not in known:
                    raise ConfigError(f"{text!r} is no {kind} of the graph")
                return ids[key]
        return self.store.find_entity(text, known)

    def evaluate(self, split: str = "valid", cuts: Sequence[int] | None = None) -> dict[str, Any]:
        """Recall, NDCG, precision, hit rate, MRR and coverage of the lists of a split's users;
        of friends also how they are told from strangers, ``random`` and ``matched``."""
        check_split(split)
        given = self.store, split, self.scores_before(split), self.interest
        task = self.task if cuts is None else replace(self.task, cuts=cuts)
        if self.store.undirected:
            return measure_friends(*given, task, memory=self.memory)
        return measure_items(*given, task.cuts, memory=self.memory)

    def official(self, split: str) -> dict[str, float]:
        return {}
