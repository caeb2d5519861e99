"""The files of each layout family.

Bytes depend on the contents only: gzip without a time stamp, numpy's and torch's zip archives
with their fixed dates.
"""

from __future__ import annotations

import csv
import gzip
import io
import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import _reconstruct

from tests.ogb.miniature.contents import EDGE, NODE, Array, Miniature, Triplet

# `species` is what the loader looks for first; it renames the file to `node_species`.
RAW_NAME = {
    "node_feat": "node-feat",
    "edge_feat": "edge-feat",
    "node_label": "node-label",
    "node_species": "species",
}


def link_csv(miniature: Miniature, *, zipped: bool = True) -> None:
    """ogbl-*: the graph as CSV, each part of the split as a dict of numpy arrays."""
    _frame(miniature)
    _csv_graph(miniature)
    for part, arrays in miniature.split.items():
        _torch(_split(miniature) / f"{part}.pt", arrays, zipped=zipped)


def link_csv_2020(miniature: Miniature) -> None:
    """The same with `.pt` files that are no zip archives, so ``torch.load`` can't map them.

    Concluded from dates: released in May and June 2020, and torch 1.6 of July 2020 brought the zip.
    """
    link_csv(miniature, zipped=False)


def link_npz(miniature: Miniature) -> None:
    """ogbl-vessel: made by OGB's `DatasetSaver`, so the whole split is one file."""
    _frame(miniature)
    _npz_graph(miniature)
    _torch(_split(miniature) / "split_dict.pt", miniature.split)


def node_csv(miniature: Miniature) -> None:
    """ogbn-*: graph, labels and split as CSV."""
    _frame(miniature)
    _csv_graph(miniature)
    _csv_split(miniature)


def node_npz(miniature: Miniature) -> None:
    """ogbn-papers100M: graph and labels as NPZ, the split still as CSV.

    Whether the published archives are compressed isn't known; both load alike.
    """
    _frame(miniature)
    _npz_graph(miniature)
    label = miniature.node["node_label"][NODE]
    np.savez_compressed(miniature.folder / "raw" / "node-label.npz", node_label=label)
    _csv_split(miniature)


def mag240m(miniature: Miniature) -> None:
    """MAG240M: a `.npy` file per array; ``num_classes`` stands in the meta data."""
    _release(miniature)
    _torch(miniature.folder / "meta.pt", {**miniature.num_nodes, "num_classes": 153})
    split = miniature.split
    whole = {"train": split["train"], "valid": split["valid"], "test": split["test-whole"]}
    _torch(miniature.folder / "split_dict.pt", whole)
    for name, by_type in miniature.node.items():
        for kind, values in by_type.items():
            _npy(miniature.folder / "processed" / kind / f"{name}.npy", values)
    for triplet, edge_index in miniature.edge_index.items():
        _npy(miniature.folder / "processed" / "___".join(triplet) / "edge_index.npy", edge_index)


def wikikg90mv2(miniature: Miniature) -> None:
    """WikiKG90Mv2: a `.npy` file per array."""
    _release(miniature)
    assert miniature.relation_feat is not None
    num_relations = len(miniature.relation_feat)
    meta = {"num_entities": miniature.num_nodes[NODE], "num_relations": num_relations}
    _torch(miniature.folder / "meta.pt", meta)
    split, question = miniature.split, "h,r->t"
    for name, values in {
        "train_hrt": split["train"],
        "val_hr": split["valid"][question]["hr"],
        "val_t": split["valid"][question]["t"],
        "test-dev_hr": split["test-dev"][question]["hr"],
        "test-challenge_hr": split["test-challenge"][question]["hr"],
        "entity_feat": miniature.node["node_feat"][NODE],
        "relation_feat": miniature.relation_feat,
    }.items():
        _npy(miniature.folder / "processed" / f"{name}.npy", values)


def _release(miniature: Miniature) -> None:
    """The file without which the loader asks whether it may delete the folder."""
    miniature.folder.mkdir(parents=True)
    note = f"# Release note for {miniature.folder.name}\n\n### v{miniature.release}\n"
    (miniature.folder / f"RELEASE_v{miniature.release}.txt").write_text(note)


