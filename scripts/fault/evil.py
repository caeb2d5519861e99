"""What somebody who means harm would send: made up here, of no use to anybody else."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from benchmarks import ogb_layouts
from safetensors.torch import load_file, save

from fault.child import SMALL, triples
from fault.readers import finished, saved, zipped
from kgscale.durable import MANIFEST, read_manifest, sealed, write_manifest
from kgscale.training.checkpoints import load_state, save_state

MARK = "mark"
"""What a payload that runs leaves behind."""
ZEROS = 2 << 30
"""Bytes of what is small when it is packed."""
CHUNK = 1 << 24
HUGE = 10**15


@dataclass(frozen=True)
class Evil:
    """What the program is started with, and what its refusal names."""

    name: str
    arguments: list[str]
    named: str
    harmless: bool = False
    """Whether it may be taken, too: a number that is another number."""


def train(folder: Path, *overrides: str) -> list[str]:
    places = (f"root={folder / 'runs'}", f"store.root={folder / 'stores'}")
    return ["train", *places, *SMALL, "trainer.max_epochs=1", *overrides]


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


def models(folder: Path, url: str) -> Iterator[Evil]:
    """In the place of a model's or a state's files, with a manifest that fits; and lies in them."""
    run = folder / "run"
    shutil.copytree(finished(), run)
    state = next((run / "checkpoints").glob("step-*"))
    predict = ["predict", f"run={run}", "relation=r0", "head=1"]
    resume = [f"resume={run}", "trainer.max_epochs=2"]
    places = [
        (run / "model" / "model.json", predict),
        (run / "model" / "model.safetensors", predict),
        (state / "state.json", resume),
        (state / "tensors.safetensors", resume),
    ]
    for file, command in places:
        good = file.read_bytes()
        for name, payload in payloads(folder / MARK).items():
            reseal(file, payload)
            yield Evil(f"{name} as {file.name}", command, file.parent.name)
        reseal(file, zipped({"archive/data.pkl": payloads(folder / MARK)["reduce"]}))
        yield Evil(f"a model of torch as {file.name}", command, file.parent.name)
        for text in (b"[1]", b'"x"', b"7", b"null", b"{}", b"[" * 100_000):
            reseal(file, text)
            yield Evil(f"{text[:9]!r} as {file.name}", command, file.parent.name)
        if file.suffix == ".safetensors":
            for name, content in false_tensors().items():
                reseal(file, content)
                yield Evil(f"{name} in {file.name}", command, file.parent.name)
        reseal(file, good)
    for folder_, command in ((run / "model", predict), (state, resume)):
        told = read_manifest(folder_)
        good = (folder_ / MANIFEST).read_bytes()
        for value in ([], {"x": 1}, {"x": {"bytes": "1"}}, None, 7):
            (folder_ / MANIFEST).write_text(sealed({**told, "files": value}))
            yield Evil(f"files {value} in a manifest", command, folder_.name)
        (folder_ / MANIFEST).write_bytes(good)
    results = run / "results.json"
    good = results.read_bytes()
    for content in (b"[" * 200_000, b"[]", b"{}", b'{"status": 7, "metrics": []}'):
        results.write_bytes(content)
        form = ["leaderboard", f"runs={run}", f"output={folder / 'form'}"]
        yield Evil(f"{content[:9]!r} as results", form, results.name)
    results.write_bytes(good)
    spec = run / "model" / "model.json"
    good = spec.read_bytes()
    for name, change in SPECS.items():
        told = json.loads(good)
        change(told)
        reseal(spec, json.dumps(told).encode())
        yield Evil(f"a model with {name}", predict, run.name)
    reseal(spec, good)
    weights = run / "model" / "model.safetensors"
    kept = load_file(weights)
    first = max(kept, key=lambda name: kept[name].numel())
    for name, value in {
        "a number that is none": torch.full_like(kept[first], torch.nan),
        "long numbers": kept[first].double(),
        "whole numbers": kept[first].to(torch.int8),
    }.items():
        reseal(weights, save({**kept, first: value}))
        yield Evil(f"weights with {name}", predict, first)


def states(folder: Path, url: str) -> Iterator[Evil]:
    """A state in which one part is another thing, and best checkpoints that lack theirs."""
    run = folder / "run"
    resume = [f"resume={run}", "trainer.max_epochs=2"]

    def changed(file: str, change: Callable[[Any], Any]) -> bool:
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(finished(), run)
        place = next((run / "checkpoints").glob(file))
        state = load_state(place)
        try:
            state = change(state)
            save_state(state, place)
        except (TypeError, ValueError, OverflowError):  # no state can be written so
            return False
        return True

    state = load_state(next((finished() / "checkpoints").glob("step-*")))
    for path in paths(state):
        for value in LIES:
            if changed("step-*", partial(put, path=path, value=value)):
                told = ".".join(map(str, path))
                yield Evil(f"a state whose {told} is {value!r}", resume, "step-", harmless=True)
    for name, change in {
        "no metrics": lambda state: {**state, "metrics": None},
        "no weights": lambda state: {key: state[key] for key in state if key != "state_dict"},
        "other weights": lambda state: {**state, "state_dict": {"x": torch.ones(1)}},
        "a list": lambda state: [state],
    }.items():
        changed("best-*", change)
        (run / "results.json").unlink()
        yield Evil(f"a best checkpoint with {name}", [f"resume={run}"], "best-")


LIES = (None, "x", -1, 10**30, 1.5, [], {}, float("nan"), True)


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """To all parts of a state; of long lists to the first ones."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, part in value.items():
            yield from paths(part, (*path, key))
    elif isinstance(value, list):
        for at, part in enumerate(value[:2]):
            yield from paths(part, (*path, at))


