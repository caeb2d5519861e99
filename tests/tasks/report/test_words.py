"""The verdict: what a reader takes away."""

from __future__ import annotations

from typing import Any

import pytest

from kgscale.tasks.report.words import TASKS, headline, verdict
from kgscale.tasks.start import TASKS as TRAINED


def run(metrics: dict[str, Any], *, monitor: str = "mrr", status: str = "done") -> dict[str, Any]:
    return {"metrics": metrics, "monitor": monitor, "status": status, "epochs": 2.5}


def test_every_task_has_its_words() -> None:
    assert TASKS.keys() == TRAINED.keys()


BETTER = {
    "valid": {"mrr": 0.5},
    "test": {"mrr": 0.34},
    "baseline": {"split": "test", "popularity": {"mrr": 0.04}},
}


@pytest.mark.parametrize(
    ("results", "told", "ahead"),
    [
        (run(BETTER), "Test MRR 0.340, where popularity has 0.040.", True),
        (
            run({**BETTER, "test": {"mrr": 0.04}}),
            "Test MRR 0.040, and popularity alone has 0.040: the model is no better.",
            False,
        ),
        (
            run(
                {
                    "valid": {"mrr": 0.5},
                    "test": {},
                    "baseline": {"split": "valid", "popularity": {"mrr": 0.1}},
                }
            ),
            "Validation MRR 0.500, where popularity has 0.100.",
            True,
        ),
        # Test was measured later, by the command evaluate.
        (
            run({**BETTER, "baseline": {"split": "valid", "popularity": {"mrr": 0.1}}}),
            "Test MRR 0.340, where popularity has 0.100 on validation.",
            True,
        ),
        (
            run(
                {
                    "test": {"ndcg@20": 0.3},
                    "baseline": {"split": "test", "a": {"ndcg@20": 0.2}, "b": {"ndcg@20": 0.25}},
                },
                monitor="ndcg@20",
            ),
            "Test NDCG@20 0.300, where the best of 2 baselines, b, has 0.250.",
            True,
        ),
        (
            run({"valid": {"mrr": 0.5}}, status="interrupted"),
            "Interrupted after 2.5 epochs; so far: Validation MRR 0.500.",
            None,
        ),
        (run({"valid": {}}), "Nothing was measured: no split had anything to measure on.", None),
        (run({"valid": {"mrr": 0.5}}), "Validation MRR 0.500; no baseline was measured.", None),
    ],
)  # fmt: skip
def test_verdicts(results: dict[str, Any], told: str, ahead: bool | None) -> None:
    found = verdict(results)
    assert (found.told, found.ahead) == (told, ahead)


def test_a_benchmark_s_metric_is_not_ours() -> None:
    assert headline(run(BETTER, monitor="official_mrr")) == ("test", "mrr", 0.34)
