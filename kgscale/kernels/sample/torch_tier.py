"""Neighbour sampling in torch operators; the same draws as the reference, on any device.

Unlike the other kernels it has to wait for the device once a hop: how many entities are new
decides the size of the next hop.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kgscale.kernels.sample.reference import FIRST, SECOND, STEP


def sample_neighbors(
    indptr: Tensor,
    source: Tensor,
    relation: Tensor,
    seeds: Tensor,
    fanout: list[int],
    *,
    seed: int,
    per_relation: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, tuple[int, ...], tuple[int, ...]]:
    device = seeds.device
    local = torch.full((indptr.shape[0] - 1,), -1, dtype=torch.int32, device=device)
    local[seeds] = torch.arange(seeds.shape[0], dtype=torch.int32, device=device)
    entity, row_sizes, edges = [seeds], [seeds.new_zeros(1)], [seeds.new_empty(0)]
    hop_size, hop_edges = [seeds.shape[0]], list[int]()
    for hop, width in enumerate(fanout):
        frontier = entity[-1]
        start, stop = indptr[frontier].long(), indptr[frontier + 1].long()
        row = torch.arange(frontier.shape[0], device=device)
        key = mix(mix_number(seed + hop * STEP) ^ frontier * signed(STEP))
        if per_relation and width >= 0:
            start, stop, row, key = _relation_runs(relation, start, stop, row, key)
        edge, run_size = _draw(start, stop - start, key, width)
        row_sizes.append(torch.zeros_like(frontier).index_add_(0, row, run_size))
        edges.append(edge)
        found = source[edge].long()
        new, place = torch.unique(found[local[found] < 0], return_inverse=True)
        first = new.new_full(new.shape, edge.shape[0]).scatter_reduce_(
            0, place, torch.arange(place.shape[0], device=device), "amin"
        )
        entity.append(new[first.argsort()])
        known = hop_size[-1]
        local[entity[-1]] = torch.arange(
            known, known + new.shape[0], dtype=torch.int32, device=device
        )
        hop_size.append(known + new.shape[0])
        hop_edges.append(sum(part.shape[0] for part in edges))
    edge = torch.cat(edges)
    bounds = torch.cat(row_sizes).cumsum(0)
    return (
        torch.cat(entity),
        bounds,
        local[source[edge].long()],
        relation[edge].int(),
        edge.to(indptr.dtype),
        tuple(hop_size),
        tuple(hop_edges),
    )


def expand_runs(start: Tensor, stop: Tensor) -> tuple[Tensor, Tensor]:
    size = stop - start
    before = size.cumsum(0) - size
    row = torch.arange(start.shape[0], device=start.device).repeat_interleave(size)
    within = torch.arange(row.shape[0], device=start.device) - before[row]
    return start[row] + within, row


def hide_edges(indptr: Tensor, triple: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of the edges that stay, and the new row bounds."""
    stay = ~torch.isin(triple, hidden)
    before = torch.cat([indptr.new_zeros(1), stay.cumsum(0).to(indptr.dtype)])
    return stay.nonzero()[:, 0], before[indptr.long()]


def signed(number: int) -> int:
    """The same 64 bits as torch's signed integer."""
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number


def mix_number(z: int) -> Tensor:
    return mix(torch.tensor(signed(z)))


def mix(z: Tensor) -> Tensor:
    z = (z ^ _shift(z, 30)) * signed(FIRST)
    z = (z ^ _shift(z, 27)) * signed(SECOND)
    return z ^ _shift(z, 31)


def _shift(z: Tensor, bits: int) -> Tensor:
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _below(bits: Tensor, bound: Tensor) -> Tensor:
    small = _shift(_shift(bits, 24) * bound, 40)
    return torch.where(bound < 1 << 24, small, _shift(bits, 1) % bound)


def _draw(start: Tensor, degree: Tensor, key: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Positions drawn from each run, and how many."""
    count = degree if width < 0 else degree.clamp(max=width)
    position, _ = expand_runs(start, start + count)
    if width <= 0:
        return position, count
    large = (degree > width).nonzero()[:, 0]
    chosen = torch.empty(large.shape[0], width, dtype=torch.int64, device=start.device)
    for i in range(width):
        last = degree[large] - width + i
        pick = _below(mix(key[large] + signed(i * STEP)), last + 1)
        seen = (chosen[:, :i] == pick[:, None]).any(dim=1)
        chosen[:, i] = torch.where(seen, last, pick)
    begin = (count.cumsum(0) - count)[large]
    place = begin[:, None] + torch.arange(width, device=start.device)
    position[place] = chosen.sort(dim=1).values + start[large, None]
    return position, count


def _relation_runs(
    relation: Tensor, start: Tensor, stop: Tensor, row: Tensor, key: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Split each row where the relation changes."""
    position, owner = expand_runs(start, stop)
    kind = relation[position].long()
    opens = torch.ones_like(owner, dtype=torch.bool)
    opens[1:] = (kind[1:] != kind[:-1]) | (owner[1:] != owner[:-1])
    at = opens.nonzero()[:, 0]
    size = torch.cat([at, at.new_tensor([owner.shape[0]])]).diff()
    begin, owner = position[at], owner[at]
    return begin, begin + size, row[owner], mix(key[owner] + (kind[at] + 1) * signed(STEP))
