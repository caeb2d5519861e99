"""The command that writes what a run has learned for other programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kgscale.cli.answer import opened
from kgscale.tasks import show
from kgscale.tasks.directory import check_writable
from kgscale.tasks.export import check_kinds, export
from kgscale.tasks.schema import from_settings, mebibytes


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """``conf/export.yaml``; see there for what each means."""

    run: str | None
    kinds: Sequence[str]
    output: str | None
    memory: int

    def __post_init__(self) -> None:
        check_kinds(self.kinds)
        mebibytes("memory", self.memory)


def export_run(settings: Mapping[str, Any]) -> int:
    """Write the directory, and tell what is in it."""
    asked = from_settings("", ExportSettings, settings)
    run, console = opened(asked.run, asked.memory), show.console()
    directory = Path(asked.output).expanduser() if asked.output else run.directory / "export"
    check_writable(directory.parent, "choose another place with output=DIR")
    with show.busy(console, "opening the run") as tell:
        files = export(run, directory, kinds=asked.kinds, tell=tell)
    for file in files:
        show.sentence(console, f"written: {file} ({show.size(file.stat().st_size)})")
    show.result(directory, [file.name for file in files])
    return 0
