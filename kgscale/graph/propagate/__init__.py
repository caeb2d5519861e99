"""Features propagated once over the graph, out of core, for models that read rows alone."""

from kgscale.graph.propagate.maps import MapSpec, Propagated
from kgscale.graph.propagate.settings import Ingredients, Propagation
from kgscale.graph.propagate.write import map_specs, propagate, targets_of, write_maps

__all__ = [
    "Ingredients",
    "MapSpec",
    "Propagated",
    "Propagation",
    "map_specs",
    "propagate",
    "targets_of",
    "write_maps",
]
