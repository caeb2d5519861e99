"""Friend recommendation: who should know whom, where a relation has no direction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kgscale.errors import ConfigError, DataError
from kgscale.graph.store import GraphStore
from kgscale.inference.friends import WEIGHTS, friend_baselines, with_shared
from kgscale.inference.recommend import ItemScores, Recommender, evaluate_items, item_metrics
from kgscale.sampling.base import Strategy
from kgscale.tasks import show
from kgscale.tasks.items import known_before, measure_friends
from kgscale.tasks.parts import GraphParts
from kgscale.tasks.recommendation import RecommendationTraining
from kgscale.tasks.settings import RunSettings
from kgscale.training.interest import InterestPrediction

SYMMETRIC = ("Dot", "DistMult")
"""Decoders that say the same of both ways."""
ALONE = "vectors alone"


class FriendTraining(RecommendationTraining):
    """Asks for the friends of everybody; answers with lists of strangers who should know each
    other. Pairs are told from strangers that were drawn at random, and from as popular ones."""

    protocol = "friends among strangers, random and as popular; lists of everybody that one isn't"

    @classmethod
    def check(cls, store: GraphStore) -> None:
        if not store.undirected:
            raise DataError(
                f"{store.name}: a pair may stand in this graph both ways, and"
                " task=friend_recommendation is about relations without direction: set"
                " data.undirected=true"
            )

    @classmethod
    def assemble(
        cls, settings: RunSettings, parts: GraphParts
    ) -> tuple[InterestPrediction, Strategy, dict[str, Any]]:
        task = settings.task
        if task.users != task.items:
            raise ConfigError(
                f"friends are of one type: task.users is {task.users!r}, task.items {task.items!r}"
            )
        module, strategy, spec = super().assemble(settings, parts)
        asked = {**spec["recommends"], "hits": list(task.hits), "strangers": task.strangers}
        if task.shared != "auto":
            asked["shared"] = task.shared
        spec = {**spec, "recommends": asked}
        if spec["decoder"]["name"] not in SYMMETRIC:
            raise ConfigError(
                f"{spec['decoder']['name']} tells the two ends of a pair apart, and friends are the"
                " same to each other: set decoder=dot or distmult"
            )
        return module, strategy, spec

    @property
    def weight(self) -> float:
        """Of friends in common."""
        return float(self.spec["recommends"].get("shared", 0.0))

    weighed: Mapping[str, float] | None = None
    """How good the lists of validation are with each weight, if one was chosen."""

    def settle(self) -> bool:
        if self.settings.task.shared != "auto":
            return False
        with show.busy(self.console, "weighing friends in common"):
            found = {weight: self._lists(weight) for weight in WEIGHTS}
        self.weighed = {str(weight): good for weight, good in found.items()}
        # The least of those that are as good; the model alone, where nobody is asked for.
        best = max(WEIGHTS, key=lambda weight: (found[weight], -weight))
        self.spec = {**self.spec, "recommends": {**self.spec["recommends"], "shared": best}}
        return True

    def _lists(self, weight: float) -> float:
        """What chooses a checkpoint, of lists with a weight."""
        module = self.module
        recommender = Recommender(
            scores=with_shared(self.scores, module.graph, module.interest, weight),
            interest=module.interest,
            seen=module.known,
            memory=self.settings.memory,
        )
        sums = evaluate_items(recommender, module.valid, self.cuts)
        found = item_metrics(sums, self.cuts, len(module.interest.items))
        return found.get(module.monitor, 0.0)

    def scores_before(self, split: str | None = None) -> ItemScores:
        known = known_before(self.store, split)
        return with_shared(self.scores, known, self.module.interest, self.weight)

    def measure(self, metrics: dict[str, Any]) -> None:
        for split in self.measured_splits:
            with show.busy(self.console, f"ranking friends of {split}"):
                metrics[split] = self._measured(split, self.scores_before(split))
            self.write_evaluation(split, metrics[split])
        if not self.measured_splits:
            return
        split = self.measured_splits[-1]
        # Nothing is chosen for them by validation: for test, they know it too.
        given = friend_baselines(known_before(self.store, split), self.module.interest)
        if self.weight:
            given = {ALONE: self.scores, **given}
        baselines: dict[str, Any] = {"split": split}
        for name, scores in given.items():
            with show.busy(self.console, f"ranking by {name}"):
                baselines[name] = self._measured(split, scores)
        metrics["baseline"] = baselines
        metrics["shared"] = {"weight": self.weight, self.module.monitor: self.weighed}

    def _measured(self, split: str, scores: ItemScores) -> dict[str, Any]:
        task, memory = self.settings.task, self.settings.memory
        return measure_friends(self.store, split, scores, self.module.interest, task, memory=memory)

    def tell(self, results: Mapping[str, Any]) -> None:
        self.console.print(show.pairs_outcome(results, self.settings.task.hits))
        if line := show.shared_friends(results["metrics"].get("shared")):
            show.sentence(self.console, line)
        super().tell(results)
