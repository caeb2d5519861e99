"""Why a model predicts what it predicts: the facts that the score rests on, and short paths."""

from kgscale.inference.reasons.judge import Fact, Judge, Reason, weigh
from kgscale.inference.reasons.maps import MapJudge
from kgscale.inference.reasons.reached import PathJudge
from kgscale.inference.reasons.shared import SharedJudge
from kgscale.inference.reasons.tables import TableJudge
from kgscale.inference.reasons.vectors import VectorJudge
from kgscale.inference.reasons.ways import Search, Way, triples_of, way_of

__all__ = [
    "Fact",
    "Judge",
    "MapJudge",
    "PathJudge",
    "Reason",
    "Search",
    "SharedJudge",
    "TableJudge",
    "VectorJudge",
    "Way",
    "triples_of",
    "way_of",
    "weigh",
]
