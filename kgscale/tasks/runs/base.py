"""A finished run, opened again: what all have."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from kgscale.data.audit import Tell, silent
from kgscale.errors import ConfigError
from kgscale.graph.propagate import Propagation, propagate
from kgscale.graph.store import GraphStore
from kgscale.inference.embed import Embedder, GraphVectors
from kgscale.metrics.calibration import Calibration
from kgscale.models.encoders.precomputed import MapEncoder
from kgscale.models.link import LinkModel
from kgscale.models.node import NodeModel
from kgscale.models.registry import Model
from kgscale.tasks.calibration import Columns, read_calibration
from kgscale.tasks.directory import read_predictions
from kgscale.tasks.explanation import CANDIDATES, Explanation
from kgscale.tasks.parts import features_of

SPLITS = ("train", "valid", "test")


class Run(ABC):
    """A run directory with its model and its graph store; open one with ``kgscale.load``.

    Example:
        >>> run = kgscale.load("outputs/link_prediction/2026-11-22_12-00-00-17")  # doctest: +SKIP
        >>> run.predict(head="Joubert syndrome 24", relation="has_phenotype", k=3)  # doctest: +SKIP
    """

    predicted: ClassVar[tuple[str, ...]] = ("head", "relation", "tail")
    """The columns of answers that tell what is predicted, and what ``explain`` takes."""

    def __init__(
        self, directory: Path, model: Model, spec: dict[str, Any], store: GraphStore, memory: int
    ) -> None:
        self.directory, self.model, self.spec = directory, model, spec
        self.store, self.memory = store, memory

    @abstractmethod
    def predict(self, *, k: int = 10, **asked: Any) -> Columns:
        """Columns of the ``k`` best answers, as in ``predictions.tsv``."""

    @abstractmethod
    def explain(
        self, *, k: int = 10, candidates: int = CANDIDATES, tell: Tell = silent, **asked: Any
    ) -> Explanation:
        """The ``k`` facts and paths that a prediction rests on most."""

    @abstractmethod
    def official(self, split: str) -> dict[str, float]:
        """What OGB's Evaluator says of a split; empty where it has no such measure."""

    def examples(self, count: int) -> Columns:
        """Columns of the first predictions of the run, by what it has left on disk."""
        return read_predictions(self.directory, count)

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


def told(asked: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}=" for name in asked) or "nothing"


def check_k(k: int) -> None:
    if k < 1:
        raise ConfigError(f"k needs a positive int, got {k}")


def check_split(split: str) -> None:
    if split not in SPLITS:
        raise ConfigError(f"split is train, valid or test, got {split!r}")
