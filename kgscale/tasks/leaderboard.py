"""From runs of one recipe to what the form of OGB's leaderboard asks for."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch

from kgscale.durable import disk_errors, read_text, whole_file
from kgscale.errors import ConfigError, DataError
from kgscale.graph.known import KnownFacts
from kgscale.inference.official import LSC, best_tails, evaluator
from kgscale.tasks.runs import LinkRun, NodeRun, PathRun, Run

RUNS: Final = 10
"""OGB asks for so many seeds."""
HIDDEN: Final = ("test-dev", "test-challenge")
MAIN: Final = ("mrr", "mrr@10", "acc", "rocauc", "hits@20", "hits@50", "hits@100")
"""Metrics of leaderboards; a benchmark's measure has one of them."""
FREE: Final = ("seed", "root", "store.", "data.path", "data.download", "predictions.")
"""Settings that runs of one recipe may differ in, beside those of the trainer that say how fast."""
SPEED: Final = ("threads", "workers", "ahead", "memory", "save_minutes", "save_steps")


def run_directories(given: Sequence[str]) -> list[Path]:
    """Run directories, or all finished ones below a directory of runs."""
    found = []
    for name in given:
        path = Path(name).expanduser()
        below = sorted(file.parent for file in path.glob("**/results.json"))
        if not below:
            raise ConfigError(f"runs={name}: no run with results there")
        found += below
    return found


