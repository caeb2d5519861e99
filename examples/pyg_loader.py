"""PyG's own NodeLoader, fed by our sampler: no compiled extension of PyG is needed.

python examples/pyg_loader.py
"""

from __future__ import annotations

import torch
from torch.nn import functional
from torch_geometric.data import Data
from torch_geometric.loader import NodeLoader
from torch_geometric.nn import SAGEConv

from kgscale.sampling.pyg import PyGNeighborSampler


def communities(nodes: int = 20_000, groups: int = 5, *, seed: int = 0) -> Data:
    """Ten links from each node, seven of ten within its group; features say little."""
    draw = torch.Generator().manual_seed(seed)
    group = torch.randint(groups, (nodes,), generator=draw)
    source = torch.arange(nodes).repeat_interleave(10)
    target = torch.randint(nodes, source.shape, generator=draw)
    for kind in range(groups):
        inside = (group[source] == kind) & (torch.rand(source.shape, generator=draw) < 0.7)
        members = (group == kind).nonzero().flatten()
        chosen = torch.randint(len(members), (int(inside.sum()),), generator=draw)
        target[inside] = members[chosen]
    x = torch.randn(nodes, 32, generator=draw) + 0.6 * torch.eye(32)[group]
    return Data(x=x, y=group, edge_index=torch.stack([source, target]))


class GraphSAGE(torch.nn.Module):
    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.first = SAGEConv(width, 64)
        self.second = SAGEConv(64, classes)

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x, edge_index).relu(), edge_index)


def main() -> None:
    torch.manual_seed(0)
    data = communities()
    sampler = PyGNeighborSampler(data, [5, 5])
    train, test = torch.arange(2000), torch.arange(2000, 8000)
    model = GraphSAGE(data.num_features, int(data.y.max()) + 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    loader = NodeLoader(data, node_sampler=sampler, input_nodes=train, batch_size=128, shuffle=True)
    for epoch in range(1, 6):
        for batch in loader:
            logits = model(batch.x, batch.edge_index)[: batch.batch_size]
            loss = functional.cross_entropy(logits, batch.y[: batch.batch_size])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seen = f"{batch.num_nodes:,} of {data.num_nodes:,} nodes in the last batch"
        print(f"epoch {epoch}  loss {loss:.3f}  {seen}")
    right = 0
    for batch in NodeLoader(data, node_sampler=sampler, input_nodes=test, batch_size=500):
        with torch.no_grad():
            guess = model(batch.x, batch.edge_index)[: batch.batch_size].argmax(dim=1)
        right += int((guess == batch.y[: batch.batch_size]).sum())
    print(f"test accuracy {right / len(test):.3f} (chance: 0.2)")


if __name__ == "__main__":
    main()
