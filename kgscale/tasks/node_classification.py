"""Node classification: which labels entities lack."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any

from kgscale.errors import ConfigError, DataError
from kgscale.graph.store import GraphStore
from kgscale.inference.calibrate import Listed
from kgscale.inference.classify import Labeller, class_metrics, majority_logits
from kgscale.inference.official import official_nodes
from kgscale.sampling.base import Strategy
from kgscale.sampling.questions import NodeQuestions
from kgscale.tasks import show
from kgscale.tasks.assembly import assemble
from kgscale.tasks.calibration import sure
from kgscale.tasks.components import build, component
from kgscale.tasks.directory import write_json, write_pieces
from kgscale.tasks.parts import GraphParts
from kgscale.tasks.settings import RunSettings
from kgscale.tasks.training import Training
from kgscale.training.node import NodeClassification


class NodeTraining(Training):
    """Asks for the labels of the train entities; answers for all entities of their types."""

    module: NodeClassification
    protocol = "labelled entities of the split"

    @classmethod
    def check(cls, store: GraphStore) -> None:
        if store.has_numbers:
            raise DataError(
                f"{store.name} has numbers as labels, and task=node_classification tells classes"
                " apart: set task=node_regression, or data.label_numbers=false"
            )
        check_labels(store, "node_classification")

    @classmethod
    def check_validation(cls, store: GraphStore) -> None:
        labels = store.labels()
        if labels is None or not len(labels.of("valid")[0]):
            raise ConfigError(
                f"{store.name}: no labelled entity is in validation, by which runs are compared;"
                " raise the second of data.label_split, as in data.label_split=[0.6,0.2,0.2], or"
                " mark some as valid in data.labels"
            )

    @classmethod
    def assemble(
        cls, settings: RunSettings, parts: GraphParts
    ) -> tuple[NodeClassification, Strategy, dict[str, Any]]:
        labels = parts.labels
        assert labels is not None
        _, arguments = component("classifier", settings.groups["classifier"])
        head = {"num_classes": len(labels.names), **arguments}
        questions = NodeQuestions(*labels.of("train"))
        found = assemble(settings, parts, {"head": head}, questions)
        module = NodeClassification(
            model=found.model,
            optimizer=partial(build, "optimizer", settings.groups["optimizer"]),
            graph=parts.graph,
            features=found.features,
            valid=labels.of("valid"),
            tasks=settings.evaluation.choose == "official",
            memory=settings.memory,
        )
        return module, found.strategy, found.spec

    @cached_property
    def labeller(self) -> Labeller:
        labels = self.store.labels()
        assert labels is not None
        return Labeller(self.embedder, self.module.model.head, labels, self.store)

    def measure(self, metrics: dict[str, Any]) -> None:
        labels, splits = self.labeller.labels, self.measured_splits
        for split in splits:
            metrics[split] = self.labeller.evaluate(split)
            content = show.node_evaluation_content(split, metrics[split])
            write_json(self.directory / f"evaluation-{split}.json", content)
        self.measure_officially(metrics)
        _, train = labels.of("train")
        node, label = labels.of(splits[-1])
        constant = majority_logits(train, num_classes=len(labels.names))
        found = class_metrics(constant.expand(len(node), -1), label)
        metrics["baseline"] = {"majority": found, "split": splits[-1]}

    def official(self, split: str) -> dict[str, float]:
        return official_nodes(self.labeller, split)

    def answer(self) -> None:
        if not self.settings.predictions.count:
            return
        least = self.settings.predictions.abstain
        with show.busy(self.console, "labelling"):
            pieces = (sure(piece, least) for piece in self.labeller.every_answer())
            self.answered = write_pieces(self.directory, pieces)

    answered: int = 0
    """Entities whose labels were written."""

    def listed(self, split: str) -> Listed:
        return self.labeller.listed(split)

    def calibrate(self, metrics: dict[str, Any]) -> None:
        super().calibrate(metrics)
        self.labeller.calibration = self.calibration
        least, split = self.settings.predictions.abstain, self.measured_splits[-1]
        if least and metrics.get(split):
            metrics["abstention"] = {"split": split, **self.labeller.abstention(split, least)}

    def tell(self, results: Mapping[str, Any]) -> None:
        self.console.print(show.node_outcome(results))
        self.tell_official(results)
        self.tell_probabilities(results)
        self.tell_strategy(results)
        count = self.settings.predictions.count
        if results["status"] == "done" and count:
            found = self.labeller.surest(count)
            whom = "test entities" if any(found["given"]) else "entities without a label"
            self.console.print(show.labels(found, f"Surest answers for {whom}"))
            file = self.directory / "predictions.tsv"
            show.sentence(self.console, f"labels of {self.answered:,} entities: {file}")
            for line in show.kinds(self.store, len(self.labeller.entities), "label"):
                show.sentence(self.console, line)


def check_labels(store: GraphStore, task: str) -> None:
    """Refuse a graph without labels to learn from."""
    labels = store.labels()
    if labels is None:
        raise DataError(
            f"{store.name} has no labels for task={task}; name a file of entities and labels with"
            " data.labels=FILE, or a relation with data.label_relation=NAME"
        )
    if not (labels.split == 0).any():
        raise DataError(
            f"{store.name}: no labelled entity is in train; raise the first of"
            " data.label_split, or mark some as train in data.labels"
        )
