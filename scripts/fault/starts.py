"""Programs that are started at the same moment."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from fault.child import settings, start, triples, wait
from fault.row import Row
from kgscale.data.triples import TripleFiles
from kgscale.durable import MANIFEST, file_hash
from kgscale.graph import store as store_module

BUILDERS = 4


def same_second(tries: int) -> list[Row]:
    """Two trainings that begin together, again and again: a directory each."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        own = settings(folder)
        passed = 0
        for number in range(tries):
            pair = [start(own, folder / f"error-{at}") for at in range(2)]
            codes = [wait(child) for child in pair]
            made = list((folder / "runs").glob("*/[!.]*/results.json"))
            passed += codes == [0, 0] and len(made) == 2 * (number + 1)
    told = f"nothing: {len(made)} directories"
    return [Row("two runs that begin in the same second", tries, passed, told)]


def builders(tries: int) -> list[Row]:
    """Four processes that need a store which isn't there; before them one that made it was killed.

    Passed: one of the four builds it, all find the same bytes, and nothing else is left.
    """
    draw, passed, cut = random.Random(2), 0, 0
    for number in range(tries):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            data = triples(folder / "data", seed=number)
            first = start([], folder / "error", partial(build, data, folder, "killed"))
            while not list(folder.glob("stores/.*")):
                time.sleep(0.001)
            time.sleep(draw.random() * 0.2)
            os.kill(first, signal.SIGKILL)
            os.waitpid(first, 0)
            left = [path for path in folder.glob("stores/*") if path.is_dir()]
            cut += all(path.name.startswith(".") for path in left)
            four = [
                start([], folder / f"error-{at}", partial(build, data, folder, str(at)))
                for at in range(BUILDERS)
            ]
            codes = [wait(child) for child in four]
            stores = [path for path in folder.glob("stores/*") if path.is_dir()]
            found = {file.read_text() for file in folder.glob("found-?")}
            made = len(list(folder.glob("built-?"))) + (folder / "built-killed").exists()
            passed += codes == [0] * BUILDERS and len(stores) == len(found) == made == 1
    fault = f"four processes build a store after one was killed at it ({cut} in the middle)"
    return [Row(fault, tries, passed, "nothing")]


def build(data: Path, folder: Path, name: str) -> None:
    """In a process of its own: note what was built and what was found."""
    real = store_module._build

    def noted(*given: Any, **named: Any) -> None:
        real(*given, **named)
        (folder / f"built-{name}").touch()

    store_module._build = noted
    store = store_module.prepare(TripleFiles(path=data), folder / "stores", verify="full")
    (folder / f"found-{name}").write_text(f"{store.path} {file_hash(store.path / MANIFEST)}")
    os._exit(0)
