"""Made graphs of the sizes of OGB's data sets, in OGB's own files: for measuring, not for learning.

Ends of edges are drawn from a power law; everything else is uniform. OGB's own loaders read them
too (``tests/ogb/test_layout.py``). ``mapping``, which these don't read, has the entities' names.
"""

from __future__ import annotations

import csv
import gzip
import io
import struct
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

SKEW = 2.5
CHUNK = 1 << 20


def ends(rng: np.random.Generator, nodes: int, count: int) -> np.ndarray:
    """Some nodes are found far more often than others; which ones is drawn."""
    step = next(s for s in range(max(nodes // 2, 1) | 1, nodes + 3, 2) if np.gcd(s, nodes) == 1)
    rank = (rng.random(count) ** SKEW * nodes).astype(np.int64)
    return rank * step % nodes


def frame(folder: Path, release: int, split: str) -> None:
    for name in ("raw", "mapping", "processed", f"split/{split}"):
        (folder / name).mkdir(parents=True)
    (folder / f"RELEASE_v{release}.txt").write_text("# made\n", encoding="utf-8")


def rows(path: Path, lines: Iterable[Iterable[object]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.getvalue().encode(), compresslevel=1))


def table(path: Path, columns: Iterable[np.ndarray], *, header: tuple[str, ...] = ()) -> None:
    columns = list(columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(header or map(str, range(len(columns))))
    options = pa_csv.WriteOptions(include_header=bool(header), quoting_style="none")
    with gzip.open(path, "wb", compresslevel=1) as file:
        for first in range(0, max(len(columns[0]), 1), CHUNK):
            part = [pa.array(column[first : first + CHUNK]) for column in columns]
            pa_csv.write_csv(pa.table(part, names=names), file, options)
            options = pa_csv.WriteOptions(include_header=False, quoting_style="none")


def torch_file(path: Path, arrays: dict[str, Callable[[], np.ndarray]]) -> None:
    """A dict of int64 arrays as ``torch.save`` writes it, with one of them in memory at a time.

    It would keep all of them twice more, as bytes and as text: too much for negatives.
    """
    with (
        zipfile.ZipFile(path, "w") as packed,
        packed.open(f"{path.stem}/data.pkl", "w", force_zip64=True) as file,
    ):
        file.write(b"\x80\x02}(")
        for name, make in arrays.items():
            values = make()
            file.write(_text(name) + b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n")
            file.write(b"K\x00\x85" + _bytes_of(b"b") + b"\x87R(K\x01(")
            file.write(b"".join(b"J" + struct.pack("<i", size) for size in values.shape))
            file.write(b"tcnumpy\ndtype\n" + _text("i8") + b"\x89\x88\x87R(K\x03" + _text("<"))
            file.write(b"NNN" + 2 * (b"J" + struct.pack("<i", -1)) + b"K\x00tb\x89")
            raw = values.reshape(-1).view(np.uint8)
            parts = [raw[first : first + (1 << 24)] for first in range(0, len(raw), 1 << 24)]
            size = len(raw) + sum(int((part >= 128).sum()) for part in parts)
            file.write(b"c_codecs\nencode\nX" + struct.pack("<I", size))
            for part in parts:
                file.write(part.tobytes().decode("latin-1").encode())
            file.write(_text("latin1") + b"\x86Rtb")
        file.write(b"u.")
        file.close()
        for name, told in (("version", b"3\n"), ("byteorder", b"little")):
            packed.writestr(f"{path.stem}/{name}", told)


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def _bytes_of(content: bytes) -> bytes:
    return b"c_codecs\nencode\n" + _text(content.decode("latin-1")) + _text("latin1") + b"\x86R"


def wikikg2(root: Path, *, part: float = 1.0) -> None:
    """2,500,604 entities, 535 relations; ``part`` of its triples."""
    entities, relations, rng = int(2_500_604 * part), 535, np.random.default_rng(0)
    folder = root / "ogbl_wikikg2"
    frame(folder, 1, "time")
    rows(folder / "raw" / "num-node-list.csv.gz", [[entities]])
    sizes = {"train": 16_109_182, "valid": 429_456, "test": 598_543}
    for split, whole in sizes.items():
        count = int(whole * part)
        relation = (rng.random(count) ** 3 * relations).astype(np.int64)
        if split == "train":
            relation[:relations] = np.arange(relations)  # which therefore has all of them
        head, tail = ends(rng, entities, count), ends(rng, entities, count)
        arrays = {
            "head": lambda head=head: head,
            "relation": lambda relation=relation: relation,
            "tail": lambda tail=tail: tail,
        }
        if split == "train":
            raw = folder / "raw"
            rows(raw / "num-edge-list.csv.gz", [[count]])
            table(raw / "edge.csv.gz", [head, tail])
            table(raw / "edge_reltype.csv.gz", [relation])
        else:
            for side in ("head_neg", "tail_neg"):
                arrays[side] = lambda count=count: rng.integers(entities, size=(count, 500))
        torch_file(folder / "split" / "time" / f"{split}.pt", arrays)
    number = np.arange(entities)
    names = np.array([f"Q{n}" for n in rng.permutation(10 * entities)[:entities]])
    table(folder / "mapping" / "nodeidx2entityid.csv.gz", [number, names], header=("idx", "id"))
    number = np.arange(relations)
    names = np.array([f"P{n}" for n in number])
    table(folder / "mapping" / "reltype2relid.csv.gz", [number, names], header=("idx", "id"))


def mag(root: Path, *, part: float = 1.0) -> None:
    """1,939,743 nodes, 21,111,007 edges, 128 numbers a paper, 349 venues."""
    rng = np.random.default_rng(0)
    sizes = {"author": 1_134_649, "field_of_study": 59_965, "institution": 8_740, "paper": 736_389}
    count = {name: int(size * part) for name, size in sizes.items()}
    edges = {
        ("author", "affiliated_with", "institution"): 1_043_998,
        ("author", "writes", "paper"): 7_145_660,
        ("paper", "cites", "paper"): 5_416_271,
        ("paper", "has_topic", "field_of_study"): 7_505_078,
    }
    folder = root / "ogbn_mag"
    frame(folder, 2, "time")
    raw, split = folder / "raw", folder / "split" / "time"
    rows(raw / "num-node-dict.csv.gz", [count, count.values()])
    rows(raw / "triplet-type-list.csv.gz", edges)
    for number, ((head, relation, tail), whole) in enumerate(edges.items()):
        size, place = int(whole * part), raw / "relations" / f"{head}___{relation}___{tail}"
        table(place / "edge.csv.gz", [ends(rng, count[kind], size) for kind in (head, tail)])
        table(place / "edge_reltype.csv.gz", [np.full(size, number)])
        rows(place / "num-edge-list.csv.gz", [[size]])
    papers = count["paper"]
    features = rng.normal(size=(papers, 128)).astype(np.float32).round(3)
    table(raw / "node-feat" / "paper" / "node-feat.csv.gz", features.T)
    table(raw / "node-feat" / "paper" / "node_year.csv.gz", [rng.integers(2010, 2020, papers)])
    label = rng.integers(349, size=papers)
    table(raw / "node-label" / "paper" / "node-label.csv.gz", [label])
    bounds = np.cumsum([629_571, 64_879]) / sizes["paper"] * papers
    order = np.split(rng.permutation(papers), bounds.astype(int))
    for name, index in zip(("train", "valid", "test"), order, strict=True):
        table(split / "paper" / f"{name}.csv.gz", [np.sort(index)])
    has = [kind == "paper" for kind in count]
    rows(split / "nodetype-has-split.csv.gz", [count, has])
    for name in ("feat", "label"):
        rows(raw / f"nodetype-has-{name}.csv.gz", [count, has])
    for kind, size in count.items():
        number = np.arange(size)
        names = np.array([f"{kind} {n}" for n in number])
        columns = {"ent idx": number, "ent name": names}
        file = folder / "mapping" / f"{kind}_entidx2name.csv.gz"
        table(file, columns.values(), header=tuple(columns))


def papers(root: Path, *, part: float) -> None:
    """``part`` of 111,059,956 nodes and 1,615,685,872 edges; 128 numbers a paper in float16."""
    rng = np.random.default_rng(0)
    nodes, edges = int(111_059_956 * part), int(1_615_685_872 * part)
    folder = root / "ogbn_papers100M"
    frame(folder, 1, "time")
    with zipfile.ZipFile(folder / "raw" / "data.npz", "w", allowZip64=True) as packed:
        _member(packed, "num_nodes_list", [np.array([nodes])], (1,))
        _member(packed, "num_edges_list", [np.array([edges])], (1,))
        sides = (ends(rng, nodes, min(CHUNK, left)) for _ in (0, 1) for left in _left(edges))
        _member(packed, "edge_index", sides, (2, edges))
        numbers = (
            rng.normal(size=(min(CHUNK, left), 128)).astype(np.float16) for left in _left(nodes)
        )
        _member(packed, "node_feat", numbers, (nodes, 128))
        _member(packed, "node_year", [np.full(nodes, 2015)], (nodes, 1))
    label = np.full((nodes, 1), np.nan, np.float32)
    known = np.sort(rng.permutation(nodes)[: int(nodes * 0.014)])
    label[known, 0] = rng.integers(172, size=len(known))
    np.savez(folder / "raw" / "node-label.npz", node_label=label)
    bounds = (np.cumsum([0.78, 0.08]) * len(known)).astype(int)
    order = np.split(rng.permutation(known), bounds)
    for name, index in zip(("train", "valid", "test"), order, strict=True):
        table(folder / "split" / "time" / f"{name}.csv.gz", [np.sort(index)])


def _left(count: int) -> range:
    """How many are still to come, chunk by chunk."""
    return range(count, 0, -CHUNK)


def _member(
    packed: zipfile.ZipFile, name: str, parts: Iterable[np.ndarray], shape: tuple[int, ...]
) -> None:
    """An array written piece by piece."""
    with packed.open(f"{name}.npy", "w", force_zip64=True) as file:
        for at, part in enumerate(parts):
            if not at:
                header = {"descr": part.dtype.str, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_2_0(file, header)
            file.write(np.ascontiguousarray(part).data)
