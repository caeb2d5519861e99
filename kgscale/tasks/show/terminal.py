"""The terminal, and what all tables have."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, Literal

from rich import box
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from kgscale.data.audit import Tell, silent
from kgscale.errors import printable
from kgscale.metrics.ranking import HITS

_WIDE: Final = 200
LONGEST: Final = 500
"""Letters of a name, or of a path of names, on the terminal."""
METRICS = ("mrr", *(f"hits@{k}" for k in HITS))


Output = Literal["people", "quiet", "json"]
_output: ContextVar[Output] = ContextVar("output", default="people")
"""Who reads standard output: people, or a script that wants a path or a line of JSON."""


@contextmanager
def output(reader: Output) -> Iterator[None]:
    """For whom all that happens meanwhile is told."""
    token = _output.set(reader)
    try:
        yield
    finally:
        _output.reset(token)


def result(path: Path, content: Any) -> None:
    """What came of a command, for scripts: where it is, or all of it as a line of JSON."""
    if _output.get() == "quiet":
        print(path)
    elif _output.get() == "json":
        print(json.dumps({"path": str(path), "result": content}, ensure_ascii=False))


def console(*, quiet: bool = False) -> Console:
    """Plain text as it is: names may hold brackets and colons that a console could take as its own.

    Into a file or pipe, no sentence is wrapped. Where a script reads standard output, people are
    told on the other one, or nothing.
    """
    plain = Console(
        quiet=quiet or _output.get() == "quiet",
        stderr=_output.get() == "json",
        markup=False,
        emoji=False,
        highlight=False,
    )
    if not plain.is_terminal and "COLUMNS" not in os.environ:
        plain.width = _WIDE
    return plain


def sentence(console: Console, text: str) -> None:
    """A line, wrapped at words on a terminal; a path stays whole, to be copied."""
    is_path = " " not in text.partition(": ")[2]
    console.print(printable(text), soft_wrap=is_path or not console.is_terminal)


@contextmanager
def busy(console: Console, what: str) -> Iterator[Tell]:
    """On a terminal, shows what is going on and for how long; gives a function to change it."""
    if not console.is_terminal:
        yield silent
        return
    columns = SpinnerColumn("line"), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda text: progress.update(task, description=text)


def plain_table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)


def figures(metrics: Mapping[str, float], names: Sequence[str] = METRICS) -> list[str]:
    return [f"{metrics[name]:.4f}" if name in metrics else "" for name in names]


def named(columns: Mapping[str, Sequence[Any]], kind: str, row: int) -> str:
    key, name = columns[kind][row], columns[f"{kind}_name"][row]
    return short(key if key == name else f"{name} ({key})")


def likely(columns: Mapping[str, Sequence[Any]]) -> str:
    """The column of probabilities, or of scores where there are none."""
    known = [value for value in columns.get("probability", ()) if value is not None]
    return "probability" if known else "score"


def short(text: str) -> str:
    """Printable, and cut where a name would fill the terminal; files have it whole."""
    return printable(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")


def size(count: int | float) -> str:
    """Bytes in a person's words, with two digits or more."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "KB")):
        if count >= unit:
            number = count / unit
            return f"{number:,.0f} {name}" if number >= 10 else f"{number:.1f} {name}"
    return f"{count:.0f} bytes"
