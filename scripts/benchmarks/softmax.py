"""Softmax training of ComplEx over all entities of FB15k-237, against PyKEEN's.

Both ask each distinct (entity, relation) of both directions once an epoch, 1,024 a step, with 200
complex numbers a vector, cross entropy over all entities without a penalty, and Adagrad; our
products are of bfloat16 numbers where these are faster at the start (``trainer.score_dtype=auto``).
``softmax``: seconds of an epoch, the second. ``softmax_mrr``: seconds of training until the
validation MRR is 0.30, looked at after every epoch (not in the time), or of six epochs without it.
``…_2048`` are ours against as many random candidates a step instead of all entities, as the recipes
have it, beside the same numbers of PyKEEN. With ``--quick`` a twentieth of the triples, and no MRR.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.rank import ENTITIES, RELATIONS, fb15k_237, mrr_of, row
from kgscale.cli import compose
from kgscale.kernels.threads import set_threads
from kgscale.tasks.parts import GraphParts
from kgscale.tasks.settings import RunSettings
from kgscale.tasks.steps import Steps
from kgscale.tasks.training import prepared

DIM, BATCH, RATE, INIT = 200, 1024, 0.05, 1e-3
GOAL, MOST = 0.30, 6


def run(*, quick: bool = False) -> list[dict[str, object]]:
    splits, name = fb15k_237()
    if quick:
        splits[0] = splits[0][::20]
    peer = f"PyKEEN's ComplEx, LCWA, {name}"
    with tempfile.TemporaryDirectory() as folder:
        ours = {"": Ours(splits, folder, "all"), "_2048": Ours(splits, folder, "2048")}
        try:
            theirs = Theirs(splits)
        except ImportError:
            print("softmax: PyKEEN is missing (extra `peers`), rows left out")
            return []
        own = {name: measured(one, quick=quick) for name, one in ours.items()}
        other, *to_their_goal = measured(theirs, quick=quick)
    rows = []
    for kind, (epoch, *to_goal) in own.items():
        rows.append(row(f"softmax{kind}", epoch, peer, other))
        if to_goal:
            told = f"{peer}, to MRR {GOAL}"
            rows.append(row(f"softmax{kind}_mrr", to_goal[0], told, to_their_goal[0]))
    return rows


def measured(one: Ours | Theirs, *, quick: bool) -> list[float]:
    """Seconds of the second epoch, and of all until the goal, or of ``MOST`` epochs without it."""
    seconds: list[float] = []
    while len(seconds) < 2 or not quick:
        seconds.append(one.epoch())
        mrr = 0.0 if quick else one.mrr()
        reached = "" if quick else f", MRR {mrr:.4f}"
        print(
            f"softmax: {one.name}, epoch {len(seconds)}: {seconds[-1]:.1f} s{reached}", flush=True
        )
        if len(seconds) > 1 and mrr >= GOAL:
            return [seconds[1], sum(seconds)]
        if len(seconds) == MOST:
            print(f"softmax: {one.name} has not reached {GOAL} in {MOST} epochs", flush=True)
            return [seconds[1], sum(seconds)]
    return seconds[1:]


class Ours:
    """kgscale's training, step by step."""

    def __init__(self, splits: list[Tensor], folder: str, candidates: str) -> None:
        for split, triples in zip(("train", "valid", "test"), splits, strict=True):
            lines = ("\t".join(map(str, triple)) for triple in triples.tolist())
            (Path(folder) / f"{split}.tsv").write_text("\n".join(lines) + "\n")
        more = (f"data.path={folder}", f"store.root={folder}/stores", "data.unseen_relation=drop")
        settings = compose.settings(
            [
                "data=triples",
                *more,
                "encoder=embedding",
                f"encoder.dim={2 * DIM}",
                f"encoder.scale={INIT}",
                f"strategy.batch_size={BATCH}",
                f"strategy.candidates={candidates}",
                f"optimizer.lr={RATE}",
                "loss.n3=0",
                "trainer.score_dtype=auto",
            ]
        )
        checked = RunSettings.of(settings)
        set_threads(checked.trainer.threads)
        self.trained = Steps(checked, GraphParts.of(prepared(checked), {}))
        self.name = f"kgscale against {candidates}"

    def epoch(self) -> float:
        begin = time.perf_counter()
        for _ in range(self.trained.strategy.num_batches(world_size=1)):
            self.trained.step(self.trained.batch())
        return time.perf_counter() - begin

    def mrr(self) -> float:
        return float(self.trained.module.validate()["mrr"])


class Theirs:
    """PyKEEN's training loop."""

    name = "PyKEEN"

    def __init__(self, splits: list[Tensor]) -> None:
        from pykeen.losses import CrossEntropyLoss
        from pykeen.models import ComplEx
        from pykeen.training import LCWATrainingLoop
        from pykeen.triples import CoreTriplesFactory

        self.splits, self.epochs = splits, 0
        self.factory = CoreTriplesFactory(
            splits[0], ENTITIES, RELATIONS, create_inverse_triples=True
        )
        self.model = ComplEx(
            triples_factory=self.factory,
            embedding_dim=DIM,
            loss=CrossEntropyLoss(),
            regularizer=None,
            random_seed=0,
            entity_initializer=partial(torch.nn.init.normal_, std=INIT),
            relation_initializer=partial(torch.nn.init.normal_, std=INIT),
        )
        self.loop = LCWATrainingLoop(
            model=self.model,
            triples_factory=self.factory,
            optimizer=torch.optim.Adagrad(self.model.parameters(), lr=RATE),
        )

    def epoch(self) -> float:
        begin = time.perf_counter()
        self.epochs += 1
        self.loop.train(
            self.factory,
            num_epochs=self.epochs,
            batch_size=BATCH,
            continue_training=self.epochs > 1,
            use_tqdm=False,
        )
        return time.perf_counter() - begin

    def mrr(self) -> float:
        """By our ranking, which is tested equal to theirs."""
        with torch.no_grad():
            entity, relation = (
                part[0](None)
                for part in (self.model.entity_representations, self.model.relation_representations)
            )

        def question(side: int, asked: Tensor, kind: Tensor) -> Tensor:
            # A relation's inverse comes after it.
            return flat(entity[asked] * relation[2 * kind + (side == 2)])

        return mrr_of(self.splits[1], torch.cat(self.splits), flat(entity), question)


def flat(vector: Tensor) -> Tensor:
    """Real and imaginary parts side by side: a dot product is that with the conjugate, real."""
    return torch.cat([vector.real, vector.imag], dim=1).contiguous()
