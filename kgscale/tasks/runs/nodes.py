"""Runs that tell classes or numbers of entities."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cached_property
from typing import Any

import torch

from kgscale.data.audit import Tell, silent
from kgscale.errors import ConfigError, DataError
from kgscale.inference.classify import Labeller
from kgscale.inference.numbers import Estimator, NumberScale
from kgscale.inference.official import official_nodes
from kgscale.models.node import NodeModel
from kgscale.tasks.calibration import Columns, read_factor
from kgscale.tasks.explanation import (
    CANDIDATES,
    Explanation,
    explain_entity,
    explanation_of_entity,
    read_class,
    read_number,
)
from kgscale.tasks.runs.base import Run, check_k, check_split, told


class NodeRun(Run):
    """A run of node classification."""

    model: NodeModel
    predicted = ("entity", "label")

    def examples(self, count: int) -> Columns:
        """Columns of the surest labels of entities without one, or else of test."""
        return self.labeller.surest(count)

    @cached_property
    def labeller(self) -> Labeller:
        labels = self.store.labels()
        assert labels is not None
        found = Labeller(self.embedder, self.model.head, labels, self.store)
        found.calibration = self.calibration
        return found

    def predict(self, *, k: int = 10, **asked: Any) -> Columns:
        """Columns of the ``k`` best classes of an ``entity``, by key or by name."""
        check_k(k)
        if asked.keys() != {"entity"}:
            raise ConfigError(f"predict needs entity=… here, got {told(asked)}")
        node = torch.tensor([self.store.find_entity(asked["entity"])])
        return self.labeller.answers(node, k=k)

    def explain(
        self, *, k: int = 10, candidates: int = CANDIDATES, tell: Tell = silent, **asked: Any
    ) -> Explanation:
        """The ``k`` facts on which it rests most that ``entity`` has a ``label``, without one its
        most probable."""
        check_k(k)
        if not {"entity"} <= asked.keys() <= {"entity", "label"}:
            raise ConfigError(f"explain needs entity=… and perhaps label=…, got {told(asked)}")
        entity, names = self.store.find_entity(asked["entity"]), self.labeller.labels.names
        label = asked.get("label")
        if label is None:
            label = names[int(self.labeller.logits(torch.tensor([entity]))[0].argmax())]
        if label not in names:
            hint = "".join(
                f": did you mean {near!r}?" for near in get_close_matches(label, names, 1)
            )
            raise ConfigError(f"there is no label {label!r}{hint}")
        score, reasons = explain_entity(
            self.embedder,
            self.store,
            self.spec,
            entity,
            read_class(self.labeller, names.index(label)),
            candidates=candidates,
            tell=tell,
        )
        return explanation_of_entity(self.store, entity, label, score, reasons[:k])

    def evaluate(self, split: str = "valid") -> dict[str, float]:
        """Accuracy, micro and macro F1; average precision if entities have several classes."""
        check_split(split)
        return self.labeller.evaluate(split)

    def official(self, split: str) -> dict[str, float]:
        return official_nodes(self.labeller, split)


class NumberRun(Run):
    """A run of node regression."""

    model: NodeModel
    predicted = ("entity",)

    def examples(self, count: int) -> Columns:
        """Columns of the surest numbers of entities without one, or else of test."""
        return self.estimator.surest(count)

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
        check_k(k)
        if asked.keys() != {"entity"}:
            raise ConfigError(f"predict needs entity=… here, got {told(asked)}")
        return self.estimator.answers(torch.tensor([self.store.find_entity(asked["entity"])]))

    def explain(
        self, *, k: int = 10, candidates: int = CANDIDATES, tell: Tell = silent, **asked: Any
    ) -> Explanation:
        """The ``k`` facts that change the number of an ``entity`` most."""
        check_k(k)
        if asked.keys() != {"entity"}:
            raise ConfigError(f"explain needs entity=… alone here, got {told(asked)}")
        entity = self.store.find_entity(asked["entity"])
        score, reasons = explain_entity(
            self.embedder,
            self.store,
            self.spec,
            entity,
            read_number(self.estimator),
            candidates=candidates,
            signed=False,
            tell=tell,
        )
        return explanation_of_entity(self.store, entity, "its number", score, reasons[:k])

    def evaluate(self, split: str = "valid") -> dict[str, float]:
        """Mean error, root mean squared error, R², and how many numbers intervals hold."""
        check_split(split)
        return self.estimator.evaluate(split)

    def official(self, split: str) -> dict[str, float]:
        return {}
