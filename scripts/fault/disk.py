"""Disks that are full, and writes that fail one by one."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from fault.child import Ended, must, run, settings, the_run, triples
from fault.row import Row
from kgscale.durable import check_manifest, places
from kgscale.graph.store import GraphStore
from kgscale.tasks.directory import RESULTS
from kgscale.training.resume import newest, states

SHIM = Path(__file__).with_name("shim.c")
SIZE = 2 << 20
"""Bytes of the disk that gets full."""
FULL = "a full disk"
BLOCK = 1 << 12
"""What is left of it grows by so much."""


@dataclass(frozen=True)
class Place:
    """What is written, and what must be as before when that fails."""

    name: str
    text: str
    """In the path of each file that is meant."""
    disk: str
    """The directory whose disk gets full."""
    arguments: Callable[[Path], list[str]]
    earlier: Callable[[Path], list[Path]]

    def begin(self, folder: Path) -> list[str]:
        """What was there before, and how to write more."""
        must(run([*settings(folder), "trainer.save_steps=20"], folder / "error"))
        triples(folder / "other", seed=1)
        return self.arguments(folder)


def longer(folder: Path) -> list[str]:
    return [f"resume={the_run(folder)}", "trainer.max_epochs=2", "trainer.save_steps=5"]


def other(folder: Path) -> list[str]:
    return settings(folder, folder / "other")


def newest_state(folder: Path) -> list[Path]:
    """Its files; a training that fails later has kept a newer one, and then it is that."""
    return sorted(newest(the_run(folder)).path.iterdir())


PLACES = (
    Place("checkpoint", "/checkpoints/", "runs", longer, newest_state),
    Place("store", "/stores/", "stores", other, lambda at: sorted(at.glob("stores/[!.]*/*.*"))),
    Place("results", "results.json", "runs", longer, lambda at: [the_run(at) / "results.json"]),
    Place(
        "predictions", "predictions.", "runs", longer,
        lambda at: sorted(the_run(at).glob("predictions.*")),
    ),
    Place("model", "model.", "runs", longer, lambda at: sorted((the_run(at) / "model").iterdir())),
)  # fmt: skip


def hashes(files: list[Path]) -> dict[Path, str]:
    return {file: hashlib.sha256(content(file)).hexdigest() for file in files if file.exists()}


def content(file: Path) -> bytes:
    """Of a file; that a run goes on is said in its results, and changes nothing else in them."""
    found = file.read_bytes()
    if file.name == RESULTS:
        found = found.replace(b'"status": "going on"', b'"status": "done"')
    return found


def flaws(place: Place, folder: Path, before: dict[Path, str], ended: Ended) -> list[str]:
    """What is wrong after a failure."""
    found = []
    if ended.code != 4:
        found.append(f"exit code {ended.code}")
    told = re.search(r"(/\S+)", ended.error)
    if told is None or str(folder) not in told[1] or ended.error.count("\n") != 1:
        found.append(f"the message names no path: {ended.error}")
    if place.name == "checkpoint":
        check_manifest(newest(the_run(folder)).path)
        before = {file: old for file, old in before.items() if file.exists()}
        if not before and len(states(the_run(folder))) == 0:
            found.append("no state is left")
    if hashes(list(before)) != before:
        found.append("an earlier file has changed")
    if place.name == "store":
        for store in (folder / "stores").glob("[!.]*"):
            if store.is_dir():
                GraphStore.open(store, verify="full")
    left = list(folder.rglob(".*.tmp"))
    left += [path for path in (folder / place.disk).rglob(".*") if path.is_dir()]
    if left:
        found.append(f"left over: {left}")
    return found


def unwritten(place: Place, folder: Path, before: dict[Path, str]) -> list[str]:
    """What is not as a program that comes to its end must leave it."""
    if place.name == "checkpoint":
        newest(the_run(folder))
    elif place.name == "store":
        stores = [path for path in (folder / "stores").glob("[!.]*") if path.is_dir()]
        for store in stores:
            GraphStore.open(store, verify="full")
        return [] if len(stores) > 1 else ["no new store"]
    elif hashes(list(before)) == before:
        return ["it says that all went well, and nothing is new"]
    return []


def failing(tries: int) -> list[Row]:
    """The n-th write to a file fails with EIO: the first, the second, ...; needs a C compiler.

    A write is what write, pwrite, writev, fwrite, fsync and ftruncate are called for.
    """
    with tempfile.TemporaryDirectory() as temporary:
        shim = Path(temporary) / "shim.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, SHIM, "-ldl"], check=True)
        found = subprocess.run(
            [sys.executable, "-m", "fault.disk", str(tries)],
            env={**os.environ, "LD_PRELOAD": str(shim), "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            check=True,
        )
    return [Row(**row) for row in json.loads(found.stdout)]


def _failing(tries: int) -> list[Row]:
    """In a process that has the shim."""
    rows = []
    for place in PLACES:
        numbers = iter(range(1, tries + 1))

        def once(folder: Path, place: Place, numbers: Iterator[int] = numbers) -> Outcome:
            number, fired = next(numbers), folder / "fired"
            given = (place.text.encode(), ctypes.c_long(number), os.fsencode(fired))
            wrong = attempt(place, folder, lambda: ctypes.CDLL(None).fault_arm(*given))
            return Outcome(f"write {number}", fired.exists(), wrong)

        rows.append(in_copies(place, "EIO at a write of the", tries, once))
    return rows


@dataclass(frozen=True)
class Outcome:
    what: str
    failed: bool
    """Whether there was a failure to stand: else there are no more of them."""
    wrong: list[str]


def in_copies(place: Place, fault: str, tries: int, once: Callable[[Path, Place], Outcome]) -> Row:
    """Each try in a copy of what was there before, until one meets no failure."""
    tried = passed = 0
    with tempfile.TemporaryDirectory() as temporary:
        whole, folder = Path(temporary) / "whole", Path(temporary) / "try"
        place.begin(whole)
        for _ in range(tries):
            disk = folder / place.disk
            disk.mkdir(parents=True)
            with small_disk(disk) if fault.startswith(FULL) else nullcontext():
                shutil.copytree(whole, folder, dirs_exist_ok=True)
                found = once(folder, place)
            shutil.rmtree(folder)
            if not found.failed:
                break
            tried += 1
            passed += not found.wrong
            if found.wrong:
                print(f"{place.name}, {found.what}: {'; '.join(found.wrong)}", file=sys.stderr)
    return Row(f"{fault} {place.name}", tried, passed, "nothing")


def attempt(
    place: Place, folder: Path, prepare: Callable[[], object], mend: Callable[[], object] = int
) -> list[str]:
    """What is wrong after a failure; and if the same doesn't come to its end after ``mend``."""
    arguments = place.arguments(folder)
    before = hashes(place.earlier(folder))
    ended = run(arguments, folder / "error", prepare)
    if ended.code == 0:  # nothing has failed, or what can be done without
        return unwritten(place, folder, before)
    found = flaws(place, folder, before, ended)
    mend()
    again = run(arguments, folder / "error")
    if again.code:
        found.append(f"then exit code {again.code}: {again.error}")
    return found


