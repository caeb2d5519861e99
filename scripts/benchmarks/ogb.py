"""Made graphs of the sizes of ogbl-wikikg2, ogbn-mag and a tenth of papers100M, in OGB's files.

``theirs`` is the limit we set ourselves, or the same step on FB15k-237 or on a graph a tenth as
large; the ratio is how far we stay below the limit, or how many times as long the step takes.
Minutes are processor seconds / 120. Memory is the peak of the proportional set size of all
processes, mapped files included. Steps are timed after 150 others, which bring into memory what an
epoch reads again and again. It writes about 30 GB below the folder for temporary files.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from benchmarks import ogb_layouts
from benchmarks.process import children_watched, run_code
from kgscale.cli import compose

GB = 1e9
INGEST = """
import json, sys
from kgscale.tasks.settings import RunSettings
from kgscale.tasks.training import prepared
print(prepared(RunSettings.of(json.loads(sys.argv[1]))).path)
"""
JUDGE = """
import json, sys, time
from dataclasses import replace
import torch
from kgscale.graph.asked import Questions
from kgscale.graph.known import KnownFacts
from kgscale.inference.embed import GraphVectors
from kgscale.inference.official import evaluator, measure_links
from kgscale.tasks.parts import GraphParts
from kgscale.tasks.settings import RunSettings
from kgscale.tasks.start import TASKS, threads
from kgscale.tasks.training import prepared
run = RunSettings.of(json.loads(sys.argv[1]))
store = prepared(run)
with threads(run.trainer.threads):
    parts = GraphParts.of(store, {})
    module, _, _ = TASKS["link_prediction"].assemble(run, parts)
    begin = time.perf_counter()
    vectors = module.embedder().every
    embedded = time.perf_counter() - begin
    asked = store.asked("test")
    some = replace(asked, **{n: getattr(asked, n)[:1000] for n in asked.__dataclass_fields__
                             if getattr(asked, n) is not None})
    evaluator("ogbl-wikikg2")
    begin = time.perf_counter()
    measure_links("ogbl-wikikg2", some, vectors, module.model.decoder,
                  KnownFacts(parts.graph), memory=run.memory)
    print(json.dumps([embedded, time.perf_counter() - begin]))
"""
TIMED = """
import json, statistics, sys, time
from kgscale.tasks.parts import GraphParts
from kgscale.tasks.settings import RunSettings
from kgscale.tasks.start import threads
from kgscale.tasks.steps import Steps
from kgscale.tasks.training import prepared
run = RunSettings.of(json.loads(sys.argv[1]))
store = prepared(run)
with threads(run.trainer.threads):
    steps, seconds = Steps(run, GraphParts.of(store, run.inputs.arguments())), []
    for _ in range(170):
        begin = time.perf_counter()
        steps.step(steps.batch())
        seconds.append(time.perf_counter() - begin)
print(statistics.median(seconds[150:]))
"""
SEEDS = """
import json, sys, time
from kgscale.tasks.parts import GraphParts
from kgscale.tasks.settings import RunSettings
from kgscale.tasks.start import TASKS, threads
from kgscale.tasks.steps import Steps
from kgscale.tasks.training import prepared
run = RunSettings.of(json.loads(sys.argv[1]))
with threads(run.trainer.threads):
    parts = GraphParts.of(prepared(run), {})
    steps, seeds = Steps(run, parts), 0
    while seeds < int(sys.argv[2]):
        batch = steps.batch()
        steps.step(batch)
        seeds += len(batch.query.node)
