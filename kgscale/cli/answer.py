"""The commands that use a finished run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from rich.console import Console
from rich.table import Table

from kgscale.cli.compose import from_yaml
from kgscale.errors import ConfigError
from kgscale.inference.official import LSC, check_evaluator
from kgscale.tasks import show
from kgscale.tasks.batch import answer_file
from kgscale.tasks.calibration import Columns, sure
from kgscale.tasks.directory import (
    CONFIG,
    check_writable,
    write_json,
    write_pieces,
    write_predictions,
)
from kgscale.tasks.leaderboard import best_run, fields, run_directories, write_submissions
from kgscale.tasks.questions import QuestionSettings
from kgscale.tasks.runs import (
    LinkRun,
    NodeRun,
    NumberRun,
    PathRun,
    RecommendationRun,
    Run,
    open_run,
    rest_of,
)
from kgscale.tasks.schema import MIB, at_least, from_settings, mebibytes, share

EVERYBODY: Final = "*"
"""Asks for the items of all users."""


@dataclass(frozen=True, kw_only=True)
class PredictSettings:
    """``conf/predict.yaml``; see there for what each means."""

    run: str | None
    entity: str | None
    relation: str | None
    head: str | None
    tail: str | None
    user: str | None
    queries: str | None
    max_rejected: float
    quote: str | None
    tsv: bool
    k: int
    known: bool
    abstain: float
    output: str | None
    memory: int

    def __post_init__(self) -> None:
        at_least("k", self.k, 1)
        share("abstain", self.abstain)
        share("max_rejected", self.max_rejected)
        mebibytes("memory", self.memory)
        asked = (self.entity, self.relation, self.head, self.tail, self.user)
        if self.queries is not None and any(one is not None for one in asked):
            raise ConfigError(
                "queries=FILE asks all questions: leave out entity=, relation=, head=, tail= and"
                " user="
            )
        if self.quote is not None and (len(self.quote.encode()) != 1 or self.quote in "\r\n\0"):
            raise ConfigError(f"quote must be one ASCII character, got {self.quote!r}")
        if self.queries is None and (self.tsv or self.quote is not None):
            raise ConfigError("tsv and quote are for queries=FILE: leave them out")

    def question(self, run: Run) -> dict[str, Any]:
        """What is asked of a run, by its task."""
        if isinstance(run, NodeRun | NumberRun):
            if not self.entity or self.relation or self.head or self.tail or self.user:
                kind = "classification" if isinstance(run, NodeRun) else "regression"
                raise ConfigError(f"predict needs entity=… alone for a run of node {kind}")
            return {"entity": self.entity}
        if isinstance(run, RecommendationRun):
            if not self.user or self.entity or self.relation or self.head or self.tail:
                raise ConfigError("predict needs user=… alone for a run of recommendation")
            return {"user": self.user, "known": self.known}
        if not self.relation or self.entity or self.user:
            raise ConfigError("predict needs relation=… beside head=… or tail=…")
        return {
            "relation": self.relation,
            "head": self.head,
            "tail": self.tail,
            "known": self.known,
        }


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """``conf/evaluate.yaml``."""

    run: str | None
    split: Literal["valid", "test", "train"]
    memory: int
    measure_on: int | None
    official: bool
    rest: str | None
    blend: float
    questions: str | None
    count: int
    width: int
    negation: float

    def __post_init__(self) -> None:
        mebibytes("memory", self.memory)
        if self.measure_on is not None:
            at_least("measure_on", self.measure_on, 1)
        if self.blend and self.rest is None:
            raise ConfigError("blend is a weight of the scores of rest: name a run there")


@dataclass(frozen=True, kw_only=True)
class LeaderboardSettings:
    """``conf/leaderboard.yaml``."""

    runs: str | Sequence[str] | None
    method: str | None
    output: str
    memory: int

    def __post_init__(self) -> None:
        mebibytes("memory", self.memory)
        if not self.runs:
            raise ConfigError("runs=DIR is missing: run directories of one recipe")


def leaderboard(settings: Mapping[str, Any]) -> int:
    """Print and write the fields of the form, and the files that OGB-LSC takes."""
    asked = from_settings("", LeaderboardSettings, settings)
    assert asked.runs is not None
    runs = run_directories([asked.runs] if isinstance(asked.runs, str) else asked.runs)
    recipes = [from_yaml(run / CONFIG) for run in runs]
    found, console = fields(runs, method=asked.method, settings=recipes), show.console()
    directory = Path(asked.output).expanduser()
    check_writable(directory, "choose another with output=DIR")
    console.print(show.form(found))
    for note in found["notes"]:
        show.sentence(console, f"note: {note}")
    write_json(directory / "leaderboard.json", found)
    show.sentence(console, f"written: {directory / 'leaderboard.json'}")
    show.result(directory / "leaderboard.json", found)
    if found["dataset"] in LSC:
        best = best_run(runs)
        if len(runs) > 1:
            show.sentence(console, f"the answers are those of {best}, the best in validation")
        for file in write_submissions(open_run(best, memory=asked.memory * MIB), directory):
            show.sentence(console, f"written: {file}")
    return 0


def predict(settings: Mapping[str, Any]) -> int:
    """Print the best answers and write them as ``predictions.tsv`` and ``.parquet``."""
    asked = from_settings("", PredictSettings, settings)
    run = opened(asked.run, asked.memory)
    directory = answers_directory(run, asked.output)
    question = asked.question(run) if asked.queries is None else {}
    console = show.console()
    if asked.abstain and isinstance(run, NumberRun):
        raise ConfigError(
            "abstain compares probabilities, and numbers have intervals: leave it out"
        )
    if asked.abstain and run.calibration is None:
        raise ConfigError(
            f"abstain compares probabilities, and {run.directory} has none: leave it out, or train"
            " again with something to validate on"
        )
    if asked.queries is not None:
        return _predict_file(run, Path(asked.queries).expanduser(), directory, asked, console)
    if isinstance(run, RecommendationRun) and asked.user == EVERYBODY:
        pieces = (sure(piece, asked.abstain) for piece in run.recommend_all(k=asked.k))
        write_pieces(directory, pieces)
        show.result(directory / "predictions.parquet", None)
    else:
        columns = run.predict(k=asked.k, **question)
        columns = sure(columns, asked.abstain) if asked.abstain else columns
        console.print(_shown(run)(columns, "Answers"))
        write_predictions(directory, columns)
        show.result(directory / "predictions.tsv", columns)
    show.sentence(console, f"written: {directory / 'predictions.tsv'}")
    return 0


def _predict_file(
    run: Run, queries: Path, directory: Path, asked: PredictSettings, console: Console
) -> int:
    with show.busy(console, "opening the run") as tell:
        found = answer_file(
            run,
            queries,
            directory,
            k=asked.k,
            known=asked.known,
            abstain=asked.abstain,
            max_rejected=asked.max_rejected,
            quote=asked.quote,
            tsv=asked.tsv,
            tell=tell,
        )
    for line in show.batch(found):
        show.sentence(console, line)
    told = {"answers": found.answers, "questions": found.questions, "rejected": found.rejected}
    show.result(found.files[0], told)
    return 0


def answers_directory(run: Run, output: str | None) -> Path:
    """Where answers are written, ready for them.

    Raises:
        ConfigError: the run's own folder is a link to another place, as in somebody else's run.
    """
    directory = Path(output).expanduser() if output else run.directory / "answers"
    if output is None and directory.is_symlink():
        raise ConfigError(f"{directory} is a link: say where answers go with output=DIR")
    check_writable(directory, "choose another with output=DIR")
    return directory


def _shown(run: Run) -> Callable[[Columns, str], Table]:
    """How answers are told, by the run's task."""
    if isinstance(run, RecommendationRun):
        return show.items
    if isinstance(run, NumberRun):
        return show.numbers
    return show.labels if isinstance(run, NodeRun) else show.predictions


