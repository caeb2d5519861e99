"""Lists of items for the users of ml-100k, against PyG's LightGCN.

Both learn from the same 70 % of each user's items, choose by the same 10 % and are measured on the
same 20 %, among all items that a user hasn't got. PyG's model is that of its class and of RecBole's
settings: 64 numbers, two layers, BPR with one random item for each link and 1e-5 of the squared
vectors, Adam at 0.001, 2,048 links a step, until ten epochs bring nothing; its graph is a matrix
with normalised edges, of which the class makes the same numbers in half the time. It has one seed,
as it takes more than twenty minutes, and ours is the mean of three. ``recommend_recall`` and
``recommend_ndcg`` are at 20. Needs ml-100k in the folder that KGSCALE_SHARED_DATA names. With
``--quick`` one seed and two epochs.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path

import torch
from torch_geometric.nn import LightGCN
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import to_torch_csr_tensor

import kgscale
from kgscale.graph.store import GraphStore
from kgscale.inference.recommend import ItemScores
from kgscale.kernels.threads import set_threads
from kgscale.sampling.interest import Interest
from kgscale.tasks.items import measure_items
from kgscale.tasks.runs import RecommendationRun

DIM, LAYERS, RATE, PENALTY, BATCH, EPOCHS, PATIENCE = 64, 2, 0.001, 1e-5, 2048, 300, 10
SEEDS, CUTS = 3, (10, 20)


def run(*, quick: bool = False) -> list[dict[str, object]]:
    shared = os.environ.get("KGSCALE_SHARED_DATA")
    if not shared or not (Path(shared) / "ml-100k").is_dir():
        print("recommend: KGSCALE_SHARED_DATA names no folder with ml-100k, rows left out")
        return []
    found: dict[str, list[dict[str, float]]] = {"ours": [], "theirs": []}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(1 if quick else SEEDS):
            trained = kgscale.train(
                "experiment=ml100k/lightgcn",
                f"data.path={shared}/ml-100k/ml-100k.inter.tsv.gz",
                f"root={folder}",
                f"store.root={folder}/stores",
                f"seed={seed}",
                *(["trainer.max_epochs=2"] if quick else []),
            )
            assert isinstance(trained, RecommendationRun)
            found["ours"].append(trained.evaluate("test"))
        set_threads(2)
        theirs = Theirs(trained.store, trained.interest, seed=0)
        found["theirs"].append(theirs.train(2 if quick else EPOCHS))
    rows = []
    for metric in ("recall", "ndcg"):
        ours, theirs = (statistics.mean(one[f"{metric}@20"] for one in found[n]) for n in found)
        rows.append(
            {
                "work": f"recommend_{metric}",
                "ours": ours,
                "theirs": theirs,
                "unit": f"{metric}@20",
                "ratio": ours / theirs,
                "peer": "PyG's LightGCN, ml-100k",
            }
        )
    return rows


class Theirs:
    """Nodes are users, then items."""

    def __init__(self, store: GraphStore, interest: Interest, seed: int) -> None:
        torch.manual_seed(seed)
        self.store, self.interest = store, interest
        train = store.triples("train")
        train = train[train[:, 1] == interest.relation]
        self.user = train[:, 0] - interest.users.start
        self.item = train[:, 2] - interest.items.start + len(interest.users)
        links = torch.stack([self.user, self.item])
        size = len(interest.users) + len(interest.items)
        both = torch.cat([links, links.flip(0)], dim=1)
        edges, weight = gcn_norm(both, None, size, add_self_loops=False)
        self.edges = to_torch_csr_tensor(edges, weight, size=(size, size))
        self.model = LightGCN(size, embedding_dim=DIM, num_layers=LAYERS, normalize=False)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=RATE)

    def train(self, epochs: int) -> dict[str, float]:
        """The test metrics of the epoch that validates best."""
        best, test, since = -1.0, dict[str, float](), 0
        for epoch in range(1, epochs + 1):
            self._epoch()
            valid = self._measure("valid")[f"ndcg@{CUTS[-1]}"]
            print(f"theirs: epoch {epoch}, validation NDCG@{CUTS[-1]} {valid:.4f}", flush=True)
            since += 1
            if valid > best:
                best, test, since = valid, self._measure("test"), 0
            if since == PATIENCE:
                break
        return test

    def _epoch(self) -> None:
        first = len(self.interest.users)
        for step in torch.randperm(len(self.user)).split(BATCH):
            other = torch.randint(first, self.model.num_nodes, (len(step),))
            user, item = self.user[step], self.item[step]
            asked = torch.cat([torch.stack([user, item]), torch.stack([user, other])], dim=1)
            good, bad = self.model(self.edges, asked).chunk(2)
            loss = self.model.recommendation_loss(
                good, bad, node_id=asked.unique(), lambda_reg=PENALTY
            )
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def _measure(self, split: str) -> dict[str, float]:
        return measure_items(self.store, split, self._scores(), self.interest, CUTS, memory=1 << 28)

    @torch.no_grad()
    def _scores(self) -> ItemScores:
        vectors, first = self.model.get_embedding(self.edges), len(self.interest.users)
        items = vectors[first:]
        return lambda user: vectors[user - self.interest.users.start] @ items.t()
