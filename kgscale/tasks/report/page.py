"""The page of a run: its parts in a template that escapes them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

from kgscale.errors import printable
from kgscale.tasks.report.examples import Examples
from kgscale.tasks.report.tables import ENDS, MOST, RELATION_FIGURES, Relation, Table, clip
from kgscale.tasks.report.words import Task, Verdict

if TYPE_CHECKING:
    from jinja2 import Environment

REPORT: Final = "report.html"
TEMPLATES: Final = Path(__file__).parent / "templates"
Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Curves:
    """A picture beside its title, and perhaps names of its lines."""

    title: str
    picture: Markup
    names: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Page:
    """All that a report shows, in this order."""

    name: str
    """Of the data."""
    task: Task
    verdict: Verdict
    learned: Pairs
    tables: Sequence[Table]
    details: Sequence[Table]
    """What not everybody wants to see."""
    remarks: Sequence[str]
    relations: Sequence[Relation]
    """The worst first."""
    split: str
    """That relations were measured on."""
    curves: Sequence[Curves]
    reliability: Curves | None
    probabilities: Sequence[str]
    predictions: Table | None
    examples: Examples | None
    commands: Pairs
    effort: Pairs
    versions: Pairs
    settings: str


def render(page: Page) -> str:
    """As HTML: the same page is the same text."""
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    template = _environment().get_template("report.html")
    return template.render(
        page=page,
        style=Markup(style),
        policy=_policy(style),
        figures=RELATION_FIGURES,
        ends=ENDS,
        most=MOST,
    )


def _policy(style: str) -> str:
    """Nothing is loaded, nothing runs, and the one style is ours."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    rules: Mapping[str, str] = {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


@cache
def _environment() -> Environment:
    # Late, since only reports need it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_plain,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["clip"] = clip
    return environment


def _plain(value: Any) -> Any:
    """Text without signs that steer, as those which turn its direction; markup is ours."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
