"""Factors of score products."""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

ROWS: Final = 256
"""Rows of a narrow factor are a multiple of it."""


def factor(
    rows: Float[Tensor, "row dim"], dtype: torch.dtype, multiple: int = ROWS
) -> Float[Tensor, "padded dim"]:
    """``rows`` as numbers of another type; narrower ones with rows of zeros at the end.

    oneDNN makes a program for every shape of a bfloat16 product and keeps about a mebibyte for
    each, so that sizes that differ from step to step filled the memory. Up to a ``multiple``,
    there are few.
    """
    if dtype == rows.dtype:
        return rows
    return functional.pad(rows.to(dtype), (0, 0, 0, -rows.shape[0] % multiple))
