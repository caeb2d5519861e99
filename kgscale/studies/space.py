"""What a search chooses among: settings, each with a range or some choices."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kgscale.errors import ConfigError
from kgscale.tasks.schema import from_settings

Number = int | float
FACTOR: Final = 5.0
"""By which a learning rate or a penalty is varied either way where nothing is said."""
SCALED: Final = ("lr", "weight_lr", "n3", "l2", "relation")
DROPOUTS: Final = ("dropout", "input_dropout")
MOST: Final = 0.5
"""The largest dropout where nothing is said."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The values that a setting may take: those between two bounds, or any of a list."""

    low: Number | None = None
    high: Number | None = None
    log: bool = False
    choices: Sequence[Any] | None = None

    @property
    def ends(self) -> list[str]:
        """Values to try before any time is spent, as the command line takes them."""
        return list(
            map(json.dumps, [self.low, self.high] if self.choices is None else self.choices)
        )


def read_space(space: Mapping[str, Any]) -> dict[str, Choice]:
    """Checked, by setting.

    Raises:
        ConfigError: bounds that are none.
    """
    return {str(key): _read(str(key), told) for key, told in space.items()}


def _read(key: str, told: object) -> Choice:
    name = f"tune.space.{key}"
    choice = from_settings(name, Choice, told)
    if choice.choices is not None:
        if not choice.choices or choice.log or choice.low is not None or choice.high is not None:
            raise ConfigError(f"{name} needs a list of choices and nothing else, got {told}")
        return choice
    if choice.low is None or choice.high is None:
        raise ConfigError(f"{name} needs low and high, or choices; got {told}")
    if choice.low >= choice.high:
        raise ConfigError(f"{name} needs low below high, got {choice.low} and {choice.high}")
    if choice.log and choice.low <= 0:
        raise ConfigError(f"{name} has log, which needs low above 0, got {choice.low}")
    return choice


def usual_space(settings: Mapping[str, Any]) -> dict[str, Choice]:
    """Around what is set, for a run whose search was told nothing.

    Raises:
        ConfigError: nothing of the kind is set.
    """
    space = {}
    for group in ("encoder", "reasoner", "classifier", "decoder", "loss", "optimizer"):
        for name, value in (settings.get(group) or {}).items():
            if name in SCALED and value:
                space[f"{group}.{name}"] = Choice(low=value / FACTOR, high=value * FACTOR, log=True)
            elif name in DROPOUTS:
                space[f"{group}.{name}"] = Choice(low=0.0, high=max(MOST, value))
    if not space:
        raise ConfigError(
            "tune.space: there is no learning rate, penalty or dropout; name settings"
        )
    return space


def overrides(chosen: Mapping[str, object]) -> list[str]:
    """As the command line takes them; texts are JSON already."""
    return [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in chosen.items()
    ]


def corners(space: Mapping[str, Choice]) -> Iterator[list[str]]:
    """Overrides to try beforehand: every end of every range once, the others at their first."""
    first = {key: choice.ends[0] for key, choice in space.items()}
    yield overrides(first)
    for key, choice in space.items():
        for value in choice.ends[1:]:
            yield overrides({**first, key: value})
