"""``export``: a directory that other programs can read, from every kind of run with vectors."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import kgscale
from kgscale.inference.export import tables
from kgscale.tasks.runs import LinkRun, RecommendationRun
from tests.cli.conftest import SMALL, Command

FILES = {
    f"{name}.{kind}" for name in ("entities", "relations") for kind in ("parquet", "npy", "tsv")
}


def table(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened, delimiter="\t"))


def test_vectors_with_their_keys(
    command: Command, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the encoder, the same in every file, whatever is written at a time."""
    monkeypatch.setattr(tables, "ROWS", 7)
    code, out, error = command("export", f"run={trained}", f"output={tmp_path / 'out'}")
    assert (code, error) == (0, "")
    assert f"written: {tmp_path / 'out' / 'entities.npy'}" in out
    assert {file.name for file in (tmp_path / "out").iterdir()} == {*FILES, "export.json"}
    run = kgscale.load(trained)
    assert isinstance(run, LinkRun)
    store, size = run.store, run.store.num_relations
    told = json.loads((tmp_path / "out" / "export.json").read_text())
    assert told["data"] == {"name": store.name, "fingerprint": store.fingerprint}
    assert told["decoder"]["name"] == type(run.model.decoder).__name__
    for name, vectors, keys in (
        ("entities", run.vectors.entity, store.entity_keys(list(range(store.num_entities)))),
        ("relations", run.vectors.relation, 2 * store.relation_keys(list(range(size)))),
    ):
        found = pq.read_table(tmp_path / "out" / f"{name}.parquet")
        assert found["key"].to_pylist() == keys
        assert found.schema.field("vector").type == pa.list_(pa.float32(), vectors.shape[1])
        matrix = np.load(tmp_path / "out" / f"{name}.npy", mmap_mode="r")
        np.testing.assert_array_equal(matrix, vectors.numpy())
        np.testing.assert_array_equal(np.array(found["vector"].to_pylist(), np.float32), matrix)
        assert [row["key"] for row in table(tmp_path / "out" / f"{name}.tsv")] == keys
        assert told["vectors"][name] == list(vectors.shape)
    assert found["reciprocal"].to_pylist() == [False] * size + [True] * size
    # Written again, in place of the other.
    assert command("export", f"run={trained}", f"output={tmp_path / 'out'}")[0] == 0


@pytest.mark.slow
def test_an_index_and_networks_answer_as_predict(
    command: Command, trained: Path, tmp_path: Path
) -> None:
    faiss, runtime = pytest.importorskip("faiss"), pytest.importorskip("onnxruntime")
    own = (f"run={trained}", f"output={tmp_path / 'out'}", "kinds=[faiss,onnx]")
    code, _, error = command("export", *own)
    assert (code, error) == (0, "")
    run = kgscale.load(trained)
    assert isinstance(run, LinkRun)
    for end in ("head", "tail"):
        asked = {end: "entity 3", "relation": "relation 1"}
        expected = run.predict(k=run.store.num_entities, known=True, **asked)
        query = run.query_vectors(**{name: [text] for name, text in asked.items()})
        index = faiss.read_index(str(tmp_path / "out" / "entities.faiss"))
        row = index.search(query, run.store.num_entities)[1][0]
        other = "tail" if end == "head" else "head"
        assert run.store.entity_keys(row.tolist()) == expected[other]
    session = runtime.InferenceSession(str(tmp_path / "out" / "query.onnx"))
    head, relation = run.store.find_entity("entity 3"), run.store.find_relation("relation 1")
    given = {
        "head": run.vectors.rows(torch.tensor([head])).numpy(),
        "relation": run.vectors.of(torch.tensor([relation])).numpy(),
    }
    query = run.query_vectors(head=["entity 3"], relation=["relation 1"])
    np.testing.assert_allclose(session.run(None, given)[0], query, rtol=1e-5, atol=1e-6)
    # Networks and an index are known as an export's own, and give way.
    assert command("export", f"run={trained}", f"output={tmp_path / 'out'}")[0] == 0


def run_of(command: Command, tmp_path: Path, *own: str) -> Path:
    code, _, error = command(*own, f"root={tmp_path / 'outputs'}", "trainer.threads=1")
    assert (code, error) == (0, "")
    (run,) = (tmp_path / "outputs").glob("*/*")
    return run


