"""Link prediction: which triples are missing, by full filtered ranking."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from functools import cached_property, partial
from typing import Any, ClassVar

from kgscale.data.ogb.benchmarks import find_benchmark
from kgscale.errors import ConfigError
from kgscale.graph.known import KnownFacts
from kgscale.graph.store import GraphStore
from kgscale.inference.calibrate import Listed, list_links
from kgscale.inference.embed import GraphVectors
from kgscale.inference.evaluate import RankReport, evaluate, model_ranker
from kgscale.inference.official import official_links, own_measure
from kgscale.inference.popularity import popularity_ranker
from kgscale.inference.predict import Prediction, VectorPredictor, table
from kgscale.models.decoders import Decoder
from kgscale.sampling.base import Strategy
from kgscale.sampling.questions import HeldQuestions
from kgscale.tasks import show
from kgscale.tasks.assembly import Assembly, assemble
from kgscale.tasks.calibration import Columns, sure, with_probability
from kgscale.tasks.components import build, component
from kgscale.tasks.directory import write_json, write_predictions
from kgscale.tasks.parts import GraphParts, rows_of, some_of
from kgscale.tasks.schema import from_settings
from kgscale.tasks.settings import PenaltySettings, RunSettings
from kgscale.tasks.training import Training
from kgscale.training.link import LinkPrediction
from kgscale.types import Triples


class LinkTraining(Training):
    """Asks for the tails of every (head, relation) of train; answers with new facts."""

    module: LinkPrediction
    protocol = "filtered"

    @classmethod
    def check(cls, store: GraphStore) -> None:
        """Every graph has triples to ask about."""

    @classmethod
    def check_validation(cls, store: GraphStore) -> None:
        if not store.num_triples["valid"]:
            raise ConfigError(
                f"{store.name} has no validation triples, by which runs are compared; raise the"
                " second of data.split, as in data.split=[0.9,0.05,0.05], or add a file of them"
            )

    @classmethod
    def assemble(
        cls, settings: RunSettings, parts: GraphParts
    ) -> tuple[LinkPrediction, Strategy, dict[str, Any]]:
        asked = parts.asked_links
        questions = None if asked is None else HeldQuestions(asked, known=parts.graph)
        found = assemble(settings, parts, {"decoder": decoder_spec(settings)}, questions)
        module = LinkPrediction(
            **trained(settings, parts, found),
            known=KnownFacts(parts.known),
            valid=some_of(parts.valid, settings.evaluation.validate_on),
            official=_official(settings, parts),
        )
        return module, found.strategy, found.spec

    @cached_property
    def predictor(self) -> VectorPredictor:
        return VectorPredictor(
            self.embedder.every,
            self.module.model.decoder,
            self.store,
            memory=self.settings.memory,
        )

    predictions: tuple[Prediction, ...] = ()
    calibrated_on: ClassVar[int] = 2000
    """Triples whose questions are asked to fit probabilities."""

    def tell(self, results: Mapping[str, Any]) -> None:
        self.console.print(show.outcome(results))
        self.tell_official(results)
        self.tell_probabilities(results)
        self.tell_strategy(results)
        if self.predictions:
            self.console.print(show.predictions(self._columns(), "New facts"))
            wanted = self.settings.predictions
            rule = show.rule(pairs=wanted.pairs, per_relation=wanted.per_relation)
            show.sentence(self.console, rule)

    def measure(self, metrics: dict[str, Any]) -> None:
        splits = self.measured_splits
        relations = self.store.relation_keys(list(range(self.store.num_relations)))
        for split in splits:
            with show.busy(self.console, f"ranking {split}"):
                report = self._rank(split, metrics)
            file = self.directory / f"evaluation-{split}.json"
            write_json(file, show.evaluation_content(split, report, relations))
        self.measure_officially(metrics)
        if not splits:
            return
        with show.busy(self.console, "ranking by popularity"):
            popularity = popularity_ranker(
                self.store.adjacency(),
                KnownFacts(self.store.adjacency(known=True)),
                memory=self.settings.memory,
            )
            baseline = evaluate(popularity, self.triples(splits[-1]), self.store.adjacency())
        metrics["baseline"] = {"popularity": baseline.overall(), "split": splits[-1]}

    def _rank(self, split: str, metrics: dict[str, Any]) -> RankReport:
        """Rank a split, and put its overall metrics to the others."""
        ranker = model_ranker(
            self.predictor.vectors,
            self.predictor.decoder,
            KnownFacts(self.store.adjacency(known=True)),
            memory=self.settings.memory,
        )
        report = evaluate(ranker, self.triples(split), self.store.adjacency())
        metrics[split] = report.overall()
        return report

    @property
    def measured_splits(self) -> list[str]:
        """Without those of which nothing is known, as a benchmark keeps its answers."""
        return [split for split in super().measured_splits if self.store.num_triples[split]]

    def triples(self, split: str) -> Triples:
        """Those that are ranked among all entities."""
        return some_of(self.store.triples(split), self.settings.evaluation.measure_on)

    def official(self, split: str) -> dict[str, float]:
        return official_links(
            self.store,
            split,
            self.predictor.vectors,
            self.predictor.decoder,
            memory=self.settings.memory,
        )

    def answer(self) -> None:
        wanted = self.settings.predictions
        if not wanted.count:
            return
        with show.busy(self.console, "looking for new facts"):
            found = self.predictor.new_facts(
                count=wanted.count,
                per_relation=wanted.per_relation,
                pairs=wanted.pairs,
                seed=self.settings.seed,
            )
        self.predictions = tuple(found)
        write_predictions(self.directory, self._columns())

    def _columns(self) -> Columns:
        found = table(self.predictions, self.store)
        found = with_probability(found, self.calibration, odds=True)
        return sure(found, self.settings.predictions.abstain)

    def listed(self, split: str) -> Listed:
        return list_links(
            self.predictor.probabilities,
            some_of(self.triples(split), self.calibrated_on),
            self.predictor.facts,
            rows_of(self.store, split),
            rows=self.predictor.rows,
        )


def decoder_spec(settings: RunSettings) -> dict[str, Any]:
    """Of a model's specification."""
    kind, arguments = component("decoder", settings.groups["decoder"])
    return {"name": kind.__name__, **arguments}


def trained(settings: RunSettings, parts: GraphParts, found: Assembly) -> dict[str, Any]:
    """What all modules that train on links take: the model, its loss and penalties, the graph."""
    loss = dict(settings.groups["loss"] or {})
    names = [field.name for field in fields(PenaltySettings)]
    own = {name: loss.pop(name) for name in names if name in loss}
    return {
        "model": found.model,
        "loss": build("loss", loss),
        "optimizer": partial(build, "optimizer", settings.groups["optimizer"]),
        "graph": parts.graph,
        "features": found.features,
        "memory": settings.memory,
        **asdict(from_settings("loss", PenaltySettings, own)),
    }


def _official(
    settings: RunSettings, parts: GraphParts
) -> tuple[str, Callable[[GraphVectors, Decoder], float]] | None:
    """The metric of the benchmark's leaderboard, if that is to choose the checkpoint."""
    asked, benchmark = parts.asked, parts.benchmark
    if settings.evaluation.choose == "own" or asked is None or benchmark is None:
        return None
    metric, train = find_benchmark(benchmark).metric, KnownFacts(parts.graph)

    def measure(vectors: GraphVectors, decoder: Decoder) -> float:
        return own_measure(metric, asked, vectors, decoder, train, memory=settings.memory)

    return metric, measure
