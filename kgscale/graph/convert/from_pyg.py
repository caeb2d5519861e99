"""PyG's ``HeteroData`` and ``Data``: edge types are (source type, relation, target type).

A node store has ``x`` (features), ``y`` (labels) with ``train_mask``, ``val_mask`` and
``test_mask``, ``key`` (of each node), ``name`` and ``classes``, where there are any. An edge store
has ``edge_index``, the train edges, with ``val_edge_index`` and ``test_edge_index`` beside it: what
passes messages over ``edge_index`` sees no answer. The whole has ``relation_name``, the names of
relations by their keys, ``y_name``, the labels by their numbers where these are not the labels
themselves, and ``undirected``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from kgscale.data.files import clean
from kgscale.data.memory import Edges, MemoryGraph, Targets
from kgscale.data.source import DEFAULT_TYPE, Numbered
from kgscale.data.splits import OPEN, SPLITS, SplitRule, three
from kgscale.data.spool import Array
from kgscale.errors import ConfigError, DataError
from kgscale.graph.store import GraphStore, make

if TYPE_CHECKING:
    from torch_geometric.data import Data, HeteroData

INDEX = {"train": "edge_index", "valid": "val_edge_index", "test": "test_edge_index"}
MASKS = {"train": "train_mask", "valid": "val_mask", "test": "test_mask"}
REVERSE = "rev_"
"""How ``ToUndirected`` calls the edges that it adds."""
RELATION = "edge"
"""Of a ``Data`` without ``edge_type``."""
WHOLE = ("relation_name", "y_name", "undirected")
NODE = ("x", "y", "key", "name", "classes", "num_nodes", *MASKS.values())


def from_pyg(
    data: HeteroData | Data,
    directory: str | Path,
    *,
    name: str | None = None,
    split: Sequence[float | int] = (0.9, 0.05, 0.05),
    label_split: Sequence[float | int] = (0.6, 0.2, 0.2),
    seed: int = 0,
    keep_reverse: bool = False,
) -> GraphStore:
    """Write the graph as a store at ``directory``, which ``data=store data.path=…`` trains on.

    Nodes without ``key`` are called ``type:number`` and keep their numbers; with it they are
    ordered by their keys, and those without an edge are left out.

    Args:
        split: shares of the edges for train, valid and test, where the data has no split of them.
        label_split: likewise of nodes with ``y``, where there are no masks.
        keep_reverse: keep edges ``rev_…`` that repeat others the other way round. They would give
            held-out edges away, and kgscale passes messages both ways anyhow.

    Raises:
        ConfigError: the directory is there already, or labels that can't be told apart.
        DataError: an edge names a node that there is not, or something is said of more or of
            fewer nodes than there are.
    """
    hetero = _as_hetero(data)
    kinds = sorted(hetero.node_types, key=lambda kind: (kind != DEFAULT_TYPE, kind.encode()))
    sizes = {kind: _num_nodes(hetero, kind) for kind in kinds}
    sizes = {kind: size for kind, size in sizes.items() if size}
    _check_lengths(hetero, sizes)
    starts = Numbered(sizes).starts
    _warn_of_others(hetero)
    keyed = [kind for kind in sizes if "key" in hetero[kind]]
    if keyed and len(keyed) < len(sizes):
        raise ConfigError(
            f"nodes of the type {keyed[0]!r} have keys and others have none: give all, or none"
        )
    edges = list(_edges(hetero, sizes, starts, keep_reverse=keep_reverse))
    given = {some.split for some in edges}
    graph = MemoryGraph(
        name=clean(name or Path(directory).name, "pyg"),
        sizes=sizes,
        keys=[str(key) for kind in sizes for key in hetero[kind].key] if keyed else None,
        names=dict(_said(hetero, sizes, starts, "name")),
        classes=[
            (at, str(class_))
            for at, some in _said(hetero, sizes, starts, "classes")
            for class_ in some
        ],
        relation_names=dict(getattr(hetero, "relation_name", {})),
        edges=edges,
        features={
            kind: _features(hetero, kind) for kind in sizes if hetero[kind].get("x") is not None
        },
        targets=_targets(hetero, sizes, starts),
        undirected=bool(getattr(hetero, "undirected", False)),
        split=SplitRule(ratio=three(split, "split") if "open" in given else (1, 0, 0), seed=seed),
        label_split=three(label_split, "label_split") if _unmasked(hetero) else (1, 0, 0),
    )
    return make(graph, Path(directory))


def _as_hetero(data: HeteroData | Data) -> HeteroData:
    """A ``Data`` as one type of nodes, with a relation for each of its edge types."""
    from torch_geometric.data import HeteroData

    if isinstance(data, HeteroData):
        return data
    hetero, told = HeteroData(), data.to_dict()
    relations = told.pop("relation_key", None)
    for name in WHOLE:
        if name in told:
            setattr(hetero, name, told.pop(name))
    for index in INDEX.values():
        edge_index, kind = told.pop(index, None), told.pop(edge_type_of(index), None)
        if edge_index is None:
            continue
        number = torch.zeros(edge_index.shape[1], dtype=torch.int64) if kind is None else kind
        for at in number.unique().tolist():
            relation = RELATION if kind is None else relations[at] if relations else str(at)
            hetero[DEFAULT_TYPE, relation, DEFAULT_TYPE][index] = edge_index[:, number == at]
    for name, value in told.items():
        hetero[DEFAULT_TYPE][name] = value
    hetero[DEFAULT_TYPE].num_nodes = data.num_nodes
    return hetero


def edge_type_of(index: str) -> str:
    return index.replace("index", "type")


def _num_nodes(hetero: HeteroData, kind: str) -> int:
    size = hetero[kind].num_nodes
    if size is None:
        raise DataError(f"nodes of the type {kind!r} have neither x nor num_nodes: set num_nodes")
    return int(size)


def _check_lengths(hetero: HeteroData, sizes: Mapping[str, int]) -> None:
    """What is said of nodes is said of each, row by row: else it would be another's."""
    for kind, size in sizes.items():
        for name in NODE:
            value = None if name == "num_nodes" else hetero[kind].get(name)
            if value is None:
                continue
            rows = 1 if isinstance(value, Tensor) and not value.dim() else len(value)
            if rows != size:
                raise DataError(
                    f"{name} of the type {kind!r} has {rows:,} rows for {size:,} nodes: give one"
                    " for each"
                )
            if name in MASKS.values() and value.dim() > 1 and value.shape[1] > 1:
                raise DataError(
                    f"{name} of the type {kind!r} has {value.shape[1]} splits side by side: take"
                    f" one, as {name}[:, 0]"
                )


