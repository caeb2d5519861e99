"""The command line: ``python -m kgscale [command] [overrides]``."""

from kgscale.cli.main import main

__all__ = ["main"]
