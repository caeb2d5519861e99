"""What a setting's ``_target_`` may name: these classes by their exact path, and nothing else.

A prefix test would be worthless, since the attributes of an allowed module reach anything.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final

from kgscale.data.hpo import HumanPhenotypeOntology
from kgscale.data.interactions import Interactions
from kgscale.data.ogb.source import OgbDataSet
from kgscale.data.papers import Papers
from kgscale.data.rdf import RdfFiles
from kgscale.data.synthetic import SyntheticGraph
from kgscale.data.triples import TripleFiles
from kgscale.errors import ConfigError
from kgscale.graph.convert.stored import StoredGraph
from kgscale.losses import BCELoss, BPRLoss, MarginLoss, SoftmaxLoss
from kgscale.models.heads import ClassificationHead
from kgscale.models.registry import DECODERS, ENCODERS, REASONERS
from kgscale.sampling.cluster import ClusterStrategy
from kgscale.sampling.full_batch import FullBatchStrategy
from kgscale.sampling.neighbor import NeighborStrategy
from kgscale.sampling.paths import PathStrategy
from kgscale.sampling.precomputed import PrecomputedStrategy
from kgscale.sampling.random_nodes import RandomNodesStrategy
from kgscale.sampling.subgraph import SubgraphStrategy
from kgscale.tasks.plan.auto import AutoStrategy
from kgscale.tasks.schema import check_arguments
from kgscale.training.optimizers import VectorOptimizer

GROUPS: Final[dict[str, tuple[type, ...]]] = {
    "data": (
        HumanPhenotypeOntology,
        Interactions,
        OgbDataSet,
        Papers,
        RdfFiles,
        StoredGraph,
        SyntheticGraph,
        TripleFiles,
    ),
    "strategy": (
        NeighborStrategy,
        ClusterStrategy,
        SubgraphStrategy,
        FullBatchStrategy,
        RandomNodesStrategy,
        PrecomputedStrategy,
        PathStrategy,
        AutoStrategy,
    ),
    "encoder": tuple(ENCODERS.values()),
    "decoder": tuple(DECODERS.values()),
    "loss": (SoftmaxLoss, BCELoss, MarginLoss, BPRLoss),
    "classifier": (ClassificationHead,),
    "reasoner": tuple(REASONERS.values()),
    "optimizer": (VectorOptimizer,),
}
GIVEN: Final[dict[str, tuple[str, ...]]] = {
    "strategy": ("graph", "questions", "partition", "propagate", "num_layers", "profiled", "seed"),
    "encoder": ("num_relations", "maps", "generator"),
    "decoder": ("dim", "num_relations", "generator"),
    "classifier": ("dim", "num_classes", "generator"),
    "reasoner": ("num_relations", "generator"),
    "optimizer": ("tables", "vectors", "weights"),
}
"""What the program decides, which is no setting."""


def target(kind: type) -> str:
    """The path by which settings name a class."""
    return f"{kind.__module__}.{kind.__qualname__}"


def component(group: str, settings: object) -> tuple[type, dict[str, Any]]:
    """The class a group's ``_target_`` names and the checked settings beside it."""
    path = settings.get("_target_") if isinstance(settings, Mapping) else None
    for kind in GROUPS[group]:
        if path == target(kind):
            return kind, check_arguments(group, kind, settings, given=GIVEN.get(group, ()))
    offered = ", ".join(map(target, GROUPS[group]))
    raise ConfigError(f"{group}._target_ is one of {offered}; got {path!r}")


def build(group: str, settings: object, **given: Any) -> Any:
    """An instance of the class that ``settings`` name, with what it takes of ``given``."""
    kind, arguments = component(group, settings)
    given = {name: given[name] for name in inspect.signature(kind).parameters if name in given}
    try:
        return kind(**arguments, **given)
    except TypeError as error:
        raise ConfigError(f"{group}: {kind.__name__} can't take these settings: {error}") from error
