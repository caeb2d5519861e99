"""The same task under several strategies, for the same time: who learns what, at what cost."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from kgscale.errors import ConfigError, ResourceError
from kgscale.models.encoders.precomputed import MapEncoder
from kgscale.studies.record import Record, read_record
from kgscale.tasks import show
from kgscale.tasks.components import component
from kgscale.tasks.directory import write_text
from kgscale.tasks.measure import StepCost, measure_step
from kgscale.tasks.schema import at_least

Settings = dict[str, Any]
Compose = Callable[[Sequence[str]], Settings]
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
        for seed in self.seeds:
            at_least("compare.seeds", seed, 0)
        for name in sorted((self.own or {}).keys() - set(self.strategies)):
            raise ConfigError(
                f"compare.own has {name!r}, which is none of compare.strategies"
                f" ({', '.join(self.strategies)})"
            )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one strategy did and cost."""

    strategy: str
    records: Sequence[Record]
    """Of each seed."""
    cost: StepCost
    sizes: Sequence[tuple[int, int]]
    """Edges of a graph, and bytes of a step on it."""


class Comparison:
    """All runs of a comparison; each trains in a process of its own.

    Args:
        compose: the settings of a run for further overrides (of groups and keys).
        plain: the same without the overrides that are compared under.
        directory: where all files go.
    """

    def __init__(
        self,
        settings: CompareSettings,
        compose: Compose,
        plain: Compose,
        directory: Path,
        console: Console,
    ) -> None:
        self.settings, self.compose, self.plain = settings, compose, plain
        self.directory, self.console = directory, console

    def settings_of(self, strategy: str, seed: int, *more: str) -> Settings:
        """Equal but for the strategy and the seed; what has no messages gets an encoder of rows."""
        own = (self.settings.own or {}).get(strategy, {})
        if not isinstance(own, Mapping):
            raise ConfigError(f"compare.own.{strategy} needs a mapping, got {own!r}")
        own = dict(own)
        option = own.pop("strategy", strategy)
        composed = copy.deepcopy(self.compose([f"seed={seed}", *more]))
        composed.pop("compare")
        task = f"task={composed['task']['name']}"
        plain = self.plain([task, f"strategy={option}", "encoder=sign"])
        # What is set for the strategy of an experiment says nothing about another.
        if plain["strategy"]["_target_"] != composed["strategy"]["_target_"]:
            composed["strategy"] = plain["strategy"]
        composed["strategy"] |= own
        component("strategy", composed["strategy"])
        kind, _ = component("encoder", composed["encoder"])
        if option == "precomputed" and not issubclass(kind, MapEncoder):
            composed["encoder"] = plain["encoder"] | {"dim": composed["encoder"]["dim"]}
        composed["trainer"].update(
            clock="cpu",
            max_seconds=60 * self.settings.minutes,
            max_epochs=NO_LIMIT,
            patience=NO_LIMIT,
        )
        composed["evaluation"]["test"] = False
        composed["predictions"]["count"] = 0
        composed["root"] = str(self.directory / "runs" / f"{strategy}-{seed}")
        return composed

    def run(self) -> list[Outcome]:
        """Train all, then measure a step of each."""
        # All are composed first: a mistake in the last should not cost the time of the others.
        planned = [
            (strategy, [self.settings_of(strategy, seed) for seed in self.settings.seeds])
            for strategy in self.settings.strategies
        ]
        found = []
        for strategy, runs in planned:
            records = [self._train(strategy, run) for run in runs]
            cost = measure_step(runs[0])
            found.append(
                Outcome(
                    strategy=strategy,
                    records=records,
                    cost=cost,
                    sizes=list(self._sizes(strategy)),
                )
            )
        return found

    def _train(self, strategy: str, run: Settings) -> Record:
        root = Path(run["root"])
        root.mkdir(parents=True)
        file, log = root / "settings.yaml", root / "log.txt"
        # JSON is YAML, and needs no library here.
        write_text(file, json.dumps(run, indent=2))
        command = [sys.executable, "-m", "kgscale", "train", "--settings", str(file)]
        with (
            log.open("w", encoding="utf-8") as output,
            show.busy(self.console, f"{strategy}, seed {run['seed']}"),
        ):
            code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT).returncode
        if code:
            last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            message = f"{strategy}, seed {run['seed']}: {''.join(last)} (all of it in {log})"
            raise (ConfigError if code == ConfigError.exit_code else ResourceError)(message)
        (results,) = root.glob("*/*/results.json")
        record = read_record(results.parent)
        show.sentence(self.console, f"{strategy}, seed {run['seed']}: {record.describe()}")
        return record

    def _sizes(self, strategy: str) -> Iterator[tuple[int, int]]:
        for edges in self.settings.sizes:
            run = self.settings_of(strategy, self.settings.seeds[0], f"data.edges={edges}")
            with show.busy(self.console, f"{strategy}: a step on {edges:,} edges"):
                yield edges, measure_step(run).memory
