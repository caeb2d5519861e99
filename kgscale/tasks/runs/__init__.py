"""Finished runs, opened again: enough to answer, to evaluate and to explain."""

from kgscale.tasks.runs.base import Run
from kgscale.tasks.runs.links import LinkRun, PathRun
from kgscale.tasks.runs.nodes import NodeRun, NumberRun
from kgscale.tasks.runs.opening import kind_of, open_run, rest_of
from kgscale.tasks.runs.recommendation import RecommendationRun

__all__ = [
    "LinkRun",
    "NodeRun",
    "NumberRun",
    "PathRun",
    "RecommendationRun",
    "Run",
    "kind_of",
    "open_run",
    "rest_of",
]
