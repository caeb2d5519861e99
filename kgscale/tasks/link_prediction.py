"""Link prediction from settings to a run directory: ingest, train, evaluate, predict."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from kgscale.graph.adjacency import Adjacency
from kgscale.graph.known import KnownFacts
from kgscale.graph.partition import Partition, partition
from kgscale.graph.store import GraphStore, prepare
from kgscale.inference.evaluate import RankReport, evaluate, model_ranker
from kgscale.inference.popularity import popularity_ranker
from kgscale.inference.predict import Prediction, Predictor, table
from kgscale.kernels.threads import num_threads, set_threads
from kgscale.models.registry import build_model, save_model
from kgscale.sampling.base import Strategy
from kgscale.tasks import show
from kgscale.tasks.components import build, component
from kgscale.tasks.directory import (
    revision,
    run_directory,
    versions,
    write_json,
    write_predictions,
)
from kgscale.tasks.schema import from_settings
from kgscale.tasks.settings import PenaltySettings, RunSettings
from kgscale.tasks.usage import Usage
from kgscale.training.data import LinkData
from kgscale.training.distributed import agree, check_devices, is_leader, process_group
from kgscale.training.fit import FitResult, backend, check_accelerator, fit
from kgscale.training.module import LinkPrediction
from kgscale.types import Triples


def train(settings: Mapping[str, Any], *, config: str, console: Console) -> tuple[Path, int]:
    """Train as the settings say; returns the run directory and the exit code.

    With ``trainer.devices`` above 1 the other processes are started here (or by torchrun, in
    which case this process is one of them); only rank 0 prints and writes.

    Args:
        config: the settings as YAML, for the run directory and for other ranks.
    """
    checked = RunSettings.of(settings)
    check_devices(checked.trainer.devices)
    check_accelerator(checked.trainer)
    _rehearse(checked)
    with _threads(checked.trainer.threads):
        if not is_leader():
            return _follow(checked)
        with (
            _removal_told(console) as opened,
            run_directory(checked.run_root, checked.task.name, config) as directory,
        ):
            opened.append(directory)
            return directory, _Training(checked, directory, console).run()


@contextmanager
def _removal_told(console: Console) -> Iterator[list[Path]]:
    """Say so when a directory that was announced is gone again."""
    opened: list[Path] = []
    try:
        yield opened
    except BaseException:
        for directory in opened:
            if not directory.exists():
                show.sentence(console, "run directory removed again: there is nothing to keep")
        raise


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = num_threads()
    set_threads(number)
    try:
        yield
    finally:
        set_threads(before)


def _rehearse(settings: RunSettings) -> None:
    """Build everything for a graph of one triple, so that a wrong setting costs no ingest."""
    one = torch.tensor([1, 0], dtype=torch.int32)
    graph = Adjacency(
        indptr=torch.tensor([0, 1, 2], dtype=torch.int32),
        source=one,
        relation=one,
        triple=torch.zeros(2, dtype=torch.int32),
        num_relations=1,
    )
    build("data", settings.groups["data"])
    module, _, _ = assemble(
        settings, graph, known=graph, valid=torch.tensor([[0, 0, 1]]), partition=_unused
    )
    module.configure_optimizers()


def _unused(**_: Any) -> Partition:
    raise AssertionError("a rehearsal cuts no graph")


def assemble(
    settings: RunSettings,
    graph: Adjacency,
    *,
    known: Adjacency,
    valid: Triples,
    partition: Callable[..., Partition],
) -> tuple[LinkPrediction, Strategy, dict[str, Any]]:
    """Module and strategy for a graph, and the specification from which a model is rebuilt."""
    spec: dict[str, Any] = {
        "num_entities": graph.indptr.shape[0] - 1,
        "num_relations": graph.num_relations,
    }
    for group in ("encoder", "decoder"):
        kind, arguments = component(group, settings.groups[group])
        spec[group] = {"name": kind.__name__, **arguments}
    model = build_model(spec, seed=settings.seed)
    strategy: Strategy = build(
        "strategy",
        settings.groups["strategy"],
        graph=graph,
        partition=partition,
        num_layers=model.encoder.num_layers,
        seed=settings.seed,
    )
    loss = dict(settings.groups["loss"] or {})
    penalty = from_settings("loss", PenaltySettings, {"n3": loss.pop("n3", 0.0)})
    module = LinkPrediction(
        model=model,
        loss=build("loss", loss),
        optimizer=partial(build, "optimizer", settings.groups["optimizer"]),
        graph=graph,
        known=KnownFacts(known),
        valid=valid,
        n3=penalty.n3,
        memory=settings.memory,
    )
    return module, strategy, spec


def _follow(settings: RunSettings) -> tuple[Path, int]:
    """The part of a rank that neither prints nor writes."""
    trainer = settings.trainer
    with process_group(backend(trainer), trainer.devices, []):
        directory, store = map(Path, agree("", ""))
        training = _Training(settings, directory, Console(quiet=True))
        training.store = GraphStore.open(store)
        return directory, training.fit().interrupted or 0


class _Training:
    """One training, phase by phase; each phase leaves its files in the directory."""

    store: GraphStore

    def __init__(self, settings: RunSettings, directory: Path, console: Console) -> None:
        self.settings, self.directory, self.console = settings, directory, console

    def run(self) -> int:
        """All phases, as the process that prints and writes."""
        show.sentence(self.console, f"run directory: {self.directory}")
        with Usage() as self.usage:
            self._ingest()
            self.usage.mark("ingest")
            with self._processes():
                agree(str(self.directory), str(self.store.path))
                fitted = self.fit()
            self.usage.mark("train")
            self._finish(fitted)
        return fitted.interrupted or 0

    def _processes(self) -> AbstractContextManager[None]:
        trainer = self.settings.trainer
        if trainer.devices == 1:
            return nullcontext()
        child = ["-m", "kgscale", "train", "--settings", str(self.directory / "config.yaml")]
        return process_group(backend(trainer), trainer.devices, child)

    def _ingest(self) -> None:
        source, store = build("data", self.settings.groups["data"]), self.settings.store
        show.sentence(self.console, source.describe())
        root = Path(store.root).expanduser() if store.root else default_store_root()
        with show.busy(self.console, "reading the graph") as tell:
            self.store = prepare(
                source,
                root,
                threads=self.settings.trainer.threads,
                memory=store.memory,
                verify=store.verify,
                tell=tell,
            )
        for line in show.graph(self.store):
            show.sentence(self.console, line)

    def fit(self) -> FitResult:
        """Train together with the other ranks, if there are any."""
        self.module, self.strategy, spec = assemble(
            self.settings,
            self.store.adjacency(),
            known=self.store.adjacency(known=True),
            valid=self.store.triples("valid"),
            partition=partial(partition, self.store),
        )
        path = str(self.store.path.resolve())
        self.spec = {**spec, "store": path, "fingerprint": self.store.fingerprint}
        show.sentence(self.console, self.strategy.describe())
        trainer = self.settings.trainer
        return fit(
            self.module,
            LinkData(self.strategy, workers=trainer.workers, ahead=trainer.ahead),
            self.directory,
            trainer,
            console=self.console,
            seed=self.settings.seed,
        )

    def _finish(self, fitted: FitResult) -> None:
        """Model, metrics and predictions; what there is so far if it is interrupted."""
        save_model(self.module.model, self.spec, self.directory / "model")
        metrics: dict[str, Any] = {"valid": fitted.metrics}
        predictions: list[Prediction] = []
        done = False
        try:
            if fitted.interrupted is None:
                predictor = Predictor(
                    self.module.vectors(),
                    self.module.model.decoder,
                    self.store,
                    memory=self.settings.memory,
                )
                self._measure(predictor, metrics)
                predictions = self._predict(predictor)
                done = True
        finally:
            self.usage.mark("evaluate")
            results = self._results(metrics, fitted.epochs, done=done)
            write_json(self.directory / "results.json", results)
        self._tell(results, predictions)

    def _tell(self, results: Mapping[str, Any], predictions: list[Prediction]) -> None:
        self.console.print(show.outcome(results))
        show.sentence(self.console, self.strategy.describe())
        for line in show.report(results["strategy_report"]):
            show.sentence(self.console, line)
        if predictions:
            self.console.print(show.predictions(table(predictions, self.store), "New facts"))
            wanted = self.settings.predictions
            rule = show.rule(pairs=wanted.pairs, per_relation=wanted.per_relation)
            show.sentence(self.console, rule)
        show.sentence(self.console, f"run directory: {self.directory}")

    def _measure(self, predictor: Predictor, metrics: dict[str, Any]) -> None:
        """Final metrics of validation, and of test if asked for, beside popularity's."""
        splits = ["valid", *(["test"] if self.settings.evaluation.test else [])]
        relations = self.store.relation_keys(list(range(self.store.num_relations)))
        for split in splits:
            with show.busy(self.console, f"ranking {split}"):
                report = self._rank(split, predictor)
            metrics[split] = report.overall()
            file = self.directory / f"evaluation-{split}.json"
            write_json(file, show.evaluation_content(split, report, relations))
        with show.busy(self.console, "ranking by popularity"):
            popularity = popularity_ranker(
                self.store.adjacency(),
                KnownFacts(self.store.adjacency(known=True)),
                memory=self.settings.memory,
            )
            baseline = evaluate(popularity, self.store.triples(splits[-1]), self.store.adjacency())
        metrics["baseline"] = {"popularity": baseline.overall(), "split": splits[-1]}

    def _rank(self, split: str, predictor: Predictor) -> RankReport:
        ranker = model_ranker(
            predictor.vectors,
            predictor.decoder,
            KnownFacts(self.store.adjacency(known=True)),
            memory=self.settings.memory,
        )
        return evaluate(ranker, self.store.triples(split), self.store.adjacency())

    def _predict(self, predictor: Predictor) -> list[Prediction]:
        wanted = self.settings.predictions
        if not wanted.count:
            return []
        with show.busy(self.console, "looking for new facts"):
            predictions = predictor.new_facts(
                count=wanted.count,
                per_relation=wanted.per_relation,
                pairs=wanted.pairs,
                seed=self.settings.seed,
            )
        write_predictions(self.directory, table(predictions, self.store))
        return predictions

    def _results(self, metrics: dict[str, Any], epochs: int, *, done: bool) -> dict[str, Any]:
        strategy, _ = component("strategy", self.settings.groups["strategy"])
        return {
            "schema": 1,
            "task": self.settings.task.name,
            "status": "done" if done else "interrupted",
            "data": {"name": self.store.name, "fingerprint": self.store.fingerprint},
            "strategy": strategy.__name__,
            "strategy_report": self.strategy.report(),
            "encoder": self.spec["encoder"]["name"],
            "decoder": self.spec["decoder"]["name"],
            "seed": self.settings.seed,
            "metrics": metrics,
            "protocol": "filtered",
            "epochs": epochs,
            **self.usage.report(),
            "parameters": sum(p.numel() for p in self.module.model.parameters()),
            "versions": versions(),
            "revision": revision(),
        }


def default_store_root() -> Path:
    """Stores live in the user's cache: they can be built again, and runs share them."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "kgscale" / "stores"
