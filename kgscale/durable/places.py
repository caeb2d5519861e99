"""One step from nothing, or from the old, to the new: temporary, fsync, rename, fsync."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from kgscale.errors import ResourceError

CONTENT, SCRATCH, LOCK = "content", "scratch", "lock"
_EXCHANGE: Final = 2
"""RENAME_EXCHANGE of renameat2(2)."""
_AT_FDCWD: Final = -100
_NO_LOCKS: Final = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
"""What file systems without locks answer."""


@contextmanager
def whole_files(*paths: Path, beside: Path | None = None) -> Iterator[list[Path]]:
    """Files of one directory to write beside ``paths``, whose places they take when all are whole.

    Args:
        beside: another directory of the same file system to write them in.

    Raises:
        ResourceError: the disk is full, or can't be written; the earlier files are as they were.
    """
    temporary = [(beside or path.parent) / f".{path.name}.{os.getpid()}.tmp" for path in paths]
    try:
        with disk_errors(paths[0]):
            yield temporary
            for file in temporary:
                sync(file)
            for file, path in zip(temporary, paths, strict=True):
                file.replace(path)
            sync(paths[0].parent)
    finally:
        for file in temporary:
            with suppress(OSError):
                file.unlink(missing_ok=True)


@contextmanager
def whole_file(path: Path, *, beside: Path | None = None) -> Iterator[Path]:
    """One of :func:`whole_files`."""
    with whole_files(path, beside=beside) as (temporary,):
        yield temporary


def write_text(path: Path, text: str, *, beside: Path | None = None) -> None:
    """A file with this text, whole or not at all."""
    with whole_file(path, beside=beside) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


@contextmanager
def whole_directory(path: Path, *, replace: bool = False) -> Iterator[tuple[Path, Path]]:
    """Two empty directories beside ``path``: its content to be, and scratch space.

    When the block ends well the first becomes ``path`` in one step; otherwise both vanish. Of
    several processes that do this at once the first wins, and the others' work is dropped.

    Args:
        replace: what is there already gives way, instead of staying.

    Raises:
        ResourceError: the disk is full, or can't be written; what was there is as it was.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        with (
            tempfile.TemporaryDirectory(
                prefix=_prefix(path), dir=path.parent, ignore_cleanup_errors=True
            ) as temporary,
            _held(Path(temporary)),
        ):
            content, scratch = Path(temporary) / CONTENT, Path(temporary) / SCRATCH
            content.mkdir()
            scratch.mkdir()
            yield content, scratch
            for file in content.rglob("*"):
                sync(file)
            sync(content)
            _move(content, path, replace=replace)
            sync(path.parent)


def _move(content: Path, path: Path, *, replace: bool) -> None:
    try:
        content.rename(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if replace:
            _exchange(content, path)  # the old one goes with the temporary directory


def _exchange(one: Path, other: Path) -> None:
    """Swap two directories: in one step on Linux, with a moment without ``other`` elsewhere."""
    if sys.platform == "linux":
        swap = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
        names = os.fsencode(one), os.fsencode(other)
        if swap and swap(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE) == 0:
            return
    aside = one.with_name(f"{one.name}.old")
    other.rename(aside)
    one.rename(other)


def remove_directory(path: Path) -> None:
    """Take it from its name in one step, then delete it: no half of it is ever seen there."""
    with disk_errors(path), suppress(FileNotFoundError):
        temporary = Path(tempfile.mkdtemp(prefix=_prefix(path), dir=path.parent))
        with _held(temporary):
            try:
                path.rename(temporary / CONTENT)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)


def sweep_folder(folder: Path, pattern: str = "*") -> None:
    """Remove what killed processes left of directories of any such name, which they wrote or
    removed: for a folder in which only this process is at work."""
    for left in folder.glob(f".{pattern}.*"):
        names = {entry.name for entry in left.iterdir()} if _is_directory(left) else {"none"}
        if names <= {CONTENT, SCRATCH, LOCK}:
            shutil.rmtree(left, ignore_errors=True)


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


@contextmanager
def _held(temporary: Path) -> Iterator[None]:
    """A lock in a directory while we live: how others know that it is not left over."""
    with lock_file(temporary / LOCK) as lock:
        with suppress(OSError):  # of a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def lock_file(path: Path, *, make: bool = True) -> BinaryIO:
    """A file to lock: nothing is ever written to it, and it is no link to another's.

    Raises:
        OSError: it is one, or can't be opened.
    """
    kind = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT if make else 0)
    return os.fdopen(os.open(path, kind, 0o666), "r+b")


def _prefix(path: Path) -> str:
    return f".{path.name}."


def _sweep(path: Path) -> None:
    """Remove what a killed process left behind."""
    for left in path.parent.glob(f"{_prefix(path)}*/{LOCK}"):
        with suppress(OSError), lock_file(left, make=False) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left.parent, ignore_errors=True)


@contextmanager
def alone(path: Path, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Be the only process that makes ``path``: others wait here, and then look again.

    The system lets go of what a killed process held. On a file system without locks nobody waits.

    Args:
        waiting: called once if another process is at it.
    """
    place = path.with_name(f"{_prefix(path)}{LOCK}")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _lock(place, waiting)
    with lock:
        try:
            yield
        finally:
            # While it is held: whoever waits for this file finds that it is no longer there.
            with suppress(OSError):
                place.unlink(missing_ok=True)


def _lock(place: Path, waiting: Callable[[], object]) -> BinaryIO:
    told = False
    while True:
        lock = lock_file(place)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            try:
                if not told:
                    waiting()
            except BaseException:
                lock.close()
                raise
            told = True
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return lock
            lock.close()
            raise
        with suppress(FileNotFoundError):
            if place.stat().st_ino == os.fstat(lock.fileno()).st_ino:
                return lock
        lock.close()  # its holder has removed it


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
def disk_errors(path: Path, *more: type[Exception]) -> Iterator[None]:
    """Turn a full or unwritable disk into one line.

    Args:
        more: what a library raises then, beside OSError.
    """
    expected: tuple[type[Exception], ...] = (OSError, *more)
    try:
        yield
    except expected as error:
        reason = (
            getattr(error, "strerror", None)
            or str(error).partition("\n")[0]
            or type(error).__name__
        )
        raise ResourceError(
            f"{path}: can't be written ({reason}); free disk space or choose another directory"
        ) from error
