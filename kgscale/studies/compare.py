"""The same task under several strategies, for the same time: who learns what, at what cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from kgscale.errors import ConfigError, KgscaleError, ResourceError
from kgscale.studies.process import train_apart
from kgscale.studies.record import Record
from kgscale.studies.terms import Settings, Terms, with_parts
from kgscale.tasks import show
from kgscale.tasks.components import component
from kgscale.tasks.measure import StepCost, measure_step
from kgscale.tasks.schema import at_least
from kgscale.tasks.settings import RunSettings
from kgscale.tasks.start import TASKS, rehearse
from kgscale.tasks.training import prepared

NO_LIMIT: Final = 1_000_000
"""Epochs, where time is the limit."""


@dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """``compare`` in ``conf/compare.yaml``; see there for what each means."""

    strategies: Sequence[str]
    seeds: Sequence[int]
    minutes: float
    own: Mapping[str, Any] | None = None
    target: float | None = None
    sizes: Sequence[int] = ()

    def __post_init__(self) -> None:
        for name in ("strategies", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ConfigError(f"compare.{name} needs different ones, got {list(values)}")
        if not self.minutes > 0:
            raise ConfigError(f"compare.minutes needs a positive number, got {self.minutes}")
        for name, least in (("seeds", 0), ("sizes", 1)):
            for value in getattr(self, name):
                at_least(f"compare.{name}", value, least)
        for name in sorted((self.own or {}).keys() - set(self.strategies)):
            raise ConfigError(
                f"compare.own has {name!r}, which is none of compare.strategies"
                f" ({', '.join(self.strategies)})"
            )


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What is to be done of one strategy."""

    strategy: str
    encoder: str
    runs: Sequence[Settings]
    """Of each seed."""
    sizes: Sequence[Settings]
    """On graphs of other sizes, the smallest first."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one strategy did and cost."""

    strategy: str
    encoder: str
    records: Sequence[Record] = ()
    """Of each seed; none if a run failed: the seeds that went well would flatter."""
    failure: KgscaleError | None = None
    cost: StepCost | None = None
    """None where it couldn't be measured."""
    sizes: Sequence[StepCost] = ()
    """On graphs of other sizes."""

    @property
    def status(self) -> str:
        if self.failure is None:
            return "done"
        return "did not fit" if isinstance(self.failure, ResourceError) else "failed"


class Comparison:
    """All runs of a comparison; each trains in a process of its own.

    Args:
        terms: what the runs have in common.
        directory: where all files go.
    """

    def __init__(
        self, settings: CompareSettings, terms: Terms, directory: Path, console: Console
    ) -> None:
        self.settings, self.terms = settings, terms
        self.directory, self.console = directory, console

    def run(self) -> Iterator[Outcome]:
        """Train under each strategy and measure its step; a mistake in the last is found before
        any time is spent on the first.

        Raises:
            ConfigError: a run that can't work, or a graph without validation.
        """
        planned = [self.plan(strategy) for strategy in self.settings.strategies]
        self._check_graph(planned[0].runs[0])
        show.sentence(self.console, f"comparison: {self.directory}")
        for one in planned:
            yield self._outcome(one)

    def plan(self, strategy: str) -> Planned:
        """All settings of a strategy, rehearsed."""
        runs = [self._settings(strategy, seed) for seed in self.settings.seeds]
        edges = runs[0]["data"].get("edges")
        if self.settings.sizes and edges is None:
            name = component("data", runs[0]["data"])[0].__name__
            raise ConfigError(
                f"compare.sizes are sizes of data.edges, which {name} doesn't have; use"
                " data=synthetic, or leave them out"
            )
        sizes = [
            with_parts(
                self._settings(strategy, self.settings.seeds[0], f"data.edges={size}"), size / edges
            )
            for size in sorted(self.settings.sizes)
        ]
        for run in (runs[0], *sizes):
            try:
                rehearse(run)
            except ConfigError as error:
                raise ConfigError(f"{strategy}: {error}") from error
        encoder, _ = component("encoder", runs[0]["encoder"])
        return Planned(strategy=strategy, encoder=encoder.__name__, runs=runs, sizes=sizes)

    def _settings(self, strategy: str, seed: int, *more: str) -> Settings:
        run = self.terms.settings(strategy, f"seed={seed}", *more)
        run["trainer"].update(
            clock="cpu",
            max_seconds=60 * self.settings.minutes,
            max_epochs=NO_LIMIT,
            patience=NO_LIMIT,
        )
        run["evaluation"]["test"] = False
        run["predictions"]["count"] = 0
        run["root"] = str(self.directory / "runs" / f"{strategy}-{seed}")
        return run

    def _check_graph(self, run: Settings) -> None:
        """Build the graph, which all runs share."""
        checked = RunSettings.of(run)
        with show.busy(self.console, "reading the graph") as tell:
            store = prepared(checked, tell=tell)
        task = TASKS[checked.task.name]
        task.check(store)
        task.check_validation(store)

    def _outcome(self, planned: Planned) -> Outcome:
        told: dict[str, Any] = {"strategy": planned.strategy, "encoder": planned.encoder}
        try:
            records = [self._train(planned, run) for run in planned.runs]
        except KgscaleError as error:
            show.sentence(self.console, str(error))
            return Outcome(**told, failure=error)
        cost = self._measured(planned, planned.runs[0])
        return Outcome(**told, records=records, cost=cost, sizes=list(self._sizes(planned)))

    def _train(self, planned: Planned, run: Settings) -> Record:
        named = f"{planned.strategy} ({planned.encoder}), seed {run['seed']}"
        with show.busy(self.console, named):
            record = train_apart(run, named)
        show.sentence(self.console, f"{named}: {record.describe()}")
        return record

    def _measured(self, planned: Planned, run: Settings) -> StepCost | None:
        """None, and a line that says why, where a step can't be measured."""
        at = f" on {run['data']['edges']:,} edges" if "edges" in run["data"] else ""
        named = f"{planned.strategy}: a step{at}"
        try:
            with show.busy(self.console, named):
                return measure_step(run)
        except KgscaleError as error:
            show.sentence(self.console, f"{named}: {error}")
            return None

    def _sizes(self, planned: Planned) -> Iterator[StepCost]:
        """Up to the first that can't be measured: larger ones would need more."""
        for run in planned.sizes:
            cost = self._measured(planned, run)
            if cost is None:
                return
            yield cost