def _warn_of_others(hetero: HeteroData) -> None:
    """Say what a store has no place for."""
    others = {name for store in hetero.node_stores for name in store if name not in NODE}
    others |= {name for store in hetero.edge_stores for name in store if name not in INDEX.values()}
    if others:
        warnings.warn(f"a store has no place for {', '.join(sorted(others))}", stacklevel=3)


def _edges(
    hetero: HeteroData,
    sizes: Mapping[str, int],
    starts: Mapping[str, int],
    *,
    keep_reverse: bool,
) -> Iterator[Edges]:
    """Open ones where no split is given."""
    stores = {
        kind: edges
        for kind, edges in hetero.edge_items()
        if keep_reverse or not _is_reverse(hetero, kind)
    }
    divided = any(index in edges for edges in stores.values() for index in [*INDEX.values()][1:])
    for (source, relation, target), edges in stores.items():
        for split, index in INDEX.items():
            if index not in edges:
                continue
            head, tail = (end.cpu().numpy().astype(np.int64) for end in edges[index])
            for end, kind in ((head, source), (tail, target)):
                wrong = end[(end < 0) | (end >= sizes.get(kind, 0))]
                if len(wrong):
                    raise DataError(
                        f"{index} of ({source}, {relation}, {target}) names the node {wrong[0]} of "
                        f"{sizes.get(kind, 0):,} of the type {kind!r}"
                    )
            yield Edges(
                split=split if divided else "open",
                head=head + starts.get(source, 0),
                relation=relation,
                tail=tail + starts.get(target, 0),
            )


