"""Friend recommendation: who should know whom, where a relation has no direction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kgscale.errors import ConfigError, DataError
from kgscale.graph.store import GraphStore
from kgscale.inference.friends import friend_baselines
from kgscale.sampling.base import Strategy
from kgscale.tasks import show
from kgscale.tasks.items import known_before, measure_friends
from kgscale.tasks.parts import GraphParts
from kgscale.tasks.recommendation import RecommendationTraining
from kgscale.tasks.settings import RunSettings
from kgscale.training.interest import InterestPrediction

SYMMETRIC = ("Dot", "DistMult")
"""Decoders that say the same of both ways."""


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
        if spec["decoder"]["name"] not in SYMMETRIC:
            raise ConfigError(
                f"{spec['decoder']['name']} tells the two ends of a pair apart, and friends are the"
                " same to each other: set decoder=dot or distmult"
            )
        return module, strategy, spec

    def measure(self, metrics: dict[str, Any]) -> None:
        for split in self.measured_splits:
            with show.busy(self.console, f"ranking friends of {split}"):
                metrics[split] = measure_friends(
                    self.store,
                    split,
                    self.scores,
                    self.module.interest,
                    self.settings.task,
                    memory=self.settings.memory,
                )
            self.write_evaluation(split, metrics[split])
        if not self.measured_splits:
            return
        split, interest = self.measured_splits[-1], self.module.interest
        baselines: dict[str, Any] = {"split": split}
        # Nothing is chosen for them by validation: for test, they know it too.
        given = friend_baselines(known_before(self.store, split), interest)
        for name, scores in given.items():
            with show.busy(self.console, f"ranking by {name}"):
                baselines[name] = measure_friends(
                    self.store,
                    split,
                    scores,
                    interest,
                    self.settings.task,
                    memory=self.settings.memory,
                )
        metrics["baseline"] = baselines

    def tell(self, results: Mapping[str, Any]) -> None:
        self.console.print(show.pairs_outcome(results, self.settings.task.hits))
        super().tell(results)
