"""The command that writes a run's report anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kgscale.cli.answer import opened
from kgscale.errors import ConfigError, DataError
from kgscale.models.registry import CARD
from kgscale.tasks import show
from kgscale.tasks.directory import check_writable, origin_of
from kgscale.tasks.report import REPORT, write_report
from kgscale.tasks.schema import from_settings, mebibytes

UNUSABLE: Final = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
"""What numbers and names that training never wrote end with."""


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """``conf/report.yaml``; see there for what each means."""

    run: str | None
    memory: int

    def __post_init__(self) -> None:
        mebibytes("memory", self.memory)


def report(settings: Mapping[str, Any]) -> int:
    """Write ``report.html`` and ``model/README.md`` from what the run directory holds by now.

    Raises:
        ConfigError: the run's model lies elsewhere, as a link in somebody else's run can say.
        DataError: what is there is not as training left it.
    """
    asked = from_settings("", ReportSettings, settings)
    run, console = opened(asked.run, asked.memory), show.console()
    if (origin := origin_of(run.directory)) is not None:
        raise ConfigError(
            f"{run.directory} was not trained, and a report tells of a training: it goes on from"
            f" {origin!r}, which has one; evaluate tells how good this one is"
        )
    model = run.directory / "model"
    if model.is_symlink():
        raise ConfigError(f"{model} is a link, and a card is written there: copy what it leads to")
    check_writable(run.directory, "copy the run to where you may write")
    try:
        with show.busy(console, "writing the report"):
            card_too = write_report(run)
    except UNUSABLE as error:
        raise DataError(
            f"{run.directory}: what is measured there is not as training or evaluate left it"
            f" ({type(error).__name__}: {error}); train again"
        ) from error
    show.sentence(console, f"written: {run.directory / REPORT}")
    show.sentence(
        console,
        f"written: {model / CARD}" if card_too else f"{model / CARD} is your own text: left alone",
    )
    show.result(run.directory / REPORT, None)
    return 0
