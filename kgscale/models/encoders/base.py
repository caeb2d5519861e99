"""What every encoder offers: layers that map the vectors of a block's inputs to its targets."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Final, Literal, NamedTuple, get_args

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from kgscale.batch import Block, SubgraphBatch
from kgscale.errors import ConfigError
from kgscale.types import RelationVectors, Vectors

Activation = Literal["tanh", "relu"]
ACTIVATIONS: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
}


MOST_LAYERS: Final = 1000
FLOAT: Final = 4
LONG: Final = 8
"""Bytes of a number."""


class BlockSize(NamedTuple):
    """What a block is expected to hold, in a plan."""

    inputs: float
    targets: float
    edges: float


class LayerBytes(NamedTuple):
    """What a layer's gradient needs beside the layer's input and output."""

    kept: float
    """Bytes that the forward pass keeps for it."""
    peak: float
    """Bytes at its peak, what is then still kept included."""


class Encoder(nn.Module, ABC):
    """Layers of message passing over typed edges, and the relations' vectors.

    The same ``layer`` serves training (on sampled blocks) and full-graph inference (on chunks
    of rows with all their edges), so the two can't drift apart.

    Args:
        num_relations: relations of the store; vectors are kept for twice as many (reciprocals).
        dim: length of entity and relation vectors.
        num_layers: hops that a vector can see.
        scale: standard deviation of the initial relation vectors.
    """

    reads: ClassVar[str] = "edges"
    """``edges``, or ``maps``: rows that a propagation has made beforehand."""
    reads_degree: ClassVar[bool] = False
    """Whether a message depends on how many edges its source has."""

    def __init__(
        self,
        *,
        num_relations: int,
        dim: int,
        num_layers: int,
        scale: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if dim < 1:
            raise ConfigError(f"encoder.dim needs a positive int, got {dim}")
        if not 0 <= num_layers <= MOST_LAYERS:
            raise ConfigError(
                f"encoder.num_layers needs an int from 0 to {MOST_LAYERS}, got {num_layers}"
            )
        if not 0 <= scale < math.inf:
            raise ConfigError(f"encoder.scale needs a number of at least 0, got {scale}")
        self.num_relations, self.dim, self.num_layers = num_relations, dim, num_layers
        self.relation = nn.Parameter(torch.empty(2 * num_relations, dim))
        with torch.no_grad():
            self.relation.normal_(std=scale, generator=generator)

    def relations(self) -> list[Float[Tensor, "relation dim"]]:
        """Relation vectors at the input of each layer, then those for the decoder."""
        return [self.relation] * (self.num_layers + 1)

    @abstractmethod
    def layer(
        self,
        index: int,
        x: Float[Tensor, "entity dim"],
        relation: Float[Tensor, "relation dim"],
        block: Block,
    ) -> Float[Tensor, "target dim"]:
        """New vectors of the block's targets from the vectors of all its inputs."""

    def memory(self, index: int, size: BlockSize) -> LayerBytes:
        """An estimate of what a layer needs in training; ``d`` is ``dim``, numbers of 4 bytes.

        Here for a layer of torch operators that makes a message per edge: ``inputs d`` mapped
        vectors and ``edges d`` messages are kept, with three numbers of 8 bytes per edge; its
        gradient has twice the messages and the gradients of the inputs and the mapped.
        """
        row, edges = FLOAT * self.dim, size.edges
        kept = (size.inputs + edges) * row + 3 * LONG * edges + self.update_bytes(index, size)
        return LayerBytes(kept, kept + (2 * edges + 2 * size.inputs) * row)

    def update_bytes(self, index: int, size: BlockSize) -> float:
        """What the layer's :class:`Update` keeps, if it has one of that name."""
        layers = getattr(self, "update", None)
        return layers[index].rows_kept * size.targets * FLOAT * self.dim if layers else 0.0

    def forward(
        self, x: Float[Tensor, "entity dim"], batch: SubgraphBatch
    ) -> tuple[Vectors, RelationVectors]:
        """Vectors of the batch's seeds, and of the relations."""
        relations = self.relations()
        for index in range(self.num_layers):
            x = self.layer(index, x, relations[index], batch.block(index, self.num_layers))
        return x, relations[-1]


