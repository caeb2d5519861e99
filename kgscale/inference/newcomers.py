"""Vectors of entities that arrived after training, from their facts; all else stays as it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from kgscale.graph.adjacency import Adjacency
from kgscale.graph.reciprocal import inverse
from kgscale.inference.embed import GraphVectors
from kgscale.kernels.sample import expand_runs
from kgscale.models.decoders import Decoder

COMMON: Final = 4096
"""Entities that share a fact, beyond which it tells too little about any of them."""
AT_ONCE: Final = 256
"""Newcomers that are fitted together: bounds the scores that are kept."""
EDGES: Final = 1 << 22
"""Of facts' other ends, looked at together: bounds what hubs among them take."""
CANDIDATES: Final = 1 << 16
"""Entities that a fact's other end is told from; a seeded sample where there are more."""
STEPS: Final = 30
RATE: Final = 0.1
PRIOR: Final = 0.1
"""How much a vector's prior counts, beside its facts, per variance of the trained vectors. Chosen
on HPO, whose diseases were held out for it."""
TINY: Final = 1e-12
"""Nothing is divided by less."""


class Alike(NamedTuple):
    """Who shares facts with a newcomer, and how much: a row for each pair of the two."""

    newcomer: Int64[Tensor, " pair"]
    """Its place among the newcomers."""
    other: Int64[Tensor, " pair"]
    weight: Float[Tensor, " pair"]


