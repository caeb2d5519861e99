"""Questions of two hops against two minutes and 4 GB.

1,000 questions drawn from NELL-995's test links are answered and ranked by ComplEx of the recipe's
size, trained for an epoch: what it knows makes no difference to the time. Elapsed seconds of the
answering alone, and the memory of the process, opening the run included. Needs nell-betae in the
folder that KGSCALE_SHARED_DATA names. With ``--quick`` a tenth of the questions.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import kgscale
from benchmarks.process import children_watched, run_code

QUESTIONS, SECONDS, GIB = 1000, 120.0, 4.0
CODE = """
import json, sys, time
import kgscale
from kgscale.inference.queries.draw import Drawer
from kgscale.inference.queries.edges import Observed
from kgscale.inference.queries.measure import measure
from kgscale.tasks.questions import QuestionSettings, answerer
run = kgscale.load(sys.argv[1])
graph = Observed.at(run.store, "test")
asked = list(Drawer(graph=graph, seed=0).draw("2p", int(sys.argv[2])))
how = QuestionSettings(width=16, negation=1.0)
begin = time.monotonic()
report = measure(asked, answerer(run.predictor, graph, how, memory=run.memory), graph.edges)
print(json.dumps([time.monotonic() - begin, len(asked)]))
"""


def run(*, quick: bool = False) -> list[dict[str, object]]:
    shared = os.environ.get("KGSCALE_SHARED_DATA")
    if not shared or not (Path(shared) / "nell-betae").is_dir():
        print("questions: KGSCALE_SHARED_DATA names no folder with nell-betae, rows left out")
        return []
    count = QUESTIONS // 10 if quick else QUESTIONS
    with tempfile.TemporaryDirectory() as folder:
        trained = kgscale.train(
            "experiment=nell/complex",
            f"data.path={shared}/nell-betae",
            f"root={folder}",
            f"store.root={folder}/stores",
            "trainer.max_epochs=1",
            "evaluation.test=false",
            "evaluation.questions.count=1",
        )
        with children_watched() as used:
            seconds, asked = json.loads(run_code(CODE, trained.directory, count))
    return [
        _row("questions_time", seconds, SECONDS, "s", f"two minutes for {asked:,} of two hops"),
        _row("questions_memory", used.peak / 2**30, GIB, "GiB", "4 GiB"),
    ]


def _row(work: str, ours: float, limit: float, unit: str, peer: str) -> dict[str, object]:
    return {
        "work": work, "ours": ours, "theirs": limit, "unit": unit, "ratio": limit / ours,
        "peer": peer,
    }  # fmt: skip
