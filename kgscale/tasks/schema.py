"""Settings against the constructors that take them: names and types, before anything runs."""

from __future__ import annotations

import difflib
import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from kgscale.errors import ConfigError

Kind = TypeVar("Kind")
MIB: Final = 1 << 20
MOST_MIB: Final = 1 << 30
LARGEST: Final = 1 << 63

_NAMES = {bool: "true or false", int: "an int", float: "a number", str: "text", type(None): "null"}


def check_arguments(
    group: str, kind: Callable[..., Any], settings: object, *, given: Sequence[str] = ()
) -> dict[str, Any]:
    """``settings`` as arguments of ``kind``: every key is one of its, every value of its type.

    An int where a float is asked for becomes one. What is ``given`` is no setting.
    """
    if not isinstance(settings, Mapping):
        raise ConfigError(f"{group} needs settings of its own, got {settings!r}")
    known = [name for name in inspect.signature(kind).parameters if name not in given]
    hints = get_type_hints(kind.__init__ if inspect.isclass(kind) else kind)
    arguments = {str(key): value for key, value in settings.items() if key != "_target_"}
    for key, value in list(arguments.items()):
        path = f"{group}.{key}" if group else key
        if key not in known:
            raise ConfigError(f"there is no setting {path}{_near(group, key, known)}")
        _check_plain(path, value)
        if key in hints and not fits(value, hints[key]):
            raise ConfigError(f"{path} needs {words(hints[key])}, got {value!r}")
        if type(value) is int and float in (hints.get(key), *get_args(hints.get(key))):
            arguments[key] = float(value)
    return arguments


def from_settings(group: str, kind: Callable[..., Kind], settings: object) -> Kind:
    """An instance of ``kind``, which gets nothing but the settings."""
    arguments = check_arguments(group, kind, settings)
    try:
        return kind(**arguments)
    except TypeError as error:
        raise ConfigError(f"{group}: {error}") from error


def _check_plain(path: str, value: object) -> None:
    """Refuse what no setting can mean: numbers that no machine holds, and texts with NUL."""
    if isinstance(value, Mapping):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list | tuple):
        for one in value:
            _check_plain(path, one)
    if isinstance(value, int) and abs(value) >= LARGEST:
        raise ConfigError(f"{path} needs a number below 2^63, got {value}")
    if isinstance(value, str) and "\0" in value:
        raise ConfigError(f"{path} has a NUL character: {value!r:.60}")


def mebibytes(name: str, value: int) -> None:
    """At least one, and no more than any machine has."""
    at_least(name, value, 1)
    if value > MOST_MIB:
        raise ConfigError(f"{name} is in MiB, and needs {MOST_MIB:,} at most, got {value}")


def at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"{name} needs an int of at least {least}, got {value}")


def share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"{name} is a share from 0 to 1, got {value}")


def fits(value: object, hint: Any) -> bool:
    """Whether a value from YAML can stand where ``hint`` is asked for; unknown hints pass."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, option) for option in inner)
    if origin is Literal:
        return value in inner and type(value) in map(type, inner)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in _NAMES:
        return isinstance(value, hint)
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return isinstance(value, list | tuple) and all(fits(item, inner[0]) for item in value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, Mapping)
    return True


def words(hint: Any) -> str:
    """What a hint asks for, in a person's words."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(words(option) for option in inner if not inspect.isabstract(option))
    if origin is Literal:
        return "one of " + ", ".join(map(str, inner)) if len(inner) > 1 else str(inner[0])
    if isinstance(origin, type) and issubclass(origin, Sequence):
        if {float, int} <= set(get_args(inner[0])):
            return "a list like [1, 2.5] of numbers"
        return f"a list like [1, 2] of {words(inner[0]).removeprefix('an ').removeprefix('a ')}s"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "a mapping"
    return _NAMES.get(hint, getattr(hint, "__name__", str(hint)))


def _near(group: str, key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {group}.{near[0]}?" if near else f"; it has {', '.join(known)}"
