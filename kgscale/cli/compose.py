"""Overrides to settings, through Hydra's compose; its failures become one clear sentence."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    SafeLoader,
    YAMLError,
    parse,
)

from kgscale.cli.conf import conf_directory, groups
from kgscale.durable import read_text
from kgscale.errors import ConfigError, DataError

Settings = dict[str, Any]

VERBATIM: Final = (
    "entity", "label", "head", "relation", "tail", "user", "item", "run", "output", "store",
    "onto", "question", "method",
)  # fmt: skip
"""Keys whose value is taken to the letter: an entity may be called ``a, b (c)`` or ``null``."""
PATHS: Final = (
    "root",
    "runs",
    "store.root",
    "data.path",
    "data.names",
    "data.relation_names",
    "data.classes",
    "data.types",
    "data.labels",
    "data.features",
    "data.years",
    "data.relation",
    "data.label_relation",
    "data.facts",
    "data.links",
    "data.user_names",
    "data.item_names",
    "questions",
    "evaluation.questions.file",
)
"""The same for these, but for ``null``, a list or mapping, or quotes around the value."""


LONGEST: Final = 1 << 16
"""Characters of a file of settings."""
DEEPEST: Final = 30
"""Levels of them."""


def settings(overrides: Sequence[str], *, name: str = "config") -> Settings:
    """The settings of one run (or of a command that has a file of its own)."""
    literal, rest = _literal(overrides)
    parsed = _parsed(rest)
    _check_options(parsed)
    composed = _composed(rest, name)
    for key, value in literal.items():
        put(composed, key, value)
    return composed


def as_yaml(config: Mapping[str, Any]) -> str:
    return OmegaConf.to_yaml(OmegaConf.create(dict(config)))


def from_yaml(path: Path) -> Settings:
    """What :func:`as_yaml` wrote, taken to the letter; a tag that would make an object is refused.

    Raises:
        DataError: another thing than settings.
    """
    try:
        text = read_text(path)
        _check_plain(text)
        plain = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
        raise DataError(f"{path}: not readable as settings ({_first_line(error)})") from error
    if not isinstance(plain, dict):
        raise DataError(f"{path}: not readable as settings (it is a list)")
    return {str(key): value for key, value in plain.items()}


def _check_plain(text: str) -> None:
    """Refuse what grows when it is read: nodes that stand for others, and depth without end.

    Raises:
        ValueError: tells what there is.
    """
    depth = 0
    for event in parse(text[:LONGEST], Loader=SafeLoader):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if isinstance(event, AliasEvent) or depth > DEEPEST:
            raise ValueError("aliases, or more levels than settings have")
    if len(text) > LONGEST:
        raise ValueError(f"more than {LONGEST:,} characters")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def sweep(overrides: Sequence[str]) -> list[list[str]]:
    """Every combination of the comma-separated values, in order; paths that exist are one value."""
    choices = []
    for text in overrides:
        key, _, value = text.partition("=")
        whole = key in VERBATIM or (key in PATHS and Path(value).expanduser().exists())
        override = None if whole else _parsed([text])[0]
        if override is not None and override.is_sweep_override():
            values = override.sweep_string_iterator()
            choices.append([f"{override.get_key_element()}={value}" for value in values])
        else:
            choices.append([text])
    return [list(combination) for combination in itertools.product(*choices)]


def _literal(overrides: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Values that must not pass through Hydra's grammar, and the other overrides."""
    literal, rest = {}, []
    for text in overrides:
        key, equals, value = text.partition("=")
        if equals and not value:
            raise ConfigError(f"{key}= has no value; {key}=null stands for none")
        special = value == "null" or value.startswith(("'", '"', "[", "{"))
        # Of a made graph, these are numbers.
        special |= key in ("data.classes", "data.features") and value.isdigit()
        if key in VERBATIM or (key in PATHS and not special):
            literal[key] = value
        else:
            literal.pop(key, None)  # the last one counts
            rest.append(text)
    return literal, rest


def put(config: Settings, key: str, value: Any) -> None:
    """Set what a dotted key names."""
    *path, last = key.split(".")
    place: Any = config
    for part in path:
        place = place.get(part) if isinstance(place, dict) else None
    if not isinstance(place, dict) or last not in place:
        hint = "; it needs data=triples" if key.startswith("data.") else _nearest(key, keys(config))
        raise ConfigError(f"there is no setting {key} here{hint}")
    place[last] = value


def _composed(overrides: Sequence[str], name: str) -> Settings:
    try:
        with initialize_config_dir(str(conf_directory()), version_base="1.3"):
            config = compose(name, overrides=list(overrides))
        plain = OmegaConf.to_container(config, resolve=True)
    # The last two: a key below a list that is no place in it.
    except (HydraException, OmegaConfBaseException, ValueError, TypeError) as error:
        raise ConfigError(_explain(error, overrides, name)) from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _parsed(overrides: Sequence[str]) -> list[Override]:
    parsed = []
    for text in overrides:
        if text.startswith("-"):
            raise ConfigError(f"{text} is not a flag here; --help lists them")
        if text.startswith("="):
            raise ConfigError(f"{text!r} has no key before its =; see --help")
        if "=" not in text and not text.startswith("~"):
            raise ConfigError(f"{text!r} is neither a command nor key=value; see --help")
        try:
            parsed += OverridesParser.create().parse_overrides([text])
        except HydraException as error:
            raise ConfigError(
                f"{text}: can't be read as key=value; put quotes around special characters:"
                " \"key='value'\""
            ) from error
    return parsed


def _check_options(overrides: Iterable[Override]) -> None:
    """A group's option must exist; Hydra's own message hides the alternatives in a traceback."""
    offered = groups()
    for override in overrides:
        if override.is_sweep_override():
            raise ConfigError(f"{override.input_line}: several values need -m, or quotes around")
        group, value = str(override.key_or_group), override.value()
        if re.split("[./@]", group)[0] == "hydra":
            raise ConfigError(
                f"{override.input_line}: settings of Hydra itself can't be changed here"
            )
        options = offered.get(group)
        if options is None or override.is_delete():
            continue
        if isinstance(value, str) and value in options:
            continue
        listed = ", ".join(options)
        hint = _nearest(str(value), options)
        raise ConfigError(f"{group}={value} doesn't exist{hint}; {group} is one of {listed}")


def _explain(error: Exception, overrides: Sequence[str], name: str) -> str:
    """The first override whose key the settings lack, with the nearest that they have."""
    chosen = [text for text in overrides if text.partition("=")[0] in groups()]
    first = str(error).splitlines()[0]
    if len(chosen) == len(overrides):
        return first
    known = set(keys(_composed(chosen, name)))
    for text in overrides:
        key = text.lstrip("+~").partition("=")[0]
        if key not in known and key not in groups():
            return f"there is no setting {key}{_nearest(key, known)}; --cfg job shows all settings"
    return first


def keys(config: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    """All dotted keys of settings."""
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from keys(value, f"{prefix}{key}.")


def _nearest(word: str, words: Iterable[str]) -> str:
    words = list(words)
    near = difflib.get_close_matches(word, words, n=1)
    if not near:
        last = word.rpartition(".")[2]
        near = [w for w in words if w.rpartition(".")[2] == last][:1]
    return f"; did you mean {near[0]}?" if near else ""
