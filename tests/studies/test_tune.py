"""tune: a study that survives its process, honest rows, no time lost on what can't be good."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from kgscale.cli import compose
from kgscale.cli.main import main
from kgscale.errors import ConfigError, Interrupted, KgscaleError, ResourceError
from kgscale.studies import process
from kgscale.studies.space import Choice, corners, overrides, read_space, usual_space
from kgscale.studies.trials import rows_of_trials, table_of_trials, told
from kgscale.studies.tune import STARTUP, Search, Tried, TuneSettings, best_of

SPACE = {
    "optimizer.lr": {"low": 0.01, "high": 1.0, "log": True},
    "encoder.dim": {"choices": [4, 8]},
}
SMALL = (
    "data=synthetic",
    "data.edges=500",
    "data.classes=2",
    "trainer.max_epochs=1",
    "encoder.dim=4",
)


class Stage:
    """Processes that learn as ``curve`` says, of the settings of their run."""

    def __init__(
        self, patch: pytest.MonkeyPatch, curve: Callable[[dict[str, Any]], list[float] | int]
    ) -> None:
        self.curve, self.began = curve, list[dict[str, Any]]()
        patch.setattr(process, "_run", self._run)

    def _run(self, settings: Path, log: Path, stop: Callable[[], bool] | None) -> tuple[int, bool]:
        run = json.loads(settings.read_text())
        self.began.append(run)
        log.write_text("kgscale: too large\n")
        curve = self.curve(run)
        if isinstance(curve, int):
            return curve, False
        directory = settings.parent / "link_prediction" / "now"
        (directory / "model").mkdir(parents=True)
        (directory / "checkpoints").mkdir()
        stopped = False
        for epoch in range(len(curve)):
            rows = [f"{number + 1},{value}" for number, value in enumerate(curve[: epoch + 1])]
            directory.joinpath("metrics.csv").write_text("\n".join(["minutes,valid/mrr", *rows]))
            if stop is not None and stop():
                stopped = True
                break
        results = {
            "status": "interrupted" if stopped else "done",
            "monitor": "mrr",
            "seed": 0,
            "epochs": len(rows),
            "prepared_seconds": 0.0,
            "strategy_report": {},
        }
        directory.joinpath("results.json").write_text(json.dumps(results))
        return (143 if stopped else 0), stopped


def rate_of(run: dict[str, Any]) -> float:
    return float(run["optimizer"]["lr"])


def quality(run: dict[str, Any]) -> list[float]:
    """The best rate is 0.1."""
    best = 0.5 - 0.1 * abs(math.log10(rate_of(run)) + 1)
    return [best / 2, best]


def search(directory: Path, **settings: Any) -> Search:
    def further(more: Any) -> dict[str, Any]:
        composed = compose.settings([*SMALL, *more], name="tune")
        return {name: value for name, value in composed.items() if name not in ("trials", "tune")}

    wanted = TuneSettings(**{"space": SPACE, **settings})
    return Search(further, wanted, directory, Console(quiet=True))


def test_trials_are_kept_with_what_they_came_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(monkeypatch, quality)
    found = list(search(tmp_path, prune=False).run(6))
    assert found == search(tmp_path).tried()
    assert [one.number for one in found] == list(range(6))
    for one, run in zip(found, stage.began, strict=True):
        assert one.chosen["optimizer.lr"] == rate_of(run)
        assert json.loads(one.chosen["encoder.dim"]) == run["encoder"]["dim"]
        assert one.best == pytest.approx(quality(run)[1])
        assert (one.metric, one.minutes, one.status) == ("mrr", 2.0, "done")
        assert run["evaluation"]["test"] is False
    best = best_of(found)
    assert best is not None
    assert best.best == max(one.best or 0 for one in found)
    # Models would fill the disk.
    kept = sorted(path.relative_to(tmp_path).parts[1] for path in tmp_path.rglob("model"))
    assert kept == [f"{best.number:04}"]
    assert list(search(tmp_path).run(6)) == []


def test_nothing_is_lost_with_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in its third trial, the study goes on with the same settings as without that."""
    Stage(monkeypatch, quality)
    whole = [one.chosen for one in search(tmp_path_in(tmp_path, "whole")).run(5)]
    killed = tmp_path_in(tmp_path, "killed")

    def third(run: dict[str, Any]) -> list[float]:
        if len(stage.began) == 3:
            raise Interrupted(9)
        return quality(run)

    stage = Stage(monkeypatch, third)
    with pytest.raises(Interrupted):
        list(search(killed).run(5))
    assert len(search(killed).tried()) == 2
    Stage(monkeypatch, quality)
    list(search(killed).run(5))
    found = search(killed).tried()
    assert [one.chosen for one in found] == whole
    assert all(one.status == "done" for one in found)


def tmp_path_in(directory: Path, name: str) -> Path:
    (directory / name).mkdir()
    return directory / name


