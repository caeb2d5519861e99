"""The commands that use a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from kgscale.cli import compose
from kgscale.errors import ConfigError, ResourceError
from kgscale.tasks import show
from kgscale.tasks.directory import write_json, write_predictions
from kgscale.tasks.runs import Run

MIB = 1 << 20


def predict(arguments: list[str]) -> int:
    """Print the best answers and write them as ``predictions.tsv`` and ``.parquet``."""
    settings = compose.as_dict(compose.settings(arguments, name="predict"))
    if settings["relation"] is None:
        raise ConfigError("predict needs relation=… beside head=… or tail=…")
    columns = _open(settings).predict(
        relation=settings["relation"],
        head=settings["head"],
        tail=settings["tail"],
        k=settings["k"],
        known=settings["known"],
    )
    console = Console()
    console.print(show.predictions(columns))
    directory = Path(settings["output"] or Path(settings["run"]) / "answers")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"{directory}: can't be made ({error.strerror}); choose another with output=DIR"
        ) from error
    write_predictions(directory, columns)
    console.print(f"written: {directory / 'predictions.tsv'}", soft_wrap=True, highlight=False)
    return 0


def evaluate(arguments: list[str]) -> int:
    """Rank a split and write ``evaluation-<split>.json`` into the run."""
    settings = compose.as_dict(compose.settings(arguments, name="evaluate"))
    run, split = _open(settings), settings["split"]
    report = run.evaluate(split)
    keys = run.store.relation_keys(list(range(run.store.num_relations)))
    content = {
        "split": split,
        "protocol": "filtered",
        "overall": report.overall(),
        **report.breakdown(keys),
    }
    console = Console()
    console.print(show.evaluation(content))
    file = run.directory / f"evaluation-{split}.json"
    write_json(file, content)
    console.print(f"written: {file}", soft_wrap=True, highlight=False)
    return 0


def _open(settings: dict[str, Any]) -> Run:
    if not settings["run"]:
        raise ConfigError("run=DIR is missing: the directory that train printed")
    return Run(settings["run"], memory=int(settings["memory"]) * MIB)
