"""What a benchmark asks, in its own order: files beside the facts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from kgscale.data.source import Asked, Candidates
from kgscale.data.spool import NpyWriter, forget
from kgscale.data.vocabulary import id_type, relation_type
from kgscale.graph.integrity import ContentHash
from kgscale.graph.workshop import Workshop

Ints: TypeAlias = NDArray[np.integer]
ROWS = 1 << 12
"""Of candidates written at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Ids; what a benchmark does not give is ``None``."""

    head: Int[Tensor, " question"]
    """For questions about entities alone, these."""
    relation: Int[Tensor, " question"] | None = None
    tail: Int[Tensor, " question"] | None = None
    head_negative: Int[Tensor, "question negative"] | None = None
    """Heads that make no known fact with the question's relation and tail."""
    tail_negative: Int[Tensor, "question negative"] | None = None
    other_head: Int[Tensor, " other"] | None = None
    """With ``other_tail``: pairs that are not joined, the rivals of all questions."""
    other_tail: Int[Tensor, " other"] | None = None


def _file(split: str, name: str) -> str:
    return f"asked_{split}_{name}.npy"


def open_questions(directory: Path, split: str, names: list[str]) -> Questions:
    """Copy-on-write maps."""
    return Questions(
        **{
            name: torch.from_numpy(
                np.load(directory / _file(split, name), mmap_mode="c", allow_pickle=False)
            )
            for name in names
        }
    )


@dataclass(frozen=True, slots=True)
class Waiting:
    """Questions whose relations have slots, but no ids yet."""

    asked: Asked
    relation: NDArray[np.int64] | None


def encode_relations(asked: Iterator[Asked], shop: Workshop) -> list[Waiting]:
    """To be called before relations are numbered."""
    return [
        Waiting(one, None if one.relation is None else shop.relations.encode(one.relation))
        for one in asked
    ]


def write_questions(
    directory: Path, waiting: list[Waiting], shop: Workshop, content: ContentHash
) -> dict[str, list[str]]:
    """Returns the names of the arrays of each split, for the manifest."""
    told = {}
    for found in waiting:
        columns = dict(_columns(found, shop))
        for name, rows in columns.items():
            path = directory / _file(found.asked.split, name)
            kind = relation_type(shop.relations.size) if name == "relation" else None
            _write(path, rows, kind or id_type(shop.entities.size), content)
        told[found.asked.split] = sorted(columns)
    return told


def _columns(found: Waiting, shop: Workshop) -> Iterator[tuple[str, Ints | Candidates]]:
    asked = found.asked
    yield "head", asked.head
    if found.relation is not None:
        yield "relation", shop.relations.ids[found.relation]
    for name in ("tail", "head_negative", "tail_negative"):
        if (given := getattr(asked, name)) is not None:
            yield name, given
    if asked.other is not None:
        yield from zip(("other_head", "other_tail"), asked.other, strict=True)


def _write(path: Path, rows: Ints | Candidates, kind: type[Any], content: ContentHash) -> None:
    source = rows.number if isinstance(rows, Candidates) else rows
    shape, writer = source.shape, NpyWriter(path, kind, *source.shape)
    content.add(f"{path.stem}/shape", np.array(shape, np.int64))
    for first in range(0, shape[0], ROWS):
        last = first + ROWS
        block = rows.rows(first, last) if isinstance(rows, Candidates) else rows[first:last]
        writer.append(block)
        content.add(path.stem, block.astype(kind))
        forget(source)
    writer.finish()