def put(state: Any, *, path: tuple[Any, ...], value: Any) -> Any:
    place = state
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return state


def reseal(file: Path, content: bytes) -> None:
    """As somebody would write it who changes the manifest too."""
    told = read_manifest(file.parent)
    file.write_bytes(content)
    (file.parent / MANIFEST).unlink()
    write_manifest(file.parent, {"kind": told["kind"], "schema": told["schema"]})


def false_tensors() -> dict[str, bytes]:
    def tensors(header: Any, size: int | None = None) -> bytes:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(text) if size is None else size) + text + bytes(64)

    def one(**changed: Any) -> dict[str, Any]:
        return {"x": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16], **changed}}

    return {
        "a header of 2^60 bytes": tensors({}, 1 << 60),
        "a header of 2^64 - 1 bytes": tensors({}, (1 << 64) - 1),
        "a tensor of 10^15 numbers": tensors(one(shape=[HUGE])),
        "a tensor beyond the file": tensors(one(shape=[HUGE], data_offsets=[0, 4 * HUGE])),
        "sizes whose product is small again": tensors(one(shape=[1 << 32, 1 << 32])),
        "an end before the beginning": tensors(one(data_offsets=[16, 0])),
        "a negative size": tensors(one(shape=[-4])),
        "lists within lists": tensors(b"[" * 100_000 + b"]" * 100_000),
    }


def _set(*path: str, value: Any) -> Any:
    def change(told: dict[str, Any]) -> None:
        for key in path[:-1]:
            told = told[key]
        told[path[-1]] = value

    return change


SPECS = {
    "a class of another package": _set("encoder", "name", value="os.system"),
    "a name of the class's own": _set("decoder", "name", value="__class__"),
    "a target": _set("encoder", "_target_", value="os.system"),
    "10^15 entities": lambda told: told["types"][-1].update(stop=HUGE),
    "10^15 numbers a vector": _set("encoder", "dim", value=HUGE),
    "a list for a name": _set("encoder", "name", value=["os", "system"]),
    "no encoder": _set("encoder", value=None),
    "10^8 classes": lambda told: told.update(head={"num_classes": 10**8}),
    "a reasoner of 20,000 numbers": lambda told: told.update(
        reasoner={"name": "PathReasoner", "dim": 20_000}
    ),
    "10^9 features": lambda told: told["types"][0].update(features=10**9),
    "100,000 types": lambda told: told.update(
        types=[{"start": n, "stop": n + 1, "features": 1} for n in range(100_000)]
    ),
    "10^30 relations": _set("num_relations", value=10**30),
    "10^5 layers": _set("encoder", "num_layers", value=10**5),
    "a store that is a list": _set("store", value=[1]),
    "a store with a NUL": _set("store", value="/a\0b"),
    "no store": lambda told: told.pop("store"),
    "no fingerprint": lambda told: told.pop("fingerprint"),
    "fewer entities than its graph": lambda told: told["types"][-1].update(
        start=1, stop=told["types"][-1]["stop"] + 1
    ),
}


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
    text, parquet = "x" * (8 << 20), folder / "x.parquet"
    rows = {"head": [text] * 2000, "relation": ["r"] * 2000, "tail": ["y"] * 2000}
    pq.write_table(pa.table(rows), parquet, compression="zstd")
    del rows
    own = train(folder, "data=triples", f"data.path={parquet}")
    yield Evil("a text of 8 MB, 2,000 times in Parquet", own, parquet.name)
    for name in ("pipe", "device"):
        place = folder / name
        place.mkdir()
        train_ = place / "train.tsv"
        if name == "pipe":
            os.mkfifo(train_)
        else:
            train_.symlink_to("/dev/zero")
        own = train(folder, "data=triples", f"data.path={place}")
        yield Evil(f"a {name} for a table", own, "train.tsv")


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


