"""Node regression: which numbers entities lack, each with an interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property, partial
from typing import Any

from kgscale.errors import ConfigError, DataError
from kgscale.graph.store import GraphStore
from kgscale.inference.numbers import Estimator, NumberScale
from kgscale.sampling.base import Strategy
from kgscale.sampling.questions import NodeQuestions
from kgscale.tasks import show
from kgscale.tasks.assembly import assemble
from kgscale.tasks.calibration import narrow, write_factor
from kgscale.tasks.components import build, component
from kgscale.tasks.directory import write_json, write_pieces
from kgscale.tasks.node_classification import NodeTraining, check_labels
from kgscale.tasks.parts import GraphParts
from kgscale.tasks.settings import RunSettings
from kgscale.tasks.training import Training
from kgscale.training.node import NodeRegression


class NumberTraining(Training):
    """Asks for the numbers of the train entities; answers for all entities of their types."""

    module: NodeRegression
    protocol = "entities of the split that have a number"

    @classmethod
    def check(cls, store: GraphStore) -> None:
        if store.labels() is not None and not store.has_numbers:
            raise DataError(
                f"{store.name} has labels for task=node_classification, and task=node_regression"
                " estimates numbers: say with data.label_numbers=true that they are some"
            )
        check_labels(store, "node_regression")

    @classmethod
    def check_validation(cls, store: GraphStore) -> None:
        NodeTraining.check_validation(store)

    @classmethod
    def assemble(
        cls, settings: RunSettings, parts: GraphParts
    ) -> tuple[NodeRegression, Strategy, dict[str, Any]]:
        labels = parts.labels
        assert labels is not None
        strategy = settings.groups["strategy"]
        if strategy.get("label_hops"):
            raise ConfigError(
                "strategy.label_hops sends classes along edges, and labels are numbers here: set it"
                " to 0"
            )
        if settings.task.logarithm and (least := float(labels.names[0])) <= -1:
            raise DataError(
                f"task.logarithm needs numbers above -1, and one is {least:g}: correct it, or leave"
                " it out"
            )
        node, number = labels.numbers("train")
        scale = NumberScale.fit(number, logarithm=settings.task.logarithm)
        _, arguments = component("classifier", settings.groups["classifier"])
        last = {"head": {"num_classes": 2, **arguments}, "numbers": asdict(scale)}
        questions = NodeQuestions(node, scale.learned(number).float()[:, None])
        found = assemble(settings, parts, last, questions)
        held, wanted = labels.numbers("valid")
        module = NodeRegression(
            model=found.model,
            optimizer=partial(build, "optimizer", settings.groups["optimizer"]),
            graph=parts.graph,
            features=found.features,
            valid=(held, scale.learned(wanted).float()),
            memory=settings.memory,
        )
        return module, found.strategy, found.spec

    @cached_property
    def estimator(self) -> Estimator:
        labels = self.store.labels()
        assert labels is not None
        scale = NumberScale(**self.spec["numbers"])
        return Estimator(self.embedder, self.module.model.head, labels, self.store, scale)

    def measure(self, metrics: dict[str, Any]) -> None:
        splits, coverage = self.measured_splits, self.settings.task.coverage
        if metrics["valid"]:
            factor = self.estimator.fit("valid", coverage)
            self.estimator.factor = None if math.isinf(factor) else factor
            write_factor(self.directory, self.estimator.factor, coverage)
        for split in splits:
            metrics[split] = self.estimator.evaluate(split)
            content = show.number_evaluation_content(split, metrics[split])
            write_json(self.directory / f"evaluation-{split}.json", content)
        found = self.estimator.baseline(splits[-1])
        metrics["baseline"] = {"median": found, "split": splits[-1]}

    def official(self, split: str) -> dict[str, float]:
        return {}

    def answer(self) -> None:
        if not self.settings.predictions.count:
            return
        widest = self.settings.predictions.widest
        with show.busy(self.console, "estimating"):
            pieces = (narrow(piece, widest) for piece in self.estimator.every_answer())
            self.answered = write_pieces(self.directory, pieces)

    answered: int = 0
    """Entities whose numbers were written."""

    def tell(self, results: Mapping[str, Any]) -> None:
        self.console.print(show.number_outcome(results))
        self.tell_strategy(results)
        count = self.settings.predictions.count
        if results["status"] == "done" and count:
            found = self.estimator.surest(count)
            whom = "test entities" if any(found["given"]) else "entities without a number"
            self.console.print(show.numbers(found, f"Surest estimates for {whom}"))
            show.sentence(
                self.console,
                f"numbers of {self.answered:,} entities: {self.directory / 'predictions.tsv'}",
            )
            for line in show.kinds(self.store, len(self.estimator.entities), "number"):
                show.sentence(self.console, line)
