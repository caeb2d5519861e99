"""Every benchmark by name: load, two epochs, and OGB's own measure."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import kgscale
from kgscale.cli import main
from kgscale.data.ogb.benchmarks import BENCHMARKS
from kgscale.errors import ConfigError
from tests.ogb.miniature import write
from tests.ogb.test_layout import datasets

SMALL = (
    "trainer.threads=1",
    "trainer.max_epochs=2",
    "encoder.dim=16",
    "evaluation.test=true",
    "predictions.count=0",
)
QUICK = ("ogbl-biokg", "ogbl-collab", "ogbn-arxiv")
"""One of each kind of metric; the others are in the slow tests."""
METRICS = {
    "ogbl-wikikg2": "mrr",
    "ogbl-biokg": "mrr",
    "ogbl-citation2": "mrr",
    "ogbl-collab": "hits@50",
    "ogbl-ppa": "hits@100",
    "ogbl-ddi": "hits@20",
    "ogbl-vessel": "rocauc",
    "ogbn-proteins": "rocauc",
    "wikikg90mv2": "mrr@10",
}
"""The others are measured by accuracy."""


def overrides(name: str, folder: Path) -> list[str]:
    task = "node_classification" if name.startswith(("ogbn", "mag")) else "link_prediction"
    return [
        f"task={task}",
        "encoder=sage",
        f"data={name.replace('-', '_')}",
        f"data.path={folder / 'dataset'}",
        f"root={folder / 'outputs'}",
        f"store.root={folder / 'stores'}",
        *SMALL,
    ]


@pytest.mark.parametrize("name", datasets(""))
def test_two_epochs_and_the_official_measure(name: str, ogb: ModuleType, tmp_path: Path) -> None:
    write(name, tmp_path / "dataset")
    run = kgscale.train(*overrides(name, tmp_path), quiet=True)
    results = json.loads((run.directory / "results.json").read_text())
    official = results["metrics"]["official"]
    assert official["benchmark"] == name
    # LSC keeps the answers of its tests.
    splits = ["valid"] if name in ("mag240m", "wikikg90mv2") else ["valid", "test"]
    for split in splits:
        assert 0 <= official[split][METRICS.get(name, "acc")] <= 1
        assert results["metrics"][split]
    assert run.official("valid") == pytest.approx(official["valid"])
    if name not in METRICS:
        assert official["valid"]["acc"] == pytest.approx(results["metrics"]["valid"]["accuracy"])


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in datasets("")
    ],
)
def test_the_official_metric_chooses(name: str, ogb: ModuleType, tmp_path: Path) -> None:
    """Our own computation of it, which training looks at, is the Evaluator's."""
    write(name, tmp_path / "dataset")
    run = kgscale.train(*overrides(name, tmp_path), "evaluation.choose=official", quiet=True)
    results = json.loads((run.directory / "results.json").read_text())
    metric = BENCHMARKS[name].metric
    judged = results["metrics"]["official"]["valid"][metric]
    with (run.directory / "metrics.csv").open() as lines:
        curve = [row for row in csv.DictReader(lines) if row[f"valid/{results['monitor']}"]]
    best = max(float(row[f"valid/{results['monitor']}"]) for row in curve)
    assert best == pytest.approx(judged, abs=1e-6)
    assert METRICS.get(name, "acc") == metric


def test_no_benchmark_has_no_official_metric(tmp_path: Path) -> None:
    asked = ("data=synthetic", "data.kind=rules", "data.edges=3000", "evaluation.choose=official")
    with pytest.raises(ConfigError, match=r"choose=official needs a benchmark of OGB"):
        kgscale.train(*asked, f"root={tmp_path}", f"store.root={tmp_path}", quiet=True)


def test_paths_score_no_candidates() -> None:
    with pytest.raises(ConfigError, match=r"choose=official scores a benchmark's candidates"):
        kgscale.train("task=path_reasoning", "data=synthetic", "evaluation.choose=official")


def test_without_the_package_it_says_so_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("ogbl-ddi", tmp_path / "dataset")
    monkeypatch.setitem(sys.modules, "ogb", None)
    asked = overrides("ogbl-ddi", tmp_path)
    with pytest.raises(ConfigError, match=r"evaluation\.official=false"):
        kgscale.train(*asked, quiet=True)
    run = kgscale.train(*asked, "evaluation.official=false", quiet=True)
    results = json.loads((run.directory / "results.json").read_text())
    assert "official" not in results["metrics"]


def test_the_command_evaluate_measures_so_too(
    ogb: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("ogbl-ddi", tmp_path / "dataset")
    run = kgscale.train(*overrides("ogbl-ddi", tmp_path), quiet=True)
    trained = json.loads((run.directory / "results.json").read_text())["metrics"]["official"]
    assert main(["evaluate", f"run={run.directory}", "split=test", "measure_on=20"]) == 0
    content = json.loads((run.directory / "evaluation-test.json").read_text())
    assert content["official"]["test"] == pytest.approx(trained["test"])
    assert content["overall"]["queries"] == 40
    assert "test by the rules of ogbl-ddi (OGB's Evaluator): Hits@20" in capsys.readouterr().out
    assert main(["evaluate", f"run={run.directory}", "split=valid", "official=false"]) == 0
    assert "official" not in json.loads((run.directory / "evaluation-valid.json").read_text())


ASKS = """
import importlib.util, pathlib, sys
sys.path.insert(0, sys.argv[1])
if sys.argv[2] == "kgscale":
    from kgscale.inference.official import evaluator
    evaluator("ogbl-ddi")
    assert "outdated" not in sys.modules
else:
    import ogb.linkproppred
"""


@pytest.mark.parametrize("by", ["kgscale", "ogb"])
def test_no_newer_version_is_asked_for(by: str, tmp_path: Path) -> None:
    """The package that asks the network is not imported; if OGB's own is imported, it is."""
    pytest.importorskip("ogb", reason="needs OGB's Evaluator: pip install ogb")
    asked = tmp_path / "asked"
    (tmp_path / "outdated.py").write_text(
        f"open({str(asked)!r}, 'w').close()\ndef check_outdated(*given): return False, ''\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", ASKS, str(tmp_path), by], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert asked.exists() == (by == "ogb")
