"""A search for settings by validation metric, kept on disk trial by trial."""

from __future__ import annotations

import fcntl
import importlib.util
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from kgscale.durable import disk_errors, lock_file
from kgscale.errors import ConfigError, KgscaleError, ResourceError
from kgscale.sampling.queries import mix_seed
from kgscale.studies.process import train_apart
from kgscale.studies.record import read_curve
from kgscale.studies.space import Choice, corners, overrides, read_space, usual_space
from kgscale.tasks import show
from kgscale.tasks.settings import RunSettings
from kgscale.tasks.start import TASKS, rehearse
from kgscale.tasks.training import prepared

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

Settings = dict[str, Any]
INSTALL: Final = "pip install 'kgscale[tune]'"
STARTUP: Final = 4
"""Trials that end before any is stopped early."""


@dataclass(frozen=True, kw_only=True)
class TuneSettings:
    """``tune`` in ``conf/tune.yaml``; see there for what each means."""

    space: Mapping[str, Any] | None = None
    study: str | None = None
    prune: bool = True


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A trial that has ended."""

    number: int
    status: str
    """``done``, ``stopped`` early, or ``failed``."""
    chosen: Mapping[str, Any]
    metric: str | None
    best: float | None
    """Of the metric, on validation."""
    minutes: float | None
    failure: str | None


class Search:
    """A study in a directory: what is known so far survives any end of this process.

    Bergstra et al. 2011 (TPE) draws the settings; each trial's draw depends on the seed, its
    number and the trials before it alone.

    Args:
        compose: the settings of a run for further overrides.
        directory: of the study.

    Raises:
        ConfigError: optuna is missing, or the space makes no sense.
    """

    def __init__(
        self,
        compose: Callable[[Sequence[str]], Settings],
        settings: TuneSettings,
        directory: Path,
        console: Console,
    ) -> None:
        check_installed()
        self._compose, self.prune = compose, settings.prune
        self.directory, self.console = directory, console
        base = compose(())
        self.seed = int(base["seed"])
        self.space = read_space(settings.space) if settings.space else usual_space(base)

    def check(self) -> None:
        """Every end of every range, before any time is spent.

        Raises:
            ConfigError: a setting that doesn't exist, a value that can't work, or a graph without
                validation.
        """
        for some in corners(self.space):
            rehearse(self._settings(some, 0))
        checked = RunSettings.of(self._settings((), 0))
        with show.busy(self.console, "reading the graph") as tell:
            store = prepared(checked, tell=tell)
        task = TASKS[checked.task.name]
        task.check(store)
        task.check_validation(store)

    def run(self, trials: int) -> Iterator[Tried]:
        """Try until so many have ended; yields those that do.

        Raises:
            KgscaleError: of the last trial, if all failed.
        """
        with _told(self.directory / "study.db"):
            yield from self._run(trials)

    def _run(self, trials: int) -> Iterator[Tried]:
        study = self._study()
        _begin_again(study)
        distributions = {key: _distribution(choice) for key, choice in self.space.items()}
        failure: KgscaleError | None = None
        while (number := len(tried(study))) < trials:
            study.sampler = _sampler(mix_seed(self.seed, number))
            trial = study.ask(distributions)
            try:
                self._try(study, trial)
            except KgscaleError as error:
                failure = error
                trial.set_user_attr("failure", str(error))
                _end(study, trial, "FAIL")
            yield next(one for one in tried(study) if one.number == trial.number)
        ended = tried(study)
        if best_of(ended) is None:
            told = f"no trial came to a validation; the last: {ended[-1].failure}"
            raise failure or KgscaleError(told)

    def tried(self) -> list[Tried]:
        """All trials so far that ended of themselves, in order."""
        return tried(self._study())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else may add to the study meanwhile.

        Raises:
            ConfigError: somebody does.
        """
        place = self.directory / "lock"
        with disk_errors(place):
            file = lock_file(place)
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ConfigError(
                    f"{self.directory}: another process is at this study; wait for its end"
                ) from error
            yield

    def _settings(self, chosen: Sequence[str], number: int) -> Settings:
        run = self._compose(chosen)
        run["evaluation"]["test"] = False
        run["predictions"]["count"] = 0
        run["root"] = str(self._root(number))
        return run

    def _root(self, number: int) -> Path:
        return self.directory / "trials" / f"{number:04}"

    def _study(self) -> Study:
        """The study on disk."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        pruners = optuna.pruners
        file = (self.directory / "study.db").resolve()
        with _told(file):
            return optuna.create_study(
                storage=f"sqlite:///{file}",
                study_name="kgscale",
                direction="maximize",
                load_if_exists=True,
                pruner=pruners.MedianPruner(STARTUP) if self.prune else pruners.NopPruner(),
            )

    def _try(self, study: Study, trial: Trial) -> None:
        named = f"trial {trial.number}: {' '.join(overrides(trial.params))}"
        run = self._settings(overrides(trial.params), trial.number)
        rehearse(run)
        reports = _Reports(trial, next((one.metric for one in tried(study) if one.metric), None))
        with show.busy(self.console, named):
            record = train_apart(run, named, stop=reports.hopeless)
        if not record.curve:
            raise KgscaleError(f"{named}: ended before a validation")
        reports.add([value for _, value in record.curve])
        for name in ("metric", "minutes", "best"):
            trial.set_user_attr(name, getattr(record, name))
        if record.done:
            study.tell(trial, record.best)
        else:
            _end(study, trial, "PRUNED")
        self._keep_best(tried(study))

    def _keep_best(self, ended: Sequence[Tried]) -> None:
        """Models of all trials but the best are gone: they would fill the disk."""
        best = best_of(ended)
        for one in ended:
            if one is not best:
                for kind in ("checkpoints", "model"):
                    for folder in self._root(one.number).glob(f"*/*/{kind}"):
                        shutil.rmtree(folder)


class _Reports:
    """What a running trial tells the study: its best so far after each validation.

    Args:
        metric: what validation watches; None as long as no trial has told.
    """

    def __init__(self, trial: Trial, metric: str | None) -> None:
        self.trial, self.metric, self.told = trial, metric, 0

    def add(self, values: Sequence[float]) -> None:
        for step in range(self.told, len(values)):
            self.trial.report(max(values[: step + 1]), step)
        self.told = max(self.told, len(values))

    def hopeless(self, root: Path) -> bool:
        """Whether the run is behind the median of the others after as many validations."""
        runs = list(root.glob("*/*/metrics.csv"))
        if self.metric is None or not runs:
            return False
        before = self.told
        self.add([value for _, value in read_curve(runs[0].parent, self.metric)])
        return self.told > before and bool(self.trial.should_prune())


@contextmanager
def _told(file: Path) -> Iterator[None]:
    """The database's failures, of a full disk or a broken file, in a sentence."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import DatabaseError

    try:
        yield
    except (StorageInternalError, DatabaseError) as error:
        cause = error.__cause__ or error
        reason = getattr(cause, "orig", None) or cause
        raise ResourceError(
            f"{file}: the study can't be read or written ({reason}); what is in trials.csv beside"
            " it is whole, and another study starts without tune.study"
        ) from error


