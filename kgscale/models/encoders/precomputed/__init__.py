"""Encoders that read rows of maps that were propagated once, and no edges."""

from kgscale.models.encoders.precomputed.base import MapEncoder, only_features
from kgscale.models.encoders.precomputed.nars import NARS
from kgscale.models.encoders.precomputed.sehgnn import SeHGNN
from kgscale.models.encoders.precomputed.sign import SIGN

__all__ = ["NARS", "SIGN", "MapEncoder", "SeHGNN", "only_features"]
