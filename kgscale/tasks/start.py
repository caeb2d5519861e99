"""Starts a training: the settings are checked and tried before any work."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from kgscale.durable import sweep_folder, write_text
from kgscale.graph.store import GraphStore
from kgscale.kernels.threads import num_threads, set_threads
from kgscale.tasks.components import build
from kgscale.tasks.directory import CONFIG, reopened, run_directory, unfinished
from kgscale.tasks.friends import FriendTraining
from kgscale.tasks.link_prediction import LinkTraining
from kgscale.tasks.node_classification import NodeTraining
from kgscale.tasks.node_regression import NumberTraining
from kgscale.tasks.parts import GraphParts
from kgscale.tasks.path_reasoning import PathTraining
from kgscale.tasks.plan.planner import buildable
from kgscale.tasks.query_answering import QueryTraining
from kgscale.tasks.recommendation import RecommendationTraining
from kgscale.tasks.same import check_inside, check_same
from kgscale.tasks.settings import RunSettings, TaskSettings
from kgscale.tasks.training import Training, removal_told
from kgscale.training.checkpoints import SUFFIX
from kgscale.training.distributed import agree, check_devices, is_leader, process_group
from kgscale.training.fit import backend, check_accelerator
from kgscale.training.resume import FOLDER, Saved, newest

TASKS: Final[dict[str, type[Training]]] = {
    "friend_recommendation": FriendTraining,
    "link_prediction": LinkTraining,
    "node_classification": NodeTraining,
    "node_regression": NumberTraining,
    "path_reasoning": PathTraining,
    "query_answering": QueryTraining,
    "recommendation": RecommendationTraining,
}


def train(
    settings: Mapping[str, Any], *, config: str, console: Console, resume: Path | None = None
) -> tuple[Path, int]:
    """Train as the settings say; returns the run directory and the exit code.

    With ``trainer.devices`` above 1 the other processes are started here (or by torchrun, in
    which case this process is one of them); only rank 0 prints and writes.

    Args:
        config: the settings as YAML, for the run directory and for other ranks.
        resume: the directory of a run to go on with, instead of a new one.
    """
    checked = rehearse(settings)
    task = TASKS[checked.task.name]
    with threads(checked.trainer.threads):
        if not is_leader():
            return _follow(task, checked)
        if resume is not None:
            check_inside(resume)
            with reopened(resume) as directory:
                saved = newest(directory)
                saved.require("fingerprint", "settings", "strategy", "usage")
                check_same(directory, saved.path, saved.own["settings"], settings)
                saved.position.dealt_to(checked.trainer.devices, saved.position.steps)
                sweep_folder(directory / FOLDER, f"*{SUFFIX}")
                unfinished(directory)
                write_text(directory / CONFIG, config)
                return directory, task(checked, directory, console, saved).run()
        with (
            removal_told(console) as opened,
            run_directory(checked.run_root, checked.task.name, config) as directory,
        ):
            opened.append(directory)
            return directory, task(checked, directory, console).run()


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Cores that this process uses meanwhile."""
    before = num_threads()
    set_threads(number)
    try:
        yield
    finally:
        set_threads(before)


def rehearse(settings: Mapping[str, Any]) -> RunSettings:
    """The settings, checked; everything is built for a graph of one triple, so that a wrong one
    costs no ingest."""
    checked = RunSettings.of(settings)
    check_devices(checked.trainer.devices)
    check_accelerator(checked.trainer)
    build("data", checked.groups["data"])
    module, _, _ = TASKS[checked.task.name].assemble(buildable(checked), _toy(checked.task))
    module.configure_optimizers()
    return checked


def _follow(task: type[Training], settings: RunSettings) -> tuple[Path, int]:
    """The part of a rank that neither prints nor writes."""
    trainer = settings.trainer
    with process_group(backend(trainer), trainer.devices, []):
        run, store, strategy, state = agree("", "", "", "")
        directory = Path(run)
        settings = settings.with_group("strategy", json.loads(strategy))
        saved = Saved.read(Path(state)) if state else None
        training = task(settings, directory, Console(quiet=True), saved)
        training.store = GraphStore.open(Path(store))
        training.set_up()
        return directory, training.fit().interrupted or 0


def _toy(task: TaskSettings) -> GraphParts:
    return GraphParts.toy(relation=task.relation, users=task.users, items=task.items)
