"""One byte changed in each file of a store, a checkpoint and a model."""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fault.child import must, run, settings, the_run
from fault.row import Row
from kgscale.errors import DataError
from kgscale.graph.integrity import RECORD
from kgscale.graph.partition import partition
from kgscale.graph.store import GraphStore
from kgscale.graph.survey.survey import SurveySettings, survey
from kgscale.models.registry import CARD, load_model
from kgscale.training.checkpoints import load_state
from kgscale.training.resume import newest


@dataclass(frozen=True)
class Kept:
    """A directory, and how the program opens it."""

    name: str
    path: Callable[[Path], Path]
    open: Callable[[Path, bool], object]
    """Told whether times are as before."""


def the_store(folder: Path) -> Path:
    (found,) = (path for path in (folder / "stores").glob("[!.]*") if path.is_dir())
    return found


def open_store(path: Path, unseen: bool) -> None:
    """A change of which neither size nor time tells is for ``full`` to find, as doctor does."""
    store = GraphStore.open(path, verify="full" if unseen else "fast")
    before = (path / "derived").stat().st_mtime_ns
    partition(store, parts=2, method="ldg")
    survey(store, SurveySettings())
    if (path / "derived").stat().st_mtime_ns != before:
        raise DataError("was made anew")


KEPT = (
    Kept("store", the_store, open_store),
    Kept("checkpoint", lambda at: newest(the_run(at)).path, lambda path, _: load_state(path)),
    Kept("model", lambda at: the_run(at) / "model", lambda path, _: load_model(path)),
)


def flipped(tries: int) -> list[Row]:
    """A byte of each file, so many times: the first, the last and others; times kept or not."""
    draw = random.Random(0)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        must(run(settings(folder), folder / "error"))
        partition(GraphStore.open(the_store(folder)), parts=2, method="ldg")
        for kept in KEPT:
            whole = kept.path(folder)
            for unseen in (False, True):
                found = [
                    is_found(kept, whole, file, at, draw.randrange(1, 256), unseen, folder / "try")
                    for file in sorted(path for path in whole.rglob("*") if path.is_file())
                    for at in places(file.stat().st_size, tries, draw)
                ]
                fault = f"a byte of a {kept.name}, its time {'kept' if unseen else 'changed'}"
                rows.append(Row(fault, len(found), sum(found), "nothing"))
    return rows


def places(size: int, tries: int, draw: random.Random) -> Iterator[int]:
    yield from sorted({0, size - 1, *(draw.randrange(size) for _ in range(tries))} if size else ())


def is_found(
    kept: Kept, whole: Path, file: Path, at: int, change: int, unseen: bool, copy: Path
) -> bool:
    """Whether a changed byte is told, or what it is in is made anew."""
    shutil.copytree(whole, copy)
    damaged = copy / file.relative_to(whole)
    kept.open(copy, False)  # as somebody has used it already
    content, told = bytearray(damaged.read_bytes()), damaged.stat()
    content[at] ^= change
    damaged.write_bytes(content)
    if unseen:
        os.utime(damaged, ns=(told.st_atime_ns, told.st_mtime_ns))
    try:
        kept.open(copy, unseen)
        # The loss of the one costs the time of another check, and no more; the other is for people,
        # who may edit it.
        found = file.name in (RECORD, CARD)
    except DataError:
        found = True
    shutil.rmtree(copy)
    if not found:
        print(
            f"{kept.name}: byte {at} of {file.name} changed, time kept: {unseen}", file=sys.stderr
        )
    return found
