"""A run's vectors, index and networks in a directory of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from kgscale.data.audit import Tell, silent
from kgscale.durable import whole_directory
from kgscale.errors import ConfigError
from kgscale.inference.export.index import check_faiss, write_index
from kgscale.inference.export.networks import (
    Classes,
    Estimates,
    Network,
    check_onnx,
    networks_of,
    write_network,
)
from kgscale.inference.export.recipes import described, metric_of
from kgscale.inference.export.tables import write_entities, write_relations
from kgscale.models.link import LinkModel
from kgscale.models.node import NodeModel
from kgscale.tasks.directory import versions, write_json
from kgscale.tasks.runs import NodeRun, NumberRun, PathRun, RecommendationRun, Run

KINDS: Final = ("vectors", "faiss", "onnx")
DESCRIPTION: Final = "export.json"
_TABLES: Final = [
    f"{name}.{end}" for name in ("entities", "relations") for end in ("parquet", "npy", "tsv")
]
_NETWORKS: Final = [
    f"{name}.onnx" for name in ("triples", "candidates", "query", "classes", "numbers")
]
WRITTEN: Final = {DESCRIPTION, *_TABLES, "entities.faiss", "items.faiss", *_NETWORKS}
"""All that an export may hold."""


def export(run: Run, directory: Path, *, kinds: Sequence[str], tell: Tell = silent) -> list[Path]:
    """Write what ``kinds`` name, and ``export.json``, which tells what is what; in place of an
    earlier export, whole or not at all.

    Raises:
        ConfigError: the run has no vectors, or its decoder no index; an extra is missing.
    """
    check_kinds(kinds)
    _check(run, kinds)
    _check_place(directory)
    with whole_directory(directory, replace=True) as (content, _):
        told = _told(run)
        tell("making the vectors")
        if "vectors" in kinds:
            _ = run.vectors
            tell("writing the vectors")
            told["vectors"] = _write_vectors(run, content)
        if "faiss" in kinds:
            tell("writing the index")
            told["index"] = _write_index(run, content)
        if "onnx" in kinds:
            told["networks"] = _write_networks(run, content, tell)
        write_json(content / DESCRIPTION, told)
        names = sorted(file.name for file in content.iterdir())
    return [directory / name for name in names]


def check_kinds(kinds: Sequence[str]) -> None:
    """Raises:
    ConfigError: there is no such kind, or none.
    """
    if not kinds or not set(kinds) <= set(KINDS):
        raise ConfigError(f"kinds needs some of {', '.join(KINDS)}, got {list(kinds)}")


def _check_place(directory: Path) -> None:
    """What is there gives way to an export, so it must be one and nothing else.

    Raises:
        ConfigError: it is no directory, or has files that no export wrote.
    """
    if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
        raise ConfigError(f"{directory} is no directory: choose another with output=DIR")
    there = {file.name for file in directory.iterdir()} if directory.is_dir() else set()
    if others := sorted(there if DESCRIPTION not in there else there - WRITTEN):
        raise ConfigError(
            f"{directory} has other files than an export, such as {others[0]!r}: choose another"
            " with output=DIR"
        )


def _check(run: Run, kinds: Sequence[str]) -> None:
    if isinstance(run, PathRun):
        raise ConfigError(
            f"{run.directory} is a run of path reasoning, which has no vector of any entity, and no"
            " decoder: its answers come from paths; python -m kgscale predict has them"
        )
    if "faiss" in kinds:
        if not isinstance(run.model, LinkModel):
            raise ConfigError(
                f"an index answers questions, and {run.directory} tells what entities are: leave"
                " faiss out of kinds"
            )
        check_faiss(run.model.decoder)
    if "onnx" in kinds:
        check_onnx()


def _told(run: Run) -> dict[str, Any]:
    store = run.store
    told: dict[str, Any] = {
        "schema": 1,
        "run": run.directory.name,
        "data": {"name": store.name, "fingerprint": store.fingerprint},
        "encoder": run.spec["encoder"]["name"],
        "entities": {
            "rows": store.num_entities,
            "types": {kind.name: [kind.start, kind.stop] for kind in store.types},
        },
        "versions": versions(),
    }
    if isinstance(run.model, LinkModel):
        told["relations"] = {
            "rows": 2 * store.num_relations,
            "reciprocal_from": store.num_relations,
            "reciprocal": "row + reciprocal_from asks for the heads of a tail",
        }
        told["decoder"] = described(run.model.decoder)
    if isinstance(run, RecommendationRun):
        ranges = {"users": run.interest.users, "items": run.interest.items}
        told["recommends"] = {
            "relation_row": run.interest.relation,
            **{name: [rows.start, rows.stop] for name, rows in ranges.items()},
        }
    if isinstance(run, NodeRun):
        told["labels"] = {"names": run.labeller.labels.names, "several": run.labeller.labels.multi}
    return told


def _write_vectors(run: Run, content: Path) -> dict[str, Any]:
    write_entities(content, run.vectors, run.store)
    told: dict[str, Any] = {"entities": list(run.vectors.entity.shape)}
    if isinstance(run.model, LinkModel):
        write_relations(content, run.vectors, run.store)
        told["relations"] = list(run.vectors.relation.shape)
    return told


def _write_index(run: Run, content: Path) -> dict[str, Any]:
    """Of all that may be an answer."""
    assert isinstance(run.model, LinkModel)
    items = isinstance(run, RecommendationRun)
    rows = run.interest.items if isinstance(run, RecommendationRun) else None
    shared = run.weight if isinstance(run, RecommendationRun) else 0.0
    name, decoder = "items" if items else "entities", run.model.decoder
    chosen = range(run.store.num_entities) if rows is None else rows
    write_index(content / f"{name}.faiss", decoder, run.vectors.entity, chosen)
    return {
        "file": f"{name}.faiss",
        "metric": metric_of(decoder),
        "rows": [chosen.start, chosen.stop],
        "answers": "rows of entities.parquet and .npy, known facts among them",
        **({"without": f"{shared:g} times log(1 + Adamic-Adar) of a pair"} if shared else {}),
    }


def _write_networks(run: Run, content: Path, tell: Tell) -> dict[str, Any]:
    told = {}
    for name, network in _networks(run).items():
        tell(f"writing the network {name}")
        write_network(content / f"{name}.onnx", network)
        told[f"{name}.onnx"] = network.described()
    return told


def _networks(run: Run) -> dict[str, Network]:
    if isinstance(run.model, LinkModel):
        return networks_of(run.model.decoder)
    assert isinstance(run.model, NodeModel)
    entity = {"entity": ("batch", run.model.encoder.dim)}
    if isinstance(run, NumberRun):
        source = run.estimator
        module = Estimates(source.head, source.scale, source.factor)
        return {"numbers": Network(module, entity, ("value", "low", "high"))}
    assert isinstance(run, NodeRun)
    classes = Classes(run.labeller.head, multi=run.labeller.labels.multi)
    return {"classes": Network(classes, entity, ("score",))}
