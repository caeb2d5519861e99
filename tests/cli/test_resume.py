"""``resume=``: a run that was cut short ends as if it had not been."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor

import kgscale
from kgscale.cli import main
from kgscale.tasks.directory import reopened
from kgscale.tasks.training import Training
from kgscale.training.callbacks import StopOnSignal
from kgscale.training.checkpoints import load_state, save_state
from kgscale.training.keep import DIVERGED
from kgscale.training.module import GraphModule
from kgscale.training.resume import newest, states
from tests.cli.conftest import SMALL, Command

EVERY = 7
STRATEGIES = ("neighbor", "cluster", "full_batch", "subgraph", "precomputed", "random_nodes")
LINKS = {
    **{name: (f"strategy={name}",) for name in STRATEGIES if name != "precomputed"},
    "precomputed": ("strategy=precomputed", "encoder=sign"),
    "paths": ("task=path_reasoning",),
}
SLOW = ("cluster", "subgraph", "random_nodes")
"""A minute or so together, for each task."""


def quick(names: Iterable[str]) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in names]


def tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif is_dataclass(value):
        for field in fields(value):
            yield from tensors(getattr(value, field.name))
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from tensors(item)


def digest(value: Any) -> str:
    found = hashlib.sha256()
    for tensor in tensors(value):
        found.update(str(tensor.shape).encode())
        found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


@contextmanager
def stopped(log: list[str], after: int | None) -> Iterator[None]:
    """Note each step's batch; a signal comes after so many steps of all."""
    with pytest.MonkeyPatch.context() as patch:
        step, check = GraphModule.training_step, StopOnSignal.on_train_batch_end

        def noted(self: Any, batch: Any, index: int) -> Tensor:
            log.append(digest(batch))
            return step(self, batch, index)

        def checked(self: Any, *given: Any) -> None:
            if after is not None and len(log) >= after:
                self.received = 15
            check(self, *given)

        patch.setattr(GraphModule, "training_step", noted)
        patch.setattr(StopOnSignal, "on_train_batch_end", checked)
        yield


def early(state: dict[str, Any]) -> dict[str, Any]:
    """What early stopping remembers."""
    (kept,) = (v for name, v in state["callbacks"].items() if name.startswith("EarlyStopping"))
    return {name: str(value) for name, value in kept.items()}


def run_of(root: Path) -> Path:
    (directory,) = root.glob("*/[!.]*")
    return directory


def ended(directory: Path) -> tuple[dict[str, Any], dict[str, Any], str]:
    """What must be the same: metrics, the numbers of training, and the state to the bit."""
    results = json.loads((directory / "results.json").read_text())
    assert results["status"] == "done"
    state = newest(directory).state
    kept = digest([state["state_dict"], state["optimizer_states"]])
    with (directory / "metrics.csv").open(newline="") as lines:
        curve = [
            {name: value for name, value in row.items() if "minutes" not in name}
            for row in csv.DictReader(lines)
        ]
    scores = [
        [value[name] for name in ("best_model_score", "kth_value")]
        for name, value in state["callbacks"].items()
        if name.startswith("ModelCheckpoint")
    ]
    same = {"epochs": results["epochs"], "curve": curve, "stopping": early(state)}
    return results["metrics"], {**same, "scores": str(scores)}, kept


