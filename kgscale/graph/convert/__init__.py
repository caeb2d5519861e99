"""Graphs of other libraries become stores, and stores become theirs."""

from kgscale.graph.convert.from_pyg import from_pyg
from kgscale.graph.convert.nx import from_networkx, to_networkx
from kgscale.graph.convert.stored import StoredGraph
from kgscale.graph.convert.to_pyg import to_pyg

__all__ = ["StoredGraph", "from_networkx", "from_pyg", "to_networkx", "to_pyg"]
