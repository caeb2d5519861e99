"""Reciprocal relations are made here and nowhere else."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Int64
from numpy.typing import NDArray
from torch import Tensor

from kgscale.types import Triples

Relation = TypeVar("Relation", int, torch.Tensor, NDArray[np.integer])


def inverse(relation: Relation, *, num_relations: int) -> Relation:
    """``r + num_relations`` for a relation of the data, ``r`` for a reciprocal one."""
    if isinstance(relation, int):
        return (relation + num_relations) % (2 * num_relations)
    return (relation + num_relations) % (2 * num_relations)


def add_reciprocal(triples: Triples, *, num_relations: int) -> Int64[Tensor, "2*triple 3"]:
    """Append ``(tail, inverse(relation), head)`` for every triple."""
    head, relation, tail = triples.unbind(dim=1)
    back = torch.stack([tail, inverse(relation, num_relations=num_relations), head], dim=1)
    return torch.cat([triples, back])
