"""compare: equal terms, honest rows, a picture."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from kgscale.cli import main
from kgscale.errors import ConfigError
from kgscale.studies.compare import CompareSettings, Outcome
from kgscale.studies.record import Record
from kgscale.studies.summary import rows_of, target_of
from kgscale.tasks.measure import StepCost

COST = StepCost(
    memory=1 << 20, sampling=0, batch=0, held=0, seconds=0.5, seeds=100.0, entities=1.0, edges=800.0
)


def record(*curve: tuple[float, float], seed: int = 0) -> Record:
    return Record(
        directory=Path(),
        seed=seed,
        triples=10,
        metric="mrr",
        curve=curve,
        epochs=float(len(curve)),
        train_seconds=1.0,
        report={"edges_kept": 0.5},
    )


def outcome(name: str, *records: Record) -> Outcome:
    return Outcome(strategy=name, records=records, cost=COST, sizes=())


def test_rows_by_hand() -> None:
    slow = outcome("slow", record((1.0, 0.1), (2.0, 0.4)), record((1.0, 0.2), (2.0, 0.2), seed=1))
    fast = outcome("fast", record((0.5, 0.3), (1.0, 0.5), (1.5, 0.4)))
    target = target_of([slow, fast], None)
    assert target == pytest.approx(0.475)
    first, second = rows_of([slow, fast], target)
    assert first["mean"] == pytest.approx(0.3)
    assert first["deviation"] == pytest.approx(0.02**0.5)
    assert first["minutes_to_target"] is None
    assert second["mean"] == 0.5
    assert second["deviation"] is None
    assert second["minutes_to_target"] == 1.0
    assert second["seconds_per_epoch"] == pytest.approx(30)
    assert second["edges_per_seed"] == 8.0
    assert second["edges_kept"] == 0.5


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"strategies": []}, "different ones"),
        ({"seeds": [1, 1]}, "different ones"),
        ({"minutes": 0.0}, "positive"),
        ({"own": {"cluster": {}}}, "none of compare.strategies"),
    ],
)
def test_what_cannot_work_is_refused(wrong: dict[str, object], message: str) -> None:
    given = {"strategies": ["neighbor"], "seeds": [0], "minutes": 1.0, **wrong}
    with pytest.raises(ConfigError, match=message):
        CompareSettings(**given)  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_command_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(
        [
            "compare",
            "task=node_classification",
            "data=synthetic",
            "data.edges=4000",
            "data.classes=4",
            "compare.strategies=[neighbor,cluster,precomputed,halo]",
            "compare.seeds=[0,1]",
            "compare.minutes=0.05",
            "compare.own={cluster: {parts: 8, per_batch: 2},"
            " halo: {strategy: cluster, parts: 8, per_batch: 2, halo: 3}}",
            "compare.sizes=[2000,8000]",
            "encoder.dim=8",
            f"root={tmp_path}",
        ]
    )
    assert code == 0
    out = capsys.readouterr().out
    (directory,) = (tmp_path / "compare").iterdir()
    with (directory / "comparison.csv").open() as file:
        rows = {row["strategy"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"neighbor", "cluster", "precomputed", "halo"}
    assert all(0 <= float(row["mean"]) <= 1 for row in rows.values())
    assert 0 < float(rows["cluster"]["edges_kept"]) < float(rows["halo"]["edges_kept"]) <= 1
    assert (directory / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert "minutes to" in out


def test_mistakes_cost_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = f"root={tmp_path}"
    assert main(["compare", root, "strategy=neighbor"]) == 2
    assert "compare.strategies" in capsys.readouterr().err
    assert main(["compare", root, "compare.strategies=[neighbor,nothing]"]) == 2
    assert "strategy=nothing doesn't exist" in capsys.readouterr().err
    assert not list(tmp_path.glob("compare/*/runs"))
