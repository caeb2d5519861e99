"""A training from settings to a run directory, phase by phase, whatever the task."""

from __future__ import annotations

import json
import os
import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from kgscale.data.audit import Tell, silent
from kgscale.data.source import Fetched, Source
from kgscale.errors import ConfigError, DataError
from kgscale.graph.propagate import Propagation, propagate
from kgscale.graph.store import GraphStore, prepare
from kgscale.graph.survey.survey import KIND as SURVEY
from kgscale.inference.calibrate import Listed
from kgscale.inference.embed import Embedder, Features
from kgscale.inference.official import check_evaluator
from kgscale.metrics.calibration import Calibration
from kgscale.models.registry import save_model
from kgscale.sampling.base import Strategy
from kgscale.tasks import show
from kgscale.tasks.audit import report as audit
from kgscale.tasks.calibration import calibrate, forget
from kgscale.tasks.components import build, component
from kgscale.tasks.directory import DONE, RESULTS, hardware, revision, versions, write_json
from kgscale.tasks.parts import GraphParts
from kgscale.tasks.plan.choose import Plan, make_plan
from kgscale.tasks.report import REPORT, write_report
from kgscale.tasks.runs import kind_of
from kgscale.tasks.settings import NODE_TASKS, RunSettings
from kgscale.tasks.usage import Usage
from kgscale.training.data import GraphData
from kgscale.training.distributed import agree, process_group
from kgscale.training.fit import FitResult, backend, fit
from kgscale.training.module import GraphModule
from kgscale.training.resume import Saved


