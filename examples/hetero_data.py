"""A HeteroData of PyG becomes a store, a model learns from it, and the store is a HeteroData again.

python examples/hetero_data.py
"""

from __future__ import annotations

import torch
from torch_geometric.data import HeteroData

import kgscale

TOPICS = 4


def library(papers: int = 600, authors: int = 200, *, seed: int = 0) -> HeteroData:
    """Authors who keep to a topic, papers about it, and noisy features that hint at it."""
    draw = torch.Generator().manual_seed(seed)
    topic = torch.randint(TOPICS, (papers,), generator=draw)
    interest = torch.randint(TOPICS, (authors,), generator=draw)
    written = []
    for paper in range(papers):
        alike = (interest == topic[paper]).nonzero().flatten()
        some = alike[torch.randperm(len(alike), generator=draw)[:3]]
        written += [(int(author), paper) for author in some]
    data = HeteroData()
    noise = torch.randn(papers, 16, generator=draw)
    data["paper"].x = noise + 0.7 * torch.eye(16)[topic]
    data["paper"].y = topic
    data["author"].num_nodes = authors
    data["author", "writes", "paper"].edge_index = torch.tensor(written).T
    return data


def main() -> None:
    store = kgscale.from_pyg(library(), "library")
    print(store)
    run = kgscale.train(
        "data=store",
        "data.path=library",
        "task=node_classification",
        "evaluation.test=true",
        "root=runs",
    )
    answer = run.predict(entity="paper:7", k=2)
    print("paper 7:", {name: column[0] for name, column in answer.items()})

    back = kgscale.to_pyg("library")
    print(back)
    edges = back["author", "writes", "paper"]
    print("edges that carry messages, are asked in validation, in test:")
    print(*(edges[kind].shape[1] for kind in ("edge_index", "val_edge_index", "test_edge_index")))


if __name__ == "__main__":
    main()
