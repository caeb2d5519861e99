"""Shapes as types, defined once; checked in every test and free in production."""

from __future__ import annotations

from typing import TypeAlias

from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

Triples: TypeAlias = Int64[Tensor, "triple 3"]
"""Columns head, relation, tail."""

Ids: TypeAlias = Int64[Tensor, " batch"]
Scores: TypeAlias = Float[Tensor, "query candidate"]
"""Higher is more plausible."""

Vectors: TypeAlias = Float[Tensor, "row dim"]
EntityVectors: TypeAlias = Float[Tensor, "entity dim"]
RelationVectors: TypeAlias = Float[Tensor, "relation relation_dim"]
"""Of relations and their reciprocals; as wide as a decoder takes them."""
Questions: TypeAlias = Float[Tensor, "query query_dim"]
"""What candidates are compared with; as wide as a decoder needs it."""
Candidates: TypeAlias = Float[Tensor, "candidate dim"]
Ranks: TypeAlias = Float[Tensor, " query"]
Mask: TypeAlias = Bool[Tensor, " row"]

Indptr: TypeAlias = Int[Tensor, " target_plus_one"]
"""Row ``i`` owns the edges ``indptr[i]:indptr[i + 1]``."""

EdgeSource: TypeAlias = Int[Tensor, " edge"]
EdgeType: TypeAlias = Int[Tensor, " edge"]
EdgeWeight: TypeAlias = Float[Tensor, " edge"]
