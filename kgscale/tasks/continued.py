"""A run that goes on with a later version of its graph: newcomers get vectors, nothing is trained.

Everything that was learned stays as it is, by key. An entity that arrived since is described as
every other is: by its features and its type where the model reads those, and by what the encoder
makes of its edges. Where entities have learned vectors it gets one from its facts, see
:mod:`kgscale.inference.newcomers`.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from kgscale.data.audit import Tell, silent
from kgscale.errors import ConfigError, DataError
from kgscale.graph.append import numbers_in, unknown_relation
from kgscale.graph.propagate import Propagation, propagate
from kgscale.graph.store import GraphStore
from kgscale.inference.newcomers import Alike, alike, fitted, means
from kgscale.models.graph_model import GraphModel
from kgscale.models.link import LinkModel
from kgscale.models.registry import Model, build_model, save_model
from kgscale.tasks.calibration import FILE
from kgscale.tasks.directory import CONFIG, RESULTS, read_results, write_json
from kgscale.tasks.items import check_between
from kgscale.tasks.runs import NodeRun, NumberRun, PathRun, RecommendationRun, Run
from kgscale.types import Vectors

TABLE: Final = "inputs.table.weight"
MOVES: Final = 3
"""Times that newcomers' rows are moved: a few are enough where it is not the first already."""


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """Who is new in a version, by its own numbers."""

    before: Int64[Tensor, " entity"]
    """Each entity's number in the earlier version, -1 of a newcomer."""

    @property
    def newcomers(self) -> Int64[Tensor, " new"]:
        return (self.before < 0).nonzero()[:, 0]


def go_on(run: Run, store: GraphStore, directory: Path, *, tell: Tell = silent) -> int:
    """Write a run of the same model on a later version of its graph; returns how many are new.

    Args:
        directory: exists, and holds nothing yet.

    Raises:
        DataError: no later version, or one with relations, types or labels that the model has
            never seen.
        ConfigError: a model that can't go on.
    """
    entity, relation = numbers_in(run.store, store)
    arrived = Arrived(before=torch.from_numpy(entity))
    _check(run, store, relation.tolist())
    if isinstance(run, RecommendationRun):
        check_between(store, run.task)
    tell("describing what is new")
    spec = _spec(run, store)
    model = run.model if isinstance(run, PathRun) else _model(run, spec, store, arrived)
    path = str(store.path.resolve())
    save_model(
        model, {**spec, "store": path, "fingerprint": store.fingerprint}, directory / "model"
    )
    for name in (CONFIG, FILE):
        if (run.directory / name).is_file():
            shutil.copyfile(run.directory / name, directory / name)
    write_json(directory / RESULTS, _results(run, store, len(arrived.newcomers)))
    return len(arrived.newcomers)


def _check(run: Run, store: GraphStore, relation: Sequence[int]) -> None:
    """Refuse what the model has no vector for."""
    if relation != list(range(run.store.num_relations)):
        keys = store.relation_keys([at for at, before in enumerate(relation) if before < 0][:3])
        raise DataError(unknown_relation(store.path, keys[0], run.store))
    seen = [kind.name for kind in run.store.types]
    for kind in store.types:
        if kind.name not in seen and not isinstance(run, PathRun):
            raise DataError(
                f"{store.path}: entities of the type {kind.name!r} came after training (it knew"
                f" {', '.join(map(repr, seen))}): give them one of these with data.types, or train"
                " again"
            )
    before, after = (
        {one.types[at].name: rows.shape[1] for at, rows in one.features().items()}
        for one in (run.store, store)
    )
    for name in sorted(before.items() ^ after.items()):
        raise DataError(
            f"{store.path}: the type {name[0]!r} had {before.get(name[0], 0):,} features"
            f" when the model was trained, and {after.get(name[0], 0):,} now: train again"
        )
    if isinstance(run, NodeRun) and not isinstance(run, NumberRun):
        known, now = (one.labels() for one in (run.store, store))
        assert known is not None
        if now is None or now.names != known.names:
            raise DataError(f"{store.path}: there are labels that came after training: train again")
    if run.spec.get("inputs", {}).get("learned") == "anchors":
        raise ConfigError(
            "inputs.learned=anchors describes entities by the anchors of one graph, which a later"
            " version chooses anew: train again, or use inputs.learned=missing"
        )


