"""``resume=latest`` or ``resume=DIR``: a run's own settings, and what may be changed of them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kgscale.cli import compose
from kgscale.cli.conf import groups
from kgscale.errors import ConfigError, DataError
from kgscale.tasks.directory import CONFIG, DONE, origin_of, read_results
from kgscale.tasks.same import MAY_CHANGE, leaves

KEY: Final = "resume="
LATEST: Final = "latest"
TOLD: Final = "# python -m kgscale "
"""How the first line of a run's settings begins."""
REFERENCES: Final = 16
"""In that line, to other settings: many could double each other's length."""


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """A run to go on with."""

    directory: Path
    settings: compose.Settings
    told: str
    """How it was started, for the first line of its settings."""
    done: bool
    """Whether it has ended and nothing is asked for beside."""


def wanted(arguments: Sequence[str]) -> bool:
    return any(text.startswith(KEY) for text in arguments)


def resumed(arguments: Sequence[str]) -> Resumed:
    """The run that is meant, and its settings with the changes that are asked for.

    The arguments that it was started with may be given again.

    Raises:
        ConfigError: no such run, or a change of what its steps so far depend on.
    """
    value = [text.removeprefix(KEY) for text in arguments if text.startswith(KEY)][-1]
    rest = [text for text in arguments if not text.startswith(KEY)]
    if value == LATEST:
        directory = _latest(_root(rest))
        rest = [text for text in rest if not text.startswith("root=")]
    else:
        directory = Path(value).expanduser()
    file = directory / CONFIG
    if not file.is_file():
        raise ConfigError(f"{KEY}{value}: no run directory there, since it has no {CONFIG}")
    if (origin := origin_of(directory)) is not None:
        raise ConfigError(
            f"{KEY}{value}: that run was not trained: it goes on from {origin!r}; resume that, or"
            " train anew"
        )
    settings, began = compose.from_yaml(file), _began(file)
    last = {_key(text): text for text in began}
    further = [text for text in rest if last.get(_key(text)) != text]
    for text in further:
        group = _key(text)
        if group in groups() and group != "trainer":
            raise ConfigError(
                f"{directory} goes on with the {group} that it was begun with: leave out {text}"
            )
    changes = _changes(began, further)
    for key, (old, new) in changes.items():
        if key not in MAY_CHANGE:
            raise ConfigError(
                f"{directory} was begun with {key}={_text(old)}, and a run that goes on can't"
                f" change it to {_text(new)}; leave it out, or train anew"
            )
        compose.put(settings, key, new)
    return Resumed(
        directory=directory,
        settings=settings,
        told=told([*began, *further]),
        done=not changes and read_results(directory).get("status") == DONE,
    )


def _key(text: str) -> str:
    return text.partition("=")[0]


def told(arguments: Sequence[str]) -> str:
    """The first line of a run's settings."""
    return f"{TOLD}{shlex.join(arguments)}\n"


def _root(arguments: Sequence[str]) -> Path:
    given = [text for text in arguments if text.startswith("root=")]
    return Path(compose.settings(given)["root"]).expanduser()


def _latest(root: Path) -> Path:
    """The run that was begun last; names begin with the date."""
    runs = [file.parent for file in root.glob(f"*/[!.]*/{CONFIG}")]
    trainings = [run for run in runs if run.parent.name not in ("compare", "tune")]
    if not trainings:
        raise ConfigError(f"{KEY}{LATEST}: there is no run in {root}; name it by {KEY}DIR")
    return max(trainings, key=lambda run: (run.name, run.parent.name))


def _began(file: Path) -> list[str]:
    """The arguments in the first line; none if another program wrote the settings."""
    with file.open(encoding="utf-8") as lines:
        first = lines.readline(compose.LONGEST)
    if not first.startswith(TOLD):
        return []
    if first.count("${") > REFERENCES:
        raise DataError(f"{file}: its first line has more references than arguments have")
    try:
        return shlex.split(first.removeprefix(TOLD))
    except ValueError as error:
        raise DataError(f"{file}: its first line can't be read as arguments ({error})") from error


def _changes(began: Sequence[str], further: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    """What the settings of ``began`` become other by ``further``, by dotted key."""
    if not further:
        return {}
    before = dict(leaves(compose.settings(list(began))))
    after = dict(leaves(compose.settings([*began, *further])))
    keys = [*after, *(key for key in before if key not in after)]
    pairs = {key: (before.get(key), after.get(key)) for key in keys}
    return {key: (old, new) for key, (old, new) in pairs.items() if old != new}


def _text(value: Any) -> str:
    return "null" if value is None else str(value)
