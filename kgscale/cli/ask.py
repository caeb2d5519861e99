"""The command that answers a question of several hops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kgscale.cli.answer import answers_directory, opened
from kgscale.errors import ConfigError
from kgscale.tasks import show
from kgscale.tasks.directory import write_predictions
from kgscale.tasks.questions import QuestionSettings
from kgscale.tasks.runs import LinkRun
from kgscale.tasks.schema import at_least, from_settings, mebibytes


@dataclass(frozen=True, kw_only=True)
class AskSettings:
    """``conf/ask.yaml``; see there for what each means."""

    run: str | None
    question: str | None
    k: int
    known: bool
    width: int
    negation: float
    output: str | None
    memory: int

    def __post_init__(self) -> None:
        at_least("k", self.k, 1)
        mebibytes("memory", self.memory)
        if not self.question:
            raise ConfigError(
                "ask needs a question, like \"?x : knows(?x, ?y) and likes(?y, 'Ann')\""
            )


def ask(settings: Mapping[str, Any]) -> int:
    """Print the best answers, each with the links that it rests on, and write them."""
    asked = from_settings("", AskSettings, settings)
    how = QuestionSettings(width=asked.width, negation=asked.negation)
    run, console = opened(asked.run, asked.memory), show.console()
    if not isinstance(run, LinkRun):
        raise ConfigError(f"ask needs a run that predicts links, and {asked.run} is none")
    directory = answers_directory(run, asked.output)
    assert asked.question is not None
    columns, known = run.ask(asked.question, k=asked.k, known=asked.known, how=how)
    console.print(show.asked(columns, asked.question))
    if known and not asked.known:
        are = "answer follows" if known == 1 else "answers follow"
        show.sentence(console, f"{known:,} {are} from known facts alone: known=true lists them too")
    write_predictions(directory, columns, name="answers")
    show.sentence(console, f"written: {directory / 'answers.tsv'}")
    show.result(directory / "answers.tsv", columns)
    return 0
