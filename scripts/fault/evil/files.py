"""Archives and tables that lead out of their folder, grow, or lie about their size."""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fault.child import triples
from fault.evil.what import HUGE, Evil, train
from fault.files import saved, zipped

ZEROS = 2 << 30
"""Bytes of what is small when it is packed."""
CHUNK = 1 << 24


def archives(folder: Path, url: str) -> Iterator[Evil]:
    """Sent by a server, with permission to be fetched."""
    packed = folder / "data.zip"
    named = ("ddi/a.txt", b"text")

    def member(name: str, *, mode: int = 0o644, content: bytes = b"x") -> Any:
        entry = zipfile.ZipInfo(name)
        entry.external_attr = mode << 16
        return entry, content

    link = stat.S_IFLNK | 0o777
    corpus = {
        "a way out": [named, member("ddi/../../out.txt")],
        "a way out at once": [named, member("../out.txt")],
        "a place of its own": [named, member("/out.txt")],
        "a way out of Windows": [named, member("ddi\\..\\..\\out.txt")],
        "a link": [named, member("ddi/link", mode=link, content=b"/")],
        "a link and a file behind it": [
            member("ddi/link", mode=link, content=str(folder.parent).encode()),
            member("ddi/link/out.txt"),
        ],
        "two folders": [named, member("other/a.txt")],
        "a name of 5,000 letters": [named, member("ddi/" + "x" * 5000)],
        "nothing": [],
    }
    for at, (name, members) in enumerate(corpus.items()):
        with zipfile.ZipFile(packed, "w") as archive:
            for entry, content in members:
                archive.writestr(entry, content)
        yield Evil(f"an archive with {name}", download(folder, url, at), "data.zip")
    # What is no such thing in an archive is written as a plain file, and is then no data set.
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(*member("ddi/null", mode=stat.S_IFCHR | 0o666))
    yield Evil("an archive with a device", download(folder, url, 100), "RELEASE")
    packed.write_bytes(zipped({"ddi/a.txt": bytes(1 << 29)}))
    yield Evil("an archive that grows", download(folder, url, 102), "data.zip")
    good = zipped({"ddi/a.txt": b"text" * 100})
    packed.write_bytes(larger(good, 0xFFFFFFFE))
    yield Evil("an archive that says 4 GB", download(folder, url, 101), "data.zip")
    for name, content in {
        "no end": good[:-30],
        "another size than it says": larger(good, 300),
        "a secret": encrypted(good),
    }.items():
        packed.write_bytes(content)
        at += 1
        yield Evil(f"an archive with {name}", download(folder, url, at), "data.zip")


def download(folder: Path, url: str, at: int) -> list[str]:
    place = f"data.path={folder / f'fetched-{at}'}"
    return train(folder, "data=ogbl_ddi", "data.download=true", f"data.url={url}/data.zip", place)


def larger(archive: bytes, size: int) -> bytes:
    """With another size in its directory."""
    at = archive.index(b"PK\x01\x02")
    return archive[: at + 24] + struct.pack("<I", size) + archive[at + 28 :]


def encrypted(archive: bytes) -> bytes:
    changed = bytearray(archive)
    for head, flag in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        changed[archive.index(head) + flag] |= 1
    return bytes(changed)


def tables(folder: Path, url: str) -> Iterator[Evil]:
    """Small files that grow, and numbers that no memory holds."""
    bomb = gzipped(folder / "bomb.gz")
    for name in ("x.tsv.gz", "x.csv.gz", "x.nt.gz"):
        shutil.copy(bomb, folder / name)
        kind = "rdf" if ".nt" in name else "triples"
        yield Evil(
            f"a line of 2 GB in {name}",
            train(folder, f"data={kind}", f"data.path={folder / name}"),
            name,
        )
    frame: bytes = pa.Codec("zstd").compress(bytes(1 << 28), asbytes=True)
    (folder / "x.tsv.zst").write_bytes(frame)
    file = train(folder, "data=triples", f"data.path={folder / 'x.tsv.zst'}")
    yield Evil("a line of 256 MB in zstd", file, "x.tsv.zst")
    data, features = triples(folder / "data"), folder / "x.npz"
    own = train(folder, "data=triples", f"data.path={data}", f"data.features={features}")
    for name, shape in {
        "10^15 rows": f"({HUGE}, 4)",
        "sizes whose product is small again": f"({1 << 32}, {1 << 32})",
        "a negative size": "(-1, 4)",
        "no sizes": "'x' * 10",
    }.items():
        features.write_bytes(zipped({"x.npy": array(shape)}))
        yield Evil(f"an array with {name}", own, features.name)
    with (
        zipfile.ZipFile(features, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w", force_zip64=True) as member,
    ):
        member.write(array(f"({1 << 29}, 1)", content=b""))
        for _ in range(ZEROS // CHUNK):
            member.write(bytes(CHUNK))
    yield Evil("an array of zeros that grows", own, features.name)
    sparse = {"format": array("()", "'|S3'", b"csr"), "shape": numbers([HUGE, HUGE])}
    parts = {"data": numbers([1.0]), "indices": numbers([0]), "indptr": numbers([0, 1])}
    members = {f"{name}.npy": content for name, content in (sparse | parts).items()}
    features.write_bytes(zipped(members))
    yield Evil("a sparse matrix of 10^15 rows", own, features.name)
    for name, dictionary in (("texts", False), ("a dictionary", True)):
        parquet = folder / f"{dictionary}.parquet"
        _repeating(parquet, dictionary=dictionary)
        own = train(folder, "data=triples", f"data.path={parquet}")
        yield Evil(f"a text of 8 MB, 2,000 times in Parquet as {name}", own, parquet.name)
    for name in ("pipe", "device"):
        place = folder / name
        place.mkdir()
        train_ = place / "train.tsv"
        if name == "pipe":
            os.mkfifo(train_)
        else:
            train_.symlink_to("/dev/zero")
        own = train(folder, "data=triples", f"data.path={place}")
        # What is no file is not seen as a split.
        yield Evil(f"a {name} for a table", own, place.name)


def _repeating(path: Path, *, dictionary: bool, rows: int = 2000) -> None:
    """The text is there once, here and in the file; its readers may see it in every row."""
    text = pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), ["x" * (8 << 20)])
    table = pa.table({"head": text, "relation": ["r"] * rows, "tail": ["y"] * rows})
    pq.write_table(table, path, compression="zstd", store_schema=dictionary)


def gzipped(path: Path) -> Path:
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(ZEROS // CHUNK):
            file.write(b"x" * CHUNK)
    return path


def array(shape: str, kind: str = "'<f4'", content: bytes = bytes(64)) -> bytes:
    header = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}}}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


def numbers(values: list[float]) -> bytes:
    return saved(lambda file: np.save(file, np.asarray(values), allow_pickle=False))
