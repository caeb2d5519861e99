"""Parts of a graph with few edges between them, computed once and kept beside the store."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float64, Int, Int32, Int64
from torch import Tensor

from kgscale.errors import ConfigError
from kgscale.graph.adjacency import Adjacency
from kgscale.graph.integrity import read_json, write_json
from kgscale.graph.metis import fits_metis, metis
from kgscale.graph.store import GraphStore
from kgscale.kernels.partition import PASSES, count_inside, group, stream_partition

Method = Literal["auto", "metis", "ldg", "fennel", "random"]
Part = Int32[Tensor, " entity"]

FIELDS, CHOICE = ("part", "indptr", "member"), "choice.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """Each entity is in one part; a part may be empty where they hold but a handful each."""

    part: Part
    indptr: Int64[Tensor, " part_plus_one"]
    """The entities of part ``p`` are ``member[indptr[p] : indptr[p + 1]]``, ascending."""
    member: Int[Tensor, " entity"]
    method: str
    """Which one it was, where ``auto`` chose."""

    @classmethod
    def open(cls, directory: Path) -> Partition:
        """Copy-on-write maps, as of an adjacency."""
        arrays = {
            field: torch.from_numpy(
                np.load(directory / f"{field}.npy", mmap_mode="c", allow_pickle=False)
            )
            for field in FIELDS
        }
        return cls(**arrays, method=read_json(directory / CHOICE)["method"])

    @property
    def num_parts(self) -> int:
        return len(self.indptr) - 1


def partition(
    store: GraphStore,
    *,
    parts: int,
    method: Method,
    seed: int = 0,
    balance: float = 1.05,
    passes: int = PASSES,
) -> Partition:
    """Cut the train edges of a store into ``parts``, or open what was cut before.

    ``metis`` mostly cuts best, in memory; ``ldg`` and ``fennel`` stream the edges ``passes``
    times, with 4 bytes an entity; ``random`` is the control, of equal sizes. ``auto`` is metis if
    it fits into memory when first asked, else ldg. No streamed part exceeds its share by more
    than ``balance``.
    """
    _check(store.num_entities, parts, method, balance, passes)
    settings: dict[str, Any] = {"parts": parts, "method": method, "seed": seed}
    if method != "random":
        settings["balance"] = float(balance)
    if method not in ("random", "metis"):
        settings["passes"] = passes

    def write(directory: Path) -> None:
        adjacency = store.adjacency()
        chosen = _choose(adjacency) if method == "auto" else method
        part = cut(adjacency, chosen, parts=parts, seed=seed, balance=balance, passes=passes)
        indptr, member = group(part, parts)
        for field, tensor in zip(FIELDS, (part, indptr, member), strict=True):
            np.save(directory / f"{field}.npy", tensor.numpy(), allow_pickle=False)
        write_json(directory / CHOICE, {"method": chosen})

    return Partition.open(store.derived("partition", settings, write))


def _check(num_entities: int, parts: int, method: str, balance: float, passes: int) -> None:
    if not 1 <= parts <= num_entities:
        raise ConfigError(
            f"strategy.parts must lie between 1 and the {num_entities:,} entities of the graph,"
            f" got {parts}: a part of a few hundred to a few thousand entities works well"
        )
    if method not in get_args(Method):
        known = ", ".join(get_args(Method))
        raise ConfigError(f"strategy.method is one of {known}, got {method!r}")
    if not 1 <= balance < math.inf:
        raise ConfigError(f"strategy.balance must be at least 1 (equal sizes), got {balance}")
    if passes < 1:
        raise ConfigError(f"strategy.passes must be at least 1, got {passes}")


def _choose(adjacency: Adjacency) -> Literal["metis", "ldg"]:
    return "metis" if fits_metis(adjacency) else "ldg"


def cut(
    adjacency: Adjacency,
    method: Literal["metis", "ldg", "fennel", "random"],
    *,
    parts: int,
    seed: int,
    balance: float,
    passes: int,
) -> Part:
    """The part of each entity, by one method."""
    if method == "random":
        return random_parts(len(adjacency.indptr) - 1, parts=parts, seed=seed)
    if method == "metis":
        return metis(adjacency, parts=parts, balance=balance, seed=seed)
    return stream_partition(
        adjacency.indptr,
        adjacency.source,
        parts=parts,
        method=method,
        balance=balance,
        passes=passes,
        seed=seed,
    )


def random_parts(num_entities: int, *, parts: int, seed: int) -> Part:
    """Sizes differ by one at most."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(num_entities, generator=generator).remainder_(parts).int()


class EdgesInside(NamedTuple):
    """Train edges of each relation whose two ends lie in the same part, and all of them."""

    inside: Int64[Tensor, " relation"]
    edges: Int64[Tensor, " relation"]

    def share(self) -> Float64[Tensor, " relation"]:
        """Per relation; NaN where train has no edge of it."""
        return self.inside.double() / self.edges

    def total(self) -> float:
        return int(self.inside.sum()) / max(int(self.edges.sum()), 1)


def edges_inside(adjacency: Adjacency, part: Part) -> EdgesInside:
    """What a partition keeps together; a loop is inside. Streams the edges, each triple once."""
    return EdgesInside(
        *count_inside(
            adjacency.indptr,
            adjacency.source,
            adjacency.relation,
            part,
            num_relations=adjacency.num_relations,
        )
    )