def _is_reverse(hetero: HeteroData, kind: tuple[str, str, str]) -> bool:
    """Whether these edges repeat others the other way round."""
    source, relation, target = kind
    other = (target, relation.removeprefix(REVERSE), source)
    if not relation.startswith(REVERSE) or other not in hetero.edge_types:
        return False
    none = torch.zeros(2, 0, dtype=torch.int64)
    mine, others = (hetero[some].get("edge_index", none) for some in (kind, other))
    return set(map(tuple, mine.T.tolist())) == set(map(tuple, others.flip(0).T.tolist()))


def _features(hetero: HeteroData, kind: str) -> Array:
    x = hetero[kind].x
    return np.ascontiguousarray((x.to_dense() if x.is_sparse else x).cpu().numpy())


def _said(
    hetero: HeteroData, sizes: Mapping[str, int], starts: Mapping[str, int], what: str
) -> Iterator[tuple[int, Any]]:
    for kind in sizes:
        for at, value in enumerate(hetero[kind].get(what) or ()):
            if value is not None:
                yield starts[kind] + at, value


def _unmasked(hetero: HeteroData) -> bool:
    """Whether the split of labels is still to be made."""
    return not any(mask in node for node in hetero.node_stores for mask in MASKS.values())


def _targets(
    hetero: HeteroData, sizes: Mapping[str, int], starts: Mapping[str, int]
) -> Targets | None:
    labelled = [kind for kind in sizes if hetero[kind].get("y") is not None]
    if not labelled:
        return None
    names = getattr(hetero, "y_name", None)
    numbers = all(_is_number(hetero[kind].y) for kind in labelled)
    if len(labelled) > 1 and names is None and not numbers:
        raise ConfigError(
            f"nodes of {' and '.join(map(repr, labelled))} have y, whose numbers may mean other "
            "labels: give the names of all as y_name of the graph, or y of one type"
        )
    found: list[tuple[int, str | None, int]] = []
    for kind in labelled:
        y = hetero[kind].y.cpu()
        split = _split_of(hetero, kind)
        for at, label in _labels(y, names):
            if split[at] is not None:
                found.append((starts[kind] + at, label, split[at]))
    return Targets(
        entity=np.array([at for at, _, _ in found], np.int64),
        label=[label for _, label, _ in found],
        split=np.array([code for _, _, code in found], np.uint8),
        numbers=numbers,
    )


def _is_number(y: Tensor) -> bool:
    return y.is_floating_point() and (y.dim() == 1 or y.shape[1] == 1)


def _split_of(hetero: HeteroData, kind: str) -> list[Any]:
    """Of each node the place of its split in ``SPLITS``; ``None`` for a node in none."""
    node = hetero[kind]
    if _unmasked(hetero):
        return [OPEN] * _num_nodes(hetero, kind)
    code: list[int | None] = [None] * _num_nodes(hetero, kind)
    for split, mask in MASKS.items():
        for at in node[mask].nonzero()[:, 0].tolist() if mask in node else []:
            if (before := code[at]) is not None:
                raise DataError(
                    f"the node {at} of the type {kind!r} is in {MASKS[SPLITS[before]]} and in "
                    f"{mask}: take it out of one"
                )
            code[at] = SPLITS.index(split)
    return code


def _labels(y: Tensor, names: Sequence[str] | None) -> Iterator[tuple[int, str | None]]:
    """Pairs of a node and a label; -1 and NaN are none. A node with a row of zeros has ``None``."""
    if y.dim() == 2 and y.shape[1] > 1:
        for at, row in enumerate(y.tolist()):
            mine = [place for place, value in enumerate(row) if value > 0]
            yield from ((at, _name(place, names)) for place in mine)
            if not mine and 0 in row:
                yield at, None
        return
    for at, value in enumerate(y.flatten().tolist()):
        if y.is_floating_point() and value == value:
            yield at, repr(value)
        elif not y.is_floating_point() and value >= 0:
            yield at, _name(value, names)


def _name(place: int, names: Sequence[str] | None) -> str:
    if names is not None and place >= len(names):
        raise DataError(f"y has the label {place}, and y_name has {len(names):,}: name them all")
    return str(place) if names is None else names[place]
