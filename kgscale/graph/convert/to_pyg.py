"""A store becomes PyG's ``HeteroData`` or ``Data``; see ``from_pyg`` for what these have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from kgscale.data.memory import MemoryGraph, Targets
from kgscale.data.splits import SPLITS
from kgscale.errors import ConfigError
from kgscale.graph.convert.from_pyg import INDEX, MASKS, WHOLE, edge_type_of
from kgscale.graph.convert.stored import graph_of
from kgscale.graph.store import GraphStore

if TYPE_CHECKING:
    from torch_geometric.data import Data, HeteroData


def to_pyg(store: GraphStore | str | Path, *, flat: bool = False) -> HeteroData | Data:
    """All of a store in memory; ``flat``: a ``Data`` with ``edge_type`` and ``relation_key``, of a
    graph with one type of entities.

    Raises:
        ConfigError: several types, which a ``Data`` has not.
    """
    from torch_geometric.data import HeteroData

    if not isinstance(store, GraphStore):
        store = GraphStore.open(store)
    graph = graph_of(store)
    data = HeteroData()
    for kind, start in graph.starts.items():
        size = graph.sizes[kind]
        node = data[kind]
        node.num_nodes = size
        inside = range(start, start + size)
        if graph.keys is not None:
            node.key = list(graph.keys[start : start + size])
        if any(at in graph.names for at in inside):
            node.name = [graph.names.get(at) for at in inside]
        if kind in graph.features:
            node.x = torch.tensor(graph.features[kind])
    _add_classes(data, graph)
    _add_edges(data, graph)
    if graph.targets is not None:
        _add_targets(data, graph, graph.targets)
    if graph.relation_names:
        data.relation_name = dict(graph.relation_names)
    if graph.undirected:
        data.undirected = True
    return _flat(data) if flat else data


def _flat(hetero: HeteroData) -> Data:
    from torch_geometric.data import Data

    if len(hetero.node_types) > 1:
        raise ConfigError(
            f"a Data has one type of nodes, and the store has {', '.join(hetero.node_types)}: "
            "take HeteroData, which to_homogeneous makes one of"
        )
    (node,) = hetero.node_stores
    relations = sorted({relation for _, relation, _ in hetero.edge_types})
    data = Data(**node.to_dict(), relation_key=relations)
    for name in WHOLE:
        if (value := getattr(hetero, name, None)) is not None:
            setattr(data, name, value)
    for index in INDEX.values():
        found = [
            (edges[index], relations.index(kind[1]))
            for kind, edges in hetero.edge_items()
            if index in edges
        ]
        if found:
            data[index] = torch.cat([edge_index for edge_index, _ in found], dim=1)
            number = torch.tensor([at for _, at in found])
            data[edge_type_of(index)] = number.repeat_interleave(
                torch.tensor([edge_index.shape[1] for edge_index, _ in found])
            )
    return data


def _add_classes(data: HeteroData, graph: MemoryGraph) -> None:
    found: dict[int, list[str]] = {}
    for at, class_ in graph.classes:
        found.setdefault(at, []).append(class_)
    for kind, start in graph.starts.items() if found else ():
        data[kind].classes = [found.get(start + at, []) for at in range(graph.sizes[kind])]


def _add_edges(data: HeteroData, graph: MemoryGraph) -> None:
    starts = np.array(list(graph.starts.values()))
    kinds = list(graph.starts)
    for edges in graph.edges:
        # As an array, each would take the room of the longest.
        names = sorted(set(edges.relation))
        place = {name: at for at, name in enumerate(names)}
        number = np.fromiter(map(place.__getitem__, edges.relation), np.int64, len(edges.relation))
        ends = [np.searchsorted(starts, end, side="right") - 1 for end in (edges.head, edges.tail)]
        code = (ends[0] * len(kinds) + ends[1]) * len(names) + number
        for one in np.unique(code):
            mine = np.flatnonzero(code == one)
            source, target = (int(end[mine[0]]) for end in ends)
            index = np.stack([edges.head[mine] - starts[source], edges.tail[mine] - starts[target]])
            edge_type = kinds[source], names[number[mine[0]]], kinds[target]
            data[edge_type][INDEX[edges.split]] = torch.from_numpy(index)


def _add_targets(data: HeteroData, graph: MemoryGraph, targets: Targets) -> None:
    names = sorted({label for label in targets.label if label is not None})
    inside = {
        kind: (targets.entity >= start) & (targets.entity < start + graph.sizes[kind])
        for kind, start in graph.starts.items()
    }
    labelled = [kind for kind, mine in inside.items() if mine.any()]
    several = len(np.unique(targets.entity)) < len(targets.entity) or None in targets.label
    own = _are_numbers(names, several=several) and len(labelled) == 1
    place = {name: int(name) if own else at for at, name in enumerate(names)}
    if not own and not targets.numbers:
        data.y_name = names
    for kind in labelled:
        mine, node = np.flatnonzero(inside[kind]).tolist(), data[kind]
        local = torch.from_numpy(targets.entity[mine] - graph.starts[kind])
        label = [targets.label[at] for at in mine]
        size = graph.sizes[kind]
        if targets.numbers:
            node.y = _as_floats(local, label, size)
        elif several:
            node.y = torch.zeros(size, len(names))
            for at, name in zip(local.tolist(), label, strict=True):
                if name is not None:
                    node.y[at, place[name]] = 1
        else:
            node.y = torch.full((size,), -1, dtype=torch.int64)
            node.y[local] = torch.tensor([place[str(name)] for name in label])
        for code, split in enumerate(SPLITS):
            mask = torch.zeros(size, dtype=torch.bool)
            mask[local[torch.from_numpy(targets.split[mine] == code)]] = True
            node[MASKS[split]] = mask


def _are_numbers(names: Sequence[str], *, several: bool) -> bool:
    """Whether labels are the numbers that ``y`` would have for them."""
    if several:
        return names == sorted(map(str, range(len(names))))
    # Longer ones don't fit into 64 bits.
    return all(
        name.isascii() and name.isdigit() and len(name) < 19 and str(int(name)) == name
        for name in names
    )


def _as_floats(local: Tensor, label: Sequence[str | None], size: int) -> Tensor:
    """NaN where there is none; float32 if that holds all numbers exactly."""
    number = torch.tensor([float(str(text)) for text in label], dtype=torch.float64)
    exact = bool((number.float().double() == number).all())
    y = torch.full((size,), float("nan"), dtype=torch.float32 if exact else torch.float64)
    y[local] = number.to(y.dtype)
    return y
