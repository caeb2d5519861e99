"""Damaged files for every reader: each is read, or refused in words; never more, never less."""

from __future__ import annotations

import gzip
import io
import os
import signal
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from fault.mutate import mutated
from fault.readers import READERS, Reader
from fault.row import Row
from kgscale.errors import KgscaleError

SECONDS = 20
"""A longer reading is a hang."""
CHUNK = 250
"""Files for a process, which a crash would end."""


DAMAGED = "a damaged"
TOLD: set[str] = set()


class Flaw(Exception):
    """A reader that did what none should."""


def fuzzed(tries: int, only: str | None = None) -> list[Row]:
    rows = []
    for number, reader in enumerate(READERS):
        if only not in (None, reader.name):
            continue
        passed = 0
        for start in range(0, tries, CHUNK):
            passed += in_child(number, range(start, min(start + CHUNK, tries)))
        rows.append(Row(f"{DAMAGED} {reader.name}", tries, passed, "nothing"))
        print(rows[-1], flush=True)
    return rows


def in_child(number: int, tries: Sequence[int]) -> int:
    """How many of the tries went well."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(read)
            for at in tries:
                os.write(write, b"." if goes_well(number, at) else b"x")
        finally:
            os._exit(0)
    os.close(write)
    told = b""
    while piece := os.read(read, 4096):
        told += piece
    os.close(read)
    _, status = os.waitpid(child, 0)
    if len(told) < len(tries):
        at = tries[len(told)]
        print(f"{READERS[number].name}, try {at}: the process ended with {status}", file=sys.stderr)
    return told.count(b".")


def goes_well(number: int, at: int) -> bool:
    reader = READERS[number]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / reader.name
        try:
            tried(reader, path, Random(f"{reader.name} {at}"))
        except Exception as error:
            import traceback

            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{type(error).__name__} ({Path(last.filename).name}:{last.lineno})"
            if place not in TOLD:
                print(f"{reader.name}, try {at}: {place}: {str(error)[:200]}", file=sys.stderr)
            TOLD.add(place)
            return False
    return True


def tried(reader: Reader, path: Path, draw: Random) -> None:
    """Damage a file and read it.

    Raises:
        Flaw: lines are neither accepted nor rejected, or the words are none.
        Exception: whatever else the reader raises beside what a user is told.
    """
    content = damaged(reader, draw)
    path.write_bytes(content)
    with at_most(SECONDS):
        try:
            found = reader.read(path)
        except KgscaleError as refused:
            if not str(refused).strip() or "\n" in str(refused).strip():
                raise Flaw(f"it says {str(refused)!r}") from refused
            return
    if reader.lines and found != lines(content):
        raise Flaw(f"{found} of {lines(content)} lines are accounted for")


def lines(content: bytes) -> int:
    content = content.removeprefix(b"\xef\xbb\xbf")
    return content.count(b"\n") + (not content.endswith(b"\n") and bool(content))


def damaged(reader: Reader, draw: Random) -> bytes:
    """The file, perhaps changed before it is packed."""
    content = reader.content()
    if not reader.inside or draw.random() < 0.5:
        return mutated(packed(reader, content), draw)
    if reader.inside == "gzip":
        return gzip.compress(mutated(content, draw))
    return _repacked(content, draw)


def packed(reader: Reader, content: bytes) -> bytes:
    return gzip.compress(content) if reader.inside == "gzip" else content


def _repacked(content: bytes, draw: Random) -> bytes:
    """With one of its files changed, or its name."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(packed, "w") as new:
        chosen = draw.choice(old.namelist())
        for name in old.namelist():
            inner = old.read(name)
            if name == chosen and draw.random() < 0.9:
                inner = mutated(inner, draw)
            elif name == chosen:
                name = mutated(name.encode(), draw).decode("latin-1").replace("\0", "") or "x"
            new.writestr(name, inner)
    return packed.getvalue()


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    def late(number: int, frame: Any) -> None:
        raise Flaw(f"it takes more than {seconds} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
