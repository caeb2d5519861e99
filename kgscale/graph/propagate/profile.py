"""What an entity does in the graph, as its features where nothing else is known of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from kgscale.graph.adjacency import Adjacency
from kgscale.graph.catalog import EntityType
from kgscale.graph.propagate.hop import Rows, blocks, write_rows
from kgscale.kernels.aggregate.torch_tier import edge_rows
from kgscale.kernels.propagate import InEdges, Keep, kept


def write_profile(
    path: Path, graph: Adjacency, keep: Keep, within: EntityType, *, columns: int, seed: int
) -> Rows:
    """``p_i = log(1 + in-edges of i by each relation)``, of length 1, times a random matrix.

    The matrix has independent normal entries of variance ``1 / columns``, so that inner products
    stay about what they are (Johnson & Lindenstrauss 1984); there is none where relations and
    their reciprocals are no more than ``columns``. As float16: rows are of length about 1.
    """
    width = 2 * graph.num_relations
    matrix = None
    if width > profile_columns(graph, columns):
        generator = torch.Generator().manual_seed(seed)
        matrix = torch.randn(width, columns, generator=generator) / columns**0.5

    def found() -> Iterator[Tensor]:
        for *_, edges in blocks(graph, within, width):
            rows = functional.normalize(_counts(edges, keep, width).log1p())
            yield rows if matrix is None else rows @ matrix

    return write_rows(path, within, profile_columns(graph, columns), torch.float16, found())


def profile_columns(graph: Adjacency, most: int) -> int:
    return min(2 * graph.num_relations, most)


def _counts(edges: InEdges, keep: Keep, width: int) -> Float[Tensor, "row relation"]:
    stays = kept(edges, keep)
    row = edge_rows(edges.indptr, edges.source.shape[0])[stays]
    code = row * width + edges.relation[stays].long()
    return torch.bincount(code, minlength=edges.num_rows * width).view(-1, width).float()