print(seeds)
"""


def run(*, quick: bool = False) -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory(prefix="kgscale-ogb-") as name:
        folder = Path(name)
        return [
            *wikikg2(folder, 0.02 if quick else 1.0),
            *mag(folder, 0.05 if quick else 1.0),
            *papers(folder, 0.005 if quick else 0.1),
        ]


def row(work: str, ours: float, peer: str, theirs: float, unit: str) -> dict[str, object]:
    """Below a limit, or beside the same step elsewhere."""
    ratio = theirs / ours if peer == "limit" else ours / theirs
    return {
        "work": work, "ours": ours, "peer": peer, "theirs": theirs, "ratio": ratio, "unit": unit,
    }  # fmt: skip


def ingest(
    folder: Path, task: str, data: str, work: str, limits: tuple[float, float]
) -> list[dict[str, object]]:
    own = settings(folder, f"task={task}", f"data={data}", f"data.path={folder / 'dataset'}")
    with children_watched() as used:
        run_code(INGEST, json.dumps(own))
    minutes, memory = limits
    found = [row(f"{work}_ingest_memory", used.peak / GB, "limit", memory, "GB")]
    if minutes:
        found.insert(0, row(f"{work}_ingest", used.cpu / 120, "limit", minutes, "minutes"))
    return found


def settings(folder: Path, *overrides: str) -> dict[str, object]:
    places = (f"store.root={folder / 'stores'}", "trainer.threads=2", "predictions.count=0")
    return compose.settings([*overrides, *places])


def wikikg2(folder: Path, part: float) -> list[dict[str, object]]:
    ogb_layouts.wikikg2(folder / "dataset", part=part)
    found = ingest(folder, "link_prediction", "ogbl_wikikg2", "ogb_wikikg2", (4, 6))
    step = ("strategy=neighbor", "strategy.batch_size=1024", "strategy.candidates=512")
    data = ("data=ogbl_wikikg2", f"data.path={folder / 'dataset'}")
    with children_watched() as used:
        large = float(run_code(TIMED, json.dumps(settings(folder, *data, *step))))
    memory = [used.peak]
    if shared := os.environ.get("KGSCALE_SHARED_DATA"):
        own = settings(folder, "data=triples", f"data.path={shared}/fb15k-237", *step)
        small = float(run_code(TIMED, json.dumps(own)))
        found.append(row("ogb_wikikg2_step", large, "FB15k-237", small, "s / step"))
    with children_watched() as used:
        told = run_code(JUDGE, json.dumps(settings(folder, *data, *step)))
    embedded, judged = json.loads(told)
    memory.append(used.peak)
    found += [
        row("ogb_wikikg2_embed", embedded / 60, "limit", 10, "minutes"),
        row("ogb_wikikg2_evaluate_1000", judged / 60, "limit", 10, "minutes"),
        row("ogb_wikikg2_memory", max(memory) / GB, "limit", 8, "GB"),
    ]
    return found


def mag(folder: Path, part: float) -> list[dict[str, object]]:
    ogb_layouts.mag(folder / "dataset", part=part)
    found = ingest(folder, "node_classification", "ogbn_mag", "ogb_mag", (0, 8))
    data = (f"data.path={folder / 'dataset'}",)
    with children_watched() as used:
        own = settings(folder, "experiment=ogb/mag_rgcn", *data)
        run_code(SEEDS, json.dumps(own), 10_000)
    found += [
        row("ogb_mag_rgcn_10000_seeds", used.cpu / 120, "limit", 10, "minutes"),
        row("ogb_mag_rgcn_memory", used.peak / GB, "limit", 8, "GB"),
    ]
    with children_watched() as used:
        own = settings(
            folder, "experiment=ogb/mag_sehgnn", *data, "trainer=cpu", "strategy.batch_size=1000"
        )
        run_code(SEEDS, json.dumps(own), 1)
    found += [
        row("ogb_mag_propagation", used.cpu / 120, "limit", 10, "minutes"),
        row("ogb_mag_propagation_memory", used.peak / GB, "limit", 8, "GB"),
    ]
    return found


def papers(folder: Path, part: float) -> list[dict[str, object]]:
    """``part`` of papers100M, and its steps against those of a tenth of that."""
    found, seconds = list[dict[str, object]](), []
    step = (
        "task=node_classification", "data=ogbn_papers100M", "encoder=sage", "strategy=neighbor",
        "strategy.batch_size=1024", "strategy.fanout=[15,10]",
    )  # fmt: skip
    for size in (part / 10, part):
        place = folder / f"papers-{size:g}"
        ogb_layouts.papers(place / "dataset", part=size)
        found = ingest(place, "node_classification", "ogbn_papers100M", "ogb_papers", (0, 8))
        with children_watched() as used:
            data = f"data.path={place / 'dataset'}"
            seconds.append(float(run_code(TIMED, json.dumps(settings(place, *step, data)))))
    small, large = seconds
    return [
        *found,
        row("ogb_papers_step", large, "a tenth as large", small, "s / step"),
        row("ogb_papers_step_memory", used.peak / GB, "limit", 8, "GB"),
    ]
