"""A card for a model, as Hugging Face reads them: settings in YAML, then Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import yaml

from kgscale.durable import write_text
from kgscale.errors import printable
from kgscale.metrics import word
from kgscale.models.registry import CARD
from kgscale.tasks.report import words
from kgscale.tasks.report.page import TEMPLATES
from kgscale.tasks.report.tables import clip
from kgscale.tasks.runs import Run

if TYPE_CHECKING:
    from jinja2 import Template

_NOT_TOLD: Final = (
    "queries", "nodes", "users", "tie_rate", "mean_rank", "mrr_optimistic", "mrr_pessimistic",
)  # fmt: skip
"""Counts among the metrics, and what nobody compares by."""
OURS: Final = "<!-- Written by kgscale; without this line `report` leaves your own text alone. -->"
"""In a card that may be written anew."""
_STEERS: Final = re.compile(r"([\\`*_\[\]<>&|#~!])")


def write_card(run: Run, results: Mapping[str, Any]) -> bool:
    """``model/README.md``, which its owner may edit: no manifest has a hash of it.

    Returns:
        Whether it was written: one whose owner has deleted the line ``OURS`` stays as it is.
    """
    file = run.directory / "model" / CARD
    if file.is_file() and OURS not in file.read_text(encoding="utf-8", errors="replace"):
        return False
    # Beside the model's folder until it is whole: what a kill left in there would be refused.
    write_text(file, card(run, results), beside=run.directory)
    return True


def card(run: Run, results: Mapping[str, Any]) -> str:
    """The text of a card: it names no path of this machine."""
    task, store = words.TASKS[results["task"]], run.store
    front = yaml.safe_dump(front_matter(results), sort_keys=False, allow_unicode=True, width=1000)
    asked = ", ".join(f'{name}="…"' for name in run.predicted)
    return _template().render(
        front=front,
        task=task,
        verdict=words.verdict(results).told,
        model=words.model_of(results),
        strategy=words.strategy_of(results),
        store=store,
        results=results,
        measured=_measured(results),
        baselines=_baselines(results),
        asked=asked,
        ours=OURS,
    )


def front_matter(results: Mapping[str, Any]) -> dict[str, Any]:
    """What is read by machines; the licence is for the owner to say."""
    name, task = results["data"]["name"], results["task"]
    kinds = [results[kind] for kind in ("encoder", "decoder", "reasoner") if kind in results]
    found = words.headline(results)
    content: dict[str, Any] = {
        "library_name": "kgscale",
        "pipeline_tag": "graph-ml",
        "tags": ["knowledge-graph", task.replace("_", "-"), *kinds],
        "datasets": [_identifier(name)],
    }
    if found is None:
        return content
    split = found[0]
    numbers = _numbers(results["metrics"][split])
    result = {
        "task": {"type": "graph-ml", "name": words.TASKS[task].title},
        "dataset": {
            "type": _identifier(name),
            "name": clip(printable(name)),
            "split": "validation" if split == "valid" else split,
            "revision": results["data"]["fingerprint"],
        },
        "metrics": [
            {
                "type": metric,
                "value": value,
                "name": f"{word(metric)} ({results['protocol']})",
                "verified": False,
            }
            for metric, value in numbers.items()
        ],
    }
    title = f"{words.TASKS[task].title} on {clip(printable(name))}"
    content["metrics"] = list(numbers)
    content["model-index"] = [{"name": title, "results": [result]}]
    return content


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Metrics alone, four digits after the point."""
    return {
        name: round(float(value), 4)
        for name, value in metrics.items()
        if isinstance(value, int | float) and name not in _NOT_TOLD
    }


def _measured(results: Mapping[str, Any]) -> list[tuple[str, dict[str, float]]]:
    splits = ("valid", "test")
    return [
        (words.SPLIT_WORDS[split], _numbers(results["metrics"][split]))
        for split in splits
        if results["metrics"].get(split)
    ]


def _baselines(results: Mapping[str, Any]) -> list[tuple[str, str, float]]:
    """Names, metric and value."""
    found = words.headline(results)
    if found is None:
        return []
    return [(kind, word(found[1]), it) for kind, it in words.baselines(results, found[1]).items()]


def _identifier(name: str) -> str:
    """As data sets are called there: letters, digits, ``-``, ``_`` and ``.``."""
    found = re.sub(r"[^A-Za-z0-9._-]+|\.{2,}|-{2,}", "-", name).strip("-._")
    return found[:96].strip("-._") or "own-data"


@cache
def _template() -> Template:
    # Late, since only reports need it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=False,  # it is no HTML
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(md=_md, word=word)
    return environment.get_template("card.md")


def _md(text: str) -> str:
    """Text as Markdown that shows it as it is, in one line."""
    return _STEERS.sub(r"\\\1", clip(printable(text)))
