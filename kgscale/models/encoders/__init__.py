"""Encoders turn entity vectors and a subgraph into better entity vectors."""

from kgscale.models.encoders.base import Encoder
from kgscale.models.encoders.compgcn import CompGCN
from kgscale.models.encoders.embedding import EmbeddingOnly
from kgscale.models.encoders.rgcn import RGCN

__all__ = ["RGCN", "CompGCN", "EmbeddingOnly", "Encoder"]