class Training(ABC):
    """One training; each phase leaves its files in the directory.

    A task says what its model is, how it is measured, and what it then answers.
    """

    store: GraphStore
    module: GraphModule
    features: Features

    def __init__(
        self,
        settings: RunSettings,
        directory: Path,
        console: Console,
        saved: Saved | None = None,
    ) -> None:
        self.settings, self.directory, self.console = settings, directory, console
        self.saved = saved
        """Where it stood when it was cut short, if it was."""

    @classmethod
    @abstractmethod
    def check(cls, store: GraphStore) -> None:
        """Refuse a graph that lacks what the task asks about."""

    def check_asked(self) -> None:  # noqa: B027, most tasks ask for nothing by name
        """Refuse a graph in which what is asked for is not as the settings say."""

    @classmethod
    @abstractmethod
    def check_validation(cls, store: GraphStore) -> None:
        """Refuse a graph without anything to validate on."""

    @classmethod
    @abstractmethod
    def assemble(
        cls, settings: RunSettings, parts: GraphParts
    ) -> tuple[GraphModule, Strategy, dict[str, Any]]:
        """Module and strategy for a graph, and the specification from which a model is rebuilt."""

    @classmethod
    def plan_of(cls, settings: RunSettings, parts: GraphParts) -> Plan:
        """The strategy that a run takes, and what it needs."""
        return make_plan(cls.assemble, settings, parts)

    def settle(self) -> bool:
        """Choose by validation what training leaves open; whether that is a part of the model."""
        return False

    @abstractmethod
    def measure(self, metrics: dict[str, Any]) -> None:
        """Final metrics of validation, of test if asked for, and a baseline's, into ``metrics``."""

    @abstractmethod
    def answer(self) -> None:
        """What the model says is missing, into the directory."""

    @abstractmethod
    def tell(self, results: Mapping[str, Any]) -> None:
        """The outcome, for people."""

    @property
    @abstractmethod
    def protocol(self) -> str:
        """How the metrics are measured."""

    def run(self) -> int:
        """All phases, as the process that prints and writes."""
        show.sentence(self.console, f"run directory: {self.directory}")
        with Usage(already=None if self.saved is None else self.saved.own["usage"]) as self.usage:
            self._ingest()
            self._plan()
            self.set_up()
            self.usage.mark("ingest")
            with self._processes():
                strategy = json.dumps(self.settings.groups["strategy"])
                state = str(self.saved.path) if self.saved else ""
                agree(str(self.directory), str(self.store.path), strategy, state)
                fitted = self.fit()
            self.usage.mark("train")
            self._finish(fitted)
        return fitted.interrupted or 0

    def _processes(self) -> AbstractContextManager[None]:
        trainer = self.settings.trainer
        if trainer.devices == 1:
            return nullcontext()
        settings = ["--settings", str(self.directory / "config.yaml"), "--parent", str(os.getpid())]
        child = ["-m", "kgscale", "train", *settings]
        return process_group(backend(trainer), trainer.devices, child)

    def _ingest(self) -> None:
        self.store = read_graph(self.settings, self.console)
        if self.saved is not None:
            self._go_on(self.saved)
        for line in show.graph(self.store):
            show.sentence(self.console, line)
        self.check(self.store)
        self.check_asked()
        self._audit()
        if self.benchmark is not None:
            check_evaluator(self.benchmark)
        if self.settings.evaluation.choose == "official" and self.store.benchmark is None:
            raise ConfigError(
                f"evaluation.choose=official needs a benchmark of OGB, and {self.store.name} is"
                " none: leave it out"
            )

    def _audit(self) -> None:
        """Say what makes the data less than they seem, if anything does."""
        with show.busy(self.console, "looking at the graph") as tell:
            links = self.settings.task.name not in NODE_TASKS
            self.audited = audit.short(self.store, links=links, tell=tell)
        for line in audit.short_lines(self.audited):
            show.sentence(self.console, line)

    def _go_on(self, saved: Saved) -> None:
        """Take the strategy that was settled then.

        Raises:
            DataError: the graph is another one.
        """
        if saved.own["fingerprint"] != self.store.fingerprint:
            raise DataError(
                f"{saved.path} was trained on another graph than {self.store.name} is now: its"
                " files have changed; put back the former, or train anew"
            )
        self.settings = self.settings.with_group("strategy", saved.own["strategy"])
        show.sentence(self.console, f"going on after {saved.position.told()}")

    def _plan(self) -> None:
        """Settle the strategy; refuse what won't fit before it is begun, then propagate."""
        parts = self._parts()
        with self._told_by_state():
            self.plan = self.plan_of(self.settings, parts)
        self.settings = self.settings.with_group("strategy", self.plan.strategy)
        for line in self.plan.told():
            show.sentence(self.console, line)
        self._propagate(parts)

    @contextmanager
    def _told_by_state(self) -> Iterator[None]:
        """A run that goes on has its strategy from its state."""
        try:
            yield
        except ConfigError as error:
            if self.saved is None:
                raise
            raise ConfigError(f"{self.saved.path}: {error}") from error

    def _parts(self) -> GraphParts:
        with show.busy(self.console, "looking at the graph"):
            return GraphParts.of(self.store, self.settings.inputs.arguments())

    def _propagate(self, parts: GraphParts) -> None:
        """Make what an encoder of maps reads, before all ranks look for it."""
        _, _, spec = self.assemble(self.settings, parts.miniature())
        if "propagation" in spec:
            with show.busy(self.console, "propagating features") as tell:
                propagate(self.store, Propagation(**spec["propagation"]), tell=tell)

    def set_up(self) -> None:
        """Module and strategy, and what this prepares: no clock of training runs yet, and other
        ranks find what the first has made."""
        parts = self._parts()
        self.features = parts.features
        self.module, self.strategy, spec = self.assemble(self.settings, parts)
        path = str(self.store.path.resolve())
        self.spec = {**spec, "store": path, "fingerprint": self.store.fingerprint}
        show.sentence(self.console, self.strategy.describe())
        with show.busy(self.console, "preparing the strategy"):
            self.strategy.prepare()

    def fit(self) -> FitResult:
        """Train together with the other ranks, if there are any."""
        trainer = self.settings.trainer
        data = GraphData(
            self.strategy,
            workers=trainer.workers,
            ahead=trainer.ahead,
            features=self.features,
        )
        return fit(
            self.module,
            data,
            self.directory,
            trainer,
            console=self.console,
            seed=self.settings.seed,
            saved=self.saved,
            own=self._own,
        )

    def _own(self) -> dict[str, Any]:
        """What a saved state needs beside the training's."""
        return {
            "fingerprint": self.store.fingerprint,
            "settings": dict(self.settings.given),
            "strategy": dict(self.settings.groups["strategy"]),
            "usage": self.usage.so_far("train"),
        }

    def _finish(self, fitted: FitResult) -> None:
        """Model, metrics and answers; what there is so far if it is interrupted."""
        forget(self.directory)
        (self.directory / REPORT).unlink(missing_ok=True)
        save_model(self.module.model, self.spec, self.directory / "model")
        metrics: dict[str, Any] = {"valid": fitted.metrics}
        done = False
        try:
            if fitted.interrupted is None:
                if self.settle():
                    save_model(self.module.model, self.spec, self.directory / "model")
                self.measure(metrics)
                self.calibrate(metrics)
                self.answer()
                done = True
        finally:
            self.usage.mark("evaluate")
            results = self._results(metrics, fitted, done=done)
            write_json(self.directory / RESULTS, results)
        self.tell(results)
        self._report()
        show.sentence(self.console, f"run directory: {self.directory}")

    def _report(self) -> None:
        """The page and the card, when all else is there: no failure of theirs takes it away."""
        model = self.module.model.eval()
        kind = kind_of(model, self.spec)
        run = kind(self.directory, model, self.spec, self.store, self.settings.memory)
        if "embedder" in self.__dict__:
            run.embedder = self.embedder
        try:
            with show.busy(self.console, "writing the report"):
                write_report(run)
        except Exception:
            again = shlex.join(["python", "-m", "kgscale", "report", f"run={self.directory}"])
            show.sentence(
                self.console,
                f"all but the report is whole in {self.directory}; to write that: {again}",
            )
            raise
        show.sentence(self.console, f"report: {self.directory / REPORT}")

    @cached_property
    def embedder(self) -> Embedder:
        """Vectors of the trained model, which measures and answers share."""
        return self.module.embedder()

    calibration: Calibration | None = None
    """From scores to probabilities, once there is one."""

    def listed(self, split: str) -> Listed | None:
        """Answers to a split's questions, by which scores become probabilities; none if a task
        has no such."""
        return None

    def calibrate(self, metrics: dict[str, Any]) -> None:
        """Fit probabilities on validation, where there is any."""
        method, splits = self.settings.evaluation.calibrate, self.measured_splits
        if method == "none" or not metrics.get("valid"):
            return
        with show.busy(self.console, "fitting probabilities"):
            self.calibration, found = calibrate(self.listed, splits, method, self.directory)
        if found:
            metrics["calibration"] = found

    def _prepared_seconds(self) -> float:
        """Of processor time, what parts and maps took when they were made."""
        made = self.store.derived_seconds.items()
        used = [seconds for name, seconds in made if not name.startswith(f"{SURVEY}-")]
        return round(sum(used, 0.0), 3)

    @property
    def benchmark(self) -> str | None:
        """Under what name OGB measures the run, if it does."""
        return self.store.benchmark if self.settings.evaluation.official else None

    def measure_officially(self, metrics: dict[str, Any]) -> None:
        """What OGB's Evaluator says of each split, beside our own metrics."""
        if self.benchmark is None:
            return
        found: dict[str, Any] = {"benchmark": self.benchmark, "ogb": version("ogb")}
        for split in self.measured_splits:
            with show.busy(self.console, f"measuring {split} by the rules of {self.benchmark}"):
                found[split] = self.official(split)
        metrics["official"] = found

    @abstractmethod
    def official(self, split: str) -> dict[str, float]:
        """Of a split; empty if the task has no such measure."""

    def tell_official(self, results: Mapping[str, Any]) -> None:
        found = results["metrics"].get("official")
        for line in show.official(found) if found else ():
            show.sentence(self.console, line)

    def tell_probabilities(self, results: Mapping[str, Any]) -> None:
        for line in show.probabilities(results["metrics"]):
            show.sentence(self.console, line)
        if results["status"] == DONE and self.settings.predictions.abstain and not self.calibration:
            show.sentence(
                self.console,
                "note: validation has no answers to fit probabilities on, so that"
                " predictions.abstain leaves none out",
            )

    @property
    def measured_splits(self) -> list[str]:
        return ["valid", *(["test"] if self.settings.evaluation.test else [])]

    def tell_strategy(self, results: Mapping[str, Any]) -> None:
        show.sentence(self.console, self.strategy.describe())
        for line in show.report(results["strategy_report"], results["relations_kept"]):
            show.sentence(self.console, line)

    def _relations_kept(self) -> dict[str, float]:
        keys = self.store.relation_keys(list(range(self.store.num_relations)))
        return dict(zip(keys, self.strategy.relations_kept(), strict=False))

    def _results(self, metrics: dict[str, Any], fitted: FitResult, *, done: bool) -> dict[str, Any]:
        strategy, _ = component("strategy", self.settings.groups["strategy"])
        kinds = ("encoder", "decoder", "reasoner")
        named = {kind: self.spec[kind]["name"] for kind in kinds if kind in self.spec}
        return {
            "schema": 1,
            "task": self.settings.task.name,
            "status": DONE if done else "interrupted",
            "data": {
                "name": self.store.name,
                "fingerprint": self.store.fingerprint,
                "triples": self.store.num_triples["train"],
            },
            "strategy": strategy.__name__,
            "strategy_report": self.strategy.report(),
            "relations_kept": self._relations_kept(),
            "audit": audit.short_content(self.audited),
            "prepared_seconds": self._prepared_seconds(),
            "plan": self.plan.report(),
            **named,
            "seed": self.settings.seed,
            "monitor": self.module.monitor,
            "metrics": metrics,
            "protocol": self.protocol,
            "epochs": round(fitted.epochs, 2),
            "score_dtype": fitted.score_dtype,
            "threads": self.settings.trainer.threads * self.settings.trainer.devices,
            **self.usage.report(),
            "parameters": sum(p.numel() for p in self.module.model.parameters()),
            "hardware": hardware(),
            "versions": versions(),
            "revision": revision(),
        }


