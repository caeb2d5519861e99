"""The command line's jobs as Python calls."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from kgscale.cli import compose
from kgscale.tasks import link_prediction
from kgscale.tasks.runs import Run


def train(*overrides: str, quiet: bool = False) -> Run:
    """Train with the command line's overrides, ``train("encoder=rgcn", "seed=1")``.

    Raises:
        ConfigError: a setting that cannot work; DataError: input that cannot be read.
    """
    config = compose.settings(overrides)
    directory, _ = link_prediction.train(
        compose.as_dict(config), config=compose.as_yaml(config), console=Console(quiet=quiet)
    )
    return Run(directory)


def load(directory: str | Path) -> Run:
    """Open a finished run's directory."""
    return Run(directory)