def full(tries: int, chosen: Sequence[Place] = PLACES) -> list[Row]:
    """A disk of 2 MB that gets full when something begins to be written: but for nothing, a block,
    two, ...; needs leave to mount one.

    The temporary directory is on another.
    """
    rows = []
    for place in chosen:
        rooms = iter(range(tries))

        def once(folder: Path, place: Place, rooms: Iterator[int] = rooms) -> Outcome:
            room, ballast = next(rooms), folder / place.disk / "ballast"
            prepare = partial(fill_for, place, ballast, room * BLOCK)
            wrong = attempt(place, folder, prepare, ballast.unlink)
            # Unlinked after a failure; still there if there was room enough.
            return Outcome(f"{room} blocks", not ballast.exists(), wrong)

        rows.append(in_copies(place, f"{FULL} of 2 MB under the", tries, once))
    return rows


def fill_for(place: Place, ballast: Path, room: int) -> None:
    """From now on the disk is full but for so many bytes when the place is written."""
    real = places.disk_errors

    def fill(path: Path, *more: type[Exception]) -> AbstractContextManager[None]:
        if place.text in f"{path}." and not ballast.exists():
            disk = os.statvfs(ballast.parent)
            ballast.write_bytes(b"0" * max(0, disk.f_bavail * disk.f_frsize - room))
        return real(path, *more)

    places.disk_errors = fill  # type: ignore[assignment]


@contextmanager
def small_disk(at: Path) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", at], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", at], check=True)


if __name__ == "__main__":
    json.dump([asdict(row) for row in _failing(int(sys.argv[1]))], sys.stdout)
