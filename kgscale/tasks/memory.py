"""The memory of this process and of this machine, as the system tells them."""

from __future__ import annotations

import ctypes
import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

from kgscale.errors import ResourceError

INTERVAL: Final = 0.001
"""Seconds between two looks at the memory."""
_MALLOPT: Final = {"trim_threshold": (-1, 0), "mmap_threshold": (-3, 1 << 16)}
"""Of glibc: blocks from 64 KiB on are mapped one by one, and given back when they are freed."""


class Memory:
    """Watches the anonymous memory of this process, from entering to leaving.

    Of this the tables, gradients and batches are made, and not the mapped files of a store.
    """

    def __init__(self) -> None:
        self.peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="kgscale-memory")

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(INTERVAL):
            self.look()

    def look(self) -> int:
        """The bytes of now."""
        now = anonymous_bytes()
        self.peak = max(self.peak, now)
        return now

    def restart(self) -> None:
        self.peak = 0


def anonymous_bytes() -> int:
    """Resident memory of this process that no file is behind.

    Raises:
        ResourceError: the system doesn't tell.
    """
    for line in _lines(Path("/proc/self/status")):
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise ResourceError("memory can't be measured here: /proc/self/status has no RssAnon")


def available_bytes() -> int | None:
    """What this process may still take: of the system, and of each control group around it.

    Pages of files that a group could give back don't count as taken. None if nobody tells.
    """
    free = [*_system(), *_groups()]
    return min(free) if free else None


def _system() -> Iterator[int]:
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _groups() -> Iterator[int]:
    """Of version 2; a group that has no limit says so by a word."""
    root = Path("/sys/fs/cgroup")
    for line in _lines(Path("/proc/self/cgroup")):
        if line.startswith("0::"):
            own = root / line.removeprefix("0::/").strip()
            for group in (own, *own.parents):
                if group.is_relative_to(root):
                    yield from _group(group)


def _group(group: Path) -> Iterator[int]:
    limit, used = _lines(group / "memory.max"), _lines(group / "memory.current")
    if limit and used and limit[0].isdigit():
        idle = [
            line.split()[1] for line in _lines(group / "memory.stat") if "inactive_file " in line
        ]
        yield max(0, int(limit[0]) - int(used[0]) + sum(map(int, idle)))


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii").splitlines()
    except OSError:
        return []


def release_at_once() -> None:
    """Let glibc give memory back when it is freed; elsewhere, do nothing."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        for option, value in _MALLOPT.values():
            library.mallopt(option, value)


def release() -> None:
    """Give back what is free already."""
    gc.collect()
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
