"""The command line's jobs as Python calls."""

from __future__ import annotations

import signal
from pathlib import Path

from kgscale.cli import compose
from kgscale.tasks import show, start
from kgscale.tasks.runs import Run, open_run


def train(*overrides: str, quiet: bool = False) -> Run:
    """Train with the command line's overrides, ``train("encoder=rgcn", "seed=1")``.

    Raises:
        ConfigError: a setting that cannot work.
        DataError: input that cannot be read.
        KeyboardInterrupt: Ctrl-C; the run directory has the best checkpoint and results so far.
    """
    settings = compose.settings(overrides)
    directory, code = start.train(
        settings, config=compose.as_yaml(settings), console=show.console(quiet=quiet)
    )
    if code == 128 + signal.SIGINT:
        raise KeyboardInterrupt(str(directory))
    if code:
        raise SystemExit(code)
    return open_run(directory)


def load(directory: str | Path) -> Run:
    """Open a finished run's directory."""
    return open_run(directory)