def test_an_index_of_items(command: Command, tmp_path: Path) -> None:
    faiss = pytest.importorskip("faiss")
    lines = [f"u{n}\ti{n % 3 + 3 * k}" for n in range(30) for k in range(4) if (n + k) % 5]
    (tmp_path / "likes.tsv").write_text("\n".join(lines) + "\n")
    run = run_of(
        command,
        tmp_path,
        *("task=recommendation", f"data.path={tmp_path / 'likes.tsv'}", "encoder.dim=8"),
        *("strategy=full_batch", "trainer.max_epochs=3"),
    )
    assert command("export", f"run={run}", "kinds=[vectors,faiss]")[0] == 0
    opened, told = kgscale.load(run), json.loads((run / "export" / "export.json").read_text())
    assert isinstance(opened, RecommendationRun)
    assert told["recommends"]["items"] == told["index"]["rows"]
    index = faiss.read_index(str(run / "export" / "items.faiss"))
    row = index.search(opened.query_vectors(["u4"]), len(opened.interest.items))[1][0].tolist()
    expected = opened.recommend(["u4"], k=len(opened.interest.items), known=True)["item"]
    keys = pq.read_table(run / "export" / "entities.parquet")
    assert [keys["key"][at].as_py() for at in row] == expected
    assert {keys["type"][at].as_py() for at in row} == {"item"}
    assert command("export", f"run={run}")[0] == 0


@pytest.mark.slow
def test_runs_without_an_index_or_vectors(command: Command, data: Path, tmp_path: Path) -> None:
    path = run_of(
        command,
        tmp_path,
        *("task=path_reasoning", "data=triples", f"data.path={data}", "reasoner.dim=4"),
        *("strategy.size=12", "strategy.batch_size=16", "trainer.max_epochs=1"),
        "predictions.pairs=64",
    )
    code, _, error = command("export", f"run={path}")
    assert (code, "no vector of any entity" in error) == (2, True)
    assert not (path / "export").exists()
    own = (*SMALL[:3], "task=node_classification", "data=synthetic", "data.edges=1600")
    node = run_of(command, tmp_path / "node", *own, "encoder=sage", "trainer.max_epochs=1")
    code, _, error = command("export", f"run={node}", "kinds=[faiss]")
    assert (code, "leave faiss out" in error) == (2, True)
    assert command("export", f"run={node}")[0] == 0
    assert not (node / "export" / "relations.npy").exists()
    opened = kgscale.load(node)
    np.testing.assert_array_equal(
        np.load(node / "export" / "entities.npy"), opened.vectors.entity.numpy()
    )


@pytest.mark.parametrize(
    ("own", "code", "words"),
    [
        (("kinds=[]",), 2, "kinds needs some of vectors, faiss, onnx"),
        (("kinds=[vector]",), 2, "'vector'"),
        (("kind=[faiss]",), 2, "kinds"),
        (("memory=0",), 2, "memory"),
    ],
)
def test_wrong_settings(
    command: Command, trained: Path, own: tuple[str, ...], code: int, words: str
) -> None:
    found, _, error = command("export", f"run={trained}", *own)
    assert (found, words in error) == (code, True), error


@pytest.mark.parametrize("beside", [(), ("export.json",)])
def test_other_files_stay(
    command: Command, trained: Path, tmp_path: Path, beside: tuple[str, ...]
) -> None:
    """Beside what may be an earlier export, too."""
    for name in ("mine.txt", *beside):
        (tmp_path / name).write_text("mine")
    code, _, error = command("export", f"run={trained}", f"output={tmp_path}")
    assert (code, "other files than an export, such as" in error) == (2, True)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_place_that_is_no_directory(command: Command, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    for name in ("file", "link"):
        code, _, error = command("export", f"run={trained}", f"output={tmp_path / name}")
        assert (code, "is no directory: choose another" in error) == (2, True)
    assert (tmp_path / "file").read_text() == "mine"
    assert not list((tmp_path / "folder").iterdir())


@pytest.mark.parametrize(("kind", "module"), [("faiss", "faiss"), ("onnx", "onnxscript")])
def test_an_extra_that_is_missing(
    command: Command,
    trained: Path,
    tmp_path: Path,
    kind: str,
    module: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    own = (f"run={trained}", f"output={tmp_path / 'out'}", f"kinds=[{kind}]")
    code, _, error = command("export", *own)
    assert (code, f"kgscale[{kind}]" in error) == (2, True)
    assert not (tmp_path / "out").exists()
