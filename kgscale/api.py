"""The command line's jobs as Python calls."""

from __future__ import annotations

import signal
from pathlib import Path

from kgscale.cli import compose, resume
from kgscale.graph.convert import from_networkx, from_pyg, to_networkx, to_pyg
from kgscale.tasks import show, start
from kgscale.tasks.runs import Run, open_run

__all__ = ["from_networkx", "from_pyg", "load", "to_networkx", "to_pyg", "train"]


def train(*overrides: str, quiet: bool = False) -> Run:
    """Train with the command line's overrides, ``train("encoder=rgcn", "seed=1")``, or go on with
    a run that was cut short, ``train("resume=latest")``.

    Raises:
        ConfigError: a setting that cannot work.
        DataError: input that cannot be read.
        KeyboardInterrupt: Ctrl-C; the run directory has the best checkpoint and results so far.
    """
    if resume.wanted(overrides):
        run = resume.resumed(overrides)
        if run.done:
            return open_run(run.directory)
        settings, told, before = run.settings, run.told, run.directory
    else:
        settings, told, before = compose.settings(overrides), resume.told(overrides), None
    directory, code = start.train(
        settings,
        config=told + compose.as_yaml(settings),
        console=show.console(quiet=quiet),
        resume=before,
    )
    if code == 128 + signal.SIGINT:
        raise KeyboardInterrupt(str(directory))
    if code:
        raise SystemExit(code)
    return open_run(directory)


def load(directory: str | Path) -> Run:
    """Open a finished run's directory."""
    return open_run(directory)
