"""``scripts/convert``: published files, made by hand, to what a run reads."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kgscale.data.question_file import read_questions
from kgscale.data.triples import TripleFiles
from kgscale.graph.store import GraphStore, prepare

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "convert"


def convert(kind: str, folder: Path) -> Path:
    out = folder / "out"
    subprocess.run([sys.executable, SCRIPT, kind, folder, out], check=True)
    return out


def write(path: Path, text: str) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write(text)


def features(store: GraphStore, key: str) -> list[float]:
    entity = store.find_entity(key)
    (at,) = (at for at, kind in enumerate(store.types) if kind.start <= entity < kind.stop)
    return store.features()[at][entity - store.types[at].start].tolist()


def test_acm(tmp_path: Path) -> None:
    write(tmp_path / "edges_paper-author.tsv.gz", "0\t1\n1\t0\n2\t1\n")
    write(tmp_path / "edges_paper-subject.tsv.gz", "0\t0\n1\t1\n2\t1\n")
    csr = {"indices": [0, 1, 1], "indptr": [0, 1, 2, 3], "data": [1.0, 2.0, 3.0]}
    np.savez(tmp_path / "p_feat.npz", format=b"csr", shape=[3, 2], **csr)
    coo = {"row": [0, 1], "col": [1, 0], "data": [4.0, 5.0]}
    np.savez(tmp_path / "a_feat.npz", format=b"coo", shape=[2, 2], **coo)
    splits = {
        f"{name}_{shots}": np.array([at])
        for shots in (20, 40, 60)
        for at, name in enumerate(("train", "val", "test"))
    }
    np.savez(tmp_path / "labels_and_splits.npz", labels=np.array([0.0, 2.0, 1.0]), **splits)
    out = convert("acm", tmp_path)
    data = TripleFiles(
        path=out / "edges.tsv",
        types=str(out / "types.tsv"),
        labels=str(out / "labels_40.tsv"),
        features=[{"path": str(out / f"{kind}.npz"), "prefix": kind} for kind in "pas"],
        split=[1, 0, 0],
    )
    store = prepare(data, tmp_path / "stores")
    assert {kind.name: kind.stop - kind.start for kind in store.types} == {
        "paper": 3,
        "author": 2,
        "subject": 2,
    }
    assert sorted(store.relation_names([0, 1])) == ["about", "written_by"]
    labels = store.labels()
    assert labels is not None
    (node,), (label,) = labels.of("valid")
    assert (int(node), labels.names[int(label)]) == (store.find_entity("p1"), "2")
    assert [features(store, key) for key in ("p2", "a1", "s0")] == [[0, 3], [5, 0], [1, 0]]


def test_twitch(tmp_path: Path) -> None:
    write(tmp_path / "edges.csv.gz", "from,to\n0,2\n1,2\n3,0\n")
    mature = {"2": False, "0": True, "1": True, "3": False}
    users = [f"9{user},1,{is_so},5,False,{user}" for user, is_so in mature.items()]
    write(tmp_path / "target.csv.gz", "\n".join(["id,days,mature,views,partner,new_id", *users]))
    write(tmp_path / "features.json.gz", json.dumps({"0": [7, 3], "2": [900]}))
    out = convert("twitch", tmp_path)
    data = TripleFiles(
        path=out / "edges.tsv",
        relation="follows",
        labels=str(out / "labels.tsv"),
        features=str(out / "features.npz"),
        split=[1, 0, 0],
        label_split=[1, 0, 0],
    )
    store = prepare(data, tmp_path / "stores")
    assert len(store.triples("train")) == 3
    assert [features(store, key) for key in "0123"] == [[1, 1, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]]
    labels = store.labels()
    assert labels is not None
    node, label = labels.of("train")
    told = {key: labels.names[at] for key, at in zip(store.entity_keys(node), label, strict=True)}
    assert told == {user: str(is_so) for user, is_so in mature.items()}


def test_questions_of_betae(tmp_path: Path) -> None:
    """A relation and its reverse, what is not so, and unions, in the order of their steps."""
    queries = {
        "2p": "[7, [0, 3]]",
        "pni": "[[1, [4, 0, -2]], [2, [5]]]",
        "inp": "[[[1, [0]], [2, [2, -2]]], [1]]",
        "up-DNF": "[[[1, [0]], [2, [2]], [-1]], [4]]",
    }
    rows = [{"type": k, "query": q, "easy": [3], "hard": [4, 5]} for k, q in queries.items()]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "test_queries.parquet")
    found = list(read_questions(convert("betae", tmp_path) / "questions.parquet"))
    assert {row.structure: row.text for row in found} == {
        "2p": "?x : 0(7, ?u) and 2(?x, ?u)",
        "pni": "?x : not (4(1, ?u) and 0(?u, ?x)) and 4(?x, 2)",
        "inp": "?x : 0(1, ?u) and not (2(2, ?u)) and 0(?x, ?u)",
        "up": "?x : (0(1, ?u) or 2(2, ?u)) and 4(?u, ?x)",
    }
    assert {(tuple(row.easy), tuple(row.hard)) for row in found} == {(("3",), ("4", "5"))}
