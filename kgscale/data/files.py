"""Files by their names: kind, compression, and the stream of bytes inside."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from kgscale.data.splits import SPLITS
from kgscale.errors import ConfigError, DataError, ResourceError

DELIMITERS = {".tsv": "\t", ".txt": "\t", ".csv": ","}
COMPRESSION = {".gz": "gzip", ".zst": "zstd"}
PARQUET = ".parquet"
KINDS = (*DELIMITERS, PARQUET)


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file and what its name says about it."""

    path: Path

    @property
    def compression(self) -> str | None:
        return COMPRESSION.get(self.path.suffix)

    @property
    def kind(self) -> str:
        """The suffix before that of a compression."""
        return (self.path.with_suffix("") if self.compression else self.path).suffix

    @property
    def is_parquet(self) -> bool:
        return self.kind == PARQUET

    def delimiter(self, chosen: str | None) -> str:
        """The delimiter that was set, else that of the suffix; never one guessed from content."""
        found = chosen or DELIMITERS.get(self.kind)
        if found is None:
            raise ConfigError(
                f"{self.path} is none of {', '.join(KINDS)} (or .gz or .zst of these): "
                "set data.delimiter to read it as text"
            )
        return found

    def open(self) -> pa.NativeFile:
        """The decompressed bytes."""
        check_readable(self.path)
        try:
            return pa.input_stream(str(self.path), compression=self.compression)
        except OSError as error:
            raise unreadable(self.path, error) from error

    def digest(self) -> str:
        """Hash of the file's bytes."""
        check_readable(self.path)
        with self.path.open("rb", buffering=0) as stream:
            return hashlib.file_digest(stream, _hash).hexdigest()


def stamp(paths: Iterable[Path], settings: object) -> tuple[str, float]:
    """Path, size, time and inode of each file, and when one last changed."""
    found = []
    for path in paths:
        check_readable(path)
        found.append((str(path.resolve()), path.stat()))
    signs = [(name, stat.st_size, stat.st_mtime_ns, stat.st_ino) for name, stat in found]
    text = json.dumps([settings, signs], sort_keys=True)
    latest = max((stat.st_mtime for _, stat in found), default=0.0)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest(), latest


def _hash() -> Any:
    return hashlib.blake2b(digest_size=32)


def check_readable(path: Path, *, setting: str = "data.path, or the setting that names it") -> None:
    """One clear sentence for the ways in which a file cannot be opened."""
    if path.is_dir():
        raise DataError(f"{path} is a directory where a file is needed")
    if path.exists() and not path.is_file():
        raise DataError(
            f"{path} is a device or a pipe, and is read more than once: write it to a file first"
        )
    try:
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: check {setting}") from None
    except OSError as error:
        raise unreadable(path, error) from error


GROWTH = 200
"""So many times its size, and more than ``HARMLESS`` bytes, is what no data set grows to."""
HARMLESS = 256 << 20


def check_growth(what: str, packed: int, unpacked: int) -> None:
    """Refuse an archive that is made to fill a disk.

    Raises:
        DataError: it would grow beyond all that data do.
    """
    if unpacked > max(HARMLESS, GROWTH * packed):
        raise DataError(
            f"{what} has {packed:,} bytes and would unpack to {unpacked:,}, more than {GROWTH}"
            " times as many, which no data set does: if it is yours, unpack it yourself"
        )


UNREADABLE = (OSError, pa.ArrowException, UnicodeDecodeError)
"""What reading a damaged file raises."""


def unreadable(path: Path, error: Exception) -> Exception:
    if isinstance(error, PermissionError):
        return ResourceError(f"{path} cannot be read: permission denied")
    # Some errors say nothing, like the EOFError of a zip file.
    reason = str(error).partition("\n")[0] or type(error).__name__
    return DataError(f"{path} cannot be read ({reason}): the file is damaged or of another kind")


def split_files(
    path: Path, *, prefix: str = "", kinds: Sequence[str] = KINDS
) -> dict[str, DataFile]:
    """The file of each split of a directory; ``open`` is one still to be divided, as a file is.

    Raises:
        DataError: a directory without a file to train on, or with two for one split.
    """
    if not path.is_dir():
        return {"open": DataFile(path)}
    found = {split: file for split in SPLITS if (file := _find(path, f"{prefix}{split}", kinds))}
    if "train" not in found:
        train = f"{prefix}train"
        raise DataError(
            f"{path} has no {train} file: it needs {train}{{{','.join(kinds)}}}, "
            "perhaps with .gz or .zst"
        )
    if len(found) < len(SPLITS):
        found = {"open": found.pop("train"), **found}
    return found


def _find(directory: Path, split: str, kinds: Sequence[str]) -> DataFile | None:
    names = [f"{split}{kind}{more}" for kind in kinds for more in ("", *COMPRESSION)]
    found = [directory / name for name in names if (directory / name).is_file()]
    if len(found) > 1:
        raise DataError(
            f"{directory} has {found[0].name} and {found[1].name}: keep one of them, "
            "so that it is clear which is meant"
        )
    return DataFile(found[0]) if found else None


def stem(path: Path, kinds: Sequence[str] = KINDS) -> str:
    """A file's or directory's name, without what says how it is written."""
    while path.suffix in (*kinds, *COMPRESSION):
        path = path.with_suffix("")
    return path.name or path.resolve().name


def clean(name: str, otherwise: str) -> str:
    """A name that can be part of a directory's name on any file system."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or otherwise
