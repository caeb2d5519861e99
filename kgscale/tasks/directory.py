"""The run directory: made once, written by rank 0, whole at any moment."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kgscale.errors import ResourceError


def make_directory(root: Path, task: str) -> Path:
    """``<root>/<task>/<date-time-pid>``, new."""
    name = time.strftime("%Y-%m-%d_%H-%M-%S") + f"-{os.getpid()}"
    base = root / task / name
    for number in range(1000):
        path = base if not number else base.with_name(f"{name}-{number}")
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            if not path.is_dir() and not path.parent.is_dir():
                break
        except OSError as error:
            raise ResourceError(
                f"{path}: the run directory can't be made ({error.strerror}); choose another"
                " with root=DIR"
            ) from error
    raise ResourceError(f"{base}: the run directory can't be made; choose another with root=DIR")


def write_text(path: Path, text: str) -> None:
    """Write whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", newline="")
        temporary.replace(path)
    except OSError as error:
        raise ResourceError(f"{path}: can't be written ({error.strerror})") from error


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_predictions(directory: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """``predictions.tsv`` (a key with a tab or a line end is quoted) and ``.parquet``."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    write_text(directory / "predictions.tsv", text.getvalue())
    pq.write_table(pa.table(dict(columns)), directory / "predictions.parquet")


def versions() -> dict[str, str]:
    names = ("kgscale", "torch", "pytorch-lightning", "numba", "numpy", "pyarrow", "duckdb")
    return {name: metadata.version(name) for name in names}


def revision() -> str | None:
    """The commit of the clone that the program runs from, if it does."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    try:
        shown = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return shown.stdout.strip()
