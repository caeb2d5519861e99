"""A training that was cut short and goes on is the one that was not, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from rich.console import Console

from kgscale.errors import DataError
from kgscale.training import callbacks
from kgscale.training.checkpoints import SafetensorsIO, save_state
from kgscale.training.data import GraphData
from kgscale.training.fit import FitResult, TrainerSettings, fit
from kgscale.training.link import LinkPrediction
from kgscale.training.logs import earlier
from kgscale.training.resume import FOLDER, Saved, newest
from tests.training import toys

STEPS = toys.strategy().num_batches(world_size=1)


class Log:
    """The questions of each step, and a signal after some of them."""

    def __init__(self, module: LinkPrediction, stop_after: int | None = None) -> None:
        self.asked: list[list[int]] = []
        self.stop_after = stop_after
        original = module.training_step

        @wraps(original)
        def step(batch: Any, index: int) -> torch.Tensor:
            self.asked.append([*batch.query.head.tolist(), *batch.query.relation.tolist()])
            return original(batch, index)

        module.training_step = step  # type: ignore[method-assign]


def run(
    directory: Path, monkeypatch: pytest.MonkeyPatch, *, stop_after: int | None = None, **more: Any
) -> tuple[LinkPrediction, FitResult, list[list[int]]]:
    module = toys.module(encoder_settings={"dropout": 0.3}, method=more.pop("method", "adam"))
    log = Log(module)
    original = callbacks.StopOnSignal.on_train_batch_end

    def check(self: Any, *given: Any) -> None:
        if stop_after is not None and len(log.asked) >= stop_after:
            self.received = 15
        original(self, *given)

    monkeypatch.setattr(callbacks.StopOnSignal, "on_train_batch_end", check)
    saved = newest(directory) if more.pop("resume", False) else None
    settings = TrainerSettings(**{"max_epochs": 3, "threads": 1, "decay": "cosine", **more})
    result = fit(
        module, GraphData(toys.strategy()), directory, settings,
        console=Console(quiet=True), seed=4, saved=saved,
    )  # fmt: skip
    monkeypatch.undo()
    return module, result, log.asked


def weights(module: pl.LightningModule) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("stop", range(1, 3 * STEPS))
def test_interrupted_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int) -> None:
    whole, expected, asked = run(tmp_path / "whole", monkeypatch)
    _, cut, before = run(tmp_path / "cut", monkeypatch, stop_after=stop)
    assert cut.interrupted == 143
    again, found, after = run(tmp_path / "cut", monkeypatch, resume=True)
    assert before + after == asked
    for name, value in weights(whole).items():
        assert torch.equal(weights(again)[name], value), name
    assert found.metrics == expected.metrics


def replaced(directory: Path, change: Callable[[dict[str, Any]], None]) -> Saved:
    """The newest state with something else in it, as a person with a hash function can make it."""
    saved = newest(directory)
    change(saved.state)
    save_state(saved.state, saved.path)
    return newest(directory)


def test_a_state_from_elsewhere_removes_nothing_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis").touch()
    run(tmp_path / "cut", monkeypatch, stop_after=STEPS + 1)

    def change(state: dict[str, Any]) -> None:
        (kept,) = (s for name, s in state["callbacks"].items() if name.startswith("ModelCheck"))
        score = torch.tensor(-1.0)
        kept |= {"best_model_path": str(precious), "best_model_score": score}
        kept |= {"best_k_models": {str(precious): score}, "kth_best_model_path": str(precious)}
        kept |= {"kth_value": score}

    replaced(tmp_path / "cut", change)
    _, result, _ = run(tmp_path / "cut", monkeypatch, resume=True)
    assert result.metrics, "another one was better"
    assert [file.name for file in precious.iterdir()] == ["thesis"]


@pytest.mark.parametrize(
    "change",
    [
        lambda kept: kept.update(lr="fast"),
        lambda kept: kept.update(tables=[]),
        lambda kept: kept["tables"][0].clear() or kept["tables"][0].update(sum=torch.zeros(3)),
        lambda kept: kept["tables"][0].update(more=torch.zeros(3)),
        lambda kept: kept["dense"].pop(),
        lambda kept: kept["dense"][0]["param_groups"][0]["params"].append(9),
        lambda kept: kept["dense"][0]["param_groups"][0].update(lr=None),
        lambda kept: kept["dense"][0]["param_groups"][0].pop("eps"),
        lambda kept: kept["dense"][0]["param_groups"][0].update(other=1),
        lambda kept: kept["dense"][0]["state"][0].popitem(),
        lambda kept: kept["dense"][0]["state"][0].update(step="1"),
        lambda kept: kept["dense"][0]["state"].update({99: {}}),
        lambda kept: kept["dense"][0].update(state=[1]),
    ],
)
def test_another_optimiser_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any]
) -> None:
    """Before a step, and not by what a step then stumbles over."""
    run(tmp_path / "cut", monkeypatch, stop_after=STEPS + 1)
    replaced(tmp_path / "cut", lambda state: change(state["optimizer_states"][0]))
    with pytest.raises(DataError, match="the optimiser's state is none of this model's"):
        run(tmp_path / "cut", monkeypatch, resume=True)


def test_checkpoints_that_are_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a directory of somebody's, where all is called as a state says."""
    run(tmp_path / "cut", monkeypatch, stop_after=STEPS + 1)
    home = tmp_path / "home"
    (home / "documents").mkdir(parents=True)
    for path in (tmp_path / "cut" / "checkpoints").iterdir():
        path.rename(home / path.name)
    (tmp_path / "cut" / "checkpoints").rmdir()
    (tmp_path / "cut" / "checkpoints").symlink_to(home)
    with pytest.raises(DataError, match="checkpoints is a link"):
        newest(tmp_path / "cut")
    (home / "best-epoch=7.ckpt").mkdir()
    files = SafetensorsIO(tmp_path / "cut" / "checkpoints")
    files.remove_checkpoint(home / "documents")
    files.sweep({})
    assert (home / "documents").is_dir()
    assert (home / "best-epoch=7.ckpt").is_dir()


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("kgscale"),
        lambda state: state.pop("optimizer_states"),
        lambda state: state["kgscale"].pop("position"),
        lambda state: state["kgscale"]["position"].pop("step"),
        lambda state: state["kgscale"]["position"].update(more=1),
        lambda state: state["kgscale"]["position"].update(step=-1),
        lambda state: state["kgscale"]["position"].update(updates="1"),
        lambda state: state["kgscale"].pop("watches"),
        lambda state: state["kgscale"].update(score_dtype="load"),
        lambda state: state.update(kgscale=[1]),
    ],
)
def test_another_content_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], None]
) -> None:
    run(tmp_path, monkeypatch, stop_after=2)
    with pytest.raises(DataError, match="no state of a training of this version"):
        replaced(tmp_path, change)


@pytest.mark.parametrize("state", [[], {}, 1, "text", None])
def test_another_kind_of_content_is_refused(tmp_path: Path, state: Any) -> None:
    save_state(state, tmp_path / FOLDER / "step-000000000001-00.ckpt")
    with pytest.raises(DataError, match="no state of a training of this version"):
        newest(tmp_path)


def test_another_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, monkeypatch, stop_after=2)

    def change(state: dict[str, Any]) -> None:
        name, value = next(iter(state["state_dict"].items()))
        state["state_dict"][name] = value[:-1]

    replaced(tmp_path, change)
    with pytest.raises(DataError, match="the state of another model"):
        run(tmp_path, monkeypatch, resume=True)


def test_half_a_row_of_a_killed_process_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, monkeypatch, stop_after=STEPS + 1)
    table = tmp_path / "metrics.csv"
    lines = table.read_text().splitlines()
    for torn in (lines[-1][: len(lines[-1]) // 2], "1", ",,", "\x00", lines[-1] + ",9,9"):
        table.write_text("\n".join([*lines, torn]))
        found = earlier(table, 10**9)
        assert [",".join(row.values()) for row in found] == lines[1:]
    run(tmp_path, monkeypatch, resume=True)
    assert "valid/mrr" in table.read_text()
