"""A finished run, opened again: enough to answer and to evaluate."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from kgscale.errors import ConfigError, DataError
from kgscale.graph.known import KnownFacts
from kgscale.graph.store import GraphStore
from kgscale.inference.embed import embed_graph
from kgscale.inference.evaluate import RankReport, evaluate, model_ranker
from kgscale.inference.predict import Prediction, Predictor, table
from kgscale.models.registry import load_model

Columns = dict[str, list[Any]]


class Run:
    """A run directory with its model and its graph store.

    Example:
        >>> run = kgscale.load("outputs/link_prediction/2026-11-22_12-00-00-17")  # doctest: +SKIP
        >>> run.predict(head="Joubert syndrome 24", relation="has_phenotype", k=3)  # doctest: +SKIP
    """

    def __init__(self, directory: Path | str, *, memory: int = 1 << 28) -> None:
        self.directory, self.memory = Path(directory), memory
        if not (self.directory / "model").is_dir():
            raise DataError(
                f"{self.directory}: no run with a model there; name a directory that train printed"
            )
        self.model, self.spec = load_model(self.directory / "model")
        if not Path(self.spec["store"]).is_dir():
            raise DataError(
                f"{self.spec['store']}: the graph store of {self.directory} is gone; train again,"
                f" or build it again with the settings in {self.directory / 'config.yaml'}"
            )
        self.store = GraphStore.open(Path(self.spec["store"]))
        if self.store.fingerprint != self.spec["fingerprint"]:
            raise DataError(
                f"{self.store.path}: the graph store has changed since {self.directory} was"
                " trained; train again"
            )

    @cached_property
    def predictor(self) -> Predictor:
        vectors = embed_graph(self.model, self.store.adjacency(), memory=self.memory)
        return Predictor(vectors, self.model.decoder, self.store, memory=self.memory)

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
        if k < 1:
            raise ConfigError(f"k needs a positive int, got {k}")
        return self.predictor.answers(
            relation=self.store.find_relation(relation),
            head=None if head is None else self.store.find_entity(head),
            tail=None if tail is None else self.store.find_entity(tail),
            k=k,
            known=known,
        )

    def predict(
        self,
        *,
        relation: str,
        head: str | None = None,
        tail: str | None = None,
        k: int = 10,
        known: bool = False,
    ) -> Columns:
        """Columns of the ``k`` best answers, as in ``predictions.tsv``."""
        found = self.answers(relation=relation, head=head, tail=tail, k=k, known=known)
        return table(found, self.store)

    def evaluate(self, split: str = "valid") -> RankReport:
        """Full filtered ranking of a split."""
        if split not in ("train", "valid", "test"):
            raise ConfigError(f"split is train, valid or test, got {split!r}")
        ranker = model_ranker(
            self.predictor.vectors,
            self.model.decoder,
            KnownFacts(self.store.adjacency(known=True)),
            memory=self.memory,
        )
        with torch.no_grad():
            return evaluate(ranker, self.store.triples(split), self.store.adjacency())
