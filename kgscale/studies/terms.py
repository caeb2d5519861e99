"""Equal terms: what the runs of a comparison have in common, and what each has for itself."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final

from kgscale.errors import ConfigError
from kgscale.models.encoders.precomputed import MapEncoder
from kgscale.tasks.components import component

Settings = dict[str, Any]
Compose = Callable[[Sequence[str]], Settings]

SHARED: Final = ("batch_size", "candidates")
"""Settings of a strategy that all have alike which know them, where somebody sets them."""
SAME: Final = ("dim", "dropout")
"""Settings that an encoder takes over from the one in whose place it stands."""


class Terms:
    """The settings of a run under any of the strategies.

    Args:
        compose: the settings of a run for further overrides (of groups and keys); for another
            strategy, what is set of the strategy is set there too, whether it knows it or not.
        plain: the same without the overrides that are compared under.
        own: settings of some strategies alone; they win over all others.
    """

    def __init__(self, compose: Compose, plain: Compose, own: Mapping[str, Any]) -> None:
        self._compose = cache(lambda *overrides: compose(overrides))
        self._plain = cache(lambda *overrides: plain(overrides))
        self._own = own

    def settings(self, strategy: str, *more: str) -> Settings:
        """Equal but for the strategy, and the encoder where it can't read what that makes."""
        own = self._own.get(strategy, {})
        if not isinstance(own, Mapping):
            raise ConfigError(f"compare.own.{strategy} needs a mapping, got {own!r}")
        option = own.get("strategy", strategy)
        composed = copy.deepcopy(self._compose(*more))
        composed.pop("compare")
        if "encoder" not in composed:
            raise ConfigError(
                f"task={composed['task']['name']} has a strategy of its own: there is nothing to"
                " compare it with"
            )
        default = self._default(option, composed)
        composed["strategy"] = {
            **self._strategy(composed["strategy"], default["strategy"], option, more),
            **{name: value for name, value in own.items() if name != "strategy"},
        }
        component("strategy", composed["strategy"])
        configured = composed["encoder"]
        composed["encoder"] = _encoder(configured, default["encoder"])
        if composed["encoder"] is not configured and _reads_maps(composed["encoder"]):
            _move_inputs(composed, own)
        return composed

    def _default(self, option: str, composed: Settings) -> Settings:
        """A strategy as its file has it, and an encoder that fits it, under the same ``task``."""
        task = dict(composed["task"])
        # JSON is what the grammar of overrides reads, too.
        overrides = [f"task={task.pop('name')}", f"strategy={option}"]
        overrides += [f"task.{name}={json.dumps(value)}" for name, value in task.items()]
        if option == "precomputed":
            overrides.append("encoder=sign")
        return self._plain(*overrides)

    def _strategy(
        self, configured: Settings, default: Settings, option: str, more: Sequence[str]
    ) -> Settings:
        """What is set for one strategy says nothing about another, but for what all share."""
        if configured["_target_"] == default["_target_"]:
            return configured
        there = self._compose(*more, f"strategy={option}")["strategy"]
        return {**default, **{name: there[name] for name in SHARED if name in default}}


def _encoder(configured: Settings, default: Settings) -> Settings:
    """The default only where one reads maps and the other messages."""
    if _reads_maps(configured) == _reads_maps(default):
        return configured
    same = configured.keys() & default.keys() & set(SAME)
    return {**default, **{name: configured[name] for name in same}}


def _reads_maps(encoder: Settings) -> bool:
    return issubclass(component("encoder", encoder)[0], MapEncoder)


def _move_inputs(composed: Settings, own: Mapping[str, Any]) -> None:
    """What is done to features goes to where an encoder of maps has it."""
    inputs = composed["inputs"]
    composed["encoder"] = {**composed["encoder"], "input_dropout": inputs["dropout"]}
    if inputs["normalize"] and "normalize_rows" not in own:
        composed["strategy"] = {**composed["strategy"], "normalize_rows": True}
    # Anchors are told to encoders of messages alone; rows of maps have learned vectors beside them.
    learned = "missing" if inputs["learned"] == "anchors" else inputs["learned"]
    composed["inputs"] = {**inputs, "learned": learned, "dropout": 0.0, "normalize": False}


def with_parts(settings: Settings, growth: float) -> Settings:
    """The same for a graph that is so many times as large: more parts, of the same size."""
    strategy = settings["strategy"]
    if "parts" not in strategy:
        return settings
    parts = max(strategy.get("per_batch", 1), round(strategy["parts"] * growth))
    return {**settings, "strategy": {**strategy, "parts": parts}}
