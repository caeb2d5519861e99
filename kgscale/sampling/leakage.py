"""No answer reaches message passing: the one place per kind of strategy where edges are hidden."""

from __future__ import annotations

from jaxtyping import Int, Int64
from torch import Tensor

from kgscale.batch import LinkQueries, SubgraphBatch
from kgscale.kernels.sample import NeighborSample, hide_edges


def hide_asked(
    sample: NeighborSample,
    triple_of_edge: Int[Tensor, " store_edge"],
    asked: Int64[Tensor, " asked"],
    query: LinkQueries,
) -> SubgraphBatch:
    """The sampled subgraph without the asked triples, in both directions.

    A triple and its reciprocal share a triple id, so leaving out the id leaves out both.

    Args:
        triple_of_edge: the store's map from edges to triples.
        asked: ids of the triples that this step asks about, over all ranks.
    """
    assert sample.edge is not None
    triple = triple_of_edge[sample.edge.long()].long()
    indptr, source, relation, triple, hop_edges = hide_edges(
        sample.indptr,
        sample.source,
        sample.relation,
        triple,
        asked,
        sample.hop_size,
        sample.hop_edges,
    )
    return SubgraphBatch(
        entity_id=sample.entity_id.long(),
        indptr=indptr,
        source=source,
        relation=relation,
        triple=triple,
        hop_size=sample.hop_size,
        hop_edges=hop_edges,
        query=query,
    )