def _frame(miniature: Miniature) -> None:
    """Release note, mapping, and the empty folder into which the loader saves its copy."""
    _release(miniature)
    for folder in ("mapping", "processed", "raw"):
        (miniature.folder / folder).mkdir()
    (miniature.folder / "mapping" / "README.md").write_text(f"# {miniature.folder.name}\n")
    for name, table in miniature.mapping.items():
        rows = zip(*table.values(), strict=True)
        _csv(miniature.folder / "mapping" / f"{name}.csv.gz", rows, header=list(table))


def _split(miniature: Miniature) -> Path:
    return miniature.folder / "split" / miniature.split_type


def _csv_graph(miniature: Miniature) -> None:
    """One file per array; a heterogeneous graph has a folder per relation and node type.

    The files `nodetype-has-*` of ogbn-mag and their neighbours: listings of the unpacked folder.
    """
    raw = miniature.folder / "raw"
    if EDGE in miniature.edge_index:
        _csv(raw / "num-node-list.csv.gz", [[miniature.num_nodes[NODE]]])
        _csv_edges(miniature, raw)
        for name, by_type in miniature.node.items():
            _csv(raw / f"{RAW_NAME.get(name, name)}.csv.gz", by_type[NODE])
        return
    types = list(miniature.num_nodes)
    _csv(raw / "num-node-dict.csv.gz", [miniature.num_nodes.values()], header=types)
    _csv(raw / "triplet-type-list.csv.gz", miniature.edge_index)
    for triplet in miniature.edge_index:
        _csv_edges(miniature, raw / "relations" / "___".join(triplet), triplet)
    for name, by_type in miniature.node.items():
        folder = "node-label" if name == "node_label" else "node-feat"
        for kind, values in by_type.items():
            _csv(raw / folder / kind / f"{RAW_NAME.get(name, name)}.csv.gz", values)
    for name in ("node-feat", "node-label"):
        if miniature.node:  # ogbl-biokg has neither
            having = miniature.node[name.replace("-", "_")]
            has = f"nodetype-has-{name.removeprefix('node-')}.csv.gz"
            _csv(raw / has, [[kind in having for kind in types]], header=types)


def _csv_edges(miniature: Miniature, folder: Path, triplet: Triplet = EDGE) -> None:
    edge_index = miniature.edge_index[triplet]
    _csv(folder / "edge.csv.gz", edge_index.T)
    _csv(folder / "num-edge-list.csv.gz", [[edge_index.shape[1]]])
    for name, by_triplet in miniature.edge.items():
        _csv(folder / f"{RAW_NAME.get(name, name)}.csv.gz", by_triplet[triplet])


def _csv_split(miniature: Miniature) -> None:
    folder, types = _split(miniature), list(miniature.num_nodes)
    for part, index in miniature.split.items():
        if NODE in miniature.num_nodes:
            _csv(folder / f"{part}.csv.gz", index[:, None])
            continue
        for kind, of_kind in index.items():
            _csv(folder / kind / f"{part}.csv.gz", of_kind[:, None])
        has = [[kind in index for kind in types]]
        _csv(folder / "nodetype-has-split.csv.gz", has, header=types)


def _npz_graph(miniature: Miniature) -> None:
    edge_index = miniature.edge_index[EDGE]
    arrays = {
        "num_nodes_list": np.array([miniature.num_nodes[NODE]]),
        "edge_index": edge_index,
        "num_edges_list": np.array([edge_index.shape[1]]),
        **{name: of[NODE] for name, of in miniature.node.items() if name != "node_label"},
    }
    np.savez_compressed(miniature.folder / "raw" / "data.npz", **arrays)


def _csv(path: Path, rows: Iterable[Iterable[object]], header: Sequence[str] = ()) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(header)
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))


def _npy(path: Path, values: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values)


class _Numpy1Pickler(pickle._Pickler):
    """Names numpy's function for arrays as numpy 1 did, with which OGB's files were written."""

    def save_global(self, obj: Any, name: str | None = None) -> None:
        if obj is _reconstruct:
            self.write(b"cnumpy.core.multiarray\n_reconstruct\n")
            self.memoize(obj)
        else:
            super().save_global(obj, name)


_NUMPY_1 = SimpleNamespace(__name__="numpy_1", Pickler=_Numpy1Pickler, dump=pickle.dump)


def _torch(path: Path, value: object, *, zipped: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(value, path, pickle_module=_NUMPY_1, _use_new_zipfile_serialization=zipped)
