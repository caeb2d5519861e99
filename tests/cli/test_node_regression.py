"""Numbers of nodes from settings to a run directory."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch

import kgscale
from kgscale.tasks.runs import NumberRun
from tests.cli.conftest import Command
from tests.pages import Read

PEOPLE, TOWNS = 240, 8


@pytest.fixture
def town(tmp_path: Path) -> list[str]:
    """People earn what their town pays, give or take; some have not said."""
    draw = torch.Generator().manual_seed(0)
    noise = torch.randn(PEOPLE, generator=draw).tolist()
    lives = [f"p{n}\tlives_in\tt{n % TOWNS}" for n in range(PEOPLE)]
    earns = [f"p{n}\t{1000 * (1 + n % TOWNS) + 50 * noise[n]:.2f}" for n in range(PEOPLE - 20)]
    (tmp_path / "town.tsv").write_text("\n".join(lives) + "\n")
    (tmp_path / "earns.tsv").write_text("\n".join(earns) + "\n")
    types = [f"p{n}\tperson" for n in range(PEOPLE)] + [f"t{n}\ttown" for n in range(TOWNS)]
    (tmp_path / "types.tsv").write_text("\n".join(types) + "\n")
    return [
        "task=node_regression",
        "data=triples",
        f"data.path={tmp_path / 'town.tsv'}",
        f"data.types={tmp_path / 'types.tsv'}",
        "data.split=[1,0,0]",
        f"data.labels={tmp_path / 'earns.tsv'}",
        "data.label_numbers=true",
        "inputs.learned=all",
        "encoder=sage",
        "encoder.dim=16",
        "encoder.num_layers=1",
        "encoder.dropout=0",
        "strategy=full_batch",
        "trainer.threads=1",
        "trainer.max_epochs=80",
        "evaluation.test=true",
        f"root={tmp_path / 'outputs'}",
        f"store.root={tmp_path / 'stores'}",
    ]


def test_numbers_too_large_to_be_averaged(
    command: Command, town: list[str], tmp_path: Path
) -> None:
    with (tmp_path / "earns.tsv").open("a") as file:
        file.write("".join(f"p{PEOPLE - 20 + n}\t{(-1) ** n}e308\n" for n in range(20)))
    code, _, error = command(*town)
    assert code == 3
    assert "too large to be averaged" in error


def the_run(tmp_path: Path) -> Path:
    (run,) = (tmp_path / "outputs" / "node_regression").iterdir()
    return run


def test_from_numbers_to_intervals(command: Command, town: list[str], tmp_path: Path) -> None:
    code, out, error = command(*town)
    assert (code, error) == (0, "")
    assert "numbers from" in out
    run = the_run(tmp_path)
    page = Read((run / "report.html").read_text(encoding="utf-8"))
    assert "where the middle number has" in page["header"]
    assert "in interval" in page["metrics"]
    assert "numbers from" in page["learned"]
    assert "The surest numbers" in page["predictions"]
    results = json.loads((run / "results.json").read_text())
    test = results["metrics"]["test"]
    assert results["monitor"] == "r2"
    assert test["r2"] > 0.5
    assert test["mae"] < results["metrics"]["baseline"]["median"]["mae"] / 2
    assert 0.75 < test["covered"] <= 1
    with (run / "predictions.tsv").open() as file:
        rows = {row["entity"]: row for row in csv.DictReader(file, delimiter="\t")}
    assert len(rows) == PEOPLE
    assert all(float(r["low"]) <= float(r["value"]) <= float(r["high"]) for r in rows.values())
    new = [rows[f"p{n}"] for n in range(PEOPLE - 20, PEOPLE)]
    right = [float(row["low"]) <= 1000 * (1 + int(row["entity"][1:]) % TOWNS) for row in new]
    assert {row["given"] for row in new} == {""}
    assert sum(right) > 10
    code, out, error = command("evaluate", f"run={run}", "split=test")
    assert (code, error) == (0, "")
    assert json.loads((run / "evaluation-test.json").read_text())["overall"] == test
    code, out, error = command("predict", f"run={run}", "entity=p3")
    assert (code, error) == (0, "")
    opened = kgscale.load(run)
    assert isinstance(opened, NumberRun)
    (value,) = opened.predict(entity="p3")["value"]
    assert value == pytest.approx(float(rows["p3"]["value"]), rel=1e-4)
    (low,) = opened.predict(entity="p3")["low"]
    assert low == pytest.approx(float(rows["p3"]["low"]), rel=1e-4)


def test_wide_intervals_are_left_out(command: Command, town: list[str], tmp_path: Path) -> None:
    assert command(*town, "predictions.widest=1e-9", "trainer.max_epochs=1")[0] == 0
    lines = (the_run(tmp_path) / "predictions.tsv").read_text().splitlines()
    assert len(lines) == 1
    code, _, error = command("predict", f"run={the_run(tmp_path)}", "entity=p3", "abstain=0.5")
    assert (code, "numbers have intervals" in error) == (2, True)


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["data.label_numbers=false", "data.rare_label=drop"], 3, "label"),
        (["task=node_classification"], 3, "set task=node_regression"),
        (["predictions.abstain=0.5"], 2, "set predictions.widest"),
        (["task.coverage=1"], 2, "task.coverage is between 0 and 1"),
    ],
)
def test_refused(command: Command, town: list[str], more: list[str], code: int, words: str) -> None:
    found, _, error = command(*town, *more)
    assert found == code
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("p1\tmuch", "'much' is no finite number"),
        ("p1\tnan", "'nan' is no finite number"),
        ("p1\t1e999", "'1e999' is no finite number"),
        ("p1\t7", "'p1' has another number at"),
    ],
)
def test_what_is_no_number(
    command: Command, town: list[str], tmp_path: Path, line: str, words: str
) -> None:
    with (tmp_path / "earns.tsv").open("a") as file:
        file.write(line + "\n")
    code, _, error = command(*town)
    assert code == 3
    assert f"earns.tsv line {PEOPLE - 19}: " in error
    assert words in error


def test_logarithms(command: Command, town: list[str], tmp_path: Path) -> None:
    assert command(*town, "task.logarithm=true")[0] == 0
    with (the_run(tmp_path) / "predictions.tsv").open() as file:
        assert all(float(row["low"]) > -1 for row in csv.DictReader(file, delimiter="\t"))
    (tmp_path / "earns.tsv").write_text("p0\t-5\np1\t3\np2\t3\np3\t4\np4\t5\np5\t5\np6\t6\n")
    code, _, error = command(*town, "task.logarithm=true")
    assert code == 3
    assert "needs numbers above -1, and one is -5" in error
