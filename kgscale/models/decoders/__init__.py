"""Decoders score (head, relation, tail) from vectors alone."""

from kgscale.models.decoders.base import Decoder
from kgscale.models.decoders.bilinear import ComplEx, DistMult

__all__ = ["ComplEx", "Decoder", "DistMult"]