def read_graph(settings: RunSettings, console: Console) -> GraphStore:
    """The store of a run's data, telling where they come from."""
    source = build("data", settings.groups["data"])
    show.sentence(console, source.describe())
    if isinstance(source, Fetched) and (wanted := source.wanted()):
        show.sentence(console, wanted)
    with show.busy(console, "reading the graph") as tell:
        return stored(source, settings, tell=tell)


def prepared(settings: RunSettings, *, tell: Tell = silent) -> GraphStore:
    """The store of a run's data, built or found again."""
    return stored(build("data", settings.groups["data"]), settings, tell=tell)


def stored(source: Source, settings: RunSettings, *, tell: Tell = silent) -> GraphStore:
    """The store of a source, where and how the settings say."""
    store = settings.store
    root = Path(store.root).expanduser() if store.root else default_store_root()
    return prepare(
        source,
        root,
        threads=settings.trainer.threads,
        memory=store.memory,
        verify=store.verify,
        tell=tell,
    )


@contextmanager
def removal_told(console: Console) -> Iterator[list[Path]]:
    """Say so when a directory that was announced is gone again."""
    opened: list[Path] = []
    try:
        yield opened
    except BaseException:
        for directory in opened:
            if not directory.exists():
                show.sentence(console, "run directory removed again: there is nothing to keep")
        raise


def default_store_root() -> Path:
    """Stores live in the user's cache: they can be built again, and runs share them."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "kgscale" / "stores"
