"""The run directory: made once, written by rank 0, whole at any moment."""

from __future__ import annotations

import csv
import itertools
import json
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from kgscale.durable import alone, read_text, whole_files, write_text
from kgscale.errors import DataError, ResourceError

CONFIG: Final = "config.yaml"
"""The settings of a run, as YAML."""
RESULTS: Final = "results.json"
DONE: Final = "done"
"""Its status when a run has come to its end."""
Columns = dict[str, list[Any]]
_TYPES: Final = {
    "score": pa.float64(),
    **dict.fromkeys(("loss", "probability", "value", "low", "high"), pa.float64()),
    **dict.fromkeys(("rank", "line"), pa.int64()),
    "known": pa.bool_(),
}


def make_directory(root: Path, task: str) -> Path:
    """``<root>/<task>/<date-time-pid>``, new."""
    name = time.strftime("%Y-%m-%d_%H-%M-%S") + f"-{os.getpid()}"
    for number in itertools.count():
        path = root / task / (f"{name}-{number}" if number else name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir()
            return path
        except OSError as error:
            # One process may begin two runs within a second.
            if isinstance(error, FileExistsError) and path.is_dir():
                continue
            raise ResourceError(
                f"{path}: the run directory can't be made ({error.strerror}); choose another"
                " with root=DIR"
            ) from error
    raise AssertionError("unreachable")


@contextmanager
def run_directory(root: Path, task: str, config: str) -> Iterator[Path]:
    """A new run directory with its ``config.yaml``; gone again if the run fails with no more."""
    path = make_directory(root, task)
    try:
        with reopened(path):
            write_text(path / CONFIG, config)
            yield path
    except BaseException:
        if {file.name for file in path.iterdir()} <= {CONFIG}:
            shutil.rmtree(path, ignore_errors=True)
        raise


@contextmanager
def reopened(path: Path) -> Iterator[Path]:
    """A run directory that only this process writes to.

    Raises:
        ResourceError: another process is at it.
    """

    def refuse() -> None:
        raise ResourceError(
            f"{path}: this run is still going on in another process; wait for its end, or stop it"
        )

    with alone(path, waiting=refuse):
        yield path


def unfinished(directory: Path) -> None:
    """Say so in the results of a run that goes on, until it has new ones."""
    results = read_results(directory)
    if results.get("status") == DONE:
        write_json(directory / RESULTS, {**results, "status": "going on"})


def read_results(directory: Path) -> dict[str, Any]:
    """What a run came to; empty where it didn't, or where that can't be read."""
    try:
        found = json.loads(read_text(directory / RESULTS))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def origin_of(directory: Path) -> str | None:
    """The run that one goes on from without training, if ``ingest`` made it so."""
    told = read_results(directory).get("continues")
    return str(told.get("run")) if isinstance(told, dict) else None


def check_writable(directory: Path, remedy: str) -> None:
    """Make a directory if need be, and fail before any work where nothing can be written there."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise ResourceError(
            f"{directory}: can't be written ({error.strerror}); {remedy}"
        ) from error


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_predictions(
    directory: Path, columns: Mapping[str, Sequence[Any]], *, name: str = "predictions"
) -> None:
    """``predictions.tsv`` (a key with a tab or a line end is quoted) and ``.parquet``."""
    write_pieces(directory, [columns], name=name)


def write_pieces(
    directory: Path, pieces: Iterable[Mapping[str, Sequence[Any]]], *, name: str = "predictions"
) -> int:
    """The same from pieces with the same columns, at least one; returns how many rows there are."""
    pieces = iter(pieces)
    first = next(pieces)
    schema = schema_of(first)
    with (
        whole_files(directory / f"{name}.tsv", directory / f"{name}.parquet") as (
            text,
            table,
        ),
        text.open("w", encoding="utf-8", newline="") as file,
        pq.ParquetWriter(table, schema) as parquet,
    ):
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(first)
        rows = 0
        for columns in itertools.chain([first], pieces):
            writer.writerows(zip(*columns.values(), strict=True))
            part = pa.table(dict(columns), schema=schema)
            parquet.write_table(part)
            rows += len(part)
    return rows


def read_predictions(directory: Path, count: int, *, name: str = "predictions") -> Columns:
    """Columns of the first rows of what :func:`write_predictions` wrote.

    Raises:
        DataError: it can't be read.
    """
    file = directory / f"{name}.parquet"
    try:
        if not file.is_file():
            raise FileNotFoundError("it is no file")
        with pq.ParquetFile(file) as table:
            first = next(table.iter_batches(batch_size=count), None)
            if first is None:
                return {name: [] for name in table.schema_arrow.names}
        # A text that is none shows only here.
        columns = zip(first.schema.names, first.columns, strict=True)
        return {name: column.to_pylist() for name, column in columns}
    except (OSError, ValueError, pa.ArrowException) as error:
        words = str(error).partition("\n")[0]
        raise DataError(f"{file} can't be read ({words}): train again") from error


def schema_of(columns: Iterable[str]) -> pa.Schema:
    """The types of columns of predictions, by their names."""
    return pa.schema([(column, _TYPES.get(column, pa.string())) for column in columns])


def versions() -> dict[str, str]:
    names = ("kgscale", "torch", "pytorch-lightning", "numba", "numpy", "pyarrow", "duckdb")
    return {name: metadata.version(name) for name in names}


def hardware() -> dict[str, str]:
    """Processor, cores, memory and accelerators, in words."""
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    # Not every system tells which cores a process may use.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": _processor(),
        "cores": f"{cores} cores",
        "memory": f"{memory:.0f} GiB",
        "accelerators": ", ".join(gpus),
    }


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def revision() -> str | None:
    """The commit of the clone that the program runs from, if it does; ``-dirty`` if the program or
    its settings have been changed since."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    try:
        commit = _git(here, "rev-parse", "--short=12", "HEAD")
        changed = _git(here, "status", "--porcelain", "--", "kgscale", "conf")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}-dirty" if changed else commit


def _git(clone: Path, *arguments: str) -> str:
    ended = subprocess.run(
        ["git", "-C", str(clone), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    return ended.stdout.strip()
