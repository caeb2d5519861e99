"""Run as a program: two processes together, against one alone; prints what rank 0 found."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from rich.console import Console

from kgscale.graph.known import KnownFacts
from kgscale.inference.embed import GraphVectors
from kgscale.inference.evaluate import RankReport, evaluate, model_ranker
from kgscale.kernels.threads import set_threads
from kgscale.models.decoders import DistMult
from kgscale.training.data import GraphData
from kgscale.training.distributed import exchange_rows, process_group, rank, sum_over_ranks
from kgscale.training.fit import TrainerSettings, fit
from tests.graphs import adjacency, random_triples
from tests.training import toys

WRITES = ("open", "os.mkdir", "os.rename", "os.remove", "shutil.rmtree")


def backward(candidates: Any, *, batch_size: int, rank: int, world_size: int) -> dict[str, Any]:
    """Gradients of one rank's share of the first step."""
    module = toys.module(n3=0.05)
    trainer = SimpleNamespace(world_size=world_size, accumulate_grad_batches=1)
    module._trainer = trainer  # type: ignore[assignment]
    module.log = lambda *_, **__: None  # type: ignore[method-assign,assignment]
    strategy = toys.strategy(batch_size=batch_size, candidates=candidates)
    batch = strategy.batch(0, 0, rank=rank, world_size=world_size)
    module.training_step(batch, 0).backward()
    table = module.model.inputs.table.weight
    if world_size > 1:
        assert table.grad is not None
        table.grad = exchange_rows(table.grad)
        for parameter in module.parameters():
            if parameter is not table and parameter.grad is not None:
                dist.all_reduce(parameter.grad)  # as DDP does: the mean
                parameter.grad /= world_size
    return toys.gradients(module)


def largest_difference(candidates: Any) -> float:
    shared = backward(candidates, batch_size=4, rank=rank(), world_size=2)
    alone = backward(candidates, batch_size=8, rank=0, world_size=1)
    assert any(grad.abs().max() > 1e-3 for grad in alone.values())
    return max(float((shared[name] - alone[name]).abs().max()) for name in alone)


def reports_equal() -> bool:
    """Sums of ranks' reports against the report of one, with enough queries for both."""
    triples = random_triples(4000, num_entities=150, num_relations=9)
    graph = adjacency(triples, num_entities=150, num_relations=9)
    # Few distinct values: many ties.
    vectors = GraphVectors(
        entity=torch.randint(-2, 3, (150, 4), generator=torch.Generator().manual_seed(0)).float(),
        relation=torch.ones(18, 4),
    )
    ranker = model_ranker(vectors, DistMult(dim=4), KnownFacts(graph), memory=1 << 20)
    whole = evaluate(ranker, triples, graph)
    mine = evaluate(ranker, triples, graph, shard=rank(), num_shards=2)
    assert mine.relation.sum() > 0
    total: RankReport = sum_over_ranks(mine)
    return all(
        torch.equal(getattr(whole, field.name), getattr(total, field.name))
        for field in fields(RankReport)
    )


def train(directory: Path) -> dict[str, Any]:
    """A real Trainer over both ranks; what rank 1 wrote meanwhile, and where the ranks ended."""
    written = []

    def hook(event: str, arguments: Any) -> None:
        if event in WRITES and str(arguments[0]).startswith(str(directory)):
            reading = event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            written.extend([] if reading else [f"{event} {arguments[0]}"])

    sys.addaudithook(hook)
    module, strategy = toys.module(encoder_settings={"dropout": 0.3}), toys.strategy(batch_size=4)
    settings = TrainerSettings(devices=2, threads=1, max_epochs=2, accelerator="cpu")
    fitted = fit(module, GraphData(strategy), directory, settings, console=Console(quiet=True))
    weights = torch.cat([parameter.detach().flatten() for parameter in module.parameters()])
    both = [torch.zeros_like(weights) for _ in range(2)]
    dist.all_gather(both, weights)
    count = torch.tensor(len(written) if rank() else 0)
    dist.all_reduce(count)
    return {
        "writes_of_rank_1": int(count),
        "weights_equal": torch.equal(*both),
        "metrics": fitted.metrics,
    }


def main() -> None:
    directory = Path(sys.argv[1])
    set_threads(1)
    with process_group("gloo", 2, ["-m", "tests.training.ranks", str(directory)]):
        found = {
            "gradients": {str(many): largest_difference(many) for many in ("all", 5)},
            "reports_equal": reports_equal(),
            "training": train(directory),
        }
        if rank() == 0:
            print(json.dumps(found))


if __name__ == "__main__":
    main()
