"""A FAISS index of candidates, which answers as the decoder does."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from kgscale.errors import ConfigError
from kgscale.inference.export.recipes import searched_by
from kgscale.models.decoders import Decoder

ROWS: Final = 1 << 14


def check_faiss(decoder: Decoder) -> None:
    """Before any work.

    Raises:
        ConfigError: FAISS is missing, or can't answer for this decoder.
    """
    searched_by(decoder)
    _faiss()


def write_index(file: Path, decoder: Decoder, entity: Tensor, rows: range) -> None:
    """An exact index of some entities by their rows, which its answers name.

    Flat: it holds these vectors, once more than the model does while it is made.
    """
    faiss = _faiss()
    metric = {
        "inner product": faiss.METRIC_INNER_PRODUCT,
        "L1 distance": faiss.METRIC_L1,
        "L2 distance": faiss.METRIC_L2,
    }[searched_by(decoder)]
    flat = faiss.IndexFlat(entity.shape[1], metric)
    index = flat if rows.start == 0 else faiss.IndexIDMap(flat)
    for own in torch.split(torch.arange(rows.start, rows.stop), ROWS):
        part = entity[own.to(entity.device)].detach().cpu().float().contiguous().numpy()
        if index is flat:
            index.add(part)
        else:
            index.add_with_ids(part, own.numpy())
    faiss.write_index(index, str(file))


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise ConfigError(
            "an index needs FAISS: pip install -c constraints.txt 'kgscale[faiss]', or leave faiss"
            " out of kinds"
        ) from error
    return faiss
