"""Any convolution of PyG, by its name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kgscale.batch import Block
from kgscale.errors import ConfigError
from kgscale.models.encoders.base import Activation, Encoder, Inputs, block_inputs, updates

GCN: Final = "GCNConv"
_EDGES: Final = ((1, 2, 0, 3, 3, 2, 0), (0, 0, 1, 1, 2, 3, 3))
"""Sources and targets of the graph that a convolution is tried on; the first four are a block."""
_IN_BLOCK: Final = 4


class PyGConvolution(Encoder):
    """``h' = update(conv(h, edges))`` with a convolution of ``torch_geometric.nn``.

    A convolution works block by block if what it gives a row depends on the row and its in-edges
    alone; the constructor tries that on four nodes and refuses what sees further (several hops
    are ``num_layers``). Relations reach those that take ``edge_type``, or as vectors
    (``edge_attr``) those whose ``edge_dim`` is set; all others see an edge per triple and
    direction. ``conv`` gets no map of its own input but what it has itself.

    ``GCNConv`` is ``D^-1/2 (A + I) D^-1/2 h W`` (Kipf & Welling 2017), where ``A`` counts the
    triples that join two entities, in either direction, and ``D`` is the degree in ``A + I``.
    On a block with all its rows as targets ``A`` is the block's; so the normalisation is exact
    for the whole graph, and for induced subgraphs that of the subgraph. Any other block has to
    tell ``degree``, which then is that of the whole graph; sampled in-edges stand for all of a
    row's, so that the sum is unbiased. With all in-edges both are the same.

    Args:
        conv: the name of a class of ``torch_geometric.nn.conv``.
        arguments: for its constructor, beside the sizes.
        residual: add the layer's input to its output, see :class:`Update`.
    """

    reads_degree = True

    def __init__(
        self,
        *,
        num_relations: int,
        dim: int,
        num_layers: int = 1,
        conv: str = GCN,
        arguments: Mapping[str, Any] | None = None,
        dropout: float = 0.1,
        residual: bool = True,
        activation: Activation = "tanh",
        norm: bool = True,
        scale: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(
            num_relations=num_relations,
            dim=dim,
            num_layers=num_layers,
            scale=scale,
            generator=generator,
        )
        self.name, self.arguments = conv, dict(arguments or {})
        kind = _convolution(conv)
        takes = inspect.signature(kind.forward).parameters
        if not {"x", "edge_index"} <= set(takes):
            raise ConfigError(
                f"encoder.conv={conv} needs {', '.join(list(takes)[1:])} where kgscale has "
                "x and edge_index; encoder.conv=SAGEConv, GATv2Conv and RGCNConv work"
            )
        self.takes_type = "edge_type" in takes
        self.conv = nn.ModuleList(self._build(kind, generator) for _ in range(num_layers))
        self.bipartite = all(self._try(layer) for layer in self.conv)
        self.update = updates(
            num_layers,
            dim=dim,
            dropout=dropout,
            residual=residual,
            activation=activation,
            norm=norm,
        )

    def layer(
        self,
        index: int,
        x: Float[Tensor, "entity dim"],
        relation: Float[Tensor, "relation dim"],
        block: Block,
    ) -> Float[Tensor, "target dim"]:
        inputs = block_inputs(x, block)
        target = torch.repeat_interleave(block.indptr.diff(), output_size=block.source.shape[0])
        ends, conv = torch.stack([inputs.source, target]), self.conv[index]
        if self.name == GCN:
            mixed = conv(inputs.x, *_symmetric(inputs, ends, block))[: block.num_targets]
        else:
            told = self._told(block.relation.long(), relation)
            mixed = self._convolve(conv, inputs.x, ends, block.num_targets, told)
        out: Tensor = self.update[index](inputs.x[: block.num_targets], mixed)
        return out

    def _told(self, kind: Tensor, relation: Tensor) -> dict[str, Tensor]:
        """What the convolution hears of relations."""
        told = {"edge_type": kind} if self.takes_type else {}
        if self.arguments.get("edge_dim") is not None:
            told["edge_attr"] = relation.index_select(0, kind)
        return told

    def _convolve(
        self, conv: nn.Module, x: Tensor, ends: Tensor, targets: int, told: dict[str, Tensor]
    ) -> Tensor:
        """The vectors of the first ``targets`` rows."""
        rows = (x, x[:targets]) if self.bipartite else x
        out: Tensor = conv(rows, ends, **told)
        return out[:targets]

    def _build(self, kind: type[nn.Module], generator: torch.Generator | None) -> nn.Module:
        """A convolution, whose initial values PyG draws from torch's global generator."""
        own = {"normalize": False, "add_self_loops": False} if self.name == GCN else {}
        if own and not set(self.arguments) <= {"bias"}:
            raise ConfigError(
                "encoder.arguments of GCNConv has bias alone, since kgscale normalises by what "
                f"the whole graph holds; got {', '.join(self.arguments)}"
            )
        sizes = dict.fromkeys(("in_channels", "out_channels", "channels"), self.dim)
        given = {**sizes, **self.arguments, "num_relations": 2 * self.num_relations, **own}
        takes = inspect.signature(kind).parameters
        given = {n: v for n, v in given.items() if n in takes or n in self.arguments}
        with torch.random.fork_rng(devices=[]):
            seed = torch.randint(1 << 62, (), generator=generator, device="cpu")
            torch.default_generator.manual_seed(int(seed))
            try:
                return kind(**given)
            except Exception as error:
                raise self._unfit(f"can't be built ({_said(error)})") from error

    @torch.no_grad()
    def _try(self, conv: nn.Module) -> bool:
        """Whether it maps targets apart from sources; refuses what a block can't compute."""
        if self.name == GCN or self.relation.is_meta:
            return False
        x = torch.randn(4, self.dim, generator=torch.Generator().manual_seed(0))
        ends = torch.tensor(_EDGES)
        told = self._told(torch.zeros_like(ends[0]), self.relation)
        part = {name: value[:_IN_BLOCK] for name, value in told.items()}
        training, targets = conv.training, 2
        conv.eval()
        try:
            whole = conv(x, ends, **told)
            square = conv(x, ends[:, :_IN_BLOCK], **part)[:targets]
        except Exception as error:
            raise self._unfit(f"can't be run on x and edge_index ({_said(error)})") from error
        if not isinstance(whole, Tensor) or whole.shape != x.shape:
            found = tuple(whole.shape) if isinstance(whole, Tensor) else type(whole).__name__
            raise self._unfit(
                f"gives {found} for rows of {self.dim} features, where as many have to come out; "
                "with heads, set concat: false or out_channels: dim / heads"
            )
        if not torch.allclose(square, whole[:targets], atol=1e-4):
            raise self._unfit(
                "looks beyond the in-edges of a row, which a block doesn't hold; set GCNConv, "
                "SAGEConv or GATv2Conv, and encoder.num_layers for several hops"
            )
        try:
            apart = conv((x, x[:targets]), ends[:, :_IN_BLOCK], **part)
        except Exception:
            return False
        finally:
            conv.train(training)
        return apart.shape == square.shape and torch.allclose(apart, square, atol=1e-4)

    def _unfit(self, why: str) -> ConfigError:
        return ConfigError(
            f"encoder.conv={self.name} with encoder.arguments={self.arguments} {why}; set"
            " encoder.arguments as its constructor has them, or another encoder.conv"
        )


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


