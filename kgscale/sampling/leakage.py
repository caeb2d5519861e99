"""No answer reaches message passing: the one place per kind of strategy where edges are hidden."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int, Int64
from torch import Tensor

from kgscale.batch import Queries, SubgraphBatch
from kgscale.graph.adjacency import Adjacency
from kgscale.graph.reciprocal import inverse
from kgscale.kernels.ego import HiddenRows, find_edges
from kgscale.kernels.induce import Induced
from kgscale.kernels.sample import NeighborSample, expand_runs, hide_edges
from kgscale.types import Ids, Triples


def hide_asked(
    sample: NeighborSample,
    graph: Adjacency,
    asked: Int64[Tensor, " asked"],
    query: Queries,
) -> SubgraphBatch:
    """The sampled subgraph without the asked triples, in both directions.

    A triple and its reciprocal share a triple id, so leaving out the id leaves out both.

    Args:
        graph: what was sampled.
        asked: ids of the triples that this step asks about, over all ranks.
    """
    assert sample.edge is not None
    triple = graph.triple[sample.edge.long()].long()
    indptr, source, relation, triple, hop_edges = hide_edges(
        sample.indptr,
        sample.source,
        sample.relation,
        triple,
        asked,
        sample.hop_size,
        sample.hop_edges,
    )
    entity_id = sample.entity_id.long()
    return SubgraphBatch(
        entity_id=entity_id,
        indptr=indptr,
        source=source,
        relation=relation,
        triple=triple,
        hop_size=sample.hop_size,
        hop_edges=hop_edges,
        query=query,
        degree=graph.degree(entity_id),
    )


def hide_within(
    cut: Induced,
    triple_of_edge: Int[Tensor, " store_edge"],
    asked: Bool[Tensor, " edge"],
    query: Queries,
    *,
    num_layers: int,
    degree: Int[Tensor, " entity"] | None,
) -> SubgraphBatch:
    """A cut of the graph without the edges that it asks about; every layer sees all the rest.

    ``asked`` must be a function of the edge's triple, so that its other direction is asked about
    and hidden as well. ``degree`` is needed where the edges of some entities are not in the cut.
    """
    entities, stays = cut.entity_id.shape[0], ~asked
    before = torch.cat([stays.new_zeros(1, dtype=torch.int64), stays.long().cumsum(0)])
    # Entities beyond the rows are read and get no messages.
    indptr = before[cut.indptr]
    indptr = torch.cat([indptr, indptr[-1:].expand(entities + 1 - indptr.shape[0])])
    edges = int(indptr[-1])
    return SubgraphBatch(
        entity_id=cut.entity_id,
        indptr=indptr,
        source=cut.source[stays],
        relation=cut.relation[stays],
        triple=triple_of_edge[cut.edge[stays].long()].long(),
        hop_size=(entities,) * (num_layers + 1),
        hop_edges=(edges,) * num_layers,
        query=query,
        degree=degree,
    )


def asked_edges(graph: Adjacency, asked: Triples) -> Int64[Tensor, "triple edges"]:
    """The edges of asked triples in both directions, -1 for one that the graph doesn't have.

    Two of each triple, or four where it holds both ways.
    """
    head, relation, tail = asked.unbind(dim=1)
    back = inverse(relation, num_relations=graph.num_relations)
    arrays = graph.indptr, graph.source, graph.relation
    ways = [(head, relation, tail), (tail, back, head)]
    ways += [(tail, relation, head), (head, back, tail)] if graph.undirected else []
    found = [find_edges(*arrays, origin=s, edge_type=r, target=t) for s, r, t in ways]
    return torch.stack(found, dim=1)


def edges_between(graph: Adjacency, head: Ids, tail: Ids) -> HiddenRows:
    """All edges that join two entities, in both directions, row by row.

    Looked for among those of the one with fewer.
    """
    indptr = graph.indptr.long()
    few = torch.where(indptr.diff()[head] <= indptr.diff()[tail], head, tail)
    other = head + tail - few
    edge, row = expand_runs(indptr[few], indptr[few + 1])
    joins = graph.source[edge].long() == other[row]
    edge, row = edge[joins], row[joins]
    back = inverse(graph.relation[edge].long(), num_relations=graph.num_relations)
    arrays = graph.indptr, graph.source, graph.relation
    reverse = find_edges(*arrays, origin=few[row], edge_type=back, target=other[row])
    count = 2 * torch.bincount(row, minlength=len(head))
    return HiddenRows(
        torch.cat([count.new_zeros(1), count.cumsum(0)]),
        torch.stack([edge, reverse], dim=1).flatten(),
    )
