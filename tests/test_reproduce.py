"""Rows that build on the run of another row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.scripts import script


def test_a_row_trains_what_it_needs_first_and_counts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reproduce, commands = script("reproduce"), list[list[str]]()

    def trained(command: list[str], **_: Any) -> None:
        commands.append(command)
        (root,) = (text.removeprefix("root=") for text in command if text.startswith("root="))
        directory = Path(root) / "task" / "now"
        directory.mkdir(parents=True)
        results = {"monitor": "mrr", "seconds": {"train_cpu": 60.0 * len(commands)}}
        (directory / "results.json").write_text(json.dumps(results))

    monkeypatch.setattr(reproduce, "HERE", tmp_path)
    monkeypatch.setattr(reproduce, "RESULTS", tmp_path)
    monkeypatch.setattr(reproduce.subprocess, "run", trained)
    own = ["data.path={data}", "evaluation.rest={run:first}"]
    monkeypatch.setattr(reproduce, "ROWS", {"first": ([], range(3, 5)), "second": (own, range(2))})
    for seed in range(2):
        reproduce.keep("second", own, seed, "DATA")
    directory = tmp_path / "outputs" / "reproduce" / "first-3" / "task" / "now"
    assert [f"evaluation.rest={directory}" in command for command in commands] == [0, 1, 1]
    kept = json.loads((tmp_path / "second-1.json").read_text())
    assert kept["command"] == "python -m kgscale data.path=DIR evaluation.rest=RUN seed=1"
    assert kept["needed"] == [{"row": "first", "train_cpu": 60.0}]
    assert reproduce.training_minutes(kept) == 2
    assert (tmp_path / "first-3.json").exists()
