"""The best candidates of each query, those left out that are known, and what softmax divides by.

The best come first, and of equal scores the first candidate. float32 on the CPU runs the numba
tier while the list is short, everything else the torch tier.
"""

from kgscale.kernels.top.blocks import Top, top_all

__all__ = ["Top", "top_all"]