def fields(
    directories: Sequence[Path],
    *,
    method: str | None,
    settings: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The form's fields, and what it would be refused for, in ``notes``.

    Args:
        settings: those of the runs, where they are to be compared.

    Raises:
        ConfigError: runs of several benchmarks, or not measured by OGB's Evaluator.
        DataError: a file of a run is damaged.
    """
    results = [_results(directory) for directory in directories]
    names = {found["metrics"]["official"]["benchmark"] for found in results}
    if len(names) > 1:
        raise ConfigError(f"runs are of several benchmarks, {', '.join(sorted(names))}: name one's")
    first = results[0]
    official = [found["metrics"]["official"] for found in results]
    metric = next(name for name in MAIN if name in official[0]["valid"])
    commands = [_command(directory) for directory in directories]
    return {
        "dataset": names.pop(),
        "method": method or _method(first),
        "metric": metric,
        "test": _spread([found.get("test", {}).get(metric) for found in official]),
        "validation": _spread([found["valid"][metric] for found in official]),
        "runs": len(results),
        "seeds": sorted(found["seed"] for found in results),
        "parameters": first["parameters"],
        "hardware": first.get("hardware", {}),
        "evaluator": f"ogb {official[0]['ogb']}",
        "revision": first["revision"],
        "commands": commands,
        "notes": [*_notes(results), *_unlike(settings)],
    }


def best_run(directories: Sequence[Path]) -> Path:
    """That with the best validation, the first of equals."""
    official = [_results(directory)["metrics"]["official"]["valid"] for directory in directories]
    metric = next(name for name in MAIN if name in official[0])
    return max(zip(directories, official, strict=True), key=lambda run: float(run[1][metric]))[0]


def _results(directory: Path) -> dict[str, Any]:
    path = directory / "results.json"
    try:
        found: dict[str, Any] = json.loads(read_text(path))
        official = found["metrics"].get("official")
        known = official is None or {"valid", "benchmark", "ogb"} <= official.keys()
        known = known and (official is None or not official["valid"].keys().isdisjoint(MAIN))
        if not (known and {"seed", "parameters", "revision"} <= found.keys()):
            raise ValueError("it lacks what a finished run has")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{path} is damaged ({error}): leave {directory} out, or train it again"
        ) from error
    if official is None:
        raise ConfigError(
            f"{directory} was not measured by OGB's Evaluator: train on a benchmark (data=ogbl_…)"
            " with evaluation.official=true, and let it finish"
        )
    return found


def _unlike(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """A note for each setting that the runs of one recipe should not differ in."""
    values: defaultdict[str, set[str]] = defaultdict(set)
    flat = [dict(_leaves(one)) for one in settings]
    names = sorted({name for one in flat for name in one if not _is_free(name)})
    for name in names:
        values[name] = {str(one.get(name)) for one in flat}
    return [
        f"the runs differ in {name} ({', '.join(sorted(found))}): they are not of one recipe"
        for name, found in values.items()
        if len(found) > 1
    ]


def _is_free(name: str) -> bool:
    return name.startswith(FREE) or name in {f"trainer.{key}" for key in SPEED}


def _leaves(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _command(directory: Path) -> str:
    """How the run was started; its settings have it in their first line."""
    first = (directory / "config.yaml").read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("# ") if first.startswith("# python") else "unknown"


def _method(results: dict[str, Any]) -> str:
    kinds = ("encoder", "decoder", "reasoner")
    return " + ".join(results[kind] for kind in kinds if kind in results)


def _spread(values: Sequence[float | None]) -> dict[str, float] | None:
    """Mean and unbiased deviation; none where an answer is kept back."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    deviation = statistics.stdev(known) if len(known) > 1 else 0.0
    return {"mean": statistics.mean(known), "deviation": deviation}


def _notes(results: Sequence[dict[str, Any]]) -> list[str]:
    notes = []
    seeds = {found["seed"] for found in results}
    if len(seeds) < RUNS:
        notes.append(f"OGB asks for {RUNS} runs with different seeds; these have {len(seeds)}")
    if len(seeds) < len(results):
        notes.append("some runs have the same seed: their deviation says nothing")
    if any(found["parameters"] != results[0]["parameters"] for found in results):
        notes.append("the runs have models of different sizes: they are not of one recipe")
    if any(found["revision"] != results[0]["revision"] for found in results):
        notes.append("the runs are of different commits")
    if any(found["revision"] is None for found in results):
        notes.append("the commit is unknown: run from a clone")
    if any(str(found["revision"]).endswith("-dirty") for found in results):
        notes.append("some runs were of a changed clone (-dirty): nobody else has that program")
    if any(found.get("hardware") != results[0].get("hardware") for found in results):
        notes.append("the runs were on different hardware; that of the first is shown")
    without = [found["seed"] for found in results if not found["metrics"]["official"].get("test")]
    if without and results[0]["metrics"]["official"]["benchmark"] not in LSC:
        seeds_told = ", ".join(str(seed) for seed in sorted(without))
        notes.append(
            f"test was not measured by the runs with seed {seeds_told}: train them with"
            " evaluation.test=true"
        )
    return notes


def write_submissions(run: Run, folder: Path) -> list[Path]:
    """The files that OGB-LSC takes, for each part whose answers it keeps.

    Raises:
        ConfigError: the benchmark is none of LSC.
        DataError: there are not as many questions as OGB has.
    """
    written = []
    for mode in HIDDEN:
        asked = run.store.asked(mode)
        if asked is None:
            raise ConfigError(f"{run.store.name} keeps no answers back: there is nothing to submit")
        if isinstance(run, NodeRun):
            logits = run.labeller.logits(asked.head.long())
            number = torch.tensor([int(name) for name in run.labeller.labels.names])
            answers: dict[str, Any] = {"y_pred": number[logits.argmax(dim=1)]}
        else:
            assert isinstance(run, LinkRun)
            assert not isinstance(run, PathRun)
            train = KnownFacts(run.store.adjacency())
            best = best_tails(asked, run.vectors, run.model.decoder, train, memory=run.memory)
            answers = {"h,r->t": {"t_pred_top10": best.numpy()}}
        written.append(save_submission(run.store.name, answers, mode, folder))
    return written


def save_submission(benchmark: str, answers: dict[str, Any], mode: str, folder: Path) -> Path:
    """By OGB's own function, which names the file."""
    folder.mkdir(parents=True, exist_ok=True)
    with disk_errors(folder), tempfile.TemporaryDirectory(dir=folder, prefix=".") as scratch:
        try:
            evaluator(benchmark).save_test_submission(answers, scratch, mode)
        except AssertionError as error:
            reason = str(error) or "their number"
            raise DataError(
                f"OGB refuses the answers to {mode} of {benchmark} ({reason}): the"
                " data set has other questions than the published one"
            ) from error
        (written,) = Path(scratch).iterdir()
        with whole_file(folder / written.name) as temporary:
            written.replace(temporary)
    return folder / written.name