def _convolution(name: str) -> type[nn.Module]:
    """The class, and no other attribute of PyG; imported late, as that takes a second."""
    from torch_geometric.nn import conv

    if name not in conv.__all__:
        near = difflib.get_close_matches(name, conv.__all__, n=3, cutoff=0.4)
        raise ConfigError(
            f"encoder.conv is a class of torch_geometric.nn.conv, got {name!r}; "
            f"did you mean {' or '.join(near or [GCN])}?"
        )
    kind: type[nn.Module] = getattr(conv, name)
    return kind


def _symmetric(inputs: Inputs, ends: Tensor, block: Block) -> tuple[Tensor, Tensor]:
    """The edges and the targets' self loops, with GCN's weights."""
    held = block.indptr.diff()
    degree = block.degree
    if degree is None:
        if block.num_targets < inputs.x.shape[0]:
            raise ConfigError(
                "encoder.conv=GCNConv divides by the degrees of neighbours, which these batches "
                "don't tell; set strategy=full_batch or strategy=cluster, or encoder.conv=SAGEConv"
            )
        degree = held
    elif inputs.row is not None:
        degree = degree.index_select(0, inputs.row)
    root = (degree + 1).to(inputs.x.dtype).rsqrt()
    stands_for = degree[: block.num_targets] / held.clamp(min=1)
    source, target = ends
    weight = root[source] * root[target] * stands_for[target]
    loop = torch.arange(block.num_targets, device=ends.device)
    edges = torch.cat([ends, loop.expand(2, -1)], dim=1)
    return edges, torch.cat([weight, root[loop] ** 2])
