"""Link prediction from settings to a run directory: ingest, train, evaluate, predict."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from kgscale.errors import ConfigError
from kgscale.graph.known import KnownFacts
from kgscale.graph.store import GraphStore, prepare
from kgscale.inference.evaluate import RankReport, evaluate, model_ranker
from kgscale.inference.popularity import popularity_ranker
from kgscale.inference.predict import Prediction, Predictor, table
from kgscale.kernels.threads import set_threads
from kgscale.models.registry import build_model, save_model
from kgscale.sampling.base import Strategy
from kgscale.tasks import show
from kgscale.tasks.components import build, component
from kgscale.tasks.directory import (
    make_directory,
    revision,
    versions,
    write_json,
    write_predictions,
    write_text,
)
from kgscale.tasks.usage import Usage
from kgscale.training.data import LinkData
from kgscale.training.distributed import agree, launched_externally, process_group, rank
from kgscale.training.fit import FitResult, TrainerSettings, backend, fit
from kgscale.training.module import LinkPrediction
from kgscale.types import Triples

MIB = 1 << 20
Settings = Mapping[str, Any]


def train(settings: Settings, *, config: str, console: Console) -> tuple[Path, int]:
    """Train as the settings say; returns the run directory and the exit code.

    With ``trainer.devices`` above 1 the other processes are started here (or by torchrun, in
    which case this process is one of them); only rank 0 prints and writes.

    Args:
        config: the settings as YAML, for the run directory and for other ranks.
    """
    trainer = _trainer_settings(settings["trainer"])
    for group in ("data", "strategy", "encoder", "decoder", "loss", "optimizer"):
        component(group, {k: v for k, v in settings[group].items() if k != "n3"})
    set_threads(trainer.threads)
    directory = None
    if not launched_externally() or os.environ.get("RANK", "0") == "0":
        directory = make_directory(Path(settings["root"]), settings["task"]["name"])
        write_text(directory / "config.yaml", config)
    processes: AbstractContextManager[None] = nullcontext()
    if trainer.devices > 1:
        child = ["-m", "kgscale", "train", "--settings", f"{directory}/config.yaml"]
        processes = process_group(backend(trainer), trainer.devices, child)
    with processes:
        directory = Path(agree(str(directory)))
        quiet = rank() > 0
        console = Console(quiet=True) if quiet else console
        return directory, _Training(settings, trainer, directory, console).run()


class _Training:
    """One training, phase by phase; each phase leaves its files in the directory."""

    def __init__(
        self, settings: Settings, trainer: TrainerSettings, directory: Path, console: Console
    ) -> None:
        self.settings, self.trainer = settings, trainer
        self.directory, self.console = directory, console
        self.memory = int(settings["evaluation"]["memory"]) * MIB
        self.leader = rank() == 0

    def run(self) -> int:
        self.console.print(f"run directory: {self.directory}", soft_wrap=True, highlight=False)
        with Usage() as self.usage:
            self.store = self._ingest()
            self.usage.mark("ingest")
            self._build()
            self.console.print(self.strategy.describe(), highlight=False)
            fitted = fit(
                self.module,
                LinkData(self.strategy, workers=self.trainer.workers, ahead=self.trainer.ahead),
                self.directory,
                self.trainer,
                console=self.console,
            )
            self.usage.mark("train")
            if self.leader:
                self._finish(fitted)
        return fitted.interrupted or 0

    def _ingest(self) -> GraphStore:
        source = build("data", self.settings["data"])
        self.console.print(source.describe(), highlight=False)
        store = self.settings["store"]
        root = Path(store["root"]).expanduser() if store["root"] else default_store_root()
        built = prepare(
            source,
            root,
            threads=self.trainer.threads,
            memory=store["memory"],
            verify=store["verify"],
        )
        self.console.print(show.graph(built), highlight=False)
        return built

    def _build(self) -> None:
        settings, store = self.settings, self.store
        encoder, encoder_settings = component("encoder", settings["encoder"])
        decoder, decoder_settings = component("decoder", settings["decoder"])
        self.spec: dict[str, Any] = {
            "num_entities": store.num_entities,
            "num_relations": store.num_relations,
            "encoder": {"name": encoder.__name__, **encoder_settings},
            "decoder": {"name": decoder.__name__, **decoder_settings},
            "store": str(store.path.resolve()),
            "fingerprint": store.fingerprint,
        }
        seed = settings["seed"]
        model = build_model(self.spec, seed=seed)
        self.strategy: Strategy = build(
            "strategy",
            settings["strategy"],
            graph=store.adjacency(),
            num_layers=model.encoder.num_layers,
            seed=seed,
        )
        loss = dict(settings["loss"])
        n3 = loss.pop("n3", 0.0)
        self.module = LinkPrediction(
            model=model,
            loss=build("loss", loss),
            optimizer=partial(build, "optimizer", settings["optimizer"]),
            graph=store.adjacency(),
            known=KnownFacts(store.adjacency(known=True)),
            valid=store.triples("valid"),
            n3=n3,
            memory=self.memory,
        )

    def _finish(self, fitted: FitResult) -> None:
        save_model(self.module.model, self.spec, self.directory / "model")
        metrics: dict[str, Any] = {"valid": fitted.metrics}
        predictions: list[Prediction] = []
        if not fitted.interrupted:
            self.predictor = Predictor(self.module.vectors(), self.module.model.decoder, self.store)
            metrics.update(self._measure())
            predictions = self._predict()
        self.usage.mark("evaluate")
        results = self._results(metrics, fitted)
        write_json(self.directory / "results.json", results)
        self.console.print(show.outcome(results, self.strategy.describe()))
        if predictions:
            columns = table(predictions, self.store)
            self.console.print(show.predictions(columns))
            self.console.print(show.rule(self.settings["predictions"]), highlight=False)
        if fitted.interrupted:
            self.console.print("interrupted; the best checkpoint and the results so far are kept")
        self.console.print(f"run directory: {self.directory}", soft_wrap=True, highlight=False)

    def _measure(self) -> dict[str, Any]:
        """Final metrics of validation, and of test if asked for, beside popularity's."""
        splits = ["valid", *(["test"] if self.settings["evaluation"]["test"] else [])]
        metrics: dict[str, Any] = {}
        for split in splits:
            report = self._rank(split)
            metrics[split] = report.overall()
            write_json(
                self.directory / f"evaluation-{split}.json",
                report.breakdown(self.store.relation_keys(list(range(self.store.num_relations)))),
            )
        popularity = popularity_ranker(
            self.store.adjacency(), KnownFacts(self.store.adjacency(known=True)), memory=self.memory
        )
        baseline = evaluate(popularity, self.store.triples(splits[-1]), self.store.adjacency())
        metrics["baseline"] = {"popularity": baseline.overall(), "split": splits[-1]}
        return metrics

    def _rank(self, split: str) -> RankReport:
        triples: Triples = self.store.triples(split)
        ranker = model_ranker(
            self.predictor.vectors,
            self.predictor.decoder,
            KnownFacts(self.store.adjacency(known=True)),
            memory=self.memory,
        )
        return evaluate(ranker, triples, self.store.adjacency())

    def _predict(self) -> list[Prediction]:
        wanted = self.settings["predictions"]
        if not wanted["count"]:
            return []
        predictions = self.predictor.new_facts(
            count=wanted["count"],
            per_relation=wanted["per_relation"],
            pairs=wanted["pairs"],
            seed=self.settings["seed"],
        )
        write_predictions(self.directory, table(predictions, self.store))
        return predictions

    def _results(self, metrics: dict[str, Any], fitted: FitResult) -> dict[str, Any]:
        strategy, _ = component("strategy", self.settings["strategy"])
        return {
            "schema": 1,
            "task": self.settings["task"]["name"],
            "status": "interrupted" if fitted.interrupted else "done",
            "data": {"name": self.store.name, "fingerprint": self.store.fingerprint},
            "strategy": strategy.__name__,
            "encoder": self.spec["encoder"]["name"],
            "decoder": self.spec["decoder"]["name"],
            "seed": self.settings["seed"],
            "metrics": metrics,
            "protocol": "filtered",
            "epochs": fitted.epochs,
            **self.usage.report(),
            "parameters": sum(p.numel() for p in self.module.model.parameters()),
            "versions": versions(),
            "revision": revision(),
        }


def _trainer_settings(settings: Settings) -> TrainerSettings:
    try:
        return TrainerSettings(**settings)
    except TypeError as error:
        raise ConfigError(f"trainer: {error}") from error


def default_store_root() -> Path:
    """Stores live in the user's cache: they can be built again, and runs share them."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "kgscale" / "stores"
