"""Batch prediction against the bare matrix products of the same questions, and 2 GB.

100,000 distinct (head, relation) questions of FB15k-237, those that its triples answer first and
then pairs drawn at random, are answered by ``python -m kgscale predict queries=FILE k=10`` with
ComplEx of the recipe's 2,048 numbers, trained for seconds: what it knows makes no difference to the
time. The bare products are those of the same questions' vectors with all entities in float32, 256
at a time, and nothing else; both take turns, in processes of their own, and the medians of the
rounds are compared: processor seconds, which other processes on the machine change little, and
elapsed ones. Ours are those of the whole process: imports, opening the run, reading, finding the
keys, leaving out known facts, probabilities, and the file written. Needs fb15k-237 in the folder
that KGSCALE_SHARED_DATA names. With ``--quick`` a tenth of the questions, once.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch

import kgscale
from benchmarks.process import children_watched, run_code
from kgscale.tasks.runs import Run

QUERIES, ROUNDS, GB, SEED = 100_000, 3, 2.0, 0
OURS = """
import sys
from kgscale.cli import main
raise SystemExit(main(["predict", f"run={sys.argv[1]}", f"queries={sys.argv[2]}", "k=10",
                       f"output={sys.argv[3]}"]))
"""
BARE = """
import json, sys, time
import torch
import kgscale
run = kgscale.load(sys.argv[1])
asked = torch.load(sys.argv[2], weights_only=True)
vectors, decoder = run.vectors, run.model.decoder
out, seconds, cpu = torch.empty(256, len(vectors.entity)), 0.0, 0.0
for block in asked.split(256):
    query = decoder.query(vectors.rows(block[:, 0]), vectors.of(block[:, 1]))
    begin, own = time.perf_counter(), time.process_time()
    torch.mm(query, vectors.entity.T, out=out[: len(block)])
    seconds, cpu = seconds + time.perf_counter() - begin, cpu + time.process_time() - own
print(json.dumps([seconds, cpu]))
"""


def run(*, quick: bool = False) -> list[dict[str, object]]:
    shared = os.environ.get("KGSCALE_SHARED_DATA")
    if not shared or not (Path(shared) / "fb15k-237").is_dir():
        print("export: KGSCALE_SHARED_DATA names no folder with fb15k-237, rows left out")
        return []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trained = kgscale.train(
            "experiment=fb15k237/complex",
            f"data.path={shared}/fb15k-237",
            f"root={folder}",
            f"store.root={folder}/stores",
            "trainer.max_seconds=10",
            "evaluation.validate_on=100",
            "evaluation.test=false",
            "predictions.pairs=64",
        )
        write_questions(trained, folder, QUERIES // 10 if quick else QUERIES)
        ours, bare, peak = [], [], 0
        for _ in range(1 if quick else ROUNDS):
            begin = time.perf_counter()
            with children_watched(interval=0.05) as used:
                run_code(OURS, trained.directory, folder / "asked.tsv", folder / "out")
            ours.append((time.perf_counter() - begin, used.cpu))
            peak = max(peak, used.peak)
            bare.append(json.loads(run_code(BARE, trained.directory, folder / "asked.pt")))
    (our_time, our_cpu), (time_of, cpu_of) = (
        [statistics.median(column) for column in zip(*rows, strict=True)] for rows in (ours, bare)
    )
    peer = "bare products of all questions"
    return [
        _row("export_predict", our_cpu, cpu_of, "s of processor", peer),
        _row("export_predict_elapsed", our_time, time_of, "s", peer),
        _row("export_memory", peak / 1e9, GB, "GB", "2 GB"),
    ]


def write_questions(trained: Run, folder: Path, count: int) -> None:
    """``asked.tsv`` by keys, and ``asked.pt`` by numbers."""
    store, generator = trained.store, torch.Generator().manual_seed(SEED)
    facts = torch.cat([store.triples(split)[:, :2] for split in ("train", "valid", "test")])
    sizes = torch.tensor([store.num_entities, store.num_relations])
    drawn = (torch.rand(2 * count, 2, generator=generator, dtype=torch.float64) * sizes).long()
    known = torch.unique(facts, dim=0)
    known = known[torch.randperm(len(known), generator=generator)]
    code, first = torch.unique(
        torch.cat([known, drawn]) @ torch.tensor([store.num_relations, 1]), return_inverse=True
    )
    place = torch.full_like(code, len(first)).scatter_reduce(
        0, first, torch.arange(len(first)), "amin"
    )
    asked = torch.cat([known, drawn])[place.sort().values[:count]]
    asked = asked[torch.randperm(count, generator=generator)]
    torch.save(asked, folder / "asked.pt")
    head, relation = store.entity_keys(asked[:, 0]), store.relation_keys(asked[:, 1])
    lines = [f"{one}\t{kind}\n" for one, kind in zip(head, relation, strict=True)]
    (folder / "asked.tsv").write_text("".join(["head\trelation\n", *lines]), encoding="utf-8")


def _row(work: str, ours: float, theirs: float, unit: str, peer: str) -> dict[str, object]:
    return {
        "work": work, "ours": ours, "theirs": theirs, "unit": unit, "ratio": theirs / ours,
        "peer": peer,
    }  # fmt: skip
