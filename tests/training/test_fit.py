"""Training through a real Trainer."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import create_autospec

import pytest
import pytorch_lightning as pl
import torch
from rich.console import Console

from kgscale.batch import SubgraphBatch
from kgscale.errors import ConfigError, Interrupted, ScoreError
from kgscale.graph.adjacency import Adjacency
from kgscale.losses import BCELoss, SoftmaxLoss
from kgscale.sampling.queries import TrainQueries
from kgscale.training import callbacks
from kgscale.training import fit as fit_module
from kgscale.training.callbacks import Decay, StopOnSignal, TimeLimit
from kgscale.training.checkpoints import load_state
from kgscale.training.data import GraphData, Prefetcher
from kgscale.training.fit import FitResult, TrainerSettings, faster_dtype, fit
from kgscale.training.link import LinkPrediction
from kgscale.training.module import clip_gradients
from kgscale.training.stopwatch import Stopwatch
from tests.graphs import adjacency
from tests.training import toys


@pytest.fixture(autouse=True)
def _handlers_are_restored() -> Iterator[None]:
    """Every test leaves the process's signal handlers as they were."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    yield
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def run(
    module: LinkPrediction, directory: Path, *, strategy: Any = None, seed: int = 0, **settings: Any
) -> FitResult:
    chosen = TrainerSettings(**{"max_epochs": 2, "threads": 1, **settings})
    layers = module.model.encoder.num_layers
    data = GraphData(strategy or toys.strategy(num_layers=layers))
    return fit(module, data, directory, chosen, console=Console(quiet=True), seed=seed)


def weights(module: LinkPrediction) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def spy(module: LinkPrediction, name: str, seen: list[Any]) -> None:
    """Keep the arguments of each call."""
    original = getattr(module, name)

    def call(*given: Any, **more: Any) -> Any:
        seen.append((given, more))
        return original(*given, **more)

    setattr(module, name, call)


def test_a_frozen_batch_goes_through_a_trainer(tmp_path: Path) -> None:
    module, seen = toys.module(), []
    spy(module, "transfer_batch_to_device", seen)
    run(module, tmp_path)
    batches = [given[0] for given, _ in seen if isinstance(given[0], SubgraphBatch)]
    assert len(batches) == 2 * toys.strategy().num_batches(world_size=1)
    with pytest.raises(FrozenInstanceError):
        batches[0].entity_id = batches[0].entity_id  # type: ignore[misc]


def test_lightning_injects_no_sampler(tmp_path: Path) -> None:
    module = toys.module()
    run(module, tmp_path)
    loader = module.trainer.train_dataloader
    assert type(loader) is Prefetcher
    assert not hasattr(loader, "sampler")


def test_every_epoch_is_shuffled_anew(tmp_path: Path) -> None:
    module, seen = toys.module(), []
    spy(module, "training_step", seen)
    run(module, tmp_path)
    steps = [given[0].query.head.tolist() for given, _ in seen]
    half = len(steps) // 2
    assert steps[:half] != steps[half:]


def test_same_seed_same_weights(tmp_path: Path) -> None:
    """Dropout draws from the run's seed, and leaves the global generator alone."""
    state = torch.get_rng_state()
    found = []
    for number, seed in enumerate((5, 5, 6)):
        module = toys.module(encoder_settings={"dropout": 0.5})
        run(module, tmp_path / str(number), seed=seed)
        found.append(weights(module))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("encoder", toys.ENCODERS)
@pytest.mark.parametrize("candidates", ["all", 4])
def test_loss_falls(tmp_path: Path, encoder: str, candidates: Any) -> None:
    module = toys.module(encoder)
    layers = module.model.encoder.num_layers
    strategy = toys.strategy(num_layers=layers, candidates=candidates)
    logged: list[float] = []
    original = module.on_train_epoch_end

    def keep() -> None:
        original()
        logged.append(float(module.trainer.callback_metrics["train/loss"]))

    module.on_train_epoch_end = keep  # type: ignore[method-assign]
    run(module, tmp_path, strategy=strategy, max_epochs=4, patience=9)
    assert logged[-1] < logged[0]


