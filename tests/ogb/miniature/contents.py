"""What a miniature holds, and the draws that its builders share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Triplet: TypeAlias = tuple[str, str, str]
Table: TypeAlias = dict[str, Sequence[object]]  # column name to column

# A homogeneous graph has one node type and one edge type; OGB gives them no names.
NODE = "node"
EDGE: Triplet = ("node", "edge", "node")


@dataclass(frozen=True, kw_only=True)
class Miniature:
    """One made-up data set; indices are local to the node type.

    ``edge_index`` and ``edge`` are as written: undirected edges stand there once, and OGB's loader
    adds the other direction. ``split`` is as ``get_idx_split`` or ``get_edge_split`` returns it.
    """

    folder: Path
    release: int = 1
    split_type: str
    num_nodes: dict[str, int]
    edge_index: dict[Triplet, Array]  # int64 [2, edges]
    node: dict[str, dict[str, Array]] = field(default_factory=dict)  # node_feat, node_label, …
    edge: dict[str, dict[Triplet, Array]] = field(default_factory=dict)  # edge_reltype, …
    relation_feat: Array | None = None  # of wikikg90mv2
    split: dict[str, Any]
    mapping: dict[str, Table] = field(default_factory=dict)  # file name to its columns


def features(rng: np.random.Generator, rows: int, width: int) -> Array:
    """Six decimals, as in OGB's files."""
    return rng.normal(scale=0.3, size=(rows, width)).round(6).astype(np.float32)


def every_one_of(rng: np.random.Generator, values: int | Array, size: int) -> Array:
    """A random column in which each of the values occurs."""
    values = np.arange(values) if isinstance(values, int) else values
    return rng.permutation(np.concatenate([values, rng.choice(values, size - len(values))]))


def column(values: Array) -> Array:
    return values.reshape(-1, 1)


def distinct(rows: Array) -> Array:
    """Without repeated rows, in the order of first occurrence."""
    return rows[np.sort(np.unique(rows, axis=0, return_index=True)[1])]


def between(rng: np.random.Generator, num_heads: int, num_tails: int, count: int) -> Array:
    """An ``edge_index`` of ``count`` distinct edges."""
    code = rng.choice(num_heads * num_tails, count, replace=False)
    return np.stack(np.divmod(code, num_tails))


def among(rng: np.random.Generator, num_nodes: int, count: int) -> Array:
    """An ``edge_index`` of distinct directed edges without loops."""
    head, tail = between(rng, num_nodes, num_nodes - 1, count)
    return np.stack([head, tail + (tail >= head)])


def disjoint_pairs(rng: np.random.Generator, num_nodes: int, *counts: int) -> list[Array]:
    """Sets of unordered pairs, each ``[count, 2]``; no pair is in two of them."""
    pairs = rng.permutation(np.stack(np.triu_indices(num_nodes, 1), axis=1))
    return np.split(pairs[: sum(counts)], np.cumsum(counts)[:-1])


def negatives(
    rng: np.random.Generator, known: Sequence[Array], num_candidates: Sequence[int], count: int
) -> Array:
    """Per query ``count`` of its candidates, drawn with replacement, none of them known."""
    return np.stack(
        [
            rng.choice(np.setdiff1d(np.arange(size), answers), count)
            for answers, size in zip(known, num_candidates, strict=True)
        ]
    )


def by_year(year: Array, of: Array | None = None) -> dict[str, Array]:
    """Train before 2018, valid 2018, test later; of all nodes or of those in the mask."""
    of = np.ones(len(year), bool) if of is None else of
    return {
        "train": np.flatnonzero(of & (year < 2018)),
        "valid": np.flatnonzero(of & (year == 2018)),
        "test": np.flatnonzero(of & (year > 2018)),
    }


def keys(rng: np.random.Generator, count: int, form: str = "{}") -> list[str]:
    """Made-up identifiers of other data bases."""
    return [form.format(number) for number in rng.choice(2_000_000_000, count, replace=False)]
