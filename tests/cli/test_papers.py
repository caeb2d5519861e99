"""Papers to come, from a made graph to predictions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command

SMALL = ("data.edges=3000", "task.dim=8", "trainer.threads=1", "trainer.max_epochs=2")


@pytest.mark.parametrize("ask", ["topic", "coauthor", "citation"])
def test_from_papers_to_answers(command: Command, tmp_path: Path, ask: str) -> None:
    own = (f"experiment=academic/{ask}", f"root={tmp_path}", f"store.root={tmp_path / 'stores'}")
    code, out, error = command(*own, *SMALL)
    assert (code, error) == (0, "")
    assert "asked in training" in out
    (run,) = (path.parent for path in tmp_path.glob("*/*/results.json"))
    results = json.loads((run / "results.json").read_text())
    assert results["status"] == "done"
    name = "accuracy" if ask == "topic" else "mrr"
    assert 0 < results["metrics"]["test"][name] <= 1
    if ask == "citation":
        assert command("predict", f"run={run}", "head=paper:5", "relation=cites")[0] == 0


@pytest.mark.parametrize("strategy", ["cluster", "full_batch", "random_nodes"])
def test_what_cuts_the_graph_finds_nothing_to_ask(
    command: Command, tmp_path: Path, strategy: str
) -> None:
    own = ("experiment=academic/citation", f"strategy={strategy}", f"root={tmp_path}")
    # The recipe's number of candidates belongs to its strategy.
    code, _, error = command(*own, *SMALL, "~strategy.candidates", f"store.root={tmp_path}/s")
    assert code == 2
    assert "set strategy=neighbor, subgraph or precomputed" in error


@pytest.mark.parametrize(
    "more",
    [
        ["strategy=subgraph", "strategy.size=50"],
        ["strategy=precomputed", "encoder=sign"],
    ],
)
def test_other_strategies_ask_the_same(command: Command, tmp_path: Path, more: list[str]) -> None:
    own = ("task=link_prediction", "data=papers", "data.ask=coauthor", *more, "inputs.learned=none")
    code, _, error = command(*own, *SMALL, f"root={tmp_path}", f"store.root={tmp_path}/s")
    assert (code, error) == (0, "")
