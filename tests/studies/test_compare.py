"""compare: equal terms, honest rows, a picture."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from kgscale.cli import compose, main
from kgscale.cli.conf import groups
from kgscale.cli.study import terms_of
from kgscale.errors import ConfigError, KgscaleError, ResourceError
from kgscale.studies import compare, process
from kgscale.studies.compare import CompareSettings, Comparison, Outcome
from kgscale.studies.plot import draw, memory_points
from kgscale.studies.record import Record
from kgscale.studies.summary import as_csv, as_table, rows_of, target_of
from kgscale.studies.terms import Settings, with_parts
from kgscale.tasks import show
from kgscale.tasks.measure import StepCost
from kgscale.tasks.start import rehearse

COST = StepCost(
    triples=10,
    memory=1 << 20,
    sampling=0,
    batch=0,
    held=0,
    seconds=0.5,
    seeds=100.0,
    entities=1.0,
    edges=800.0,
)
NODES = ("task=node_classification", "data=synthetic")


def record(
    *curve: tuple[float, float], seed: int = 0, prepared_seconds: float | None = 0.0
) -> Record:
    return Record(
        directory=Path(),
        seed=seed,
        metric="mrr",
        curve=curve,
        epochs=float(len(curve)),
        prepared_seconds=prepared_seconds,
        report={"edges_kept": 0.5},
    )


def outcome(name: str, *records: Record) -> Outcome:
    return Outcome(strategy=name, encoder="RGCN", records=records, cost=COST)


def failed(name: str, error: KgscaleError) -> Outcome:
    return Outcome(strategy=name, encoder="RGCN", failure=error)


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


def test_a_failure_is_a_row() -> None:
    best = outcome("best", record((1.0, 0.4)))
    large, wild = failed("large", ResourceError("large")), failed("wild", ConfigError("NaN"))
    target = target_of([large, best, wild], None)
    assert target == pytest.approx(0.38)
    rows = rows_of([large, best, wild], target)
    assert [row["status"] for row in rows] == ["did not fit", "done", "failed"]
    assert rows[0]["mean"] is None
    assert rows[0]["step_bytes"] is None
    assert as_csv(rows).splitlines()[1].startswith("large,RGCN,did not fit,")
    first, *_, last = list(as_table(rows, 1.0).columns[0].cells)
    assert (first, last) == ("best", "wild")
    assert list(as_table(rows, 1.0).columns[2].cells) == ["0.4000", "did not fit", "failed"]


def test_nothing_but_failures_has_no_target() -> None:
    rows = rows_of([failed("large", ResourceError("large"))], target_of([], None))
    assert rows[0]["target"] is None
    assert as_table(rows, 1.0).row_count == 1


def test_what_was_prepared_is_told() -> None:
    made = outcome("made", record((1.0, 0.4), prepared_seconds=3.0), record((1.0, 0.4)))
    found = outcome("found", record((1.0, 0.4), prepared_seconds=None))
    rows = rows_of([made, found], 0.3)
    assert [row["prepared_seconds"] for row in rows] == [1.5, "cached"]
    assert list(as_table(rows, 1.0).columns[5].cells) == ["1.5", "cached"]


def test_all_of_a_memory_curve_is_at_train_triples(tmp_path: Path) -> None:
    smaller = replace(COST, triples=4, memory=5)
    measured = replace(outcome("one", record((1.0, 0.4))), sizes=[smaller])
    assert memory_points(measured) == [(4, 5), (10, 1 << 20)]
    draw([failed("large", ResourceError("large")), measured], tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 1000


def under(strategy: str, *arguments: str, **own: dict[str, object]) -> Settings:
    """The settings of a strategy in a comparison with these overrides."""
    wanted = CompareSettings(strategies=["neighbor", *own], seeds=[0], minutes=1.0, own=own)
    return terms_of(arguments, wanted).settings(strategy)


def test_what_is_done_to_features_is_done_in_maps_too() -> None:
    inputs = ("inputs.dropout=0.3", "inputs.normalize=true")
    precomputed = under("precomputed", *NODES, *inputs)
    assert precomputed["encoder"]["input_dropout"] == 0.3
    assert precomputed["strategy"]["normalize_rows"] is True
    assert (precomputed["inputs"]["dropout"], precomputed["inputs"]["normalize"]) == (0.0, False)
    rehearse(precomputed)
    assert under("cluster", *NODES, *inputs)["inputs"]["dropout"] == 0.3
    kept = under("precomputed", *NODES, *inputs, precomputed={"normalize_rows": False})
    assert kept["strategy"]["normalize_rows"] is False


def test_anchors_are_not_told_to_maps() -> None:
    anchored = "inputs.learned=anchors"
    assert under("precomputed", anchored)["inputs"]["learned"] == "missing"
    assert under("cluster", anchored)["inputs"]["learned"] == "anchors"


def test_settings_of_the_task_reach_every_strategy() -> None:
    task = ("task.fanout=[7,5]", "task.dropout=0.25", "task.activation=tanh", "task.residual=true")
    neighbor = under("neighbor", "experiment=cora/sgc", "data.path=somewhere", *task)
    assert neighbor["strategy"]["fanout"] == [7, 5]
    assert neighbor["encoder"]["activation"] == "tanh"
    assert neighbor["encoder"]["residual"] is True
    assert under("precomputed", *NODES, *task)["encoder"]["dropout"] == 0.25


def test_steps_ask_equally_much_and_other_settings_stay_where_they_belong() -> None:
    given = ("strategy.batch_size=512", "strategy.candidates=all", "strategy.per_relation=true")
    for strategy in ("neighbor", "subgraph", "precomputed"):
        found = under(strategy, *given)["strategy"]
        assert (found["batch_size"], found["candidates"]) == (512, "all")
    assert under("neighbor", *given)["strategy"]["per_relation"] is True
    assert "per_relation" not in under("subgraph", *given)["strategy"]
    # A value that is the configured strategy's default, and not this one's.
    assert under("random_nodes", *given)["strategy"]["batch_size"] == 512
    assert under("random_nodes")["strategy"]["batch_size"] == 2048
    assert "batch_size" not in under("cluster", *given)["strategy"]


def test_an_experiment_counts_like_the_command_line() -> None:
    data = ("data.path=somewhere",)
    sgc = under("subgraph", "experiment=cora/sgc", *data)["strategy"]
    assert sgc["hops"] == 2, "three hops of propagation say nothing about those of a subgraph"
    gcn = under("random_nodes", "experiment=fb15k237/compgcn", *data)["strategy"]
    assert gcn == {
        "_target_": "kgscale.sampling.random_nodes.RandomNodesStrategy",
        "batch_size": 512,
        "query_share": 0.5,
    }


def test_own_settings_win() -> None:
    own = {"batch_size": 64}
    given = ("strategy.batch_size=256",)
    assert under("subgraph", *given, subgraph=own)["strategy"]["batch_size"] == 64
    halo = under("halo", *given, halo={"strategy": "cluster", "halo": 5})["strategy"]
    assert halo["_target_"].endswith("ClusterStrategy")
    assert (halo["halo"], halo["parts"]) == (5, 50)


@pytest.mark.parametrize(
    ("experiment", "strategy", "encoder"),
    [
        ("academic/sage", "precomputed", "SIGN"),
        ("academic/sage", "cluster", "RelationalSAGE"),
        ("academic/mlp", "precomputed", "SIGN"),
        ("academic/mlp", "neighbor", "RGCN"),
        ("acm/sehgnn", "full_batch", "RGCN"),
        ("fb15k237/compgcn", "precomputed", "SIGN"),
    ],
)
def test_an_encoder_that_can_not_read_a_step_is_replaced(
    experiment: str, strategy: str, encoder: str
) -> None:
    given = (f"experiment={experiment}", "encoder.dim=24", "encoder.dropout=0.125")
    found = under(strategy, *given)["encoder"]
    assert found["_target_"].endswith(f".{encoder}")
    assert (found["dim"], found["dropout"]) == (24, 0.125)


def test_parts_keep_their_size() -> None:
    clusters = under("cluster", *NODES)
    assert (clusters["strategy"]["parts"], clusters["strategy"]["per_batch"]) == (50, 10)
    assert with_parts(clusters, 20.0)["strategy"]["parts"] == 1000
    assert with_parts(clusters, 0.5)["strategy"]["parts"] == 25
    assert with_parts(clusters, 0.01)["strategy"]["parts"] == 10, "no fewer than a union has"
    assert with_parts(under("neighbor", *NODES), 20.0) == under("neighbor", *NODES)


class Stage:
    """A comparison whose processes end as ``codes`` say, by strategy."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch, **codes: int) -> None:
        self.codes, self.began = codes, list[str]()
        patch.setattr(process, "_run", self._run)
        patch.setattr(compare, "measure_step", lambda run: COST)
        patch.setenv("XDG_CACHE_HOME", str(directory / "cache"))

    def _run(self, settings: Path, log: Path, stop: None) -> tuple[int, bool]:
        strategy = settings.parent.name.rpartition("-")[0]
        self.began.append(settings.parent.name)
        log.write_text("kgscale: too large\n")
        if code := self.codes.get(strategy, 0):
            return code, False
        run = settings.parent / "task" / "run"
        run.mkdir(parents=True)
        run.joinpath("results.json").write_text(json.dumps(RESULTS))
        run.joinpath("metrics.csv").write_text("minutes,valid/accuracy\n0.5,0.25\n")
        return 0, False


