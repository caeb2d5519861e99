"""Probabilities of answers: fitted, told, written, read again, and refused where they are none."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from shutil import copytree

import pytest

import kgscale
from tests.cli.conftest import SMALL, Command
from tests.pages import Read

PLANTED = (
    "task=node_classification",
    "data=synthetic",
    "data.edges=3000",
    "data.classes=3",
    "data.homophily=0.7",
    "data.features=4",
    "strategy=full_batch",
    "encoder.dim=8",
    "trainer.threads=1",
    "trainer.max_epochs=30",
    "evaluation.test=true",
)
ASKED = ("head=entity 1", "relation=relation 0")


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened, delimiter="\t"))


def test_answers_carry_the_probability_of_their_score(
    command: Command, trained: Path, tmp_path: Path
) -> None:
    assert command("predict", f"run={trained}", *ASKED, "k=6", f"output={tmp_path}")[0] == 0
    found = rows(tmp_path / "predictions.tsv")
    probability = [float(row["probability"]) for row in found]
    assert probability == sorted(probability, reverse=True)
    assert all(0 < p < 1 for p in probability)
    assert probability != [float(row["score"]) for row in found]
    told = json.loads((trained / "results.json").read_text())["metrics"]["calibration"]
    assert 0 <= told["test"]["ece"] <= 1
    assert 0 <= told["valid"]["ece"] <= 1
    assert (trained / "reliability.png").read_bytes()[:4] == b"\x89PNG"
    assert {"probability"} <= rows(trained / "predictions.tsv")[0].keys()


@pytest.mark.parametrize("name", ["calibration.json", "results.json", "config.yaml"])
def test_a_pipe_in_somebody_elses_run_is_not_waited_for(
    command: Command, trained: Path, tmp_path: Path, name: str
) -> None:
    run = tmp_path / "run"
    copytree(trained, run)
    (run / name).unlink()
    os.mkfifo(run / name)
    own = f"output={tmp_path / 'answers'}"
    code, _, error = command("predict", f"run={run}", *ASKED, own)
    assert code == (3 if name == "calibration.json" else 0)
    assert (str(run / name) in error) == (code == 3)
    assert (command(f"resume={run}")[0] == 0) == (name != "config.yaml")


def test_what_is_less_probable_is_left_out(command: Command, trained: Path, tmp_path: Path) -> None:
    own = ("predict", f"run={trained}", *ASKED, "k=20")
    command(*own, f"output={tmp_path / 'all'}")
    everything = rows(tmp_path / "all" / "predictions.tsv")
    least = sorted(float(row["probability"]) for row in everything)[len(everything) // 2]
    code, out, _ = command(*own, f"abstain={least}", f"output={tmp_path / 'some'}")
    assert f"answers are less probable than {least:g}" in out
    assert code == 0
    kept = [row for row in everything if float(row["probability"]) >= least]
    assert rows(tmp_path / "some" / "predictions.tsv") == kept
    assert 0 < len(kept) < len(everything)


def test_labels_of_which_nobody_can_be_sure(command: Command, tmp_path: Path) -> None:
    code, out, error = command(*PLANTED, f"root={tmp_path}", "predictions.abstain=0.8")
    assert (code, error) == (0, "")
    (run,) = (tmp_path / "node_classification").iterdir()
    metrics = json.loads((run / "results.json").read_text())["metrics"]
    page = Read((run / "report.html").read_text(encoding="utf-8"))
    assert "where the most frequent class has" in page["header"]
    assert "accuracy" in page["metrics"]
    assert "a label of probability 0.8 or more" in page["calibration"]
    assert "The surest labels" in page["predictions"]
    assert metrics["calibration"]["test"]["ece"] < 0.2
    abstention = metrics["abstention"]
    assert 0 < abstention["answered"] < 1
    assert abstention["right"] > metrics["test"]["accuracy"]
    listed = rows(run / "predictions.tsv")
    assert min(float(row["probability"]) for row in listed) >= 0.8
    tested = [row for row in listed if row["split"] == "test"]
    right = sum(row["label"] == row["given"] for row in tested) / len(tested)
    assert right == pytest.approx(abstention["right"])
    assert "a label of probability 0.8 or more" in " ".join(out.split())
    # Opened again, it says the same.
    opened = kgscale.load(run)
    (probability,) = opened.predict(entity=tested[0]["entity"], k=1)["probability"]
    assert probability == pytest.approx(float(tested[0]["probability"]), abs=1e-5)
    every = opened.predict(entity=tested[0]["entity"], k=3)["probability"]
    assert sum(every) == pytest.approx(1, abs=1e-5)


@pytest.fixture(scope="module")
def bare(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without probabilities."""
    root = tmp_path_factory.mktemp("bare")
    own = [f"data.path={data}", f"root={root}", "evaluation.calibrate=none", *SMALL]
    run = kgscale.train("data=triples", *own, quiet=True)
    return run.directory


def test_without_probabilities(command: Command, bare: Path, tmp_path: Path) -> None:
    assert not (bare / "calibration.json").exists()
    own = ("predict", f"run={bare}", *ASKED, f"output={tmp_path}")
    code, out, _ = command(*own)
    assert code == 0
    assert "score" in out
    assert {row["probability"] for row in rows(tmp_path / "predictions.tsv")} == {""}
    code, _, error = command(*own, "abstain=0.5")
    assert code == 2
    assert "has none" in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["predictions.abstain=0.5", "evaluation.calibrate=none"], "leave one of them out"),
        (["predictions.abstain=1.5"], "predictions.abstain is a share from 0 to 1, got 1.5"),
        (["evaluation.calibrate=spline"], "evaluation.calibrate"),
    ],
)
def test_wrong_settings(command: Command, arguments: list[str], words: str) -> None:
    code, _, error = command(*arguments)
    assert code == 2
    assert words in error


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"map": {"method": "platt"}}', "[" * 99999])
def test_somebody_elses_map(command: Command, trained: Path, tmp_path: Path, content: str) -> None:
    run = tmp_path / "run"
    copytree(trained, run)
    (run / "calibration.json").write_text(content)
    code, _, error = command("predict", f"run={run}", *ASKED)
    assert code == 3
    assert "calibration.json: no map of scores is there" in error
    assert error.count("\n") == 1


def test_a_map_is_of_the_model_beside_it(command: Command, data: Path, tmp_path: Path) -> None:
    """A run that goes on forgets it, whether it fits another or none."""
    own = ["data=triples", f"data.path={data}", f"root={tmp_path}", *SMALL]
    assert command(*own)[0] == 0
    (run,) = (tmp_path / "link_prediction").iterdir()
    before = (run / "calibration.json").read_bytes()
    assert command(f"resume={run}", "trainer.max_epochs=3")[0] == 0
    assert (run / "calibration.json").read_bytes() != before
    more = ["trainer.max_epochs=4", "evaluation.calibrate=none"]
    assert command(f"resume={run}", *more)[0] == 0
    assert not (run / "calibration.json").exists()
    assert not (run / "reliability.png").exists()
