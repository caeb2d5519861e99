"""The commands that see many runs together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kgscale.cli import compose
from kgscale.errors import ConfigError, ResourceError
from kgscale.studies.compare import CompareSettings, Comparison, Outcome
from kgscale.studies.plot import draw
from kgscale.studies.summary import as_csv, as_table, rows_of, target_of
from kgscale.studies.terms import Terms
from kgscale.tasks import show
from kgscale.tasks.directory import run_directory, write_text
from kgscale.tasks.schema import from_settings


def compare(arguments: Sequence[str]) -> int:
    """Train under every strategy and seed; write a table, a CSV file and a picture.

    What doesn't fit into memory is a result; any other failure gives the exit code, in the end.
    """
    if any(text.startswith(("strategy=", "seed=")) for text in arguments):
        raise ConfigError("compare takes compare.strategies=[…] and compare.seeds=[…]")
    composed = compose.settings(arguments, name="compare")
    wanted = from_settings("compare", CompareSettings, composed["compare"])
    console, root = show.console(), Path(composed["root"]).expanduser()
    with run_directory(root, "compare", compose.as_yaml(composed)) as directory:
        terms = terms_of(arguments, wanted)
        file, outcomes = directory / "comparison.csv", list[Outcome]()
        for outcome in Comparison(wanted, terms, directory, console).run():
            outcomes.append(outcome)
            rows = rows_of(outcomes, target_of(outcomes, wanted.target))
            write_text(file, as_csv(rows))
        console.print(as_table(rows, wanted.minutes))
        show.sentence(console, f"written: {file}")
        failures = [outcome.failure for outcome in outcomes if outcome.failure is not None]
        if len(failures) == len(outcomes):
            raise failures[0]
        draw(outcomes, directory / "comparison.png")
        show.sentence(console, f"written: {directory / 'comparison.png'}")
    codes = [error.exit_code for error in failures if not isinstance(error, ResourceError)]
    return codes[0] if codes else 0


def terms_of(arguments: Sequence[str], wanted: CompareSettings) -> Terms:
    """What the command line's overrides are under each strategy."""

    def further(more: Sequence[str]) -> compose.Settings:
        given = list(arguments)
        if any(text.startswith("strategy=") for text in more):
            # Another strategy may not know what is set of the configured one.
            given = [f"++{text}" if text.startswith("strategy.") else text for text in given]
        return compose.settings([*given, *more], name="compare")

    return Terms(further, compose.settings, wanted.own or {})
