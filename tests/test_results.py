"""The page of results from results that are made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.scripts import script


def result(seed: int, mrr: float) -> dict[str, Any]:
    test = {"mrr": mrr, "hits@1": 0.25, "hits@3": 0.5, "hits@10": 0.75}
    return {
        "command": f"python -m kgscale experiment=demo seed={seed}",
        "task": "link_prediction",
        "data": {"name": "hpo"},
        "encoder": "CompGCN",
        "decoder": "ComplEx",
        "strategy": "NeighborStrategy",
        "seed": seed,
        "monitor": "mrr",
        "threads": 2,
        "metrics": {"test": test},
        "seconds": {
            "train_cpu": 60.0 + 120 * seed,
            "total": 90.0 + 60 * seed,
            "evaluate_cpu": 60.0,
        },
        "revision": "abc",
        "peak_memory_bytes": 1 << 29,
        "curve": [[0.5, mrr / 2], [1.0, mrr]],
    }


def test_means_by_hand_and_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = script("results")
    (tmp_path / "results").mkdir()
    (tmp_path / "docs").mkdir()
    for seed, mrr in enumerate((0.25, 0.375)):
        file = tmp_path / "results" / f"demo-{seed}.json"
        needed = [{"row": "fb15k237-complex", "train_cpu": 240.0}]
        file.write_text(json.dumps({**result(seed, mrr), "needed": needed}))
    monkeypatch.setattr(results, "HERE", tmp_path)
    monkeypatch.setattr(results, "PAGE", tmp_path / "docs" / "results.md")
    results.main()
    page = (tmp_path / "docs" / "results.md").read_text()
    (row,) = (line for line in page.splitlines() if line.startswith("| `demo`"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:6] == ["hpo", "CompGCN + ComplEx", "NeighborStrategy", "2", "0.3125 ± 0.0884"]
    assert cells[9:12] == ["3.0", "2", "0.50"], "with the run that it needed"
    assert "`python -m kgscale experiment=demo seed=0`" in page
    assert "2.0 minutes passed; final ranking 0.5; commit abc." in page
    assert "RUN is that of `fb15k237-complex`, at that time 2.0 minutes, counted in." in page
    assert "![hpo](curves/hpo.png)" in page
    assert (tmp_path / "docs" / "curves" / "hpo.png").stat().st_size > 1000


def test_entities_never_seen_have_a_table_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = script("results")
    (tmp_path / "results").mkdir()
    (tmp_path / "docs").mkdir()
    for seed, mrr in enumerate((0.25, 0.375)):
        run = {**result(seed, 0.5), "task": "path_reasoning"}
        elsewhere = {"name": "other", "mrr": mrr, "hits@10": 0.5, "coverage": 0.75}
        run["metrics"]["inductive"] = {"test": {**elsewhere, "among_negatives": {"hits@10": 0.875}}}
        file = tmp_path / "results" / f"grail-wn18rr-v1-{seed}.json"
        file.write_text(json.dumps(run))
    monkeypatch.setattr(results, "HERE", tmp_path)
    monkeypatch.setattr(results, "PAGE", tmp_path / "docs" / "results.md")
    results.main()
    page = (tmp_path / "docs" / "results.md").read_text()
    _, row = (line for line in page.splitlines() if line.startswith("| `grail-wn18rr-v1`"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:5] == ["other", "2", "0.3125 ± 0.0884", "0.5000 ± 0.0000"]
    assert cells[5:8] == ["0.8750 ± 0.0000", "75.0%", "1.0"]


def test_questions_by_structure(tmp_path: Path) -> None:
    results = script("results")
    metrics = {"mrr": 0.25, "hits@1": 0.125, "hits@3": 0.25, "hits@10": 0.5}
    asked = {"1p": {**metrics, "questions": 3}, "positive": {**metrics, "structures": 1}}
    part = {"1p": {**metrics, "mrr": 0.75, "questions": 1}}
    found = {"all": asked, "one_link": part, "more_links": {}, "width": 16, "negation": 3.0}
    runs = []
    for seed, mrr in enumerate((0.25, 0.5)):
        run = result(seed, mrr)
        own = {**found, "all": {**asked, "1p": {**asked["1p"], "mrr": mrr}}}
        run["metrics"]["questions"] = {"test": own}
        runs.append(run)
    lines = results.questions("row", runs)
    assert lines[0] == "`row` (width 16, negation 3.0):"
    assert "| 1p | 3 | 0.3750 | 0.1250 | 0.2500 | 0.5000 | 0.7500 |  |" in lines
    assert "| mean without *not* |  | 0.2500 | 0.1250 | 0.2500 | 0.5000 |  |  |" in lines