TARGETS = (
    "os.system",
    "subprocess.Popen",
    "builtins.exec",
    "torch.load",
    "torch.optim.optimizer.torch.os.system",
    "kgscale.training.optimizers.torch.os.system",
    "kgscale.models.encoders.rgcn.RGCN.__init__.__globals__",
    "hydra.utils.call",
    "hydra.utils.get_method",
    "hydra._internal.utils._locate",
)


def settings_of_others(folder: Path, url: str) -> Iterator[Evil]:
    """On the command line, in the files of a run, and where studies take settings."""
    data = f"data.path={triples(folder / 'data')}"
    mark = folder / MARK
    for target in TARGETS:
        for group in ("encoder", "optimizer", "data", "strategy"):
            given = [f"{group}._target_={target}", f"+{group}._args_=[touch {mark}]"]
            yield Evil(f"{group}={target}", train(folder, "data=triples", data, *given), group)
        own = f"compare.own={{neighbor: {{_target_: {target}}}}}"
        compare = ["compare", *train(folder, "data=triples", data, own)[1:]]
        yield Evil(f"compare with {target}", compare, "_target_")
        settings = (finished() / "config.yaml").read_text()
        at = settings.index("_target_: kgscale.models.encoders")
        rest = settings[at:].partition("\n")[2]
        yield resumed(folder, f"{settings[:at]}_target_: {target}\n{rest}", target, target)
    extra = folder / "conf" / "encoder"
    extra.mkdir(parents=True)
    (extra / "evil.yaml").write_text("_target_: os.system\n")
    for given in (
        f"hydra.searchpath=[file://{folder / 'conf'}]",
        "hydra/launcher=basic",
        "+hydra.callbacks.x._target_=os.system",
        "hydra.launcher._target_=os.system",
        "hydra.sweeper._target_=os.system",
        "hydra.job_logging.handlers.x={class: os.system}",
        f"hydra.run.dir={folder}",
        "hydra.mode=MULTIRUN",
        "+hydra.x=1",
        "~hydra.job",
        "--config-dir=/",
        "--config-path=/",
        "--config-name=evil",
    ):
        yield Evil(given, train(folder, "data=triples", data, given), given)
    for given, named in NUMBERS.items():
        yield Evil(given, train(folder, "data=triples", data, given), named)
    doubled = " ".join(f"'+x{n}={f'${{x{n - 1}}}' * 8}'" for n in range(1, 11))
    for name, text in {
        "references to references": f"# python -m kgscale +x0=aaaa {doubled}\nseed: 0\n",
        "many lists": "x: [" + "[]," * 340_000 + "[]]",
        "an object of YAML": f'x: !!python/object/apply:os.system ["touch {mark}"]\n',
        "a name of YAML": "x: !!python/name:os.system\n",
        "nine levels of aliases": aliases(),
        "an interpolation": "seed: ${oc.env:HOME}\nroot: ${oc.decode:${oc.env:HOME}}\n",
        "brackets without end": "x: " + "[" * 50_000,
        "no text": "\0\1\2",
    }.items():
        # Nothing is asked of the surroundings: what is left lacks most of a run's settings.
        named = "there is no setting" if name == "an interpolation" else "config.yaml"
        yield resumed(folder, text, name, named)
    good = (finished() / "config.yaml").read_text()
    for name, old, new, named in (
        ("a NUL in a path", "path: ", 'path: "/a\\0b" #', "data.path"),
        ("a seed of 10^23", "seed: 0", f"seed: {10**23}", "seed"),
        ("a list for a group in its first line", "# python -m kgscale ",
         "# python -m kgscale encoder=[] ", "encoder"),
        ("Hydra's own in its first line", "# python -m kgscale ",
         "# python -m kgscale hydra.searchpath=[file:///] ", "hydra"),
    ):  # fmt: skip
        assert old in good
        yield resumed(folder, good.replace(old, new, 1), name, named)


