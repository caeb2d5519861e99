"""Propagation of a store's features, made once and kept beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from kgscale.data.audit import Tell, silent
from kgscale.errors import ConfigError
from kgscale.graph.catalog import EntityType
from kgscale.graph.propagate.features import apart, sources, together
from kgscale.graph.propagate.labels import label_maps
from kgscale.graph.propagate.making import Making, Naming
from kgscale.graph.propagate.maps import MapSpec, Propagated, parts, write_specs
from kgscale.graph.propagate.paths import PathTree, steps
from kgscale.graph.propagate.settings import Ingredients, Propagation
from kgscale.graph.store import GraphStore


def propagate(store: GraphStore, settings: Propagation, *, tell: Tell = silent) -> Propagated:
    """The maps of a store, or those that were made before.

    Costs, for each map, one pass over the edges and the rows at their other ends; memory for a
    block of rows; and on disk the maps, with ``folds`` as many times more.
    """
    given = Ingredients.of(store)
    about = settings.about(profiled=not given.features)
    path = store.derived(
        "propagated", about, lambda directory: write_maps(directory, given, settings, tell=tell)
    )
    return Propagated.open(path, given.features)


def write_maps(
    directory: Path,
    given: Ingredients,
    settings: Propagation,
    *,
    targets: Sequence[EntityType] | None = None,
    folds: bool = True,
    tell: Tell = silent,
) -> None:
    """Everything that ``Propagated.open`` reads.

    Args:
        targets: which entities get rows; without it those that settings and labels say.
        folds: whether also without each fold of the triples.
    """
    number = settings.folds if folds else 0
    targets = targets_of(given, settings) if targets is None else targets
    tree = _tree(given, settings, targets)
    maps: list[MapSpec] = []
    for fold, name in enumerate(parts(number), start=-1):
        (directory / name).mkdir()
        with tempfile.TemporaryDirectory(dir=directory) as scratch:
            making = Making(
                given=given,
                settings=settings,
                targets=targets,
                fold=None if fold < 0 else fold,
                directory=directory / name,
                scratch=Path(scratch),
                tell=tell,
            )
            _make(making, tree)
        maps = making.maps
    write_specs(directory, maps, number)


def map_specs(given: Ingredients, settings: Propagation) -> list[MapSpec]:
    """What :func:`write_maps` would make, by its own steps, without a row of it.

    Costs nothing, but with ``paths=metapaths`` a look at all edges: which sequences occur?
    """
    targets = targets_of(given, settings)
    naming = Naming(
        given=given,
        settings=settings,
        targets=targets,
        fold=None,
        directory=Path(),
        scratch=Path(),
        tell=silent,
    )
    _make(naming, _tree(given, settings, targets))
    return naming.maps


def targets_of(given: Ingredients, settings: Propagation) -> list[EntityType]:
    """Which entities get rows."""
    if settings.normalize == "symmetric" and len(given.types) > 1:
        raise ConfigError(
            f"strategy.normalize=symmetric is for entities of one type, and there are"
            f" {len(given.types)}: set strategy.normalize=mean"
        )
    if settings.folds:
        return list(given.types) if settings.paths == "metapaths" else [given.everything]
    if not given.labelled():
        raise ConfigError("strategy.folds=0 is for questions about labels, and there are none")
    return given.labelled()


def _tree(
    given: Ingredients, settings: Propagation, targets: Sequence[EntityType]
) -> PathTree | None:
    if settings.paths != "metapaths":
        return None
    ends = [at for at, kind in enumerate(given.types) if kind in targets]
    tree = PathTree(steps(given.graph, given.types), ends, settings.hops)
    tree.check(list(given.features) or list(range(len(given.types))), settings.max_paths)
    return tree


def _make(making: Making, tree: PathTree | None) -> None:
    for source in sources(making):
        if tree is None:
            together(making, source)
        else:
            apart(making, source, tree)
    if making.settings.label_hops:
        for kind in making.targets:
            label_maps(making, kind, None if tree is None else tree.steps)
