"""The settings of a run outside the groups that name a class, checked when made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from kgscale.errors import ConfigError
from kgscale.tasks.components import GROUPS
from kgscale.tasks.schema import MIB, at_least, check_arguments, from_settings
from kgscale.training.fit import TrainerSettings


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """``task`` in ``conf/``, as are those below; see there for what each means."""

    name: Literal["link_prediction"] = "link_prediction"


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    root: str | None = None
    verify: Literal["fast", "full"] = "fast"
    memory: str = "1GB"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\d+(\.\d+)? *[KMGT]i?B", self.memory):
            raise ConfigError(f"store.memory needs a size like 500MB or 2GB, got {self.memory!r}")


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    test: bool = False
    memory: int = 256

    def __post_init__(self) -> None:
        at_least("evaluation.memory", self.memory, 1)


@dataclass(frozen=True, kw_only=True)
class PredictionSettings:
    count: int = 10
    per_relation: int = 2
    pairs: int = 4096

    def __post_init__(self) -> None:
        at_least("predictions.count", self.count, 0)
        at_least("predictions.per_relation", self.per_relation, 1)
        at_least("predictions.pairs", self.pairs, 1)


@dataclass(frozen=True, kw_only=True)
class PenaltySettings:
    """The part of ``loss`` that is the same for every loss."""

    n3: float = 0.0

    def __post_init__(self) -> None:
        if self.n3 < 0:
            raise ConfigError(f"loss.n3 needs a number that isn't negative, got {self.n3}")


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """All of a run's settings; the six groups that name a class stay as they are written."""

    task: TaskSettings
    store: StoreSettings
    evaluation: EvaluationSettings
    predictions: PredictionSettings
    trainer: TrainerSettings
    seed: int
    root: str
    groups: Mapping[str, Any]

    def __post_init__(self) -> None:
        at_least("seed", self.seed, 0)
        if not self.root:
            raise ConfigError("root is empty: name the directory where run directories go")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> RunSettings:
        """From the composed settings.

        Raises:
            ConfigError: a key that is missing, unknown, or of the wrong type.
        """
        known = {field.name for field in fields(cls)} - {"groups"} | GROUPS.keys()
        for key in sorted(settings.keys() ^ known):
            raise ConfigError(f"{key} is not set" if key in known else f"no setting {key}")
        own = check_arguments("", cls, {name: settings[name] for name in ("seed", "root")})
        return cls(
            task=from_settings("task", TaskSettings, settings["task"]),
            store=from_settings("store", StoreSettings, settings["store"]),
            evaluation=from_settings("evaluation", EvaluationSettings, settings["evaluation"]),
            predictions=from_settings("predictions", PredictionSettings, settings["predictions"]),
            trainer=from_settings("trainer", TrainerSettings, settings["trainer"]),
            **own,
            groups={name: settings[name] for name in GROUPS},
        )

    @property
    def memory(self) -> int:
        """Bytes for scores."""
        return self.evaluation.memory * MIB

    @property
    def run_root(self) -> Path:
        return Path(self.root).expanduser()
