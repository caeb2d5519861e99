"""Pickles, by every opcode that calls something."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from benchmarks import ogb_layouts

from fault.child import triples
from fault.evil.what import MARK, Evil, train
from fault.files import zipped


def payloads(mark: Path) -> dict[str, bytes]:
    """Pickles that call something, by every opcode that can; written by hand."""
    touch = f"touch {mark}".encode()
    code = f"open({str(mark)!r}, 'w').close()".encode()
    text = b"X" + struct.pack("<I", len(touch)) + touch
    short = [b"\x8c" + bytes([len(word)]) + word for word in (b"os", b"system")]
    return {
        "reduce": b"cos\nsystem\n(" + text + b"tR.",
        "posix": b"cposix\nsystem\n(" + text + b"tR.",
        "inst": b"(" + text + b"ios\nsystem\n.",
        "obj": b"(cos\nsystem\n" + text + b"o.",
        "protocol_4": b"\x80\x04" + b"".join(short) + b"\x93" + text + b"\x85R.",
        "newobj": b"\x80\x02csubprocess\nPopen\n(]" + text + b"at\x81.",
        "python_2": b"c__builtin__\nexec\n(X" + struct.pack("<I", len(code)) + code + b"tR.",
        "evaluated": b"cbuiltins\neval\n(X" + struct.pack("<I", len(code)) + code + b"tR.",
        "attributes": b"\x80\x04\x8c\x05torch\x8c\x10_utils.os.system\x93" + text + b"\x85R.",
        "by_numpy": b"cnumpy.testing._private.utils\nrunstring\n(X"
        + struct.pack("<I", len(code)) + code + b"}tR.",
        "built": b"\x80\x02ccollections\nOrderedDict\n)R}X\x05\0\0\0__x__cos\nsystem\n(" + text
        + b"tRsb.",
        "extension": b"\x80\x02\x82\x01" + text + b"\x85R.",
        "persistent": b"\x80\x02(X\x07\0\0\0storagecos\nsystem\n(" + text + b"tRtQ.",
        "deep": b"]" * 200_000 + b"a" * 199_999 + b".",
    }  # fmt: skip


def pickles(folder: Path, url: str) -> Iterator[Evil]:
    """In ``.pt`` files of a benchmark, old and new, and as objects in arrays of numpy."""
    ogb_layouts.wikikg2(folder / "dataset", part=2e-4)
    part = folder / "dataset" / "ogbl_wikikg2" / "split" / "time" / "train.pt"
    ogb = train(folder, "data=ogbl_wikikg2", f"data.path={folder / 'dataset'}")
    data = triples(folder / "data")
    features = folder / "features.npz"
    own = train(folder, "data=triples", f"data.path={data}", f"data.features={features}")
    for name, payload in payloads(folder / MARK).items():
        part.write_bytes(zipped({"train/data.pkl": payload, "train/version": b"3\n"}))
        yield Evil(f"{name} in a .pt file", ogb, part.name)
        part.write_bytes(payload)
        yield Evil(f"{name} as a .pt file", ogb, part.name)
        header = b"\x93NUMPY\x01\x00" + struct.pack("<H", 54)
        header += b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"
        features.write_bytes(zipped({"x.npy": header + payload}))
        yield Evil(f"{name} in an array", own, features.name)
