"""A store holds what went in, for any threads and order of lines, or says what is wrong."""

from __future__ import annotations

import copy
import errno
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgscale.data import intern, spool
from kgscale.data.triples import TripleFiles
from kgscale.errors import ConfigError, DataError, ResourceError
from kgscale.graph import store as store_module
from kgscale.graph.store import GraphStore, prepare

Row = tuple[str, str, str]
SPLITS = ("train", "valid", "test")
SECOND_HAND = {"origin.json", "verified.json"}
"""Files that tell about the input and the disk, not about the graph."""

keys = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\t\n\r"), min_size=1, max_size=6
)
rows = st.lists(st.tuples(keys, st.sampled_from("rst"), keys), min_size=1, max_size=30)


def some_rows(count: int = 400, seed: int = 0) -> list[Row]:
    draw = random.Random(seed)
    return [
        (f"e{draw.randrange(60)}", f"r{draw.randrange(4)}", f"e{draw.randrange(60)}")
        for _ in range(count)
    ]


def write(path: Path, triples: Sequence[Sequence[str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(row) + "\n" for row in triples), "utf-8", newline="\n")
    return path


def given_splits(directory: Path, *parts: list[Row]) -> Path:
    for split, part in zip(SPLITS, parts, strict=True):
        write(directory / f"{split}.tsv", part)
    return directory


def content(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir() if file.name not in SECOND_HAND}


def keyed(store: GraphStore, split: str) -> list[Row]:
    head, relation, tail = store.triples(split).unbind(dim=1)
    columns = store.entity_keys(head), store.relation_keys(relation), store.entity_keys(tail)
    return list(zip(*columns, strict=True))


@pytest.fixture
def store(tmp_path: Path) -> GraphStore:
    return prepare(TripleFiles(path=write(tmp_path / "x.tsv", some_rows())), tmp_path / "stores")


@settings(max_examples=12)
@given(rows, rows, rows)
def test_given_splits_come_back(
    tmp_path_factory: pytest.TempPathFactory, train: list[Row], valid: list[Row], test: list[Row]
) -> None:
    root = tmp_path_factory.mktemp("store")
    train = [*train, *(("a", relation, "a") for relation in "rst")]
    path = given_splits(root / "data", train, valid, test)
    store = prepare(TripleFiles(path=path), root)
    for split, part in zip(SPLITS, (train, valid, test), strict=True):
        found = keyed(store, split)
        assert sorted(found) == sorted(set(part))
        assert store.num_triples[split] == len(found)
    everything = {key for head, _, tail in train + valid + test for key in (head, tail)}
    ordered = store.entity_keys(list(range(store.num_entities)))
    assert ordered == sorted(everything, key=str.encode)
    assert store.relation_keys([0, 1, 2]) == ["r", "s", "t"]
    seen = {key for head, _, tail in train for key in (head, tail)}
    assert store.manifest["counts"]["entities_unseen_in_train"] == len(everything - seen)


def test_a_store_on_a_read_only_disk_opens(
    store: GraphStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    (store.path / "verified.json").unlink()
    for change in ("write_text", "replace", "unlink"):
        monkeypatch.setattr(Path, change, refuse)
    assert GraphStore.open(store.path, verify="full").fingerprint == store.fingerprint


def test_tells_how_far_it_is(tmp_path: Path) -> None:
    told: list[str] = []
    triples = some_rows()
    prepare(TripleFiles(path=write(tmp_path / "x.tsv", triples)), tmp_path, tell=told.append)
    assert f"reading the graph: {len(triples):,} triples" in told
    assert told[-1] == "verifying what was written"


def test_same_bytes_for_threads_order_and_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    triples = some_rows(3000)
    source = TripleFiles(path=write(tmp_path / "x.tsv", triples))
    first = prepare(source, tmp_path / "first", threads=1)
    for threads in (2, 4):
        again = prepare(source, tmp_path / f"threads{threads}", threads=threads)
        assert content(again.path) == content(first.path)

    random.Random(1).shuffle(triples)
    shuffled = TripleFiles(path=write(tmp_path / "y" / "x.tsv", triples))
    assert content(prepare(shuffled, tmp_path / "second").path) == content(first.path)

    # Many generations of keys, sorts in the database, small pieces.
    monkeypatch.setattr(
        intern.Interner.__init__, "__kwdefaults__", {"max_keys": 7, "max_bytes": 99}
    )
    monkeypatch.setattr(spool.Spool.pieces, "__defaults__", (13,))
    monkeypatch.setattr("kgscale.graph.build.size_in_bytes", lambda text: 0)
    monkeypatch.setattr("kgscale.graph.compress.PIECE", 17)
    small = prepare(source, tmp_path / "small", threads=2, memory="100MB")
    assert content(small.path) == content(first.path)
    monkeypatch.setattr("kgscale.graph.workshop.Packing.of", lambda limits: None)
    wide = prepare(source, tmp_path / "wide", threads=2)
    assert content(wide.path) == content(first.path)


def test_an_existing_store_is_reused_and_other_input_is_not(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tsv", some_rows())
    first = prepare(TripleFiles(path=path), tmp_path)
    before = {file.name: file.stat().st_mtime_ns for file in first.path.iterdir()}
    again = prepare(TripleFiles(path=path), tmp_path)
    assert again.path == first.path
    assert {file.name: file.stat().st_mtime_ns for file in again.path.iterdir()} == before
    write(path, some_rows(seed=1))
    other = prepare(TripleFiles(path=path), tmp_path)
    assert other.path != first.path
    assert other.fingerprint != first.fingerprint


def test_settled_input_is_not_hashed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.tsv", some_rows())
    os.utime(path, (1e9, 1e9))
    built = prepare(TripleFiles(path=path), tmp_path)
    monkeypatch.setattr(TripleFiles, "digest", lambda self: pytest.fail("hashed again"))
    assert prepare(TripleFiles(path=path), tmp_path).fingerprint == built.fingerprint


def test_made_splits_and_duplicates_are_counted(tmp_path: Path) -> None:
    triples = some_rows(2000)
    store = prepare(TripleFiles(path=write(tmp_path / "x.tsv", triples)), tmp_path)
    distinct = set(triples)
    assert sum(store.num_triples.values()) == len(distinct)
    assert store.manifest["counts"]["duplicates"] == {"open": len(triples) - len(distinct)}
    assert set().union(*(keyed(store, split) for split in SPLITS)) == distinct
    held = [set(keyed(store, split)) for split in SPLITS]
    pairs = [{frozenset((head, tail)) for head, _, tail in part} for part in held]
    assert not pairs[0] & pairs[1]
    assert not pairs[0] & pairs[2]
    assert not pairs[1] & pairs[2]
    assert store.manifest["counts"]["entities_unseen_in_train"] == 0


def test_a_missing_split_is_made_from_train(tmp_path: Path) -> None:
    write(tmp_path / "data" / "train.tsv", some_rows(2000))
    test = [("e1", "r1", "new")]
    write(tmp_path / "data" / "test.tsv", test)
    store = prepare(TripleFiles(path=tmp_path / "data"), tmp_path)
    assert keyed(store, "test") == test
    assert store.num_triples["valid"] > 50


def test_pickles_as_its_path(store: GraphStore) -> None:
    assert store.__reduce__()[1] == (store.path,)
    assert copy.copy(store).fingerprint == store.fingerprint


def test_arrays_are_never_written(store: GraphStore) -> None:
    before = content(store.path)
    adjacency = store.adjacency()
    adjacency.source[:] = 0
    adjacency.indptr[:] = 0
    assert content(store.path) == before


def test_every_flipped_byte_is_found(store: GraphStore) -> None:
    for name, data in content(store.path).items():
        file = store.path / name
        if not data:
            continue
        stat = file.stat()
        flipped = bytearray(data)
        flipped[len(data) // 2] ^= 1
        file.write_bytes(flipped)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        with pytest.raises(DataError, match=rf"{name} .*delete .*built again"):
            GraphStore.open(store.path, verify="full")
        file.write_bytes(data)
    GraphStore.open(store.path, verify="full")


def test_a_changed_or_missing_file_is_found_without_asking(store: GraphStore) -> None:
    file = store.path / "train_source.npy"
    data = file.read_bytes()
    file.write_bytes(data[:-4] + bytes([data[-4] ^ 1]) + data[-3:])
    with pytest.raises(DataError, match=r"train_source\.npy is damaged \(block 0"):
        GraphStore.open(store.path)
    file.write_bytes(data[:-1])
    with pytest.raises(DataError, match="bytes instead of"):
        GraphStore.open(store.path)
    file.unlink()
    with pytest.raises(DataError, match="is missing"):
        GraphStore.open(store.path)


def test_a_copied_store_is_checked_once(store: GraphStore, tmp_path: Path) -> None:
    other = shutil.copytree(store.path, tmp_path / "copy")
    assert GraphStore.open(other).fingerprint == store.fingerprint
    known = json.loads((other / "verified.json").read_text())
    assert known["train.parquet"][2] == (other / "train.parquet").stat().st_ino


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_nothing_is_left_of_a_build_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    source = TripleFiles(path=write(tmp_path / "x.tsv", some_rows()))
    monkeypatch.setattr(store_module, "hash_files", fail)
    with pytest.raises(error):
        prepare(source, tmp_path / "stores")
    assert [file.name for file in (tmp_path / "stores").iterdir()] in ([], ["inputs.json"])
    monkeypatch.undo()
    prepare(source, tmp_path / "stores")


def test_what_a_killed_build_left_is_not_opened_and_swept(tmp_path: Path) -> None:
    source = TripleFiles(path=write(tmp_path / "x.tsv", some_rows()))
    expected = prepare(source, tmp_path / "elsewhere").path.name
    left = tmp_path / "stores" / f".{expected}.left" / "content"
    shutil.copytree(tmp_path / "elsewhere" / expected, left)
    (left / "manifest.json").unlink()
    (left.parent / "lock").touch()
    with pytest.raises(DataError, match="not a graph store"):
        GraphStore.open(left)
    store = prepare(source, tmp_path / "stores")
    assert [file for file in (tmp_path / "stores").iterdir() if file.is_dir()] == [store.path]


def test_who_comes_second_waits_and_builds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = TripleFiles(path=write(tmp_path / "x.tsv", some_rows()))
    hash_files = store_module.hash_files
    second: list[Future[GraphStore]] = []
    told: list[str] = []
    waits = threading.Event()

    def tell(message: str) -> None:
        told.append(message)
        waits.set()

    def meanwhile(*args: Any, **named: Any) -> Any:
        assert not second, "built twice"
        second.append(pool.submit(prepare, source, tmp_path / "stores", tell=tell))
        assert waits.wait(timeout=30)
        return hash_files(*args, **named)

    monkeypatch.setattr(store_module, "hash_files", meanwhile)
    with ThreadPoolExecutor(1) as pool:
        store = prepare(source, tmp_path / "stores")
        assert second[0].result(timeout=30).path == store.path
    assert told == ["waiting for another process that builds the same store"]
    assert [file for file in (tmp_path / "stores").iterdir() if file.is_dir()] == [store.path]


BUILDER = """
import sys
import threading
from pathlib import Path
from kgscale.data.triples import TripleFiles
from kgscale.graph import store
hashed = store.hash_files
store.hash_files = lambda *a, **n: print("built", flush=True) or hashed(*a, **n)
found = store.prepare(TripleFiles(path=sys.argv[1]), Path(sys.argv[2]))
print(store.file_hash(found.path / "manifest.json"))
"""


@pytest.mark.slow
def test_four_processes_build_one_store_once(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tsv", some_rows(3000))
    command = [sys.executable, "-c", BUILDER, str(path), str(tmp_path / "stores")]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    lines = [line for one in started for line in one.communicate(timeout=120)[0].splitlines()]
    assert lines.count("built") == 1
    assert len(set(lines)) == 2
    assert len(lines) == 5


KILLED = """
import os, sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from kgscale.data.triples import TripleFiles
from kgscale.graph import store
store.hash_files = lambda *_, **__: os._exit(9)
store.prepare(TripleFiles(path=sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_a_process_that_dies_leaves_nothing_that_would_be_opened(tmp_path: Path) -> None:
    path, root = write(tmp_path / "x.tsv", some_rows()), tmp_path / "stores"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path), str(root)], check=False)
    assert killed.returncode == 9
    assert list(root.glob(".x-*/content"))
    store = prepare(TripleFiles(path=path), root)
    assert [file for file in root.iterdir() if file.is_dir()] == [store.path]


def test_unwritable_directory(tmp_path: Path) -> None:
    source = TripleFiles(path=write(tmp_path / "x.tsv", some_rows()))
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match=r"/file/stores/.* can't be written") as caught:
        prepare(source, tmp_path / "file" / "stores")
    assert "\n" not in str(caught.value)


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    source = TripleFiles(path=write(tmp_path / "x.tsv", some_rows()))
    monkeypatch.setattr(spool.Spool, "append", full)
    with pytest.raises(ResourceError, match="No space left on device"):
        prepare(source, tmp_path / "stores")


@pytest.mark.parametrize("triples", [some_rows(1), [("a", "r", "b"), ("c", "s", "d")]])
def test_too_few_triples_to_split(tmp_path: Path, triples: list[Row]) -> None:
    source = TripleFiles(path=write(tmp_path / "x.tsv", triples))
    with pytest.raises(DataError, match=rf"too few triples \({len(triples)} distinct\)"):
        prepare(source, tmp_path)


@pytest.mark.parametrize(
    ("settings", "word"),
    [({"memory": "lots"}, "memory"), ({"threads": 0}, "threads"), ({"verify": "no"}, "verify")],
)
def test_bad_settings(tmp_path: Path, settings: dict[str, Any], word: str) -> None:
    source = TripleFiles(path=write(tmp_path / "x.tsv", some_rows()))
    with pytest.raises(ConfigError, match=word):
        prepare(source, tmp_path, **settings)


def test_another_schema(store: GraphStore) -> None:
    manifest = json.loads((store.path / "manifest.json").read_text())
    store_module.write_json(store.path / "manifest.json", {**manifest, "schema": 0})
    origin = json.loads((store.path / "origin.json").read_text())
    digest = store_module.file_hash(store.path / "manifest.json")
    store_module.write_json(store.path / "origin.json", {**origin, "manifest": digest})
    with pytest.raises(DataError, match="schema 0"):
        GraphStore.open(store.path)


def test_derived_directories_are_made_once_and_whole(store: GraphStore) -> None:
    made: list[Path] = []

    def write_parts(directory: Path) -> None:
        made.append(directory)
        np.save(directory / "parts.npy", np.arange(3))

    first = store.derived("partition", {"parts": 4}, write_parts)
    assert store.derived("partition", {"parts": 4}, write_parts) == first
    assert store.derived("partition", {"parts": 8}, write_parts) != first
    assert len(made) == 2
    assert (first / "parts.npy").is_file()
    assert first.parent == store.path / "derived"

    def fail(directory: Path) -> None:
        (directory / "half").touch()
        raise RuntimeError("half")

    with pytest.raises(RuntimeError, match="half"):
        store.derived("features", {}, fail)
    assert not list((store.path / "derived").glob("*features*"))
    GraphStore.open(store.path, verify="full")


def test_what_derived_directories_cost_is_kept_beside_them(store: GraphStore) -> None:
    """Whoever finds one is told the seconds of who made it.

    The system counts in hundredths of a second.
    """

    def work(directory: Path) -> None:
        begin = time.process_time()
        while time.process_time() < begin + 0.05:
            pass

    again = GraphStore.open(store.path)
    path = store.derived("partition", {"parts": 5}, work)
    assert again.derived("partition", {"parts": 5}, work) == path
    (made,), (found,) = store.derived_seconds.values(), again.derived_seconds.values()
    assert made == found
    assert 0.03 <= made < 5


def test_triples_are_sorted_ids(store: GraphStore) -> None:
    triples = store.triples("train")
    assert triples.dtype == torch.int64
    assert triples.tolist() == sorted(triples.tolist())
    with pytest.raises(ConfigError, match="train, valid, test"):
        store.triples("dev")
