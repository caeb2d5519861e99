"""Directories that appear whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from kgscale.errors import ResourceError

CONTENT, SCRATCH, LOCK = "content", "scratch", "lock"


@contextmanager
def published(path: Path) -> Iterator[tuple[Path, Path]]:
    """Two empty directories beside ``path``: its content to be, and scratch space.

    When the block ends well the first becomes ``path`` in one step; otherwise both vanish. Of
    several processes that do this at once, the first wins and the others' work is dropped.
    """
    with _disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        with (
            tempfile.TemporaryDirectory(
                prefix=_prefix(path), dir=path.parent, ignore_cleanup_errors=True
            ) as temporary,
            (Path(temporary) / LOCK).open("w") as lock,
        ):
            # Held while we live: how others know that this directory is not left over.
            fcntl.flock(lock, fcntl.LOCK_EX)
            content, scratch = Path(temporary) / CONTENT, Path(temporary) / SCRATCH
            content.mkdir()
            scratch.mkdir()
            yield content, scratch
            for file in content.rglob("*"):
                sync(file)
            sync(content)
            _rename(content, path)


def _rename(content: Path, path: Path) -> None:
    try:
        content.rename(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    sync(path.parent)


def _prefix(path: Path) -> str:
    return f".{path.name}."


def _sweep(path: Path) -> None:
    """Remove what a killed process left behind."""
    for left in path.parent.glob(f"{_prefix(path)}*/{LOCK}"):
        with left.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(left.parent, ignore_errors=True)


def sync(path: Path) -> None:
    """Force a file or directory to disk, and a file out of the page cache.

    A check that follows then reads what the disk holds.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
        if hasattr(os, "posix_fadvise") and path.is_file():
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)


@contextmanager
def _disk_errors(root: Path) -> Iterator[None]:
    """Turn a full or unwritable disk into one line."""
    try:
        yield
    except (OSError, duckdb.IOException) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise ResourceError(
            f"cannot write below {root} ({reason}): free disk space or choose another directory"
        ) from error
