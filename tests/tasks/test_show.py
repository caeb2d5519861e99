"""What a person sees."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from kgscale.tasks import show

NAMES = ["[bold]x[/bold]", ":smile:", "\x1b[31mred", "a\nb", "https://x.org/1", "naïve 漢字"]
COLUMNS = {
    "head": NAMES,
    "head_name": NAMES,
    "relation": ["r"] * 6,
    "relation_name": ["relation"] * 6,
    "tail": ["t"] * 6,
    "tail_name": ["t"] * 6,
    "score": [0.5] * 6,
    "rank": list(range(1, 7)),
    "known": [False] * 6,
}


def printed(console: Console, *things: object) -> str:
    with console.capture() as capture:
        for thing in things:
            console.print(thing)
    return capture.get()


def test_names_are_shown_as_they_are_and_steer_nothing() -> None:
    text = printed(show.console(), show.predictions(COLUMNS, "Answers"))
    for name in ("[bold]x[/bold]", ":smile:", r"\x1b[31mred", r"a\nb", "naïve 漢字"):
        assert name in text
    assert "\x1b" not in text
    assert "known" not in text


def test_known_facts_are_marked_where_there_are_any() -> None:
    text = printed(show.console(), show.predictions({**COLUMNS, "known": [True] * 6}, "Answers"))
    assert text.count("yes") == 6


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_name_is_cut_off(width: int) -> None:
    """Narrow terminals fold names; the letters are all there."""
    console = show.console()
    console.width = width
    long = "supercalifragilistic" * 2
    columns = {**COLUMNS, "head": [long] * 6, "head_name": [long] * 6}
    text = printed(console, show.predictions(columns, "Answers"))
    assert "…" not in text
    assert all(len(line.rstrip()) <= width for line in text.splitlines())


def test_a_path_stays_whole() -> None:
    path = "/a" * 80
    terminal = Console(file=io.StringIO(), force_terminal=True, width=40, highlight=False)
    with terminal.capture() as capture:
        show.sentence(terminal, f"run directory: {path}")
    assert path in capture.get()


def test_a_tables_missing_metrics_are_blank() -> None:
    results = {
        "encoder": "E",
        "decoder": "D",
        "metrics": {"valid": {"mrr": 0.5}, "baseline": {"popularity": {}, "split": "valid"}},
    }
    text = printed(show.console(), show.outcome(results))
    assert "0.5000" in text
    assert "popularity" in text
