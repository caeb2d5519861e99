"""Overrides to settings, through Hydra's compose; its failures become one clear sentence."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from kgscale.cli.conf import conf_directory, groups
from kgscale.errors import ConfigError

LITERAL = ("head", "relation", "tail", "run")
"""Keys whose value is taken to the letter: an entity may be called ``a, b (c)`` or ``1e5``."""


def settings(overrides: Sequence[str], *, name: str = "config") -> DictConfig:
    """The settings of one run."""
    literal = [quoted(override) for override in overrides]
    _check_options(_parsed(literal))
    try:
        with initialize_config_dir(str(conf_directory()), version_base="1.3"):
            return compose(name, overrides=literal)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_explain(error, literal, name)) from error


def as_dict(config: DictConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def as_yaml(config: DictConfig) -> str:
    return OmegaConf.to_yaml(config, resolve=True)


def from_yaml(path: Path) -> DictConfig:
    config = OmegaConf.load(path)
    assert isinstance(config, DictConfig)
    return config


def sweep(overrides: Sequence[str]) -> list[list[str]]:
    """Every combination of the comma-separated values, in order."""
    choices = []
    for override in _parsed([quoted(text) for text in overrides]):
        if override.is_sweep_override():
            key = override.get_key_element()
            values = override.sweep_string_iterator()
            choices.append([f"{key}={value}" for value in values])
        else:
            choices.append([str(override.input_line)])
    return [list(combination) for combination in itertools.product(*choices)]


def quoted(override: str) -> str:
    """Quote values that Hydra's grammar would read as something else."""
    key, equals, value = override.partition("=")
    is_path = bool(value) and not value.startswith(("'", '"')) and _exists(value)
    if not equals or not (key in LITERAL or is_path):
        return override
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{key}='{escaped}'"


def _exists(value: str) -> bool:
    try:
        return "/" in value and Path(value).expanduser().exists()
    except OSError:
        return False


def _parsed(overrides: Sequence[str]) -> list[Override]:
    parsed = []
    for text in overrides:
        if text.startswith("-"):
            raise ConfigError(f"{text} is not a flag; --help lists them")
        if "=" not in text and not text.startswith("~"):
            raise ConfigError(f"{text!r} is neither a command nor key=value; see --help")
        try:
            parsed += OverridesParser.create().parse_overrides([text])
        except HydraException as error:
            raise ConfigError(
                f"{text}: can't be read as key=value; put quotes around special characters:"
                f" \"key='value'\""
            ) from error
    return parsed


def _check_options(overrides: Iterable[Override]) -> None:
    """A group's option must exist; Hydra's own message hides the alternatives in a traceback."""
    offered = groups()
    for override in overrides:
        options, value = offered.get(override.key_or_group), override.value()
        if options is None or not isinstance(value, str) or value in options:
            continue
        group, listed = str(override.key_or_group), ", ".join(options)
        hint = _nearest(value, options)
        raise ConfigError(f"{group}={value} doesn't exist{hint}; {group} is one of {listed}")


def _explain(error: Exception, overrides: Sequence[str], name: str) -> str:
    """The first override whose key the settings lack, with the nearest that they have."""
    with initialize_config_dir(str(conf_directory()), version_base="1.3"):
        chosen = [o for o in overrides if o.partition("=")[0] in groups()]
        try:
            keys = set(_keys(compose(name, overrides=chosen)))
        except (HydraException, OmegaConfBaseException):
            return str(error).splitlines()[0]
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        if key not in keys and key not in groups():
            return f"there is no setting {key}{_nearest(key, keys)}; --cfg job shows all settings"
    return str(error).splitlines()[0]


def _keys(config: DictConfig | ListConfig, prefix: str = "") -> Iterable[str]:
    if isinstance(config, DictConfig):
        for key in map(str, config):
            yield f"{prefix}{key}"
            child = config._get_node(key)
            if isinstance(child, DictConfig):
                yield from _keys(child, f"{prefix}{key}.")


def _nearest(word: str, words: Iterable[str]) -> str:
    words = list(words)
    near = difflib.get_close_matches(word, words, n=1)
    if not near:
        last = word.rpartition(".")[2]
        near = [w for w in words if w.rpartition(".")[2] == last][:1]
    return f"; did you mean {near[0]}?" if near else ""