def check_installed() -> None:
    """Refuse to search without optuna.

    Raises:
        ConfigError: with how to install it.
    """
    if importlib.util.find_spec("optuna") is None:
        raise ConfigError(f"tune needs the package optuna: {INSTALL}")


def tried(study: Study) -> list[Tried]:
    """All that ended of themselves, in order."""
    return [one for trial in study.get_trials(deepcopy=False) if (one := _tried(trial)) is not None]


def best_of(ended: Sequence[Tried]) -> Tried | None:
    """Of all that came to a validation, those stopped early among them."""
    measured = [one for one in ended if one.best is not None]
    return max(measured, key=lambda one: one.best or 0.0, default=None)


def _tried(trial: FrozenTrial) -> Tried | None:
    """None for a trial that waits, runs, or was lost with the process that ran it."""
    told, state = trial.user_attrs, trial.state.name
    status = {"COMPLETE": "done", "PRUNED": "stopped", "FAIL": "failed"}.get(state)
    if status is None or (status == "failed" and "failure" not in told):
        return None
    known = {name: told.get(name) for name in ("metric", "best", "minutes", "failure")}
    return Tried(number=trial.number, status=status, chosen=trial.params, **known)


def _begin_again(study: Study) -> None:
    """What a killed process was at."""
    for trial in study.get_trials(deepcopy=False):
        if trial.state.name == "RUNNING":
            _end(study, trial.number, "FAIL")
            study.enqueue_trial(trial.params)


def _sampler(seed: int) -> Any:
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed % 2**32)


def _end(study: Study, trial: Trial | int, state: str) -> None:
    from optuna.trial import TrialState

    study.tell(trial, state=TrialState[state])


def _distribution(choice: Choice) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if choice.choices is not None:
        return CategoricalDistribution(choice.ends)
    low, high = choice.low, choice.high
    assert low is not None
    assert high is not None
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=choice.log)
    return FloatDistribution(low, high, log=choice.log)
