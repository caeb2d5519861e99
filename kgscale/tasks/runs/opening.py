"""Open a run directory, and refuse what is none or doesn't belong to its graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from kgscale.errors import ConfigError, DataError, is_name
from kgscale.graph.store import GraphStore
from kgscale.inference.paths import Rest
from kgscale.models.link import LinkModel
from kgscale.models.node import NodeModel
from kgscale.models.reasoners import PathReasoner
from kgscale.models.registry import Model, load_model
from kgscale.tasks.runs.base import Run
from kgscale.tasks.runs.links import LinkRun, PathRun
from kgscale.tasks.runs.nodes import NodeRun, NumberRun
from kgscale.tasks.runs.recommendation import RecommendationRun


def rest_of(name: str, store: GraphStore, *, memory: int) -> Rest:
    """Scores of all entities by a run of link prediction on the same graph.

    Raises:
        ConfigError: another run, or another graph.
    """
    run = open_run(Path(name).expanduser(), memory=memory)
    if not isinstance(run, LinkRun) or isinstance(run, PathRun):
        raise ConfigError(f"evaluation.rest={name} is no run of link prediction")
    if run.store.fingerprint != store.fingerprint:
        raise ConfigError(
            f"evaluation.rest={name} was trained on another graph, {run.store.name}; train it on"
            f" {store.name}"
        )
    return run.predictor.scores


RUNS: Final[dict[type, type[Run]]] = {
    LinkModel: LinkRun,
    NodeModel: NodeRun,
    PathReasoner: PathRun,
}


SPECIAL: Final[dict[str, type[Run]]] = {"recommends": RecommendationRun, "numbers": NumberRun}
"""By what only their models' specifications have."""


def open_run(directory: Path | str, *, memory: int = 1 << 28) -> Run:
    """Open a run directory.

    Args:
        memory: bytes for what answering keeps at a time.

    Raises:
        DataError: no finished run there, or its graph store is gone or another one.
    """
    directory = Path(directory)
    if not (directory / "model").is_dir():
        raise DataError(
            f"{directory}: no run with a model there; name a directory that train printed"
        )
    model, spec = load_model(directory / "model")
    for name in ("store", "fingerprint"):
        if not isinstance(spec.get(name), str) or not is_name(spec[name]):
            raise DataError(f"{directory}: model/model.json names no {name}: train again")
    store_path = Path(spec["store"])
    if not store_path.is_absolute() or store_path.resolve().is_relative_to(directory.resolve()):
        raise DataError(
            f"{directory}: model/model.json names the store {spec['store']!r:.200}, which came with"
            " the run: stores are read as they are, and only those that were built here; train"
            " again on its triples"
        )
    if not store_path.is_dir():
        raise DataError(
            f"{spec['store']}: the graph store of {directory} is gone; train again,"
            f" or build it again with the settings in {directory / 'config.yaml'}"
        )
    store = GraphStore.open(Path(spec["store"]))
    if store.fingerprint != spec["fingerprint"]:
        raise DataError(
            f"{store.path}: the graph store has changed since {directory} was trained; train again"
        )
    _check_fits(directory, model, spec, store)
    return kind_of(model, spec)(directory, model, spec, store, memory)


def kind_of(model: Model, spec: Mapping[str, Any]) -> type[Run]:
    """What a model's run can be asked."""
    special = [kind for part, kind in SPECIAL.items() if part in spec]
    return special[0] if special else RUNS[type(model)]


def _check_fits(directory: Path, model: Model, spec: Mapping[str, Any], store: GraphStore) -> None:
    """Refuse a model of another graph, whatever it says that it was trained on.

    Raises:
        DataError: it knows other entities, relations or labels.
    """
    told: dict[str, Any] = {"relations": spec["num_relations"]}
    there: dict[str, Any] = {"relations": store.num_relations}
    if not isinstance(model, PathReasoner):
        types = spec.get("types") or [{"start": 0, "stop": spec.get("num_entities")}]
        told["entities"] = [[kind["start"], kind["stop"]] for kind in types]
        there["entities"] = [[kind.start, kind.stop] for kind in store.types]
    if isinstance(model, NodeModel):
        labels = store.labels()
        told["labels"] = spec["head"]["num_classes"]
        there["labels"] = 0 if labels is None else len(labels.names)
        if "numbers" in spec:
            # A mean and a deviation.
            there["labels"] = 2 if store.has_numbers else 0
    for name, number in told.items():
        if number != there[name]:
            raise DataError(
                f"{directory}: its model knows other {name} than {store.name} has ({number}, not"
                f" {there[name]}): train again"
            )
