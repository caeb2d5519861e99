"""Reasoners answer by the paths from a question's head, and know no entity by a vector."""

from kgscale.models.reasoners.paths import PathReasoner

__all__ = ["PathReasoner"]