def evaluate(settings: Mapping[str, Any]) -> int:
    """Rank a split and write ``evaluation-<split>.json`` into the run; or what questions of
    several hops come to, and write ``questions-<split>.json``."""
    asked = from_settings("", EvaluateSettings, settings)
    run, console = opened(asked.run, asked.memory), show.console()
    check_writable(run.directory, "copy the run to where you may write")
    if asked.questions is not None:
        return _evaluate_questions(run, asked, console)
    benchmark = run.store.benchmark if asked.official else None
    if benchmark is not None:
        check_evaluator(benchmark)
    with show.busy(console, f"evaluating {asked.split}"):
        content, table = _evaluated(run, asked)
    console.print(table)
    if benchmark is not None and (found := run.official(asked.split)):
        content["official"] = {"benchmark": benchmark, asked.split: found}
        for line in show.official(content["official"]):
            show.sentence(console, line)
    if "coverage" in content:
        show.sentence(console, show.coverage(asked.split, content))
    file = run.directory / f"evaluation-{asked.split}.json"
    write_json(file, content)
    show.sentence(console, f"written: {file}")
    show.result(file, content)
    return 0


def _evaluate_questions(run: Run, asked: EvaluateSettings, console: Console) -> int:
    if not isinstance(run, LinkRun):
        raise ConfigError(f"questions need a run that predicts links, and {asked.run} is none")
    how = QuestionSettings(
        file=asked.questions, count=asked.count, width=asked.width, negation=asked.negation
    )
    with show.busy(console, f"answering questions of {asked.split}") as tell:
        content = run.measure_questions(asked.split, how, tell=tell)
    console.print(show.questions(asked.split, content["all"]))
    show.sentence(console, show.hardness(content))
    file = run.directory / f"questions-{asked.split}.json"
    write_json(file, content)
    show.sentence(console, f"written: {file}")
    show.result(file, content)
    return 0


def _evaluated(run: Run, asked: EvaluateSettings) -> tuple[dict[str, Any], Table]:
    split = asked.split
    if asked.rest is not None and not isinstance(run, PathRun):
        raise ConfigError(f"rest is for runs of path reasoning, and {asked.run} is none")
    if isinstance(run, NodeRun):
        content = show.node_evaluation_content(split, run.evaluate(split))
        return content, show.node_evaluation(content)
    if isinstance(run, NumberRun):
        content = show.number_evaluation_content(split, run.evaluate(split))
        return content, show.number_evaluation(content)
    if isinstance(run, RecommendationRun):
        task = "friend_recommendation" if run.store.undirected else "recommendation"
        content = show.items_evaluation_content(split, run.evaluate(split), task)
        return content, show.items_evaluation(content)
    assert isinstance(run, LinkRun)
    relations = run.store.relation_keys(list(range(run.store.num_relations)))
    ranker = None
    if isinstance(run, PathRun):
        rest = asked.rest and rest_of(asked.rest, run.store, memory=run.memory)
        ranker = run.ranker(rest=rest or None, blend=asked.blend)
    report = run.evaluate(split, ranker=ranker, measure_on=asked.measure_on)
    content = show.evaluation_content(split, report, relations)
    if ranker is not None:
        content = {**content, **ranker.report()}
    return content, show.evaluation(content)


def opened(run: str | None, memory: int) -> Run:
    if not run:
        raise ConfigError("run=DIR is missing: the directory that train printed")
    return open_run(Path(run).expanduser(), memory=memory * MIB)