def accumulated(module: LinkPrediction, tmp_path: Path, **settings: Any) -> list[dict[str, Any]]:
    """The gradients that each optimiser step saw."""
    seen: list[dict[str, Any]] = []
    original = module.configure_gradient_clipping

    def look(*given: Any, **more: Any) -> None:
        original(*given, **more)
        seen.append({k: v.clone() for k, v in toys.gradients(module.model).items()})

    module.configure_gradient_clipping = look  # type: ignore[method-assign]
    run(module, tmp_path, max_epochs=1, **settings)
    return seen


def even_graph() -> tuple[Adjacency, int]:
    """A graph whose distinct queries can be dealt into four equal steps."""
    for count in range(len(toys.TRAIN), 0, -1):
        graph = adjacency(
            toys.TRAIN[:count], num_entities=toys.ENTITIES, num_relations=toys.RELATIONS
        )
        queries = len(TrainQueries(graph))
        if queries % 4 == 0:
            return graph, queries
    raise AssertionError


def test_accumulated_steps_equal_the_bigger_batch(tmp_path: Path) -> None:
    """The mean over steps: with equally many queries, what the loss is of all of them at once."""
    graph, queries = even_graph()
    small = toys.strategy(num_layers=0, batch_size=queries // 4, graph=graph)
    big = toys.strategy(num_layers=0, batch_size=queries // 2, graph=graph)
    one = toys.module("EmbeddingOnly", loss=BCELoss())
    two = toys.module("EmbeddingOnly", loss=BCELoss())
    first = accumulated(one, tmp_path / "a", strategy=small, accumulate=2)
    second = accumulated(two, tmp_path / "b", strategy=big)
    assert len(first) == len(second) == 2
    for mine, theirs in zip(first, second, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_a_short_last_accumulation_is_a_mean_too(tmp_path: Path) -> None:
    """Of three steps, two and one: the one counts whole."""
    queries = len(toys.strategy().questions)
    strategy = toys.strategy(num_layers=0, batch_size=-(-queries // 3))
    assert strategy.num_batches(world_size=1) == 3
    module = toys.module("EmbeddingOnly", lr=1e-12)
    last = accumulated(module, tmp_path, strategy=strategy, accumulate=2)[-1]
    alone = toys.module("EmbeddingOnly", lr=1e-12)
    single = accumulated(alone, tmp_path / "alone", strategy=strategy)[-1]
    torch.testing.assert_close(last, single, rtol=1e-4, atol=1e-7)


def test_clipping_bounds_the_joint_norm(tmp_path: Path) -> None:
    """Sparse rows count like dense gradients, and all shrink by the same factor."""
    free = accumulated(toys.module(), tmp_path / "free")[0]
    clipped = accumulated(toys.module(), tmp_path / "clipped", clip=0.01)[0]
    norms = [
        torch.stack([grad.norm() for grad in grads.values()]).norm() for grads in (free, clipped)
    ]
    assert norms[0] > 0.01
    torch.testing.assert_close(norms[1], torch.tensor(0.01), rtol=1e-3, atol=0)
    scale = norms[1] / norms[0]
    for name, grad in free.items():
        torch.testing.assert_close(clipped[name], grad * scale, rtol=1e-3, atol=1e-7)


def test_small_gradients_are_not_clipped() -> None:
    layer = torch.nn.Linear(2, 1)
    layer(torch.ones(1, 2)).sum().backward()
    assert layer.weight.grad is not None
    before = layer.weight.grad.clone()
    clip_gradients(layer, 100.0)
    assert torch.equal(layer.weight.grad, before)


def test_early_stop_and_best_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation 0.1, 0.5, 0.3, 0.2: stops after the fourth epoch and goes back to the second."""
    scores, kept = iter([0.1, 0.5, 0.3, 0.2, 0.9]), []

    def validate(self: LinkPrediction, shard: Any, batch_index: int) -> None:
        self.log("valid/mrr", next(scores), batch_size=1)
        kept.append(weights(self).clone())

    monkeypatch.setattr(LinkPrediction, "validation_step", validate)
    module = toys.module()
    fitted = run(module, tmp_path, max_epochs=9, patience=2)
    assert fitted.epochs == len(kept) == 4
    assert fitted.metrics["mrr"] == pytest.approx(0.5)
    assert torch.equal(weights(module), kept[1])
    (best,) = (tmp_path / "checkpoints").glob("best-*")
    assert best.name == "best-epoch=1.ckpt"


def test_the_checkpoint_is_whole(tmp_path: Path) -> None:
    """Weights and row-wise state, as Lightning saves them, come back to the bit."""
    module = toys.module(method="adam")
    run(module, tmp_path, max_epochs=1)
    (path,) = (tmp_path / "checkpoints").glob("best-*")
    state = load_state(path)
    torch.testing.assert_close(state["state_dict"], dict(module.state_dict()), rtol=0, atol=0)
    (optimizer,) = state["optimizer_states"]
    table = optimizer["tables"][0]
    assert table.keys() == {"first", "second", "step"}
    live = module.trainer.optimizers[0].state[module.model.inputs.table.weight]
    for name, value in table.items():
        assert torch.equal(value, live[name])
    assert state["metrics"]["mrr"] > 0


def test_logs_and_no_pickle(tmp_path: Path) -> None:
    run(toys.module(), tmp_path)
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert "train/loss" in lines[0]
    assert "valid/mrr" in lines[0]
    assert list((tmp_path / "tensorboard").glob("events.out.tfevents*"))
    for file in filter(Path.is_file, tmp_path.rglob("*")):
        assert not zipfile.is_zipfile(file), file
        with file.open("rb") as opened, pytest.raises(Exception, match=r".*"):
            pickle.load(opened)  # noqa: S301


def test_a_step_without_some_class_works(tmp_path: Path) -> None:
    """Two kinds of entities that no fact joins: a step of one query sees only one of them."""
    half = [[h, 0, t] for h in range(4) for t in range(4) if h != t]
    other = [[h + 7, 1, t + 7] for h, _, t in half]
    graph = adjacency(torch.tensor(half + other), num_entities=14, num_relations=3)
    strategy = toys.strategy(graph=graph, batch_size=1, candidates=1, fanout=[2, 2])
    seen = strategy.batch(0, 0, rank=0, world_size=1).entity_id
    module = toys.module()
    run(module, tmp_path, strategy=strategy, max_epochs=1)
    assert torch.isfinite(weights(module)).all()
    assert not {*range(7)} <= set(seen.tolist()) or not {*range(7, 14)} <= set(seen.tolist())


def test_no_validation_triples_keeps_the_last(tmp_path: Path) -> None:
    module = toys.module(valid=toys.VALID[:0])
    fitted = run(module, tmp_path)
    assert fitted.epochs == 2
    assert fitted.metrics == {}
    saved = load_state(tmp_path / "checkpoints" / "last.ckpt")["state_dict"]
    torch.testing.assert_close(saved, dict(module.state_dict()), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", ["bfloat16", "auto"])
def test_score_products_in_another_type(tmp_path: Path, dtype: Any) -> None:
    module = toys.module()
    fitted = run(module, tmp_path, score_dtype=dtype)
    assert fitted.metrics["mrr"] > 0
    assert module.model.score_dtype == torch.float32  # evaluation is exact
    assert faster_dtype(8, torch.device("cpu")) in (torch.float32, torch.bfloat16)


def test_divergence_is_told_in_the_same_step(tmp_path: Path) -> None:
    class Bad(SoftmaxLoss):
        def __call__(self, *given: Any, **more: Any) -> Any:
            return super().__call__(*given, **more) * float("nan")

    with pytest.raises(ScoreError, match=r"nan in epoch 1, step 1: lower optimizer\.lr"):
        run(toys.module(loss=Bad()), tmp_path)


def test_divergence_within_a_sum_of_steps(tmp_path: Path) -> None:
    """The step that diverged is told and kept, and not the last of its sum."""
    steps: list[int] = []

    class Bad(SoftmaxLoss):
        def __call__(self, *given: Any, **more: Any) -> Any:
            steps.append(len(steps))
            loss = super().__call__(*given, **more)
            return loss * float("nan") if len(steps) == 2 else loss

    with pytest.raises(ScoreError, match="nan in epoch 1, step 2: "):
        run(toys.module(loss=Bad()), tmp_path, accumulate=4)
    assert len(steps) == 2


def interrupt_in(module: LinkPrediction, hook: str, *numbers: int) -> None:
    original = getattr(module, hook)

    def send(*given: Any, **more: Any) -> Any:
        found = original(*given, **more)
        if module.current_epoch == 1:
            for number in numbers:
                os.kill(os.getpid(), number)
                threading.Event().wait(0.01)
        return found

    setattr(module, hook, send)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("hook", ["training_step", "validation_step"])
def test_a_signal_keeps_the_best_so_far(tmp_path: Path, hook: str, number: int, code: int) -> None:
    module = toys.module()
    interrupt_in(module, hook, number)
    fitted = run(module, tmp_path, max_epochs=5)
    assert fitted.interrupted == code
    # All steps of the second epoch come before its validation; a step cut off counts for none.
    assert fitted.epochs == (2 if hook == "validation_step" else 1)
    assert fitted.metrics["mrr"] > 0
    assert (tmp_path / "checkpoints" / "best-epoch=0.ckpt").is_dir()


def test_a_second_signal_ends_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "PATIENCE", 0.0)
    module = toys.module()
    interrupt_in(module, "training_step", signal.SIGINT, signal.SIGINT)
    with pytest.raises(Interrupted):
        run(module, tmp_path, max_epochs=5)


def test_a_signal_that_a_launcher_repeats_is_one(tmp_path: Path) -> None:
    module = toys.module()
    interrupt_in(module, "training_step", signal.SIGINT, signal.SIGINT, signal.SIGTERM)
    assert run(module, tmp_path, max_epochs=5).interrupted == 130


def test_losing_the_others_after_a_signal_keeps_the_best_so_far(tmp_path: Path) -> None:
    """Gloo tells a lost peer by a plain RuntimeError."""
    module = toys.module()

    def lose(*given: Any, **more: Any) -> Any:
        if module.current_epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(0.01)
            raise RuntimeError("[gloo] Connection closed by peer")
        return original(*given, **more)

    original = module.training_step
    module.training_step = lose  # type: ignore[method-assign]
    fitted = run(module, tmp_path, max_epochs=5)
    assert fitted.interrupted == 130
    assert fitted.metrics["mrr"] > 0


def test_a_signal_before_any_checkpoint_keeps_the_weights(tmp_path: Path) -> None:
    module = toys.module()
    stop = StopOnSignal()
    stop.received = signal.SIGINT
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_module, "StopOnSignal", lambda: stop)
        fitted = run(module, tmp_path)
    assert fitted.interrupted == 130
    (kept,) = (tmp_path / "checkpoints").glob("step-*.ckpt")
    weights = load_state(kept)["state_dict"]
    assert all(weights[name].equal(value) for name, value in module.state_dict().items())


class Ticks:
    """A clock that shows a second more at each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_the_time_limit_stops_within_an_epoch_and_validates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looks at the clock: 1 at the start, 2, 3 … after steps; that of six is past 5 seconds."""
    validated = []

    def validate(self: LinkPrediction, shard: Any, batch_index: int) -> None:
        self.log("valid/mrr", 0.5, batch_size=1)
        validated.append((self.current_epoch, self.global_step))

    clock = Ticks()
    monkeypatch.setattr(LinkPrediction, "validation_step", validate)
    monkeypatch.setattr(fit_module, "clock_of", lambda settings: clock)
    monkeypatch.setattr(fit_module, "LogMinutes", lambda clock: pl.Callback())
    steps = toys.strategy(batch_size=1)
    assert steps.num_batches(world_size=1) > 5
    fitted = run(toys.module(), tmp_path, strategy=steps, max_seconds=5.0, validate_every=2)
    assert validated == [(0, 5)]
    assert 0 < fitted.epochs < 1
    assert fitted.metrics["mrr"] == 0.5
    assert len(list((tmp_path / "checkpoints").glob("best-*"))) == 1


def test_the_time_limit_leaves_time_for_a_validation() -> None:
    trainer = create_autospec(pl.Trainer, instance=True, world_size=1, should_stop=False)
    trainer.strategy.reduce_boolean_decision = lambda decision, all: decision
    times = iter([0.0, 10.0, 14.0, 15.0, 16.0])
    limit = TimeLimit(20.0, Stopwatch(lambda: next(times)))
    limit.on_train_start()
    limit.on_validation_start()
    limit.on_validation_end()
    limit.on_train_batch_end(trainer, toys.module(), None, None, 0)
    assert not trainer.should_stop
    limit.on_train_batch_end(trainer, toys.module(), None, None, 1)
    assert trainer.should_stop


def test_ranks_agree_on_the_time_limit_now_and_then() -> None:
    trainer = create_autospec(pl.Trainer, instance=True, world_size=2, should_stop=False)
    asked = []
    trainer.strategy.reduce_boolean_decision = lambda decision, all: asked.append(decision)
    limit = TimeLimit(20.0, Stopwatch(Ticks()))
    limit.on_train_start()
    for index in range(40):
        limit.on_train_batch_end(trainer, toys.module(), None, None, index)
    assert len(asked) == 2


def rates(decay: Decay, *steps: tuple[int, int], world_size: int = 1) -> list[float]:
    """At (epoch, step of it), of 4 epochs of 32 steps, with a rate of 0.5 to begin with."""
    optimizer = SimpleNamespace(param_groups=[{"lr": 0.5, "initial_lr": 0.5}])
    trainer = create_autospec(
        pl.Trainer,
        instance=True,
        world_size=world_size,
        max_epochs=4,
        num_training_batches=32,
        optimizers=[optimizer],
    )
    trainer.strategy.broadcast = lambda over: 0.0
    decay.on_train_start()
    found = []
    for trainer.current_epoch, index in steps:
        decay.on_train_batch_start(trainer, toys.module(), None, index)
        found.append(optimizer.param_groups[0]["lr"])
    return found


def test_rates_fall_along_half_a_cosine() -> None:
    expected = [0.5, 0.5 * (0.02 + 0.98 / 2), 0.5 * (0.02 + 0.98 * (1 - 0.5**0.5) / 2), 0.01]
    assert rates(Decay(None, Stopwatch()), (0, 0), (2, 0), (3, 0), (4, 0)) == pytest.approx(
        expected
    )
    # 20 seconds end before 4 epochs do.
    times = iter([0.0, 0.0, 10.0, 15.0, 30.0])
    decay = Decay(20.0, Stopwatch(lambda: next(times)))
    assert rates(decay, (0, 0), (0, 1), (0, 2), (0, 3)) == pytest.approx(expected)


def test_ranks_have_one_rate() -> None:
    """That of the first, whatever their clocks say, and asked for now and then."""
    times = iter([0.0, 10.0, 15.0])
    decay = Decay(20.0, Stopwatch(lambda: next(times)))
    assert rates(decay, *((0, index) for index in range(32)), world_size=2) == [0.5] * 32


def test_training_ends_with_the_lowest_rate(tmp_path: Path) -> None:
    module = toys.module()
    run(module, tmp_path, max_epochs=20, patience=20, decay="cosine")
    for group in module.optimizers(use_pl_optimizer=False).param_groups:  # type: ignore[union-attr]
        assert group["lr"] < 0.05 * group["initial_lr"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_epochs", 0), ("devices", 0), ("patience", -1), ("clip", 0.0), ("max_seconds", -1.0)],
)
def test_wrong_settings(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"trainer\.{name} needs"):
        TrainerSettings(**{name: value})


def test_a_missing_accelerator_is_one_line(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is an accelerator")
    with pytest.raises(ConfigError, match=r"^trainer: [^\n]+$"):
        run(toys.module(), tmp_path, accelerator="gpu")


def test_batches_stay_equal_when_moved() -> None:
    batch = toys.strategy().batch(0, 0, rank=0, world_size=1)
    moved = batch.to("cpu", non_blocking=True)
    assert replace(moved, query=batch.query).hop_size == batch.hop_size
    assert torch.equal(moved.query.answer, batch.query.answer)
