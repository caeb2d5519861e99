"""What a setting's ``_target_`` may name: these classes by their exact path, and nothing else.

A prefix test would be worthless, since the attributes of an allowed module reach anything.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import Any, Final

from kgscale.data.hpo import HumanPhenotypeOntology
from kgscale.data.triples import TripleFiles
from kgscale.errors import ConfigError
from kgscale.losses import BCELoss, MarginLoss, SoftmaxLoss
from kgscale.models.registry import DECODERS, ENCODERS
from kgscale.sampling.neighbor import NeighborStrategy
from kgscale.training.optimizers import VectorOptimizer

_CLASSES: Final[tuple[type, ...]] = (
    *ENCODERS.values(),
    *DECODERS.values(),
    HumanPhenotypeOntology,
    TripleFiles,
    NeighborStrategy,
    SoftmaxLoss,
    BCELoss,
    MarginLoss,
    VectorOptimizer,
)
COMPONENTS: Final = {f"{kind.__module__}.{kind.__qualname__}": kind for kind in _CLASSES}


def component(group: str, settings: Mapping[str, Any]) -> tuple[type, dict[str, Any]]:
    """The class a group's ``_target_`` names and the settings beside it, checked by name."""
    arguments = {key: value for key, value in settings.items() if not key.startswith("_")}
    path = settings.get("_target_")
    kind = COMPONENTS.get(str(path))
    if kind is None:
        raise ConfigError(f"{group}._target_ is not one of kgscale's own components: {path!r}")
    known = list(inspect.signature(kind).parameters)
    for key in arguments:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {group}.{near[0]}?" if near else f"; it has {', '.join(known)}"
            raise ConfigError(f"{group}.{key} is not a setting of {kind.__name__}{hint}")
    return kind, arguments


def build(group: str, settings: Mapping[str, Any], **given: Any) -> Any:
    """An instance of the class that ``settings`` name; ``given`` comes from the program."""
    kind, arguments = component(group, settings)
    try:
        return kind(**{**arguments, **given})
    except TypeError as error:
        raise ConfigError(f"{group}: {kind.__name__} can't take these settings: {error}") from error
