"""Encoders turn entity vectors and a subgraph into better entity vectors."""

from kgscale.models.encoders.base import Encoder
from kgscale.models.encoders.compgcn import CompGCN
from kgscale.models.encoders.embedding import EmbeddingOnly
from kgscale.models.encoders.hgt import HGT
from kgscale.models.encoders.lightgcn import LightGCN
from kgscale.models.encoders.pyg import PyGConvolution
from kgscale.models.encoders.rgat import RGAT
from kgscale.models.encoders.rgcn import RGCN
from kgscale.models.encoders.sage import RelationalSAGE

__all__ = [
    "HGT",
    "RGAT",
    "RGCN",
    "CompGCN",
    "EmbeddingOnly",
    "Encoder",
    "LightGCN",
    "PyGConvolution",
    "RelationalSAGE",
]
