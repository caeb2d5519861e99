"""OGB's data sets in miniature: made-up numbers in the exact files that OGB publishes.

The layout is that of the folder after OGB's own download and unzip, before its preprocessing.
File names, shapes, keys and split types come from the source of ogb 1.3.6 (`*/master.csv`,
`io/read_graph_raw.py`, `*/dataset.py`, `lsc/*.py`), and `test_layout.py` proves them with OGB's
own loaders. Where that source leaves a detail open, the docstring beside it says where it was
taken from, or that it is a guess. OGB's loaders don't read `mapping/`: its file names come from
the README that lies there, its columns from public readers of the published files.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy._core.multiarray import _reconstruct

from tests.ogb.miniature import knowledge, layouts, links, nodes
from tests.ogb.miniature.contents import Miniature

__all__ = ["DATASETS", "NUMPY_ARRAYS", "Miniature", "write"]

Build = Callable[[Path, np.random.Generator], Miniature]
Layout = Callable[[Miniature], None]

NUMPY_ARRAYS: list[Any] = [
    (_reconstruct, "numpy.core.multiarray._reconstruct"),
    np.ndarray,
    np.dtype,
    np.dtypes.Int64DType,
]
"""What numpy 1 wrote into OGB's .pt files, for torch to allow: arrays of int64, nothing else."""
DATASETS: dict[str, tuple[str, Build, Layout]] = {
    "ogbl-wikikg2": ("ogbl_wikikg2", knowledge.wikikg2, layouts.link_csv),
    "ogbl-biokg": ("ogbl_biokg", knowledge.biokg, layouts.link_csv_2020),
    "ogbl-citation2": ("ogbl_citation2", links.citation2, layouts.link_csv),
    "ogbl-collab": ("ogbl_collab", links.collab, layouts.link_csv_2020),
    "ogbl-ppa": ("ogbl_ppa", links.ppa, layouts.link_csv_2020),
    "ogbl-ddi": ("ogbl_ddi", links.ddi, layouts.link_csv_2020),
    "ogbl-vessel": ("ogbl_vessel", links.vessel, layouts.link_npz),
    "ogbn-mag": ("ogbn_mag", nodes.mag, layouts.node_csv),
    "ogbn-arxiv": ("ogbn_arxiv", nodes.arxiv, layouts.node_csv),
    "ogbn-products": ("ogbn_products", nodes.products, layouts.node_csv),
    "ogbn-proteins": ("ogbn_proteins", nodes.proteins, layouts.node_csv),
    "ogbn-papers100M": ("ogbn_papers100M", nodes.papers100m, layouts.node_npz),
    "mag240m": ("mag240m_kddcup2021", nodes.mag240m, layouts.mag240m),
    "wikikg90mv2": ("wikikg90m-v2", knowledge.wikikg90mv2, layouts.wikikg90mv2),
}


def write(name: str, root: Path, *, seed: int = 0) -> Miniature:
    """Write one data set below ``root``, in the folder where OGB's loader looks for it."""
    folder, build, layout = DATASETS[name]
    miniature = build(root / folder, np.random.default_rng(seed))
    layout(miniature)
    return miniature
