"""NetworkX: a node is its key, and an edge's key its relation.

Nodes have ``type``, ``name``, ``classes`` (a list), ``x`` (an array of numbers), ``label`` (a
list, or a number) and ``split`` (of their labels), edges ``split``, the graph ``name`` and
``relation_name``, where there are any.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kgscale.data.files import clean
from kgscale.data.memory import Edges, MemoryGraph, Targets
from kgscale.data.source import DEFAULT_TYPE
from kgscale.data.splits import OPEN, SPLITS, SplitRule, three
from kgscale.data.spool import Array
from kgscale.errors import ConfigError, DataError
from kgscale.graph.convert.stored import graph_of
from kgscale.graph.store import GraphStore, make

if TYPE_CHECKING:
    import networkx


NODE = ("type", "name", "classes", "x", "label", "split")


def from_networkx(
    graph: networkx.Graph,
    directory: str | Path,
    *,
    relation: str = "relation",
    default: str = "edge",
    name: str | None = None,
    split: Sequence[float | int] = (0.9, 0.05, 0.05),
    label_split: Sequence[float | int] = (0.6, 0.2, 0.2),
    seed: int = 0,
) -> GraphStore:
    """Write any NetworkX graph as a store at ``directory``, for ``data=store data.path=…``.

    A relation is an edge's attribute ``relation``, else the key of a multigraph's edge that is
    text, else ``default``. A graph without direction becomes one whose relations hold both ways.
    Nodes without an edge are left out.

    Of nodes ``type``, ``name``, ``classes``, ``x``, ``label`` and ``split`` are taken, of edges
    ``split`` and the relation; a warning tells of all else.

    Args:
        split: shares of the edges for train, valid and test, where none has a ``split``.
        label_split: likewise of nodes with a ``label``.

    Raises:
        ConfigError: the directory is there already.
        DataError: two nodes are written alike, or a split is none.
    """
    _warn_of_others(graph, relation)
    place = {node: at for at, node in enumerate(_in_order(graph))}
    types = [str(graph.nodes[node].get("type", DEFAULT_TYPE)) for node in place]
    keys = [str(node) for node in place]
    if len(set(keys)) < len(keys):
        ((twice, _),) = Counter(keys).most_common(1)
        raise DataError(f"two nodes are written {twice!r}: relabel one of them")
    edges = list(_edges(graph, place, relation=relation, default=default))
    targets = _targets(graph, place)
    named = {at: graph.nodes[node].get("name") for node, at in place.items()}
    made = MemoryGraph(
        name=clean(str(name or graph.graph.get("name") or Path(directory).name), "networkx"),
        sizes={kind: types.count(kind) for kind in dict.fromkeys(types)},
        keys=keys,
        names={at: str(text) for at, text in named.items() if text is not None},
        classes=[
            (at, str(class_))
            for node, at in place.items()
            for class_ in _several(graph.nodes[node].get("classes", ()))
        ],
        relation_names=dict(graph.graph.get("relation_name", {})),
        edges=edges,
        features=_features(graph, place, types),
        targets=targets,
        undirected=not graph.is_directed(),
        split=SplitRule(
            ratio=three(split, "split") if any(e.split == "open" for e in edges) else (1, 0, 0),
            seed=seed,
        ),
        label_split=three(label_split, "label_split")
        if targets is not None and (targets.split == OPEN).any()
        else (1, 0, 0),
    )
    return make(made, Path(directory))


def to_networkx(store: GraphStore | str | Path) -> networkx.MultiDiGraph | networkx.MultiGraph:
    """All of a store in memory; a triple of several splits is told as of the first."""
    import networkx

    if not isinstance(store, GraphStore):
        store = GraphStore.open(store)
    graph = graph_of(store)
    keys = store.entity_keys(list(range(store.num_entities)))
    out = networkx.MultiGraph() if graph.undirected else networkx.MultiDiGraph()
    out.graph["name"] = graph.name
    if graph.relation_names:
        out.graph["relation_name"] = dict(graph.relation_names)
    for kind, start in graph.starts.items():
        about = {} if kind == DEFAULT_TYPE else {"type": kind}
        out.add_nodes_from(keys[start : start + graph.sizes[kind]], **about)
        for at, row in enumerate(graph.features.get(kind, ())):
            out.nodes[keys[start + at]]["x"] = np.array(row)
    for at, text in graph.names.items():
        out.nodes[keys[at]]["name"] = text
    for at, class_ in graph.classes:
        out.nodes[keys[at]].setdefault("classes", []).append(class_)
    if (targets := graph.targets) is not None:
        for at, label, code in zip(targets.entity, targets.label, targets.split, strict=True):
            node = out.nodes[keys[at]]
            node["split"] = SPLITS[code]
            if targets.numbers:
                node["label"] = float(str(label))
            else:
                node.setdefault("label", []).extend([] if label is None else [label])
    for edges in reversed(graph.edges):
        for head, relation, tail in zip(edges.head, edges.relation, edges.tail, strict=True):
            out.add_edge(keys[head], keys[tail], key=relation, split=edges.split)
    return out


def _warn_of_others(graph: networkx.Graph, relation: str) -> None:
    """Say what a store has no place for."""
    others = {str(name) for _, about in graph.nodes(data=True) for name in about} - set(NODE)
    more = {str(name) for *_, about in graph.edges(data=True) for name in about}
    others |= more - {relation, "split"}
    if others:
        warnings.warn(f"a store has no place for {', '.join(sorted(others))}", stacklevel=3)


def _several(texts: Iterable[Any]) -> Iterable[Any]:
    """A text is one, and not its letters."""
    return [texts] if isinstance(texts, str) else texts


def _in_order(graph: networkx.Graph) -> list[Any]:
    """Nodes by type, as a store has them."""

    def place(node: Any) -> tuple[bool, bytes, bytes]:
        kind = str(graph.nodes[node].get("type", DEFAULT_TYPE))
        return kind != DEFAULT_TYPE, kind.encode(), str(node).encode()

    return sorted(graph.nodes, key=place)


def _edges(
    graph: networkx.Graph, place: Mapping[Any, int], *, relation: str, default: str
) -> Iterator[Edges]:
    """By split, each edge with its relation."""
    found: dict[str, list[tuple[int, str, int]]] = {}
    rows = (
        graph.edges(keys=True, data=True)
        if graph.is_multigraph()
        else ((head, tail, None, about) for head, tail, about in graph.edges(data=True))
    )
    splits = any("split" in about for *_, about in graph.edges(data=True))
    for head, tail, key, about in rows:
        called = about.get(relation, key if isinstance(key, str) else default)
        split = about.get("split", "train") if splits else "open"
        if split not in (*SPLITS, "open"):
            raise DataError(
                f"the edge ({head}, {tail}) has the split {split!r}: {', '.join(SPLITS)}"
            )
        ends = place[head], place[tail]
        if not graph.is_directed():
            if head == tail:
                continue
            # As a file of pairs without direction: the end whose key comes first is the head.
            ends = ends if str(head) < str(tail) else ends[::-1]
        found.setdefault(split, []).append((ends[0], str(called), ends[1]))
    for split, some in found.items():
        head, called, tail = zip(*some, strict=True)
        yield Edges(
            split=split,
            head=np.array(head, np.int64),
            relation=called,
            tail=np.array(tail, np.int64),
        )


def _features(
    graph: networkx.Graph, place: Mapping[Any, int], types: Sequence[str]
) -> dict[str, Array]:
    """Zeros for those who have none, where others of their type have."""
    given: dict[str, dict[int, Array]] = {}
    first = {kind: types.index(kind) for kind in dict.fromkeys(types)}
    for node, at in place.items():
        if (x := graph.nodes[node].get("x")) is None:
            continue
        x, kind = np.asarray(x), types[at]
        rows = given.setdefault(kind, {})
        if x.ndim != 1 or x.shape != next(iter(rows.values()), x).shape:
            raise DataError(
                f"x of the node {node!r} has the shape {x.shape}: give a row of numbers, as long "
                f"for each node of the type {kind!r}"
            )
        rows[at - first[kind]] = x
    found = {}
    for kind, rows in given.items():
        # What holds all: whole numbers of one node would cut the fractions of others off.
        dtype = np.result_type(*{x.dtype for x in rows.values()})
        found[kind] = np.zeros((types.count(kind), len(next(iter(rows.values())))), dtype)
        found[kind][list(rows)] = list(rows.values())
    return found


def _targets(graph: networkx.Graph, place: Mapping[Any, int]) -> Targets | None:
    found: list[tuple[int, str | None, int]] = []
    numbers = texts = False
    for node, at in place.items():
        about = graph.nodes[node]
        if (label := about.get("label")) is None:
            continue
        split = about.get("split", "open")
        if split not in (*SPLITS, "open"):
            raise DataError(f"the node {node!r} has the split {split!r}: {', '.join(SPLITS)}")
        code = OPEN if split == "open" else SPLITS.index(split)
        if isinstance(label, Real) and not isinstance(label, Integral):
            # As Python writes it, whatever library it is of.
            numbers, label = True, repr(float(label))
        elif not isinstance(label, Integral):
            texts = True
        if isinstance(label, Integral):
            label = [label]
        if not isinstance(label, Iterable):
            raise DataError(f"the node {node!r} has the label {label!r}: give texts, or a number")
        label = _several(label)
        found += [(at, str(one), code) for one in label] or [(at, None, code)]
    if not found:
        return None
    entity, labels, codes = zip(*found, strict=True)
    if numbers and texts:
        raise ConfigError("labels are numbers or texts, and not both: give one kind")
    return Targets(
        entity=np.array(entity, np.int64),
        label=labels,
        split=np.array(codes, np.uint8),
        numbers=numbers,
    )
