"""What the relations of an entity's edges tell, wherever it lies."""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from kgscale.batch import Profile
from kgscale.models.linear import glorot_linear


class ProfileScore(nn.Module):
    """``s(h, r, t) = (q_r * (1 + A relu(P h))) · (B relu(Q t))`` of the profiles of head and tail.

    A profile has ``1 + log n`` for every relation of which an entity has ``n > 0`` in-edges. A
    born_in leads to what is a capital or has a mayor, near or far: what a path finds beyond doubt,
    a profile finds likely, for entities that no path reaches too. Ours.

    Args:
        size: relations, both directions.
        dim: length of the vectors.
        dropout: share of the relations of a profile, and of the numbers of its vectors, that
            training leaves out.
    """

    def __init__(
        self, *, size: int, dim: int, dropout: float, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        self.question = nn.Parameter(torch.empty(size, dim).normal_(generator=generator))
        self.table = nn.Parameter(
            torch.empty(size, 2 * dim).normal_(std=(3 * size) ** -0.5, generator=generator)
        )
        self.bias = nn.Parameter(torch.zeros(2 * dim))
        self.of_head = glorot_linear(dim, dim, generator)
        self.of_tail = glorot_linear(dim, dim, generator)
        self.dropout = nn.Dropout(dropout)

    def ask(self, relation: Int64[Tensor, " query"], head: Profile) -> Float[Tensor, "query dim"]:
        """What the tail's vector is to point to."""
        return self._question(relation, self._vectors(head)[0])

    def tails(self, profile: Profile) -> Float[Tensor, "entity dim"]:
        """Of entities as answers."""
        vectors: Tensor = self.of_tail(self._vectors(profile)[1])
        return vectors

    def forward(
        self,
        relation: Int64[Tensor, " query"],
        profile: Profile,
        owner: Int64[Tensor, " candidate"],
    ) -> Float[Tensor, " candidate"]:
        """Of every candidate for the question ``owner``; the heads are the first candidates."""
        head, tail = self._vectors(profile)
        asked = self._question(relation, head[: len(relation)])
        found: Tensor = (asked[owner] * self.of_tail(tail)).sum(dim=1)
        return found

    def _question(
        self, relation: Int64[Tensor, " query"], head: Float[Tensor, "query dim"]
    ) -> Float[Tensor, "query dim"]:
        turned: Tensor = self.of_head(head)
        return self.question[relation] * (1 + turned)

    def _vectors(self, profile: Profile) -> tuple[Tensor, Tensor]:
        value = self.dropout(profile.value)
        summed = functional.embedding_bag(
            profile.relation,
            self.table,
            profile.indptr,
            mode="sum",
            per_sample_weights=value,
            include_last_offset=True,
        )
        both = self.dropout((summed + self.bias).relu())
        return cast(tuple[Tensor, Tensor], tuple(both.chunk(2, dim=1)))