def alike(graph: Adjacency, newcomers: Int64[Tensor, " new"]) -> Alike:
    """Entities known before that have a fact's relation and other end in common with a newcomer.

    Each common fact counts ``1 / log(2 + n)`` where ``n`` others have it (Adamic & Adar 2003); the
    weight is the square of their sum.
    """
    bounds = graph.indptr.long()
    is_new = torch.zeros(len(bounds) - 1, dtype=torch.bool)
    is_new[newcomers] = True
    parts = []
    for first in range(0, len(newcomers), AT_ONCE):
        ids = newcomers[first : first + AT_ONCE]
        fact, row = expand_runs(bounds[ids], bounds[ids + 1])
        end = graph.source[fact].long()
        wanted = inverse(graph.relation[fact].long(), num_relations=graph.num_relations)
        found = [
            _others(graph, row[some], end[some], wanted[some], is_new)
            for some in _pieces(bounds[end + 1] - bounds[end])
        ]
        whose, other, share = (torch.cat(column) for column in zip(*found, strict=True))
        pair, place = torch.unique(whose * len(is_new) + other, return_inverse=True)
        weight = torch.zeros(len(pair)).index_add(0, place, share) ** 2
        parts.append(Alike(first + pair // len(is_new), pair % len(is_new), weight))
    return Alike(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _pieces(size: Int64[Tensor, " fact"]) -> Iterator[Int64[Tensor, " some"]]:
    """Facts that follow each other, of whose ends ``size`` edges each are few enough together."""
    number = torch.unique_consecutive(size.cumsum(0) // EDGES, return_counts=True)[1]
    yield from torch.split(torch.arange(len(size)), number.tolist() or [0])


def _others(
    graph: Adjacency,
    row: Int64[Tensor, " fact"],
    end: Int64[Tensor, " fact"],
    wanted: Int64[Tensor, " fact"],
    is_new: Bool[Tensor, " entity"],
) -> tuple[Int64[Tensor, " found"], Int64[Tensor, " found"], Float[Tensor, " found"]]:
    """The row of a fact, who else has it, and what that counts.

    Whoever else has it is a source of the end's own edges, by the inverse relation, ``wanted``.
    """
    edge, which = expand_runs(graph.indptr[end].long(), graph.indptr[end + 1].long())
    other = graph.source[edge].long()
    keep = (graph.relation[edge].long() == wanted[which]) & ~is_new[other]
    other, which = other[keep], which[keep]
    count = torch.bincount(which, minlength=len(end))
    few = count[which] <= COMMON
    other, which = other[few], which[few]
    return row[which], other, 1 / torch.log(2.0 + count[which])


def means(
    rows: Float[Tensor, "row dim"],
    found: Alike,
    number: int,
    *,
    otherwise: Float[Tensor, "new dim"],
) -> Float[Tensor, "new dim"]:
    """The weighted mean of the rows of those alike, for each of ``number`` newcomers.

    Args:
        rows: of all entities that ``found`` may name.
        otherwise: the vector of each newcomer, should nobody be like it.
    """
    total = torch.zeros(number).index_add(0, found.newcomer, found.weight)
    out = torch.zeros(number, rows.shape[1])
    for first in range(0, len(found.other), COMMON):
        part = slice(first, first + COMMON)
        scaled = rows[found.other[part]] * found.weight[part, None]
        out.index_add_(0, found.newcomer[part], scaled)
    out /= total.clamp(min=TINY)[:, None]
    return torch.where(total[:, None] > 0, out, otherwise)


def fitted(
    start: Float[Tensor, "new dim"],
    newcomers: Int64[Tensor, " new"],
    graph: Adjacency,
    vectors: GraphVectors,
    decoder: Decoder,
    *,
    variance: Float[Tensor, " new"],
) -> Float[Tensor, "new dim"]:
    """The vectors under which a newcomer's own facts are likely, and that are near ``start``.

    Minimises, for each newcomer alone, the cross-entropy of its facts' other ends among all
    entities, as training does, and ``PRIOR / variance`` times the squared distance from ``start``.

    Args:
        start: a vector for each newcomer.
        vectors: of all entities and relations, which stay as they are.
        variance: of a number of vectors like each newcomer's.
    """
    candidates, bounds = _candidates(len(vectors.entity)), graph.indptr.long()
    found = start.clone()
    for first in range(0, len(newcomers), AT_ONCE):
        ids = newcomers[first : first + AT_ONCE]
        fact, row = expand_runs(bounds[ids], bounds[ids + 1])
        relation = inverse(graph.relation[fact].long(), num_relations=graph.num_relations)
        asked = _Asked(row, relation, graph.source[fact].long(), candidates)
        part = slice(first, first + len(ids))
        prior = PRIOR / variance[part].clamp(min=TINY)
        found[part] = _fit(start[part], asked, vectors, decoder, prior)
    return found


class _Asked(NamedTuple):
    """What newcomers' facts ask: (newcomer, relation) of whom the other end is the answer."""

    row: Int64[Tensor, " fact"]
    relation: Int64[Tensor, " fact"]
    answer: Int64[Tensor, " fact"]
    candidates: Int64[Tensor, " candidate"] | None
    """None: all entities."""


def _candidates(number: int) -> Int64[Tensor, " candidate"] | None:
    if number <= CANDIDATES:
        return None
    drawn = torch.randperm(number, generator=torch.Generator().manual_seed(0))
    return drawn[:CANDIDATES].sort().values


def _fit(
    start: Float[Tensor, "new dim"],
    asked: _Asked,
    vectors: GraphVectors,
    decoder: Decoder,
    prior: Float[Tensor, " new"],
) -> Float[Tensor, "new dim"]:
    """By Adam, all newcomers at once: their terms have nothing in common."""
    place, prior = start.to(vectors.device), prior.to(vectors.device)
    z = place.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([z], lr=RATE)
    size = len(vectors.relation)
    pair, query = torch.unique(asked.row * size + asked.relation, return_inverse=True)
    times = torch.bincount(query, minlength=len(pair)).to(place)
    relation = vectors.of(pair % size)
    row = (pair // size).to(vectors.device)
    answers = vectors.rows(asked.answer)
    every = vectors.entity if asked.candidates is None else vectors.rows(asked.candidates)
    every = every.to(vectors.device)
    for _ in range(STEPS):
        ask = decoder.query(z[row], relation)
        # Cut here, so that the scores of one part are gone before the next ones are made.
        cut = ask.detach().requires_grad_(True)
        right = decoder.compare_own(cut[query], answers[:, None])[:, 0]
        (slope,) = torch.autograd.grad(-right.sum(), cut)
        for part in _parts(len(pair)):
            scores = decoder.compare(cut[part], every)
            (more,) = torch.autograd.grad((times[part] * scores.logsumexp(dim=1)).sum(), cut)
            slope = slope + more
        (z.grad,) = torch.autograd.grad(ask, z, slope)
        z.grad += 2 * prior[:, None] * (z.detach() - place)
        optimizer.step()
    return z.detach().cpu()


def _parts(number: int) -> Iterator[slice]:
    yield from (slice(first, first + AT_ONCE) for first in range(0, number, AT_ONCE))
