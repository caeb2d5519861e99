"""The command that tells why a run predicts what it predicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kgscale.cli.answer import answers_directory, opened
from kgscale.errors import ConfigError
from kgscale.tasks import show
from kgscale.tasks.directory import write_predictions
from kgscale.tasks.explanation import keeps_learned
from kgscale.tasks.picture import draw
from kgscale.tasks.runs import LinkRun, NodeRun, NumberRun, RecommendationRun, Run
from kgscale.tasks.schema import at_least, from_settings, mebibytes


@dataclass(frozen=True, kw_only=True)
class ExplainSettings:
    """``conf/explain.yaml``; see there for what each means."""

    run: str | None
    head: str | None
    relation: str | None
    tail: str | None
    user: str | None
    item: str | None
    entity: str | None
    label: str | None
    k: int
    candidates: int
    output: str | None
    memory: int

    def __post_init__(self) -> None:
        at_least("k", self.k, 1)
        at_least("candidates", self.candidates, 1)
        mebibytes("memory", self.memory)

    def prediction(self, run: Run) -> dict[str, str]:
        """Of a run, by its task.

        Raises:
            ConfigError: too much or too little is given for it.
        """
        names = ("head", "relation", "tail", "user", "item", "entity", "label")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        needed, more = _parts(run)
        if not set(needed) <= given.keys() <= {*needed, *more}:
            asked = ", ".join(f"{name}=…" for name in needed)
            perhaps = "".join(f" and perhaps {name}=…" for name in more)
            got = ", ".join(f"{name}=" for name in given) or "nothing"
            raise ConfigError(f"explain needs {asked}{perhaps} for this run, got {got}")
        return given


def _parts(run: Run) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What names a prediction of a run: needed, and possible."""
    if isinstance(run, RecommendationRun):
        return ("user", "item"), ()
    if isinstance(run, NodeRun):
        return ("entity",), ("label",)
    if isinstance(run, NumberRun):
        return ("entity",), ()
    assert isinstance(run, LinkRun)
    return ("head", "relation", "tail"), ()


def explain(settings: Mapping[str, Any]) -> int:
    """Print the reasons, and write ``explanation.tsv``, ``.parquet`` and ``.png``."""
    asked = from_settings("", ExplainSettings, settings)
    run, console = opened(asked.run, asked.memory), show.console()
    directory = answers_directory(run, asked.output)
    prediction = asked.prediction(run)
    with show.busy(console, "looking for reasons") as tell:
        found = run.explain(k=asked.k, candidates=asked.candidates, tell=tell, **prediction)
    show.sentence(console, f"{show.short(found.asked)}, score {found.score:.3f}")
    if found.reasons:
        console.print(show.reasons(found.columns()))
    else:
        show.sentence(console, "no fact of train is about it: nothing can be left out")
    if keeps_learned(run.model, found.about):
        show.sentence(
            console,
            "note: learned vectors stay as they are: what a fact has done to them when they were"
            " fitted is in no loss here",
        )
    write_predictions(directory, found.columns(), name="explanation")
    draw(found, directory / "explanation.png")
    for kind in ("tsv", "png"):
        show.sentence(console, f"written: {directory / f'explanation.{kind}'}")
    show.result(directory / "explanation.tsv", found.columns())
    return 0
