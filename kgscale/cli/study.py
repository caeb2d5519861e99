"""The commands that see many runs together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kgscale.cli import compose
from kgscale.errors import ConfigError
from kgscale.studies.compare import CompareSettings, Comparison
from kgscale.studies.plot import draw
from kgscale.studies.summary import as_csv, as_table, rows_of, target_of
from kgscale.tasks import show
from kgscale.tasks.directory import make_directory, write_text
from kgscale.tasks.schema import from_settings


def compare(arguments: Sequence[str]) -> int:
    """Train under every strategy and seed; write a table, a CSV file and a picture."""
    if any(text.startswith(("strategy=", "seed=")) for text in arguments):
        raise ConfigError("compare takes compare.strategies=[…] and compare.seeds=[…]")
    composed = compose.settings(arguments, name="compare")
    wanted = from_settings("compare", CompareSettings, composed["compare"])
    console = show.console()
    directory = make_directory(Path(composed["root"]).expanduser(), "compare")
    show.sentence(console, f"comparison: {directory}")

    def further(more: Sequence[str]) -> compose.Settings:
        return compose.settings([*arguments, *more], name="compare")

    comparison = Comparison(wanted, further, compose.settings, directory, console)
    outcomes = comparison.run()
    rows = rows_of(outcomes, target_of(outcomes, wanted.target))
    write_text(directory / "comparison.csv", as_csv(rows))
    draw(outcomes, directory / "comparison.png")
    console.print(as_table(rows, wanted.minutes))
    show.sentence(console, f"written: {directory / 'comparison.csv'}")
    show.sentence(console, f"written: {directory / 'comparison.png'}")
    return 0