def _spec(run: Run, store: GraphStore) -> dict[str, Any]:
    """The model's specification for a graph of other sizes."""
    spec = dict(run.spec)
    if "num_entities" in spec:
        spec["num_entities"] = store.num_entities
    if spec.get("types"):
        size = {kind["name"]: kind["features"] for kind in spec["types"]}
        spec["types"] = [
            {"name": kind.name, "start": kind.start, "stop": kind.stop, "features": size[kind.name]}
            for kind in store.types
        ]
    if "propagation" in spec:
        maps = propagate(store, Propagation(**spec["propagation"])).specs()
        told = [[(one["name"], one["dim"]) for one in some]
                for some in (spec["encoder"]["maps"], maps)]  # fmt: skip
        if told[0] != told[1]:
            raise DataError(
                f"{store.path}: features go other ways over this graph ({len(told[1])} maps, not"
                f" the {len(told[0])} that were trained on): train again"
            )
        spec["encoder"] = {**spec["encoder"], "maps": maps}
    return spec


def _model(run: Run, spec: dict[str, Any], store: GraphStore, arrived: Arrived) -> Model:
    """The trained one, with rows for newcomers."""
    old, model = run.model, build_model(spec, seed=0)
    assert isinstance(old, GraphModel)
    assert isinstance(model, GraphModel)
    learned = old.state_dict()
    if (before := learned.pop(TABLE, None)) is None:
        model.load_state_dict(learned)
        return model
    model.load_state_dict(learned, strict=False)
    table = model.state_dict()[TABLE]
    own = model.inputs.table_row(torch.arange(store.num_entities))
    known = (arrived.before >= 0) & (own >= 0)
    table[own[known]] = before[old.inputs.table_row(arrived.before[known])]
    new = arrived.newcomers[own[arrived.newcomers] >= 0]
    if len(new):
        found = alike(store.adjacency(), new)
        found = Alike(*(column[known[found.other]] for column in found))
        kind = _kind(store, new)
        usual = torch.stack(
            [table[own[known & (_kind(store) == at)]].mean(0) for at in range(len(store.types))]
        )
        rows = found._replace(other=own[found.other])
        table[own[new]] = means(table, rows, len(new), otherwise=usual.nan_to_num()[kind])
        if isinstance(model, LinkModel):
            _settle(
                type(run)(run.directory, model, spec, store, run.memory), new, known, table, own
            )
    return model


def _settle(
    run: Run,
    new: Int64[Tensor, " new"],
    known: Bool[Tensor, " entity"],
    table: Vectors,
    own: Int64[Tensor, " entity"],
) -> None:
    """Move newcomers' rows so that what the encoder makes of them fits their facts.

    How a row moves its vector depends on the encoder: by as much with residual layers, else
    perhaps not at all. A row stays where its vector comes no nearer.
    """
    assert isinstance(run.model, LinkModel)
    embedder, graph = run.embedder, run.store.adjacency()
    every, kind = embedder.every, _kind(run.store)
    spread = torch.zeros(len(run.store.types))
    for at in sorted(set(kind[new].tolist())):  # of others there may be no row, and no variance
        spread[at] = every.entity[known & (kind == at)].var(dim=0, correction=0).mean()
    here = every.rows(new).cpu()
    aim = fitted(here, new, graph, every, run.model.decoder, variance=spread[kind[new]])
    row, away = own[new], (aim - here).norm(dim=1)
    for _ in range(MOVES):
        before = table[row].clone()
        table[row] += aim - here
        with embedder.inference():
            there = embedder.gathered(new).cpu()
        nearer = (aim - there).norm(dim=1) < away
        table[row[~nearer]] = before[~nearer]
        here = torch.where(nearer[:, None], there, here)
        away = (aim - here).norm(dim=1)


def _kind(
    store: GraphStore, entity_id: Int64[Tensor, " entity"] | None = None
) -> Int64[Tensor, " entity"]:
    """The place of the storage type of some entities, or of all."""
    ids = torch.arange(store.num_entities) if entity_id is None else entity_id
    starts = torch.tensor([kind.start for kind in store.types])
    return torch.bucketize(ids, starts, right=True) - 1


def _results(run: Run, store: GraphStore, arrived: int) -> dict[str, Any]:
    """What the run is, and nothing that was measured on another graph."""
    told = read_results(run.directory)
    kept = ("schema", "task", "strategy", "encoder", "decoder", "seed", "parameters", "versions")
    return {
        **{name: told[name] for name in kept if name in told},
        "status": "continued",
        "data": {"name": store.name, "fingerprint": store.fingerprint},
        "continues": {"run": str(run.directory.resolve()), "fingerprint": run.store.fingerprint},
        "entities_that_arrived": arrived,
        "metrics": {},
    }
