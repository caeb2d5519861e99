"""Maps of features: over all relations, over subsets of them, or along meta-paths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool
from torch import Tensor

from kgscale.graph.catalog import EntityType
from kgscale.graph.propagate.hop import Rows
from kgscale.graph.propagate.making import Making
from kgscale.graph.propagate.paths import PathTree
from kgscale.graph.propagate.profile import profile_columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where propagation starts: the rows of a type."""

    kind: EntityType
    rows: Rows
    given: int | None = None
    """The place of the type if the rows are its features."""


def sources(making: Making) -> list[Source]:
    """The types that have features; the profiles of all entities if none has."""
    given = making.given
    if given.features:
        return [_featured(making, at) for at in sorted(given.features)]
    columns = profile_columns(given.graph, making.settings.profile)
    profile = making.profile(making.aside(), columns)
    kinds = given.types if making.settings.paths == "metapaths" else [given.everything]
    return [
        Source(kind=kind, rows=Rows(kind.start, profile.part(kind.start, kind.stop)))
        for kind in kinds
    ]


def _featured(making: Making, at: int) -> Source:
    kind, features = making.given.types[at], making.given.features[at]
    rows = Rows(kind.start, features)
    if not making.settings.normalize_rows:
        return Source(kind=kind, rows=rows, given=at)
    return Source(kind=kind, rows=making.copy(making.aside(), rows, kind, normalize=True))


def begin(making: Making, source: Source) -> None:
    """The map of no hop, for the targets that are of the type."""
    about = {"name": source.kind.name, "kind": "feature", "source": source.kind.name, "hop": 0}
    kind = source.kind
    if source.given is not None:
        if any(target.start < kind.stop and kind.start < target.stop for target in making.targets):
            making.new_map(kind, dim=source.rows.dim, given=source.given, **about)
        return
    for target in making.targets:
        first, last = max(target.start, kind.start), min(target.stop, kind.stop)
        if first < last:
            part = EntityType(name=kind.name, start=first, stop=last)
            making.part_of(source.rows, part, **about)


def together(making: Making, source: Source) -> None:
    """``x^(k) = P x^(k-1)`` for ``k = 1 .. hops``, with one ``P`` or one for each subset.

    SGC (Wu et al. 2019) and SIGN (Frasca et al. 2020) with all relations; NARS (Yu et al. 2020)
    with subsets. The first hop averages over the neighbours of the source's type, the others
    over all.
    """
    begin(making, source)
    if making.settings.paths == "all":
        _hops(making, source, making.every, None)
        return
    settings = making.settings
    chosen = subsets(making.given.graph.num_relations, number=settings.subsets, seed=settings.seed)
    for number, relations in enumerate(chosen):
        _hops(making, source, relations.repeat(2), number)


def _hops(
    making: Making, source: Source, relations: Bool[Tensor, " relations"], subset: int | None
) -> None:
    x, keep, everything = source.rows, making.keep(relations), making.given.everything
    name = source.kind.name if subset is None else f"{source.kind.name} by subset {subset}"
    before: Path | None = None
    for hop in range(1, making.settings.hops + 1):
        about = {
            "name": f"{hop} hops from {name}" if hop > 1 else f"1 hop from {name}",
            "kind": "feature",
            "source": source.kind.name,
            "hop": hop,
            "subset": subset,
        }
        if hop == making.settings.hops or making.targets == [everything]:
            for target in making.targets:
                to = making.hop(making.new_map(target, dim=x.dim, **about), x, keep, target)
            x, path = to, None
        else:
            path = making.aside()
            x = making.hop(path, x, keep, everything)
        if before is not None:
            making.drop(before)
        if path is not None:
            for target in making.targets:
                making.part_of(x, target, **about)
        before = path


def subsets(num_relations: int, *, number: int, seed: int) -> list[Bool[Tensor, " relation"]]:
    """Distinct random non-empty sets of relations, or all that there are; that of all first."""
    generator = torch.Generator().manual_seed(seed)
    found = [torch.ones(num_relations, dtype=torch.bool)]
    while len(found) < min(number, 2**num_relations - 1):
        drawn = torch.rand(num_relations, generator=generator) < 0.5
        if drawn.any() and not any(torch.equal(drawn, other) for other in found):
            found.append(drawn)
    return found


def apart(making: Making, source: Source, tree: PathTree) -> None:
    """A map for each sequence of relations: the mean over its last edges of means … of features.

    SeHGNN (Yang et al. 2023). What sequences begin with is computed once.
    """
    begin(making, source)
    place = list(making.given.types).index(source.kind)
    _extend(making, tree, source.kind.name, source.kind.name, source.rows, place, tree.length)


def _extend(
    making: Making, tree: PathTree, source: str, name: str, x: Rows, place: int, left: int
) -> None:
    for step in tree.after(place, left):
        kind = making.given.types[step.target]
        longer = f"{kind.name}<-{making.given.relation_name(step.relation)}<-{name}"
        if ends := step.target in tree.ends:
            hop = tree.length - left + 1
            path = making.new_map(
                kind, name=longer, kind="feature", source=source, hop=hop, dim=x.dim
            )
        else:
            path = making.aside()
        y = making.hop(path, x, making.keep(making.only(step.relation)), kind)
        _extend(making, tree, source, longer, y, step.target, left - 1)
        if not ends:
            making.drop(path)
