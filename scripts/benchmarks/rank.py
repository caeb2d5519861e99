"""Filtered ranking of a test set on both sides, with DistMult vectors of 400 numbers in float32.

``rank``: from triples and vectors to realistic MRR, grouping and filters included, against
PyKEEN's evaluator, which would take half an hour: its time for 512 triples is extended. Each
distinct query (entity, relation) is scored once, however many answers it has. ``rank_limit``:
every query by itself, against nothing but the matrix products of all queries and candidates.
"""

from __future__ import annotations

import csv
import gzip
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from kgscale.kernels.rank import rank_all
from kgscale.kernels.sample import expand_runs

Result = TypeVar("Result")

DIM, ROWS = 400, 256
PYKEEN_BATCH = 32  # its default, and the fastest: it stores batch * entities * DIM products
ENTITIES, RELATIONS, SIZES = 14_541, 237, (272_115, 17_535, 20_466)


def run(*, quick: bool = False) -> list[dict[str, object]]:
    splits, name = fb15k_237()
    test = splits[2][:2000] if quick else splits[2]
    every = torch.cat(splits)
    generator = torch.Generator().manual_seed(0)
    entity = torch.randn(ENTITIES, DIM, generator=generator) / DIM**0.5
    relation = torch.randn(RELATIONS, DIM, generator=generator) / DIM**0.5
    mrr(test[:100], every, entity, relation, group=True)
    measured: dict[str, list[float]] = {"bare": [], "single": [], "grouped": []}
    for _ in range(3):
        measured["bare"].append(timed(lambda: products(test, entity, relation))[0])
        for kind in ("single", "grouped"):
            group = kind == "grouped"
            work = partial(mrr, test, every, entity, relation, group=group)
            measured[kind].append(timed(work)[0])
    bare, single, grouped = (statistics.median(seconds) for seconds in measured.values())
    rows = [row("rank_limit", single, f"bare products of all queries, {name}", bare)]
    try:
        theirs = pykeen_seconds(splits, entity, relation, len(test), quick=quick)
    except ImportError:
        print("rank: PyKEEN is missing (extra `peers`), row left out")
    else:
        rows.insert(0, row("rank", grouped, f"PyKEEN's evaluator, {name}, from a part", theirs))
    return rows


def row(work: str, ours: float, peer: str, theirs: float) -> dict[str, object]:
    numbers = {"ours": ours, "peer": peer, "theirs": theirs, "ratio": theirs / ours}
    return {"work": work, **numbers, "unit": "s"}


def pykeen_seconds(
    splits: list[Tensor], entity: Tensor, relation: Tensor, triples: int, *, quick: bool
) -> float:
    """For the whole test set, from its time for one batch and for more; checks the MRR."""
    few, many = PYKEEN_BATCH, PYKEEN_BATCH * (5 if quick else 16)
    first, _ = timed(lambda: pykeen_mrr(splits[2][:few], splits, entity, relation))
    both, theirs = timed(lambda: pykeen_mrr(splits[2][:many], splits, entity, relation))
    ours = mrr(splits[2][:many], torch.cat(splits), entity, relation, group=True)
    if abs(ours - theirs) > 1e-4 * theirs:
        raise AssertionError(f"MRR {ours} differs from PyKEEN's {theirs}")
    return first + (both - first) * (triples - few) / (many - few)


def mrr(test: Tensor, every: Tensor, entity: Tensor, relation: Tensor, *, group: bool) -> float:
    """Realistic filtered MRR over both sides, of DistMult."""

    def question(side: int, asked: Tensor, kind: Tensor) -> Tensor:
        return entity[asked] * relation[kind]

    return mrr_of(test, every, entity, question, group=group)


def mrr_of(
    test: Tensor,
    every: Tensor,
    entity: Tensor,
    question: Callable[[int, Tensor, Tensor], Tensor],
    *,
    group: bool = True,
) -> float:
    """Of vectors that are compared with those of all entities.

    Args:
        question: its vectors, from the column of the entity asked about, entities and relations.
    """
    total = 0.0
    for query, answer in ((0, 2), (2, 0)):
        key = every[:, query] * RELATIONS + every[:, 1]
        order = key.argsort()
        key, known = key[order], every[order, answer]
        asked = test[:, query] * RELATIONS + test[:, 1]
        row = torch.arange(len(asked))
        if group:
            asked, row = asked.unique(return_inverse=True)
        start, stop = torch.searchsorted(key, asked), torch.searchsorted(key, asked, right=True)
        position, _ = expand_runs(start, stop)
        bounds = torch.cat([start.new_zeros(1), (stop - start).cumsum(0)])
        vectors = question(query, asked // RELATIONS, asked % RELATIONS)
        better, tied = rank_all(
            vectors, entity, test[:, answer], bounds, known[position], query_row=row
        )
        total += (1 / (1 + better + tied / 2)).double().mean().item()
    return total / 2


def products(test: Tensor, entity: Tensor, relation: Tensor) -> None:
    scores = torch.empty(ROWS, ENTITIES)
    for query in (0, 2):
        for block in test.split(ROWS):
            vectors = entity[block[:, query]] * relation[block[:, 1]]
            torch.mm(vectors, entity.T, out=scores[: len(block)])


def pykeen_mrr(test: Tensor, splits: list[Tensor], entity: Tensor, relation: Tensor) -> float:
    from pykeen.evaluation import RankBasedEvaluator
    from pykeen.models import DistMult
    from pykeen.triples import CoreTriplesFactory

    factory = CoreTriplesFactory(splits[0], ENTITIES, RELATIONS)
    model = DistMult(triples_factory=factory, embedding_dim=DIM, random_seed=0)
    with torch.no_grad():
        for part, table in (
            (model.entity_representations[0], entity),
            (model.relation_representations[0], relation),
        ):
            next(iter(part.parameters())).copy_(table)
    result = RankBasedEvaluator(filtered=True).evaluate(
        model, test, batch_size=PYKEEN_BATCH, additional_filter_triples=splits, use_tqdm=False
    )
    return float(result.get_metric("both.realistic.inverse_harmonic_mean_rank"))


def fb15k_237() -> tuple[list[Tensor], str]:
    """The three splits; random triples of the same sizes where the data set isn't there."""
    shared = os.environ.get("KGSCALE_SHARED_DATA")
    root = Path(shared) if shared else Path(__file__).resolve().parents[3] / "shared" / "data"
    files = [root / "fb15k-237" / f"{name}.tsv.gz" for name in ("train", "valid", "test")]
    if not all(file.exists() for file in files):
        print("rank: FB15k-237 isn't there; random triples of the same sizes instead")
        bounds = torch.tensor([ENTITIES, RELATIONS, ENTITIES])
        generator = torch.Generator().manual_seed(0)
        draw = torch.rand(sum(SIZES) + 1000, 3, generator=generator) * bounds
        return list(draw.long().unique(dim=0)[torch.randperm(sum(SIZES))].split(SIZES)), "random"
    entity: dict[str, int] = {}
    relation: dict[str, int] = {}
    splits = []
    for file in files:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            triples = [
                (
                    entity.setdefault(head, len(entity)),
                    relation.setdefault(name, len(relation)),
                    entity.setdefault(tail, len(entity)),
                )
                for head, name, tail in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
            ]
        splits.append(torch.tensor(triples))
    return splits, "FB15k-237"


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result
