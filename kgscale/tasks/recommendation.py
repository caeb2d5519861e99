"""Recommendation: which items users don't have yet, and would like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch

from kgscale.graph.known import KnownFacts
from kgscale.graph.store import GraphStore
from kgscale.inference.calibrate import Listed, list_items
from kgscale.inference.recommend import (
    ItemScores,
    Recommender,
    item_neighbors,
    model_scores,
    popular_items,
)
from kgscale.sampling.base import Strategy
from kgscale.sampling.interest import InterestQuestions
from kgscale.tasks import show
from kgscale.tasks.assembly import assemble
from kgscale.tasks.calibration import Columns, sure, with_probability
from kgscale.tasks.directory import write_json, write_predictions
from kgscale.tasks.items import (
    check_between,
    held_links,
    interest_of,
    joined,
    known_before,
    measure_cold_items,
    measure_items,
    recommender_of,
)
from kgscale.tasks.link_prediction import LinkTraining, decoder_spec, trained
from kgscale.tasks.parts import GraphParts, some_of
from kgscale.tasks.settings import RunSettings
from kgscale.training.interest import InterestPrediction

BASELINES = {"popularity": popular_items, "item-kNN": item_neighbors}


class RecommendationTraining(LinkTraining):
    """Asks for the items of users; answers with lists of items that they don't have."""

    module: InterestPrediction
    protocol = "full ranking of items, seen ones left out"

    @classmethod
    def check(cls, store: GraphStore) -> None:
        """That there are users, items, and a relation between them, is known to ``assemble``."""

    def check_asked(self) -> None:
        check_between(self.store, self.settings.task)

    @classmethod
    def assemble(
        cls, settings: RunSettings, parts: GraphParts
    ) -> tuple[InterestPrediction, Strategy, dict[str, Any]]:
        task = settings.task
        interest = interest_of(task, parts.relations, parts.types)
        asked = {
            "relation": task.relation,
            "users": task.users,
            "items": task.items,
            "cuts": list(task.cuts),
        }
        questions = InterestQuestions(parts.graph, interest, popularity=task.popularity)
        last = {"decoder": decoder_spec(settings), "recommends": asked}
        found = assemble(settings, parts, last, questions)
        valid = parts.valid[parts.valid[:, 1] == interest.relation]
        if parts.graph.undirected:
            valid = torch.cat([valid, valid.flip(1)])
        module = InterestPrediction(
            **trained(settings, parts, found),
            known=KnownFacts(parts.graph),
            valid=some_of(valid, settings.evaluation.validate_on),
            interest=interest,
            cuts=task.cuts,
        )
        return module, found.strategy, found.spec

    @property
    def cuts(self) -> Sequence[int]:
        return self.settings.task.cuts

    @cached_property
    def scores(self) -> ItemScores:
        module = self.module
        return model_scores(self.embedder.every, module.model.decoder, module.interest)

    def scores_before(self, split: str | None = None) -> ItemScores:
        """By what is known when a split is asked for, which is all of it after the last."""
        return self.scores

    def measure(self, metrics: dict[str, Any]) -> None:
        memory, interest = self.settings.memory, self.module.interest
        splits = self.measured_splits
        for split in splits:
            with show.busy(self.console, f"ranking items for users of {split}"):
                found = measure_items(
                    self.store, split, self.scores, interest, self.cuts, memory=memory
                )
            metrics[split] = found
            self.write_evaluation(split, found)
        if not splits:
            return
        with show.busy(self.console, "ranking the items of few users"):
            metrics["cold_items"] = {
                split: measure_cold_items(
                    self.store, split, self.scores, interest, self.cuts, memory=memory
                )
                for split in splits
            }
        baselines: dict[str, Any] = {"split": splits[-1]}
        for name, baseline in BASELINES.items():
            with show.busy(self.console, f"ranking by {name}"):
                # Nothing is chosen for them by validation: for test, they know it too.
                scores = baseline(known_before(self.store, splits[-1]), interest)
                baselines[name] = measure_items(
                    self.store, splits[-1], scores, interest, self.cuts, memory=memory
                )
        metrics["baseline"] = baselines

    def write_evaluation(self, split: str, found: Mapping[str, Any]) -> None:
        content = show.items_evaluation_content(split, found, self.settings.task.name)
        write_json(self.directory / f"evaluation-{split}.json", content)

    def answer(self) -> None:
        wanted, interest = self.settings.predictions, self.module.interest
        if not wanted.count:
            return
        users = torch.arange(interest.users.start, interest.users.stop)
        if len(users) > wanted.count:
            generator = torch.Generator().manual_seed(self.settings.seed)
            users = users[torch.randperm(len(users), generator=generator)[: wanted.count]].sort()[0]
        recommender = recommender_of(
            self.store, self.scores_before(), interest, self.settings.memory
        )
        lists = list(recommender.lists(users, wanted.per_relation))
        found = with_probability(joined(lists, self.store), self.calibration, odds=False)
        self.columns = sure(found, self.settings.predictions.abstain)
        write_predictions(self.directory, self.columns)

    columns: Columns | None = None

    def tell(self, results: Mapping[str, Any]) -> None:
        self.console.print(show.items_outcome(results, self.cuts))
        for split, found in results["metrics"].get("cold_items", {}).items():
            show.sentence(self.console, show.cold_items(split, found, self.cuts[-1]))
        self.tell_probabilities(results)
        self.tell_strategy(results)
        if self.columns is not None:
            self.console.print(show.items(self.columns, "Recommended"))

    def listed(self, split: str) -> Listed:
        recommender = Recommender(
            scores=self.scores_before(split),
            interest=self.module.interest,
            seen=KnownFacts(known_before(self.store, split)),
            memory=self.settings.memory,
        )
        return list_items(recommender, held_links(self.store, split))

    def official(self, split: str) -> dict[str, float]:
        return {}
