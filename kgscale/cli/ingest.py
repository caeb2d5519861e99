"""The command that makes stores, and versions of them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from kgscale.data.source import Fetched, Source
from kgscale.errors import ConfigError
from kgscale.graph.append import Appended
from kgscale.graph.store import MANIFEST, GraphStore, prepare
from kgscale.tasks import show
from kgscale.tasks.components import build
from kgscale.tasks.continued import go_on
from kgscale.tasks.directory import make_directory
from kgscale.tasks.runs import Run, open_run
from kgscale.tasks.schema import MIB, at_least, from_settings, mebibytes
from kgscale.tasks.settings import StoreSettings
from kgscale.tasks.start import threads
from kgscale.tasks.training import default_store_root


@dataclass(frozen=True, kw_only=True)
class IngestSettings:
    """``conf/ingest.yaml``; see there for what each means."""

    data: Mapping[str, Any]
    store: Mapping[str, Any]
    onto: str | None
    root: str
    threads: int
    memory: int

    def __post_init__(self) -> None:
        at_least("threads", self.threads, 1)
        mebibytes("memory", self.memory)


def ingest(settings: Mapping[str, Any]) -> int:
    """Build or find a store and tell what is in it; with ``onto=RUN`` write a run on it too."""
    asked, console = from_settings("", IngestSettings, settings), show.console()
    kept = from_settings("store", StoreSettings, asked.store)
    with threads(asked.threads):
        old, run = _onto(asked)
        source: Source = build("data", asked.data)
        if old is not None:
            source = Appended(old, source, closed=run is not None)
        store = _stored(source, kept, asked.threads, console)
        for line in show.graph(store):
            show.sentence(console, line)
        console.print(show.content(store))
        show.sentence(console, f"store: {store.path}")
        told = {"store": str(store.path), "fingerprint": store.fingerprint}
        if run is None:
            show.result(store.path, told)
        else:
            directory = _continue(run, store, asked, console)
            show.result(directory, {**told, "run": str(directory)})
    return 0


def _onto(asked: IngestSettings) -> tuple[GraphStore | None, Run | None]:
    """The store to go on from, and the run that is on it, if one is named."""
    if asked.onto is None:
        return None, None
    path = Path(asked.onto).expanduser()
    if (path / "model").is_dir():
        run = open_run(path, memory=asked.memory * MIB)
        return run.store, run
    if not (path / MANIFEST).is_file():
        raise ConfigError(
            f"onto={asked.onto} is neither a graph store nor a run: name the directory that ingest"
            " or train printed"
        )
    return GraphStore.open(path), None


def _stored(source: Source, kept: StoreSettings, number: int, console: Console) -> GraphStore:
    show.sentence(console, source.describe())
    if isinstance(source, Fetched) and (wanted := source.wanted()):
        show.sentence(console, wanted)
    root = Path(kept.root).expanduser() if kept.root else default_store_root()
    with show.busy(console, "reading the graph") as tell:
        return prepare(
            source, root, threads=number, memory=kept.memory, verify=kept.verify, tell=tell
        )


def _continue(run: Run, store: GraphStore, asked: IngestSettings, console: Console) -> Path:
    """Write the run on the version; returns its directory."""
    directory = make_directory(Path(asked.root).expanduser(), "continued")
    try:
        with show.busy(console, "describing what is new") as tell:
            new = go_on(run, store, directory, tell=tell)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    are = "1 entity is" if new == 1 else f"{new:,} entities are"
    show.sentence(console, f"{are} new to the model, which was not trained again")
    show.sentence(console, f"run directory: {directory}")
    return directory