RESULTS = {
    "status": "done",
    "monitor": "accuracy",
    "seed": 0,
    "epochs": 1.0,
    "prepared_seconds": 0.0,
    "strategy_report": {},
}
SMALL = (*NODES, "data.edges=500", "data.classes=2", "compare.seeds=[0,1]", "encoder.dim=4")


def rows_in(root: Path) -> dict[str, dict[str, str]]:
    (file,) = root.glob("compare/*/comparison.csv")
    with file.open() as text:
        return {row["strategy"]: row for row in csv.DictReader(text)}


def test_what_does_not_fit_is_a_row_and_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = Stage(tmp_path, monkeypatch, full_batch=4, cluster=-9)
    names = "compare.strategies=[full_batch,neighbor,cluster,subgraph]"
    assert main(["compare", *SMALL, names, f"root={tmp_path}"]) == 0
    assert "too large" in (out := capsys.readouterr().out)
    assert "killed by signal 9" in out
    rows = rows_in(tmp_path)
    assert {name: row["status"] for name, row in rows.items()} == {
        "full_batch": "did not fit",
        "neighbor": "done",
        "cluster": "did not fit",
        "subgraph": "done",
    }
    assert float(rows["neighbor"]["mean"]) == 0.25
    assert stage.began == [
        "full_batch-0",
        "neighbor-0",
        "neighbor-1",
        "cluster-0",
        "subgraph-0",
        "subgraph-1",
    ]


