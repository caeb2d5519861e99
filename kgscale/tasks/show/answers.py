"""Questions of several hops, and reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from kgscale.errors import printable
from kgscale.metrics import word
from kgscale.tasks.batch import Batch
from kgscale.tasks.show.terminal import METRICS, figures, named, plain_table, short


def questions(split: str, found: Mapping[str, Mapping[str, float]]) -> Table:
    """Metrics of questions by structure, then their means."""
    table = plain_table(f"Questions of several hops, answers that need links of {split}")
    table.add_column("structure")
    table.add_column("questions", justify="right")
    for name in METRICS:
        table.add_column(word(name), justify="right")
    means = {"positive": "mean without not", "negative": "mean with not"}
    for name, metrics in found.items():
        if name not in means:
            table.add_row(name, f"{metrics['questions']:,}", *figures(metrics))
    table.add_section()
    for name, told in means.items():
        if name in found:
            table.add_row(told, "", *figures(found[name]))
    return table


def hardness(content: Mapping[str, Any]) -> str:
    """Answers that lack one link beside those that lack more."""
    told = []
    for part, words in (("one_link", "one unknown link"), ("more_links", "several")):
        if metrics := content[part].get("positive"):
            told.append(f"{metrics['mrr']:.4f} where an answer needs {words}")
    return f"mean MRR without not: {', '.join(told)}" if told else "no questions without not"


def asked(columns: Mapping[str, Sequence[Any]], question: str) -> Table:
    """Answers to a question, each with the links that it rests on."""
    table, mark = plain_table(printable(question)), any(columns["known"])
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("answer", overflow="fold")
    table.add_column("truth", justify="right")
    if mark:
        table.add_column("known")
    table.add_column("because", overflow="fold")
    for row, rank in enumerate(columns["rank"]):
        cells = [str(rank), named(columns, "entity", row), f"{columns['score'][row]:.3f}"]
        cells += ["yes" if columns["known"][row] else "new"] if mark else []
        table.add_row(*cells, short(columns["because"][row]))
    return table


def reasons(columns: Mapping[str, Sequence[Any]]) -> Table:
    """Facts and paths, and what the score would lose without each."""
    table = plain_table("It rests on")
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("reason", overflow="fold")
    table.add_column("loss without it", justify="right", no_wrap=True)
    for rank, reason, loss in zip(columns["rank"], columns["reason"], columns["loss"], strict=True):
        table.add_row(str(rank), short(reason), f"{loss:.3f}")
    return table


def batch(found: Batch) -> list[str]:
    """What became of a file of questions, and where the answers are."""
    lines = [f"{found.answers:,} answers to {found.questions:,} questions"]
    if found.left_out:
        share = found.left_out / (found.left_out + found.answers)
        lines.append(f"left out as less probable: {found.left_out:,} answers, {share:.1%}")
    for reason, count in found.rejected.items():
        first = next((one for one in found.first if one["reason"] == reason), None)
        where = f", as line {first['line']}: '{short(first['value'])}'" if first else ""
        lines.append(f"lines without an answer, {reason}: {count:,}{where}")
    return [*lines, *(f"written: {file}" for file in found.files)]
