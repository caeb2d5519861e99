"""What an entity brings to the first layer: its features, a learned vector, or its type's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from jaxtyping import Int64
from torch import Tensor, nn
from torch.nn import functional

from kgscale.batch import FeatureRows, SubgraphBatch, TokenRows
from kgscale.errors import ConfigError
from kgscale.models.anchored import AnchoredInput
from kgscale.models.encoders import Encoder
from kgscale.models.entities import EntityTable
from kgscale.models.linear import glorot_linear
from kgscale.types import Vectors

Learned = Literal["missing", "all", "none", "anchors"]


class EntityInput(nn.Module):
    """``x_i = W_t f_i + b_t`` for entities of a type with features, and learned vectors.

    Args:
        types: the storage types in the order of ids, each with ``start``, ``stop`` and the number
            of its ``features`` (0 for none).
        dim: length of the vectors.
        learned: which entities have a learned vector of their own: those whose features are
            ``missing``, ``all`` (added to the features' map, which begins with zeros), or ``none``
            (those without features share a vector per type, so that all there is to learn from is
            the graph). ``anchors``: nobody has, and all are described by anchors nearby, beside
            their features.
        anchors: settings of :class:`AnchoredInput`, for ``learned=anchors``.
        dropout: share of the features' numbers that training leaves out.
        normalize: divide an entity's features by the sum of their absolute values.
        scale: standard deviation of the initial vectors.
        ignored: nobody reads the vectors: zeros, and nothing to learn.
    """

    _start: Tensor
    _row: Tensor
    _plain: Tensor
    _shift: Tensor

    def __init__(
        self,
        *,
        types: Sequence[Mapping[str, Any]],
        dim: int,
        learned: Learned = "missing",
        anchors: Mapping[str, Any] | None = None,
        dropout: float = 0.0,
        normalize: bool = False,
        scale: float = 0.1,
        ignored: bool = False,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        if learned not in get_args(Learned):
            raise ConfigError(f"inputs.learned is missing, all, none or anchors, got {learned!r}")
        if not 0 <= dropout < 1:
            raise ConfigError(f"inputs.dropout needs a share in [0, 1), got {dropout}")
        self.dim, self.normalize, self.dropout = dim, normalize, nn.Dropout(dropout)
        featured = [kind["features"] > 0 for kind in types]
        rows = [_has_row(learned, has) for has in featured]
        self.learned_types: tuple[bool, ...] = tuple(rows)
        size = [kind["stop"] - kind["start"] for kind in types]
        self.table = None
        if any(rows):
            held = sum(n for n, has in zip(size, rows, strict=True) if has)
            self.table = EntityTable(num_entities=held, dim=dim, scale=scale, generator=generator)
        self.maps = nn.ModuleList(
            glorot_linear(kind["features"], dim, generator) for kind in types if kind["features"]
        )
        if learned == "all":
            # Alike from the start, entities would be taken for each other, and for themselves.
            for linear in self.maps:
                assert isinstance(linear, nn.Linear)
                nn.init.zeros_(linear.weight)
        self.anchored = None
        if learned == "anchors":
            assert anchors is not None
            self.anchored = AnchoredInput(**anchors, dim=dim, scale=scale, generator=generator)
        self.type_vector = None
        if learned == "none" and not all(featured) and not ignored:
            self.type_vector = nn.Parameter(torch.empty(len(types), dim))
            with torch.no_grad():
                self.type_vector.normal_(std=scale, generator=generator)
        self._everywhere = all(rows)
        starts = torch.tensor([kind["start"] for kind in types])
        before = torch.tensor([n if has else 0 for n, has in zip(size, rows, strict=True)])
        self.register_buffer("_start", starts, persistent=False)
        self.register_buffer("_row", torch.tensor(rows), persistent=False)
        self.register_buffer("_plain", ~torch.tensor(featured), persistent=False)
        # A table holds the entities of its types one after the other.
        self.register_buffer("_shift", before.cumsum(0) - before - starts, persistent=False)

    def vectors(self) -> list[nn.Parameter]:
        """Dense parameters that are optimised as tables are."""
        kind = [] if self.type_vector is None else [self.type_vector]
        return kind if self.anchored is None else [*kind, *self.anchored.vectors()]

    @property
    def is_table(self) -> bool:
        """Whether the inputs are the table's rows as they stand."""
        return self._everywhere and not len(self.maps)

    def forward(
        self, entity_id: Int64[Tensor, " entity"], features: Sequence[FeatureRows | TokenRows] = ()
    ) -> Vectors:
        if self.is_table:
            assert self.table is not None
            return self.table(entity_id)  # type: ignore[no-any-return]
        x = self._learned(entity_id)
        if self.anchored is not None:
            *features, tokens = features
            x = self.anchored(tokens)
        for linear, rows in zip(self.maps, features, strict=True):
            assert isinstance(rows, FeatureRows)
            value = rows.value
            if self.normalize:
                value = functional.normalize(value, p=1.0, dim=1)
            x = x.index_add(0, rows.entity, linear(self.dropout(value)))
        return x

    def table_row(self, entity_id: Int64[Tensor, " entity"]) -> Int64[Tensor, " entity"]:
        """The table's row of each entity, -1 of those without."""
        kind = torch.bucketize(entity_id, self._start, right=True) - 1
        return torch.where(self._row[kind], entity_id + self._shift[kind], -1)

    def _learned(self, entity_id: Int64[Tensor, " entity"]) -> Vectors:
        """Learned vectors, and zeros where there is none."""
        kind = torch.bucketize(entity_id, self._start, right=True) - 1
        x = torch.zeros(len(entity_id), self.dim, device=entity_id.device)
        if self.type_vector is not None:
            x = self.type_vector[kind] * self._plain[kind, None]
        if self.table is None:
            return x
        if self._everywhere:
            rows: Tensor = self.table(entity_id + self._shift[kind])
            return x + rows
        # A table's gradient names the rows that were read: none may be read in vain.
        place = self._row[kind].nonzero()[:, 0]
        row = entity_id[place] + self._shift[kind[place]]
        return x.index_add(0, place, self.table(row))


def own_inputs(inputs: EntityInput, encoder: Encoder, batch: SubgraphBatch) -> Vectors:
    """What the entities of a batch bring; features that the encoder reads itself are left to it."""
    features = () if encoder.reads == "maps" else batch.features
    return inputs(batch.entity_id, features)  # type: ignore[no-any-return]


def _has_row(learned: str, has_features: bool) -> bool:
    return learned == "all" or (learned == "missing" and not has_features)
