"""What OGB's form asks for, from runs; and the files that OGB-LSC takes."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import kgscale
from kgscale.cli import main
from kgscale.errors import ConfigError, DataError
from kgscale.tasks import leaderboard
from tests.ogb.miniature import write
from tests.ogb.test_runs import overrides

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return call


def test_a_sweep_becomes_a_form(command: Command, ogb: ModuleType, tmp_path: Path) -> None:
    write("ogbl-ddi", tmp_path / "dataset")
    code, _, _ = command("-m", *overrides("ogbl-ddi", tmp_path), "seed=range(3)")
    assert code == 0
    code, out, _ = command(
        "leaderboard",
        f"runs={tmp_path / 'outputs'}",
        f"output={tmp_path / 'form'}",
        "method=Mine, sampled",
    )
    assert code == 0
    found = json.loads((tmp_path / "form" / "leaderboard.json").read_text())
    results = [
        json.loads(file.read_text()) for file in (tmp_path / "outputs").rglob("results.json")
    ]
    for name, split in (("test", "test"), ("validation", "valid")):
        values = [result["metrics"]["official"][split]["hits@20"] for result in results]
        assert found[name]["mean"] == pytest.approx(statistics.mean(values))
        assert found[name]["deviation"] == pytest.approx(np.std(values, ddof=1))
    assert found["dataset"] == "ogbl-ddi"
    assert found["method"] == "Mine, sampled"
    assert found["seeds"] == [0, 1, 2]
    assert found["parameters"] == results[0]["parameters"]
    assert found["hardware"]["cores"]
    assert all(text.startswith("python -m kgscale task=") for text in found["commands"])
    assert {text.rsplit(maxsplit=1)[1] for text in found["commands"]} == {
        "seed=0",
        "seed=1",
        "seed=2",
    }
    assert "note: OGB asks for 10 runs with different seeds; these have 3" in out
    assert "test Hits@20" in out


def test_runs_that_are_none(command: Command, tmp_path: Path) -> None:
    code, _, error = command("leaderboard", f"runs={tmp_path}")
    assert (code, error) == (2, f"kgscale: runs={tmp_path}: no run with results there\n")
    code, _, error = command("leaderboard")
    assert (code, error) == (2, "kgscale: runs=DIR is missing: run directories of one recipe\n")


def made(folder: Path, name: str, **changed: Any) -> Path:
    directory = folder / name
    directory.mkdir()
    official = {
        "benchmark": "ogbn-mag",
        "ogb": "1.3.6",
        "valid": {"acc": 0.4},
        "test": {"acc": 0.5},
    }
    results = {"seed": 0, "parameters": 7, "revision": "abc", "hardware": {}, "encoder": "X"}
    content = {**results, "metrics": {"official": {**official, **changed.pop("official", {})}}}
    (directory / "results.json").write_text(json.dumps({**content, **changed}))
    (directory / "config.yaml").write_text("seed: 0\n")
    return directory


def test_what_the_form_would_be_refused_for(tmp_path: Path) -> None:
    runs = [
        made(tmp_path, "a"),
        made(tmp_path, "b", parameters=8),
        made(tmp_path, "c", revision=None),
    ]
    notes = " ".join(leaderboard.fields(runs, method=None)["notes"])
    for part in ("these have 1", "same seed", "different sizes", "different commits", "unknown"):
        assert part in notes


def test_what_runs_of_one_recipe_do_not_differ_in(tmp_path: Path) -> None:
    runs = [
        made(tmp_path, "a"),
        made(tmp_path, "b", revision="abc-dirty", seed=1, hardware={"cores": "9 cores"}),
        made(tmp_path, "c", official={"test": {}}, seed=2),
    ]
    one: dict[str, Any] = {"seed": 0, "encoder": {"dim": 16}, "trainer": {"threads": 1}}
    other = {**one, "seed": 1, "trainer": {"threads": 2}}
    further = {**one, "encoder": {"dim": 32, "depth": 1}}
    notes = leaderboard.fields(runs, method=None, settings=[one, other, further])["notes"]
    assert notes[-2:] == [
        "the runs differ in encoder.depth (1, None): they are not of one recipe",
        "the runs differ in encoder.dim (16, 32): they are not of one recipe",
    ]
    told = " ".join(notes)
    for part in ("(-dirty)", "different hardware", "not measured by the runs with seed 2:"):
        assert part in told
    found = leaderboard.fields(runs[:2], method=None, settings=[one, other])
    assert not any("differ in" in note or "not measured" in note for note in found["notes"])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"metrics": {"official": {}}}', "\xff"])
def test_damaged_results(text: str, command: Command, tmp_path: Path) -> None:
    directory = made(tmp_path, "a")
    (directory / "results.json").write_bytes(text.encode("latin-1"))
    code, _, error = command("leaderboard", f"runs={tmp_path}", f"output={tmp_path / 'form'}")
    assert code == 3
    assert error.startswith(f"kgscale: {directory / 'results.json'} is damaged (")
    assert error.count("\n") == 1


def test_the_best_in_validation_answers(tmp_path: Path) -> None:
    runs = [
        made(tmp_path, name, official={"valid": {"acc": value}})
        for name, value in (("a", 0.1), ("b", 0.3), ("c", 0.3))
    ]
    assert leaderboard.best_run(runs) == runs[1]


def test_a_test_that_was_not_measured(command: Command, ogb: ModuleType, tmp_path: Path) -> None:
    """It isn't taken for one whose answers OGB keeps."""
    made(tmp_path, "a", official={"test": {}})
    code, out, error = command("leaderboard", f"runs={tmp_path}", f"output={tmp_path / 'form'}")
    assert (code, error) == (0, "")
    assert "not measured" in out
    assert "evaluation.test=true" in out.replace("\n", " ")