NUMBERS = {
    f"seed={10**23}": "seed",
    f"evaluation.memory={10**30}": "evaluation.memory",
    f"evaluation.memory={1 << 62}": "evaluation.memory",
    f"strategy.fanout=[{10**20}]": "strategy.fanout",
    f"trainer.threads={10**9}": "trainer.threads",
    f"trainer.workers={10**9}": "trainer.workers",
    f"encoder.num_layers={10**5}": "encoder.num_layers",
    "encoder=[]": "encoder",
    "trainer={}": "trainer",
    "data.path=/dev/zero": "/dev/zero",
    "data.features=/dev/zero": "/dev/zero",
}
"""Settings that no machine can mean, and what is named."""


def resumed(folder: Path, settings: str, name: str, named: str) -> Evil:
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(finished(), run)
    (run / "config.yaml").write_text(settings)
    return Evil(f"a run's settings with {name}", [f"resume={run}", "trainer.max_epochs=2"], named)


def aliases() -> str:
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    for before, now in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{now}: &{now} [{','.join([f'*{before}'] * 9)}]")
    return "\n".join(lines) + "\n"


def rdf(folder: Path, url: str) -> Iterator[Evil]:
    """Entities within entities, files that are not theirs to read, and depth."""
    secret = folder / "secret.txt"
    secret.write_text("http://secret/\n")
    head = '<?xml version="1.0"?>\n<!DOCTYPE rdf:RDF ['
    space = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:x="http://x/"'

    def text(entities: str, inner: str) -> str:
        return f"{head}{entities}]>\n<rdf:RDF {space}>{inner}</rdf:RDF>\n"

    def fact(value: str) -> str:
        return f'<rdf:Description rdf:about="http://x/a"><x:r>{value}</x:r></rdf:Description>'

    tens = ['<!ENTITY a0 "xxxxxxxxxx">'] + [
        f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12)
    ]
    for name, content in {
        "laughs.xml": text("".join(tens), fact("&a11;")),
        "quadratic.xml": text(f'<!ENTITY a "{"x" * 100_000}">', fact("&a;" * 100_000)),
        "itself.xml": text('<!ENTITY a "&b;"><!ENTITY b "&a;">', fact("&a;")),
        "parameters.xml": text("<!ENTITY % a \"<!ENTITY b SYSTEM 'x'>\">%a;%a", fact("&b;")),
        "deep.xml": text("", "<x:r>" * 100_000),
        "undefined.xml": text("", fact("&nowhere;")),
        "deep.ttl": "<http://x/a> <http://x/r> " + "[ <http://x/r> " * 50_000,
        "lists.ttl": "<http://x/a> <http://x/r> " + "( " * 50_000,
        "formulas.ttl": "{ " * 50_000,
        "no_text.ttl": "\0\1\2",
        "binary.xml": "\x7fELF",
        "half.trig": "<http://x/g> { <http://x/a> <http://x/r>",
        "prefix.ttl": f"@prefix x: <http://x/{'x' * 200_000}> .\n" + "x:a x:r x:b .\n" * 20_000,
        "long.xml": text("", fact("x" * 100_000_000)),
    }.items():
        path = folder / name
        path.write_text(content)
        yield Evil(name, train(folder, "data=rdf", f"data.path={path}"), name)
    for name, entity in {
        "file.xml": f'<!ENTITY a SYSTEM "file://{secret}">',
        "web.xml": f'<!ENTITY a SYSTEM "{url}/secret.txt">',
    }.items():
        path = folder / name
        path.write_text(text(entity, fact("&a;")))
        yield Evil(
            name, train(folder, "data=rdf", "data.literals=entities", f"data.path={path}"), name
        )