class Inputs(NamedTuple):
    """The input rows that a block reads, its targets first; and the edges' places among them."""

    x: Float[Tensor, "input dim"]
    source: Int64[Tensor, " edge"]
    row: Int64[Tensor, " input"] | None
    """Of the layer's input; None where that is ``x`` itself."""


def block_inputs(x: Float[Tensor, "entity dim"], block: Block) -> Inputs:
    """What a layer that maps its inputs before it sums them has to map.

    Full-graph inference gives every block all rows, and to map them all for each block would be
    quadratic. A source outside the targets may be there once per edge, so that no size depends
    on the data.
    """
    targets, source = block.num_targets, block.source.long()
    if block.start == 0 and x.shape[0] <= targets + source.shape[0]:
        return Inputs(x, source, None)
    row = torch.arange(block.start, block.start + targets, device=source.device)
    local = source - block.start
    copy = torch.arange(targets, targets + source.shape[0], device=source.device)
    place = torch.where((local >= 0) & (local < targets), local, copy)
    row = torch.cat([row, source])
    return Inputs(x[row], place, row)


class Update(nn.Module):
    """What a layer makes of its mixed messages: ``own + gain * dropout(act(norm(mixed)))``.

    The gain starts at zero (ReZero, Bachlechner et al. 2021), so that a model starts as the
    embedding-only one and learns what neighbours add; a random first layer was seen to cost
    FB15k-237 several epochs. Without ``residual``, the change alone: a plain layer, as for
    classifying nodes by their features.
    """

    def __init__(
        self,
        *,
        dim: int,
        dropout: float,
        residual: bool,
        activation: Activation = "tanh",
        norm: bool = True,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ConfigError(f"encoder.dropout needs a share in [0, 1), got {dropout}")
        if activation not in ACTIVATIONS:
            raise ConfigError(
                f"encoder.activation is one of {', '.join(get_args(Activation))}; "
                f"got {activation!r}"
            )
        self.activation = ACTIVATIONS[activation]
        self.norm = nn.LayerNorm(dim) if norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.gain = nn.Parameter(torch.zeros(dim)) if residual else None

    @property
    def rows_kept(self) -> int:
        """Vectors per target that its gradient needs: the activation's, that before the norm,
        dropout's mask, and the change that the gain multiplies."""
        dropped = self.dropout.p > 0
        before = not isinstance(self.norm, nn.Identity)
        return 1 + before + dropped + (dropped and self.gain is not None)

    def forward(
        self, own: Float[Tensor, "target dim"], mixed: Float[Tensor, "target dim"]
    ) -> Float[Tensor, "target dim"]:
        change: Tensor = self.dropout(self.activation(self.norm(mixed)))
        return change if self.gain is None else own + self.gain * change


def updates(num_layers: int, **settings: Any) -> nn.ModuleList:
    """An :class:`Update` for each layer."""
    return nn.ModuleList(Update(**settings) for _ in range(num_layers))


def glorot(*shape: int, generator: torch.Generator | None) -> nn.Parameter:
    """A weight with variance ``2 / (fan in + fan out)`` (Glorot & Bengio 2010)."""
    bound = (6.0 / (shape[-2] + shape[-1])) ** 0.5
    weight = torch.empty(*shape)
    return nn.Parameter(weight.uniform_(-bound, bound, generator=generator))


def head_width(dim: int, heads: int) -> int:
    """The features of each of several heads."""
    if heads < 1 or dim % heads:
        raise ConfigError(
            f"encoder.heads needs a positive divisor of encoder.dim={dim}, got {heads}"
        )
    return dim // heads
