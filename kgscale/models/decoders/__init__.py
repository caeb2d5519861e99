"""Decoders score (head, relation, tail) from vectors alone."""

from kgscale.models.decoders.base import Decoder
from kgscale.models.decoders.bilinear import ComplEx, DistMult, Dot, TuckER
from kgscale.models.decoders.convolution import ConvE
from kgscale.models.decoders.distance import PairRE, RotatE, TransE, TripleRE

__all__ = [
    "ComplEx",
    "ConvE",
    "Decoder",
    "DistMult",
    "Dot",
    "PairRE",
    "RotatE",
    "TransE",
    "TripleRE",
    "TuckER",
]