def test_another_failure_gives_the_exit_code_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Stage(tmp_path, monkeypatch, subgraph=2)
    names = "compare.strategies=[subgraph,neighbor]"
    assert main(["compare", *SMALL, names, f"root={tmp_path}"]) == 2
    rows = rows_in(tmp_path)
    assert (rows["subgraph"]["status"], rows["neighbor"]["status"]) == ("failed", "done")


def test_only_failures_are_one_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Stage(tmp_path, monkeypatch, neighbor=4)
    names = "compare.strategies=[neighbor]"
    assert main(["compare", *SMALL, names, f"root={tmp_path}"]) == 4
    assert rows_in(tmp_path)["neighbor"]["status"] == "did not fit"


def test_an_interruption_keeps_the_rows_so_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Stage(tmp_path, monkeypatch, subgraph=130)
    names = "compare.strategies=[neighbor,subgraph,cluster]"
    assert main(["compare", *SMALL, names, f"root={tmp_path}"]) == 130
    assert set(rows_in(tmp_path)) == {"neighbor"}


def test_a_size_that_can_not_be_measured_ends_the_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Stage(tmp_path, monkeypatch)

    def measure(run: Settings) -> StepCost:
        if run["data"]["edges"] > 1000:
            raise ResourceError("too large")
        return replace(COST, triples=run["data"]["edges"])

    monkeypatch.setattr(compare, "measure_step", measure)
    wanted = CompareSettings(
        strategies=["neighbor"], seeds=[0], minutes=1.0, sizes=[4000, 800, 2000]
    )
    terms = terms_of([*SMALL, f"root={tmp_path}"], wanted)
    (found,) = Comparison(wanted, terms, tmp_path, show.console(quiet=True)).run()
    assert [cost.triples for cost in found.sizes] == [800]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ((*SMALL, "compare.own={neighbor: {fanout: [3]}}"), "neighbor: .*fanout"),
        ((*SMALL, "compare.sizes=[900,1]"), "full_batch: data.edges is 1"),
        (("data=triples", "data.path=.", "compare.sizes=[900]"), "data=synthetic"),
        ((*SMALL, "data.label_split=[1,0,0]"), "data.label_split="),
        (("data=synthetic", "data.edges=2000", "data.split=[1,0,0]"), "data.split="),
    ],
)
def test_what_can_not_be_compared_is_refused_before_anything_trains(
    wrong: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stage = Stage(tmp_path, monkeypatch)
    names = "compare.strategies=[full_batch,neighbor]"
    assert main(["compare", *wrong, names, f"root={tmp_path}"]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not stage.began
    assert not list((tmp_path / "compare").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("experiment", groups()["experiment"])
def test_all_strategies_can_be_compared_under_every_experiment(
    experiment: str, tmp_path: Path
) -> None:
    """Their settings fit each other, as far as a graph of one triple tells."""
    # Some are meant for an accelerator, which need not be here.
    given = [f"experiment={experiment}", "trainer=cpu", f"root={tmp_path}"]
    composed = compose.settings(given, name="compare")
    if "path" in composed["data"]:
        (tmp_path / "triples.tsv").write_text("a\tr\tb\n")
        given.append(f"data.path={tmp_path / 'triples.tsv'}")
    wanted = CompareSettings(**{**composed["compare"], "seeds": [0]})
    comparison = Comparison(wanted, terms_of(given, wanted), tmp_path, show.console(quiet=True))
    if "encoder" not in composed:  # a task with a strategy of its own
        with pytest.raises(ConfigError, match="nothing to compare it with"):
            comparison.plan(wanted.strategies[0])
        return
    for strategy in wanted.strategies:
        assert comparison.plan(strategy).runs


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"strategies": []}, "different ones"),
        ({"seeds": [1, 1]}, "different ones"),
        ({"minutes": 0.0}, "positive"),
        ({"sizes": [900, 0]}, "compare.sizes"),
        ({"own": {"cluster": {}}}, "none of compare.strategies"),
    ],
)
def test_what_cannot_work_is_refused(wrong: dict[str, object], message: str) -> None:
    given = {"strategies": ["neighbor"], "seeds": [0], "minutes": 1.0, **wrong}
    with pytest.raises(ConfigError, match=message):
        CompareSettings(**given)  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_command_from_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # A store of its own, whose parts nobody has made yet.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
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
    assert rows["precomputed"]["encoder"] == "SIGN"
    for name in ("cluster", "precomputed", "halo"):
        assert float(rows[name]["prepared_seconds"]) > 0
    assert float(rows["neighbor"]["prepared_seconds"]) == 0
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
