"""The commands that see many runs together."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from kgscale.cli import compose
from kgscale.durable import read_text, write_text
from kgscale.errors import ConfigError, ResourceError
from kgscale.studies.compare import CompareSettings, Comparison, Outcome
from kgscale.studies.plot import draw
from kgscale.studies.space import overrides
from kgscale.studies.summary import as_csv, as_table, rows_of, target_of
from kgscale.studies.terms import Terms
from kgscale.studies.trials import rows_of_trials, table_of_trials, told
from kgscale.studies.tune import Search, TuneSettings, best_of, check_installed
from kgscale.tasks import show
from kgscale.tasks.directory import run_directory
from kgscale.tasks.schema import from_settings

ARGUMENTS: Final = "arguments.json"
"""What a study began with."""
OWN: Final = ("trials=", "tune.")
"""Arguments that a run doesn't know."""
MAY_CHANGE: Final = ("trials=", "tune.study=", "tune.prune=")
"""When a study is continued."""


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
        show.result(file, rows)
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


def tune(arguments: Sequence[str]) -> int:
    """Search for settings; write every trial to a CSV file, and tell the command of the best."""
    check_installed()
    composed = compose.settings(arguments, name="tune")
    wanted = from_settings("tune", TuneSettings, composed["tune"])
    if type(composed["trials"]) is not int or composed["trials"] < 1:
        raise ConfigError(f"trials needs a positive int, got {composed['trials']!r}")
    console = show.console()
    if wanted.study is not None:
        directory = Path(wanted.study).expanduser()
        given = continued(directory, arguments)
        composed = compose.settings(given, name="tune")
        wanted = from_settings("tune", TuneSettings, composed["tune"])
        return _search(Search(_runs(given), wanted, directory, console), given, composed["trials"])
    root = Path(composed["root"]).expanduser()
    with run_directory(root, "tune", compose.as_yaml(composed)) as directory:
        search = Search(_runs(arguments), wanted, directory, console)
        search.check()
        write_text(directory / ARGUMENTS, json.dumps(list(arguments)))
        return _search(search, arguments, composed["trials"])


def _search(search: Search, arguments: Sequence[str], trials: int) -> int:
    directory, console = search.directory, search.console
    show.sentence(console, f"study, to go on with by tune.study={directory}: {trials} trials")
    with search.locked():
        for trial in search.run(trials):
            show.sentence(console, told(trial))
            write_text(directory / "trials.csv", as_csv(rows_of_trials(search.tried())))
        ended = search.tried()
    console.print(table_of_trials(ended))
    show.sentence(console, f"written: {directory / 'trials.csv'}")
    best = best_of(ended)
    assert best is not None
    plain = [text for text in arguments if not text.startswith(OWN)]
    words = ["python", "-m", "kgscale", *plain, *overrides(best.chosen)]
    show.sentence(console, f"trial {best.number} is the best so far, to be trained again by:")
    console.print(shlex.join(words), soft_wrap=True, highlight=False, markup=False)
    show.result(directory / "trials.csv", {"best": best.number, "command": words})
    return 0


def continued(directory: Path, arguments: Sequence[str]) -> list[str]:
    """The arguments that a study began with, and those that may change."""
    try:
        began: list[str] = json.loads(read_text(directory / ARGUMENTS))
        if not isinstance(began, list) or not all(isinstance(text, str) for text in began):
            raise ValueError("no list of texts")
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"tune.study={directory} is no directory of a study") from error
    others = [text for text in arguments if not text.startswith(MAY_CHANGE)]
    if others:
        raise ConfigError(
            f"{directory} is continued with the settings that it began with; leave out"
            f" {' '.join(others)}, or begin another study"
        )
    return [*began, *(text for text in arguments if not text.startswith("tune.study="))]


def _runs(arguments: Sequence[str]) -> Callable[[Sequence[str]], compose.Settings]:
    """The settings of a run of a search for further overrides."""

    def further(more: Sequence[str]) -> compose.Settings:
        composed = compose.settings([*arguments, *more], name="tune")
        return {name: value for name, value in composed.items() if name not in ("trials", "tune")}

    return further