def goes_on(root: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> int:
    """How often a run was cut short: after every 7th step, and each time it went on."""
    whole: list[str] = []
    with stopped(whole, None):
        assert main([*arguments, f"root={root / 'whole'}"]) == 0
    parts: list[str] = []
    cuts = 0
    again = [*arguments, f"root={root / 'cut'}"]
    for after in range(EVERY, len(whole), EVERY):
        with stopped(parts, after):
            assert main(again) == 143
        again = ["resume=latest", f"root={root / 'cut'}"]
        cuts += 1
        assert len(parts) == after
        assert f"resume={run_of(root / 'cut')}" in capsys.readouterr().err
    with stopped(parts, None):
        assert main(again) == 0
    assert parts == whole
    assert ended(run_of(root / "cut")) == ended(run_of(root / "whole"))
    return cuts


@pytest.mark.parametrize("strategy", quick(LINKS))
def test_links_to_the_bit(
    strategy: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = {
        "cluster": ("strategy.parts=8", "strategy.per_batch=1"),
        "random_nodes": ("strategy.batch_size=4",),
        "full_batch": (),
    }
    own = sizes.get(strategy, ("strategy.batch_size=16",))
    layers = () if strategy in ("paths", "precomputed") else ("encoder.dropout=0.3",)
    dim = () if strategy == "paths" else ("encoder.dim=4",)
    epochs = 9 if strategy == "full_batch" else 3
    arguments = [
        "data=triples", f"data.path={data}", *LINKS[strategy], *own, *layers, *dim,
        "trainer.threads=1", f"trainer.max_epochs={epochs}", "trainer.decay=cosine",
        "optimizer=adam", "predictions.pairs=64", "evaluation.test=true",
    ]  # fmt: skip
    assert goes_on(tmp_path, arguments, capsys) >= 1


@pytest.mark.parametrize("strategy", quick(STRATEGIES))
def test_nodes_to_the_bit(
    strategy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = {
        "cluster": ("strategy.parts=8", "strategy.per_batch=1"),
        "random_nodes": ("strategy.batch_size=64",),
        "full_batch": ("trainer.max_epochs=9",),
        "precomputed": ("encoder=sign", "strategy.batch_size=16"),
    }.get(strategy, ("strategy.batch_size=16",))
    arguments = [
        "task=node_classification", "data=synthetic", "data.edges=1000", "data.classes=3",
        "data.features=4", f"strategy={strategy}", "encoder.dim=8", "trainer.threads=1",
        f"store.root={tmp_path / 'stores'}", "trainer.max_epochs=3", *own,
    ]  # fmt: skip
    assert goes_on(tmp_path, arguments, capsys) >= 1


def test_sums_of_several_steps_to_the_bit(data: Path, tmp_path: Path) -> None:
    """Steps since the last update are done anew: half a sum can't be kept."""
    arguments = [
        "data=triples", f"data.path={data}", "strategy.batch_size=8", "encoder.dropout=0.3",
        "encoder.dim=4", "trainer.threads=1", "trainer.max_epochs=4", "trainer.accumulate=3",
        "trainer.clip=0.5", "trainer.validate_every=2", "trainer.patience=1",
        "predictions.pairs=64",
    ]  # fmt: skip
    whole: list[str] = []
    with stopped(whole, None):
        assert main([*arguments, f"root={tmp_path / 'whole'}"]) == 0
    done: list[str] = []
    again, cuts, code = [*arguments, f"root={tmp_path / 'cut'}"], -1, 143
    while code == 143:
        steps: list[str] = []
        with stopped(steps, EVERY):
            code = main(again)
        again = ["resume=latest", f"root={tmp_path / 'cut'}"]
        done, cuts = done + steps, cuts + 1
    assert code == 0
    assert cuts >= 3
    assert list(dict.fromkeys(done)) == whole
    assert len(done) <= len(whole) + 2 * cuts
    assert ended(run_of(tmp_path / "cut")) == ended(run_of(tmp_path / "whole"))


@pytest.mark.parametrize("after", [1, 2])
def test_a_signal_before_the_first_update(
    command: Command, own: list[str], tmp_path: Path, after: int
) -> None:
    whole = tmp_path / "whole"
    own = [*own, "trainer.accumulate=1000"]
    assert command(*own, f"root={whole}")[0] == 0
    with stopped([], after):
        assert main(own) == 143
    run = run_of(tmp_path / "out")
    assert command(f"resume={run}")[0] == 0
    assert ended(run) == ended(run_of(whole))


def test_fewer_epochs_than_were_done(command: Command, own: list[str], tmp_path: Path) -> None:
    """What there is, is what there will be: no state of before is left to go back to."""
    assert command(*own, "trainer.max_epochs=3", "trainer.patience=9")[0] == 0
    run = run_of(tmp_path / "out")
    before = ended(run)[2]
    code, _, error = command(f"resume={run}", "trainer.max_epochs=1")
    assert (code, error) == (0, "")
    assert json.loads((run / "results.json").read_text())["epochs"] == 3
    assert ended(run)[2] == before


@pytest.fixture
def own(data: Path, tmp_path: Path) -> list[str]:
    return ["data=triples", f"data.path={data}", f"root={tmp_path / 'out'}", *SMALL]


@pytest.fixture
def cut(own: list[str], tmp_path: Path) -> Path:
    """A run that was stopped after its third step."""
    with stopped([], 3):
        assert main(own) == 143
    return run_of(tmp_path / "out")


def test_an_ended_run_is_done_or_goes_on(command: Command, own: list[str], tmp_path: Path) -> None:
    assert command(*own)[0] == 0
    run = run_of(tmp_path / "out")
    code, out, _ = command(f"resume={run}")
    assert code == 0
    assert f"{run} is done" in " ".join(out.split())
    code, out, _ = command(f"resume={run}", "trainer.max_epochs=2")
    assert code == 0
    assert "going on after 1 epochs" in out
    results = json.loads((run / "results.json").read_text())
    assert (results["status"], results["epochs"]) == ("done", 2.0)
    whole = tmp_path / "whole"
    assert command(*own, "trainer.max_epochs=2", f"root={whole}")[0] == 0
    assert ended(run_of(whole)) == ended(run)


def test_a_lengthened_run_that_is_killed_goes_on(
    command: Command, own: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The results of its shorter self are no end of it."""
    assert command(*own)[0] == 0
    run = run_of(tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(Training, "_finish", lambda *given: os._exit(9))
        child = os.fork()
        if not child:
            main([f"resume={run}", "trainer.max_epochs=3"])
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert json.loads((run / "results.json").read_text())["status"] == "going on"
    assert command("resume=latest", f"root={tmp_path / 'out'}")[0] == 0
    results = json.loads((run / "results.json").read_text())
    assert (results["status"], results["epochs"]) == ("done", 3.0)


def test_patience_can_be_changed(command: Command, own: list[str], tmp_path: Path) -> None:
    impatient = ("trainer.max_epochs=30", "trainer.patience=1", "optimizer.lr=1e-9")
    assert command(*own, *impatient)[0] == 0
    run = run_of(tmp_path / "out")
    assert json.loads((run / "results.json").read_text())["epochs"] == 2
    assert command(f"resume={run}", "trainer.patience=4")[0] == 0
    assert json.loads((run / "results.json").read_text())["epochs"] == 5


@pytest.mark.parametrize("place", [".run.lock", "tensorboard", "checkpoints/x", "metrics.csv"])
def test_links_in_a_run(command: Command, cut: Path, tmp_path: Path, place: str) -> None:
    """Of somebody else's: what is written and locked there would be elsewhere."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    if (cut / place).exists():
        (cut / place).rename(tmp_path / "aside")
    (cut / place).symlink_to(victim)
    code, _, error = command(f"resume={cut}")
    assert code == 3
    assert f"{cut / place} is a link" in error
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("content", ["a,b\n1,2\n", f"step,x\n1,{'y' * 200_000}\n"])
def test_a_table_of_metrics_that_is_none(command: Command, cut: Path, content: str) -> None:
    table = cut / "metrics.csv"
    table.write_text(content)
    code, _, error = command(f"resume={cut}")
    assert code == 3
    assert str(table) in error
    assert "move it elsewhere" in error
    table.unlink()
    assert command(f"resume={cut}")[0] == 0


def test_what_killed_processes_left(command: Command, cut: Path) -> None:
    folder = cut / "checkpoints"
    for name in (".step-000000000001-00.ckpt.abcd1234", ".best-epoch=0.ckpt.efgh5678"):
        (folder / name / "content").mkdir(parents=True)
        (folder / name / "content" / "tensors.safetensors").write_text("x")
    (folder / ".step-000000000001-00.ckpt.abcd1234" / "lock").touch()
    (folder / "best-epoch=77.ckpt").mkdir()
    assert command(f"resume={cut}", "trainer.max_epochs=2")[0] == 0
    names = sorted(path.name.partition("-")[0] for path in folder.iterdir())
    assert names == ["best", "step"]
    assert not (folder / "best-epoch=77.ckpt").exists()


def test_a_full_disk_under_the_tables(
    command: Command, own: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object, **more: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(CSVLogger, "save", full)
    code, _, error = command(*own)
    assert code == 4
    assert f"{run_of(tmp_path / 'out')}: can't be written (No space left on device)" in error


def test_a_limit_can_be_changed_and_changed_back(command: Command, cut: Path) -> None:
    for epochs in (3, 1):
        with stopped([], 1):
            assert command(f"resume={cut}", f"trainer.max_epochs={epochs}")[0] == 143
        assert f"max_epochs: {epochs}\n" in (cut / "config.yaml").read_text()


def test_its_own_arguments_may_be_given_again(command: Command, own: list[str], cut: Path) -> None:
    assert command(*own, f"resume={cut}")[0] == 0
    first, *_ = (cut / "config.yaml").read_text().splitlines()
    assert first.startswith("# python -m kgscale data=triples ")
    assert "resume" not in first


def test_a_run_that_was_moved(command: Command, cut: Path, tmp_path: Path) -> None:
    elsewhere = cut.rename(tmp_path / "elsewhere")
    assert command(f"resume={elsewhere}")[0] == 0
    assert json.loads((elsewhere / "results.json").read_text())["status"] == "done"
    assert not cut.exists()


def test_a_moved_run_knows_its_best(
    command: Command, own: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one whose root was a relative path."""
    monkeypatch.chdir(tmp_path)
    assert command(*own, "root=runs", "trainer.max_epochs=2")[0] == 0
    here = run_of(tmp_path / "runs")
    elsewhere = shutil.copytree(here, tmp_path / "elsewhere")
    state = newest(here).state["callbacks"]
    (kept,) = (value for name, value in state.items() if name.startswith("ModelCheckpoint"))
    for run in (here.relative_to(tmp_path), elsewhere.relative_to(tmp_path)):
        # One that nothing later reaches, so that it must be what is remembered.
        saved = newest(run)
        (name,) = (name for name in saved.state["callbacks"] if name.startswith("ModelCheckpoint"))
        told = saved.state["callbacks"][name]
        score = torch.tensor(9.0)
        told["best_model_score"] = told["current_score"] = told["kth_value"] = score
        told["best_k_models"] = dict.fromkeys(told["best_k_models"], score)
        save_state(saved.state, saved.path)
        assert command(f"resume={run}", "trainer.max_epochs=3")[0] == 0
    best = Path(kept["best_model_path"]).name
    assert Path(newest(elsewhere).best or "").name == Path(newest(here).best or "").name == best
    found, expected = (json.loads((run / "results.json").read_text()) for run in (elsewhere, here))
    assert found["metrics"] == expected["metrics"]


def test_in_python(cut: Path) -> None:
    run = kgscale.train(f"resume={cut}", quiet=True)
    assert run.directory == cut
    assert kgscale.train(f"resume={cut}", quiet=True).directory == cut, "done already"


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("encoder.dim=8", "was begun with encoder.dim=4, and a run that goes on can't change it"),
        ("seed=1", "was begun with seed=0"),
        ("strategy=cluster", "goes on with the strategy that it was begun with"),
        ("encoder.dmi=8", "there is no setting encoder.dmi; did you mean encoder.dim?"),
    ],
)
def test_what_steps_depend_on_stays(command: Command, cut: Path, argument: str, words: str) -> None:
    before = {path: path.read_bytes() for path in cut.rglob("*") if path.is_file()}
    code, _, error = command(f"resume={cut}", argument)
    assert code == 2
    assert words in error
    assert error.count("\n") == 1
    assert before == {path: path.read_bytes() for path in cut.rglob("*") if path.is_file()}


def test_another_number_of_processes_in_mid_epoch(command: Command, cut: Path) -> None:
    before = (cut / "config.yaml").read_bytes()
    code, _, error = command(f"resume={cut}", "trainer=ddp")
    assert code == 2
    assert (cut / "config.yaml").read_bytes() == before
    assert "resume with trainer.devices=1; their number can change between two epochs" in error


def test_one_process_at_a_time(command: Command, cut: Path) -> None:
    with reopened(cut):
        code, _, error = command(f"resume={cut}")
    assert code == 4
    assert f"{cut}: this run is still going on in another process" in error


def test_nothing_to_go_on_with(command: Command, cut: Path, tmp_path: Path) -> None:
    for arguments, words in (
        (["resume=latest", f"root={tmp_path / 'none'}"], "resume=latest: there is no run in"),
        ([f"resume={tmp_path}"], "no run directory there"),
        ([f"resume={cut}", "-m"], "goes on with one run"),
    ):
        code, _, error = command(*arguments)
        assert code == 2
        assert words in error
    (state,) = states(cut)
    state.rename(tmp_path / "state")
    code, _, error = command(f"resume={cut}")
    assert code == 3
    assert "nothing to resume there" in error


def test_a_state_that_has_changed(command: Command, cut: Path) -> None:
    (state,) = states(cut)
    file = state / "tensors.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    code, _, error = command(f"resume={cut}")
    assert code == 3
    assert str(state) in error


def test_another_graph(command: Command, cut: Path, data: Path, tmp_path: Path) -> None:
    other = tmp_path / "data"
    other.mkdir()
    for file in data.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    with (other / "train.tsv").open("a") as table:
        table.write("entity 0\trelation 0\tentity 7\n")
    config = cut / "config.yaml"
    config.write_text(config.read_text().replace(str(data), str(other)))
    (state,) = states(cut)
    kept = load_state(state)
    kept["kgscale"]["settings"]["data"]["path"] = str(other)
    save_state(kept, state)
    code, _, error = command(f"resume={cut}")
    assert code == 3
    assert "was trained on another graph" in error


def test_settings_that_were_changed_in_the_directory(command: Command, cut: Path) -> None:
    config = cut / "config.yaml"
    config.write_text(config.read_text().replace("lr: 0.1", "lr: 0.5"))
    code, _, error = command(f"resume={cut}")
    assert code == 3
    assert f"{config}: optimizer.lr is 0.5, and was 0.1 when step-" in error


def test_what_diverges_is_kept(command: Command, own: list[str], tmp_path: Path) -> None:
    often = ("trainer.save_steps=1", "trainer.max_epochs=5", "optimizer=adam")
    batches: list[str] = []
    with stopped(batches, None):
        code, _, error = command(*own, *often, "optimizer.lr=1e30")
    assert code == 2
    run = run_of(tmp_path / "out")
    assert f"the batch is in {run / DIVERGED}" in error
    assert digest(load_state(run / DIVERGED)) == batches[-1]
    state = newest(run)
    assert all(value.isfinite().all() for value in state.state["state_dict"].values())
