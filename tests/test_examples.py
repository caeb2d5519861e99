"""Every example runs by itself and shows what it promises."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CLONE = Path(__file__).resolve().parents[1]
EXAMPLES = CLONE / "examples"

Example = Callable[[str], str]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kernels are compiled once for all examples, and nobody's stores are touched."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def example(tmp_path: Path, cache: Path) -> Example:
    """Run one in an empty directory; what it printed."""

    def run(file: str) -> str:
        start = ["bash"] if file.endswith(".sh") else [sys.executable]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        found = subprocess.run(
            [*start, str(EXAMPLES / file)],
            cwd=tmp_path,
            env={
                **os.environ,
                "PATH": path,
                "PYTHONPATH": str(CLONE),
                "XDG_CACHE_HOME": str(cache),
                "COLUMNS": "200",
            },
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert found.returncode == 0, found.stdout + found.stderr
        return found.stdout

    return run


def test_all_are_listed_and_tried() -> None:
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    tried = Path(__file__).read_text(encoding="utf-8")
    for file in (file for file in EXAMPLES.iterdir() if file.suffix in (".py", ".sh")):
        assert f"({file.name})" in text
        assert file.name in tried


def test_the_made_graph_has_ten_thousand_lines(tmp_path: Path) -> None:
    file = tmp_path / "people.tsv"
    subprocess.run([sys.executable, str(EXAMPLES / "people.py"), str(file)], check=True)
    lines = file.read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(set(lines)) == 10_000
    assert all(line.count("\t") == 2 for line in lines)
    # What the pages ask.
    assert not [line for line in lines if line.startswith("Ada Stone\tlives_in")]
    assert "Ada Stone\tworks_for\tCosta & Co" in lines
    assert "Costa & Co\tseated_in\tBonn" in lines


@pytest.mark.slow
def test_own_tsv(example: Example) -> None:
    shown = example("own_tsv.sh")
    assert "popularity" in shown
    assert re.search(r"1\s+Ada Stone\s+lives_in\s+Bonn", shown)
    assert "loss without it" in shown


@pytest.mark.slow
def test_hetero_data(example: Example) -> None:
    shown = example("hetero_data.py")
    assert "'entity': 'paper:7'" in shown
    assert "(author, writes, paper)={" in shown
    messages, valid, test = map(int, shown.splitlines()[-1].split())
    assert valid == test
    assert messages > 10 * valid


@pytest.mark.slow
def test_sweep(example: Example) -> None:
    lines = example("sweep.sh").splitlines()[-4:]
    assert [line.split()[:3] for line in lines] == [
        [decoder, "seed", seed] for decoder in ("ComplEx", "DistMult") for seed in "01"
    ]
    assert all(0.1 < float(line.split()[-1]) < 1 for line in lines)


@pytest.mark.slow
def test_two_processes(example: Example, tmp_path: Path) -> None:
    example("two_processes.sh")
    runs = list((tmp_path / "runs" / "link_prediction").iterdir())
    assert len(runs) == 2
    assert all((run / "results.json").is_file() for run in runs)


@pytest.mark.slow
def test_pyg_loader(example: Example) -> None:
    last = example("pyg_loader.py").splitlines()[-1]
    accuracy = float(last.split()[2])
    assert accuracy > 0.5, last