def test_several_benchmarks(tmp_path: Path) -> None:
    runs = [made(tmp_path, "a"), made(tmp_path, "b", official={"benchmark": "ogbn-arxiv"})]
    with pytest.raises(ConfigError, match="several benchmarks, ogbn-arxiv, ogbn-mag"):
        leaderboard.fields(runs, method=None)


def test_a_run_that_was_not_measured(tmp_path: Path) -> None:
    directory = made(tmp_path, "a")
    content = {"metrics": {}, "seed": 0, "parameters": 7, "revision": "abc"}
    (directory / "results.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="was not measured by OGB's Evaluator"):
        leaderboard.fields([directory], method=None)


@pytest.mark.parametrize(("mode", "size"), [("test-dev", 88_092), ("test-challenge", 58_726)])
def test_submission_of_mag240m(mode: str, size: int, ogb: ModuleType, tmp_path: Path) -> None:
    answers = torch.arange(size) % 153
    path = leaderboard.save_submission("mag240m", {"y_pred": answers}, mode, tmp_path)
    assert path.name == f"y_pred_mag240m_{mode}.npz"
    np.testing.assert_array_equal(np.load(path)["y_pred"], answers.numpy())
    with pytest.raises(DataError, match=f"OGB refuses the answers to {mode} of mag240m"):
        leaderboard.save_submission("mag240m", {"y_pred": answers[1:]}, mode, tmp_path)
    with pytest.raises(DataError, match=r"\(their number\)"):
        leaderboard.save_submission("mag240m", {"y_pred": answers[1:]}, mode, tmp_path)


@pytest.mark.parametrize(("mode", "size"), [("test-dev", 15_000), ("test-challenge", 10_000)])
def test_submission_of_wikikg90mv2(mode: str, size: int, ogb: ModuleType, tmp_path: Path) -> None:
    best = (np.arange(size)[:, None] * 7 + np.arange(10)).astype(np.int64)
    answers = {"h,r->t": {"t_pred_top10": best}}
    path = leaderboard.save_submission("wikikg90mv2", answers, mode, tmp_path)
    assert path.name == f"t_pred_wikikg90m-v2_{mode}.npz"
    np.testing.assert_array_equal(np.load(path)["t_pred_top10"], best)


def by_hand(
    run: Any, head: int, relation: int, facts: set[tuple[int, ...]], count: int = 10
) -> list[int]:
    """The numbers of the best tails, best first, one score at a time."""
    vectors, decoder = run.vectors, run.model.decoder
    keys = run.store.entity_keys(torch.arange(run.store.num_entities))
    place = {int(key): at for at, key in enumerate(keys)}
    kinds = run.store.relation_keys(torch.arange(run.store.num_relations))
    kind = [int(key) for key in kinds].index(relation)
    question = decoder.query(vectors.entity[[place[head]]], vectors.relation[[kind]])
    scores = {
        number: float(decoder.compare(question, vectors.entity[[at]]))
        for number, at in place.items()
        if (head, relation, number) not in facts
    }
    return sorted(scores, key=lambda number: -scores[number])[:count]


@pytest.mark.parametrize("name", ["mag240m", "wikikg90mv2"])
def test_answers_of_a_run(
    name: str, ogb: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of the questions, by OGB's numbers, none of them a fact of train."""
    saved: dict[str, Any] = {}
    guessed: set[int] = set()

    class Judge:
        def save_test_submission(self, answers: dict[str, Any], folder: str, mode: str) -> None:
            saved[mode] = answers
            Path(folder).mkdir(exist_ok=True)
            np.savez(Path(folder) / f"x_{mode}.npz", **answers)

    miniature = write(name, tmp_path / "dataset")
    run = kgscale.train(*overrides(name, tmp_path), quiet=True)
    monkeypatch.setattr(leaderboard, "evaluator", lambda benchmark: Judge())
    paths = leaderboard.write_submissions(run, tmp_path / "form")
    assert [path.name for path in paths] == ["x_test-dev.npz", "x_test-challenge.npz"]
    for mode, answers in saved.items():
        part = miniature.split[mode]
        if name == "mag240m":
            best = [run.predict(entity=f"paper:{number}", k=1)["label"] for number in part]
            assert answers["y_pred"].tolist() == [int(label) for (label,) in best]
            guessed |= set(answers["y_pred"].tolist())
        else:
            best = answers["h,r->t"]["t_pred_top10"]
            facts = set(map(tuple, miniature.split["train"].tolist()))
            asked = part["h,r->t"]["hr"]
            assert best.shape == (len(asked), 10)
            for (head, relation), tails in zip(asked.tolist(), best.tolist(), strict=True):
                assert tails == by_hand(run, head, relation, facts)
    assert name != "mag240m" or len(guessed) > 1