@pytest.mark.parametrize("prune", [True, False])
def test_what_is_behind_the_others_is_stopped(
    prune: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After ``STARTUP`` good ones, a curve below theirs ends with its first validation."""

    def curve(run: dict[str, Any]) -> list[float]:
        return [0.3, 0.4, 0.5] if len(stage.began) <= STARTUP else [0.1, 0.6, 0.7]

    stage = Stage(monkeypatch, curve)
    last = list(search(tmp_path, prune=prune).run(STARTUP + 1))[-1]
    assert last.status == ("stopped" if prune else "done")
    assert last.best == (0.1 if prune else 0.7)


def test_failures_are_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def curve(run: dict[str, Any]) -> list[float] | int:
        return 4 if len(stage.began) == 1 else quality(run)

    stage = Stage(monkeypatch, curve)
    failed, done = search(tmp_path).run(2)
    assert (failed.status, failed.best, done.status) == ("failed", None, "done")
    assert "too large" in (failed.failure or "")
    assert "too large" in told(failed)
    assert [row["status"] for row in rows_of_trials([failed, done])] == ["failed", "done"]
    Stage(monkeypatch, lambda run: 4)
    other = tmp_path_in(tmp_path, "other")
    with pytest.raises(ResourceError, match="too large"):
        list(search(other).run(2))
    with pytest.raises(KgscaleError, match=r"no trial came to a validation; .*too large"):
        list(search(other).run(2))


def test_two_processes_are_not_at_one_study(tmp_path: Path) -> None:
    again = search(tmp_path).locked()
    with search(tmp_path).locked(), pytest.raises(ConfigError, match="another process"):
        again.__enter__()
    with search(tmp_path).locked():
        pass


def test_every_end_is_tried_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    search(tmp_path).check()
    wrong = {"encoder.dim": {"choices": [4, 7]}}
    with pytest.raises(ConfigError, match="7"):
        search(tmp_path, space=wrong).check()
    with pytest.raises(ConfigError, match=r"no setting encoder\.width"):
        search(tmp_path, space={"encoder.width": {"choices": [4]}}).check()


def test_corners_and_overrides() -> None:
    space = {"a.b": Choice(low=1, high=3), "c": Choice(choices=["x", [1, 2], None])}
    assert list(corners(space)) == [
        ["a.b=1", 'c="x"'],
        ["a.b=3", 'c="x"'],
        ["a.b=1", "c=[1, 2]"],
        ["a.b=1", "c=null"],
    ]
    assert overrides({"a": 0.5, "b": "[1, 2]"}) == ["a=0.5", "b=[1, 2]"]


def test_the_usual_space_is_around_what_is_set() -> None:
    settings = {
        "encoder": {"dim": 8, "dropout": 0.0},
        "loss": {"n3": 0.05, "l2": 0.0, "smoothing": 0.1},
        "optimizer": {"lr": 0.1},
        "classifier": None,
    }
    found = usual_space(settings)
    assert found.keys() == {"encoder.dropout", "loss.n3", "optimizer.lr"}
    assert found["optimizer.lr"] == Choice(low=0.02, high=0.5, log=True)
    assert (found["encoder.dropout"].low, found["encoder.dropout"].high) == (0.0, 0.5)
    with pytest.raises(ConfigError, match="name settings"):
        usual_space({"encoder": {"dim": 8}})


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"low": 1}, "needs low and high, or choices"),
        ({"low": 1, "high": 2, "choices": [1]}, "choices and nothing else"),
        ({"choices": []}, "choices and nothing else"),
        ({"low": 2, "high": 1}, "low below high"),
        ({"low": 0.0, "high": 1.0, "log": True}, "low above 0"),
        ({"lowest": 0.0}, r"no setting tune\.space\.a\.lowest"),
        (3, "needs settings of its own"),
    ],
)
def test_spaces_that_make_no_sense(choice: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_space({"a": choice})


def test_table_has_the_best_first() -> None:
    trials = [
        Tried(
            number=number,
            status="stopped" if number else "done",
            chosen={"optimizer.lr": 0.123456},
            metric="mrr",
            best=0.1 * number,
            minutes=1.0,
            failure=None,
        )
        for number in range(3)
    ]
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table_of_trials(trials))
    text = console.export_text()
    assert text.index("0.2000 (stopped)") < text.index("0.1000 (stopped)") < text.index("0.0000")
    assert "0.1235" in text


def test_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two trials of a real training, one more later, and what the command line refuses."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    space = "tune.space={optimizer.lr: {low: 0.01, high: 0.2, log: true}}"
    given = [*SMALL, space, f"root={tmp_path / 'runs'}"]
    assert main(["tune", *given, "trials=2"]) == 0
    (study,) = (tmp_path / "runs" / "tune").iterdir()
    shown = capsys.readouterr().out
    command = re.search(r"python -m kgscale .*optimizer\.lr=\S+", shown)
    assert command
    assert "trials=" not in command[0]
    assert "tune." not in command[0]
    assert main(["tune", f"tune.study={study}", "trials=3"]) == 0
    with (study / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["done"] * 3
    assert len({row["optimizer.lr"] for row in rows}) == 3
    assert main(["tune", f"tune.study={study}", "encoder.dim=8"]) == 2
    assert main(["tune", f"tune.study={tmp_path}", "trials=3"]) == 2
    assert main(["tune", *given, "trials=0"]) == 2
    for content in ("5", "null", "[1]", "[" * 100_000):
        (study / "arguments.json").write_text(content)
        assert main(["tune", f"tune.study={study}", "trials=3"]) == 2
    mine = tmp_path / "mine"
    mine.write_text("text")
    (study / "arguments.json").write_text("[]")
    (study / "lock").unlink(missing_ok=True)
    (study / "lock").symlink_to(mine)
    assert main(["tune", f"tune.study={study}", "trials=3"]) == 4
    assert mine.read_text() == "text"
    assert "Traceback" not in capsys.readouterr().err
