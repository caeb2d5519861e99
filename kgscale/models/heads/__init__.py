"""Heads turn entity vectors into what is asked of an entity alone."""

from kgscale.models.heads.classification import ClassificationHead

__all__ = ["ClassificationHead"]
