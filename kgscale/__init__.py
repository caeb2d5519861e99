"""Knowledge-graph completion with relational graph neural networks on sampled subgraphs.

``import kgscale`` is quick: what is heavy is imported when it is first used.

    run = kgscale.train("experiment=demo")
    run.predict(head="Joubert syndrome 24", relation="has_phenotype", k=10)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kgscale.api import from_networkx, from_pyg, load, to_networkx, to_pyg, train
    from kgscale.tasks.runs import Run

__all__ = ["Run", "from_networkx", "from_pyg", "load", "to_networkx", "to_pyg", "train"]


def __getattr__(name: str) -> Any:
    if name in __all__ and name != "Run":
        from kgscale import api

        return getattr(api, name)
    if name == "Run":
        from kgscale.tasks.runs import Run

        return Run
    raise AttributeError(f"module 'kgscale' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
