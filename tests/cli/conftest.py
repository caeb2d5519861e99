"""A tiny data set and one finished run for all tests of the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kgscale.cli import main
from tests.graphs import random_triples

STRANGE = ["a, b (c)", "null", "1e5", "x=y", "ö 'ß' \"q\"", "[1]", "{k: v}", "${seed}", "\\", "~"]
"""Keys that a shell, YAML or Hydra could read as something else."""
SMALL = (
    "encoder.dim=4",
    "strategy.batch_size=16",
    "trainer.threads=1",
    "trainer.max_epochs=1",
    "predictions.pairs=64",
)

Result = tuple[int, str, str]
Command = Callable[..., Result]


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Graph stores of these tests are nobody else's."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(path))
        patch.delenv("COLUMNS", raising=False)
        yield path


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with splits, below a path with a space and a comma."""
    folder = tmp_path_factory.mktemp("my data, small")
    labels = [*STRANGE, *(f"entity {number}" for number in range(10))]
    triples = random_triples(160, num_entities=len(labels), num_relations=3).tolist()
    lines = [f"{labels[h]}\trelation {r}\t{labels[t]}\n" for h, r, t in triples]
    cycle = [f"{a}\trelation 0\t{b}\n" for a, b in zip(labels, labels[1:] + labels, strict=False)]
    train = sorted({*lines[::2], *cycle})
    for split, content in (("train", train), ("valid", lines[1::4]), ("test", lines[3::4])):
        chosen = content if split == "train" else [line for line in content if line not in train]
        (folder / f"{split}.tsv").write_text("".join(chosen), encoding="utf-8")
    return folder


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line, in this process: exit code, standard output, error output."""

    def call(*arguments: object) -> Result:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return call


@pytest.fixture(scope="session")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished run."""
    root = tmp_path_factory.mktemp("runs")
    own = ("data=triples", f"data.path={data}", f"root={root}", "evaluation.test=true")
    assert main([*own, *SMALL]) == 0
    (directory,) = (root / "link_prediction").iterdir()
    assert json.loads((directory / "results.json").read_text())["status"] == "done"
    return directory
