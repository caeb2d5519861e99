"""What ``data.features`` may say: files of numbers, tables by name of column, literals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from kgscale.data.columns import ALL, LEVELS, ColumnFile, TextEncoder
from kgscale.data.features import ARRAYS, FeatureFile
from kgscale.data.files import DataFile
from kgscale.data.labels import LabelFile
from kgscale.data.literals import LiteralFile
from kgscale.data.ngrams import DIM, SIZES, NGrams
from kgscale.data.sentences import SentenceEncoder
from kgscale.data.tables import Format
from kgscale.errors import ConfigError

Setting: TypeAlias = str | Path | Mapping[str, Any]
Settings: TypeAlias = Setting | Sequence[Setting] | None
DescribingFile: TypeAlias = FeatureFile | ColumnFile | LiteralFile
USES = ("numbers", "categories", "text")
WRITTEN = ("header", "delimiter", "quote")
ENCODING = ("dim", "ngrams", "encoder", "download")
"""How texts become numbers."""
KNOWN = {
    "numbers": ("path", "keys", "prefix", "columns", *WRITTEN),
    "array": ("path", "keys", "prefix", "numbers"),
    "columns": ("path", "key", *USES, "levels", *ENCODING, *WRITTEN),
    "literals": ("path", "kind", "columns", "text", "least", *ENCODING, *WRITTEN),
}


def feature_files(setting: Settings) -> tuple[DescribingFile, ...]:
    """From a path, a mapping with ``path``, a list of these, or ``{type: …}`` of any of these."""
    if setting is None:
        return ()
    if isinstance(setting, Mapping) and "path" not in setting:
        return tuple(
            _one(item, type=str(name)) for name, some in setting.items() for item in _listed(some)
        )
    return tuple(_one(item) for item in _listed(setting))


def _listed(setting: Any) -> Sequence[Setting]:
    return [setting] if isinstance(setting, str | Path | Mapping) else setting


def _one(setting: Setting, *, type: str | None = None) -> DescribingFile:
    options = dict(setting) if isinstance(setting, Mapping) else {"path": setting}
    path = options.get("path")
    if not isinstance(path, str | Path):
        known = sorted(set().union(*KNOWN.values()))
        if unknown := sorted(options.keys() - known):
            raise ConfigError(f"data.features has {', '.join(known)}: unknown {unknown}")
        raise ConfigError(f"data.features needs path and perhaps more: no path in {setting!r}")
    path = Path(path).expanduser()
    array = DataFile(path).kind in ARRAYS
    if (kind := options.get("kind")) is not None:
        if kind != "literals":
            raise ConfigError(f"data.features: kind is literals, or left out, got {kind!r}")
    elif any(options.get(use) is not None for use in USES):
        kind = "array" if array else "columns"
    else:
        kind = "numbers"
    if unknown := sorted(options.keys() - set(KNOWN[kind])):
        raise ConfigError(
            f"data.features: {path} is read with {', '.join(KNOWN[kind])}: unknown {unknown}"
        )
    if kind == "literals":
        return _literals(path, options, type)
    if kind == "columns":
        return _columns(path, options, type)
    return (_array if kind == "array" else _plain)(path, options, type)


def _plain(path: Path, options: Mapping[str, Any], type: str | None) -> FeatureFile:
    return FeatureFile(
        path=path,
        format=Format.of(options),
        keys=LabelFile.of(options.get("keys"), "features.keys"),
        prefix=str(options.get("prefix") or ""),
        type=type,
        scaled=options.get("numbers") is not None,
    )


def _array(path: Path, options: Mapping[str, Any], type: str | None) -> FeatureFile:
    if options["numbers"] != ALL:
        raise ConfigError(f"data.features: {path} is an array, of which numbers are {ALL}")
    return _plain(path, options, type)


def _columns(path: Path, options: Mapping[str, Any], type: str | None) -> ColumnFile:
    encoder, told = _encoder(options)
    form = Format.of(options)
    return ColumnFile(
        path=path,
        header=form.header,
        delimiter=form.delimiter,
        quote=form.quote,
        key=options.get("key"),
        numbers=_several(options, "numbers"),
        categories=_several(options, "categories"),
        text=_several(options, "text"),
        levels=_whole(options, "levels", LEVELS),
        encoder=encoder,
        told=told,
        type=type,
    )


def _literals(path: Path, options: Mapping[str, Any], type: str | None) -> LiteralFile:
    encoder, told = _encoder(options)
    return LiteralFile(
        path=path,
        format=Format.of(options),
        text=tuple(map(str, _several(options, "text"))),
        least=_whole(options, "least", 1),
        encoder=encoder,
        told=told,
        type=type,
    )


def _several(options: Mapping[str, Any], name: str) -> tuple[Any, ...]:
    """One column or attribute, or a list of them."""
    given = options.get(name)
    if given is None:
        return ()
    some = [given] if isinstance(given, str | int) else given
    if not isinstance(some, list | tuple) or not all(isinstance(one, str | int) for one in some):
        raise ConfigError(f"data.features: {name} is a column, or a list of them, got {given!r}")
    return tuple(some)


def _encoder(options: Mapping[str, Any]) -> tuple[TextEncoder, tuple[Any, ...]]:
    """What makes numbers of texts, and the settings that change them."""
    given = [name for name in ENCODING if options.get(name) is not None]
    if given and not _several(options, "text"):
        raise ConfigError(f"data.features: {given[0]} is for text, of which there is none")
    if (name := options.get("encoder")) is not None:
        if wrong := [name for name in ("dim", "ngrams") if options.get(name) is not None]:
            raise ConfigError(f"data.features: {wrong[0]} is for n-grams, not for an encoder")
        return SentenceEncoder(str(name), bool(options.get("download"))), (str(name),)
    if options.get("download") is not None:
        raise ConfigError("data.features: download is for an encoder: name one")
    sizes = options.get("ngrams", SIZES)
    if not isinstance(sizes, Sequence) or not all(type(size) is int for size in sizes):
        raise ConfigError(f"data.features: ngrams is a list of whole numbers, got {sizes!r}")
    hashed = NGrams(dim=_whole(options, "dim", DIM), sizes=tuple(sizes))
    return hashed, (hashed.dim, *hashed.sizes)


def _whole(options: Mapping[str, Any], name: str, default: int) -> int:
    value = options.get(name, default)
    if type(value) is not int:
        raise ConfigError(f"data.features: {name} is a whole number, got {value!r}")
    return value
