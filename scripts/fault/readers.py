"""Everything that reads a file which may be somebody else's, each with files to begin from."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse
import torch

from fault.child import must, run, settings, the_run
from fault.files import (
    ABOUT,
    COLUMNS,
    FEATURES,
    FITTED,
    FITTED_FILE,
    HPO,
    KEYS,
    LABELS,
    NT,
    NUMBERS,
    PAPERS,
    ROWS,
    SPARSE,
    SPLIT,
    TTL,
    XML,
    legacy,
    parquet,
    saved,
    text,
    zipped,
    zstd,
)
from kgscale.cli.resume import resumed
from kgscale.cli.study import continued
from kgscale.data import hpo
from kgscale.data.audit import Audit
from kgscale.data.described import Described
from kgscale.data.feature_files import feature_files
from kgscale.data.interactions import Interactions
from kgscale.data.labels import LabelFile
from kgscale.data.node_labels import NodeLabelFiles
from kgscale.data.ogb.download import Download
from kgscale.data.ogb.numbers import all_integers, map_floats, read_rows, read_texts
from kgscale.data.ogb.torch_file import read_torch_file
from kgscale.data.papers import Papers
from kgscale.data.query_file import QueryFile
from kgscale.data.question_file import read_questions
from kgscale.data.rdf import RdfFiles
from kgscale.data.source import Facts
from kgscale.data.triples import TripleFiles
from kgscale.durable import MANIFEST, read_manifest, write_manifest
from kgscale.graph.stored import FITS, read_fits
from kgscale.inference.queries.language import parse
from kgscale.models.registry import CARD, load_model
from kgscale.tasks.calibration import read_calibration
from kgscale.tasks.directory import read_predictions, read_results
from kgscale.training.checkpoints import load_state
from kgscale.training.logs import earlier
from kgscale.training.resume import Saved, newest


@dataclass(frozen=True)
class Reader:
    """What reads the file ``name`` in a folder."""

    name: str
    """Of the file that is damaged."""
    content: Callable[[], bytes]
    """Of a good one."""
    read: Callable[[Path], Any]
    """Told the file; it may raise KgscaleError, and nothing else."""
    inside: str = ""
    """Also damaged before it is packed: gzip or zip."""
    lines: bool = False
    """Whether every line must be accepted or rejected."""


def counted(audit: Audit) -> int:
    return audit.accepted + audit.num_rejected + sum(audit.dropped.values())


def read_triples(path: Path, **settings: Any) -> int:
    audit = Audit()
    source = TripleFiles(path=path, max_rejected=1.0, **settings)
    for facts in source.read(audit, path.parent).facts:
        assert len(facts.head) == len(facts.relation) == len(facts.tail)
        assert isinstance(facts, Facts)
        for column in (facts.head, facts.relation, facts.tail):
            column.validate(full=True)
    return counted(audit)


def read_rdf(path: Path) -> None:
    source = RdfFiles(path=path, max_rejected=1.0, literals="entities")
    reading = source.read(Audit(), path.parent)
    for facts in reading.facts:
        assert isinstance(facts, Facts)
        facts.head.validate(full=True)
    list(reading.entities)


def read_labels(path: Path) -> int:
    audit = Audit()
    file = LabelFile.of(path, "names")
    assert file is not None
    list(file.read(audit))
    return counted(audit)


def read_node_labels(path: Path) -> int:
    audit = Audit()
    files = NodeLabelFiles.of(path)
    assert files is not None
    list(files.read(audit))
    return counted(audit)


def read_features(path: Path, **settings: Any) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        (file,) = feature_files({"path": path, **settings})
        rows = 0

        def add(keys: pa.Array) -> None:
            nonlocal rows
            rows += len(keys)

        matrix = file.open(Path(scratch) / "scratch", add)
        assert rows == len(matrix)
        if isinstance(matrix, Described):
            fitted = matrix.fit(np.arange(rows), np.arange(rows))
            fitted.take(np.arange(min(rows, 64)))
        elif rows:
            matrix.take(np.arange(min(rows, 64)))
            matrix.take(np.array([rows - 1]))


def read_torch(path: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        read_torch_file(path, Path(scratch) / "scratch")


def read_numbers(path: Path) -> None:
    all_integers(path)


def read_floats(path: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        map_floats(path, Path(scratch) / "copy")


def read_names(path: Path) -> None:
    list(read_texts(path))
    list(read_rows(path))


def read_hpo(path: Path) -> None:
    """The three files of the embedded graph, of which this one is damaged."""
    files = [path if name == path.name else path.with_name(name) for name in hpo.FILES]
    for file in files:
        if file != path:
            file.write_bytes(HPO[file.name])
    before = hpo._paths
    hpo._paths = lambda: tuple(files)
    try:
        hpo.HumanPhenotypeOntology().describe()
        reading = hpo.HumanPhenotypeOntology().read(Audit(), path.parent)
        list(reading.facts)
        list(reading.entities)
    finally:
        hpo._paths = before


def unpack(path: Path) -> None:
    folder = path.parent / "unpacked"
    folder.mkdir()
    where = Download(url="http://localhost/x.zip", folder=folder / "inner" / "data")
    where.archive.parent.mkdir()
    shutil.copy(path, where.archive)
    try:
        where._extract(folder / "inner", lambda text: None)
    finally:
        here = {file.relative_to(path.parent).parts[0] for file in path.parent.rglob("*")}
        assert here <= {path.name, "unpacked"}, "a file outside"


def resume(path: Path) -> None:
    resumed([f"resume={path.parent}"])


@cache
def finished() -> Path:
    """A run directory with a state and a model."""
    folder = Path(tempfile.mkdtemp(prefix="kgscale-fuzz-"))
    must(run(settings(folder), folder / "error"))
    return the_run(folder)


def part_of(place: str) -> Path:
    return finished() / "model" if place == "model" else newest(finished()).path


def resealed(place: str, load: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """With a manifest that fits, as somebody who means harm would write it."""

    def read(path: Path) -> None:
        whole, copy = part_of(place), path.parent / "copy.ckpt"
        shutil.copytree(whole, copy)
        shutil.copy(path, copy / path.name)
        told = read_manifest(whole)
        if path.name != MANIFEST:
            (copy / MANIFEST).unlink()
            (copy / CARD).unlink(missing_ok=True)  # which no manifest has
            write_manifest(copy, {"kind": told["kind"], "schema": told["schema"]})
        load(copy)

    return read


def load_checkpoint(path: Path) -> None:
    load_state(path)
    Saved.read(path).require("fingerprint")


def _texts() -> Iterator[Reader]:
    yield Reader("x.tsv", text, read_triples, lines=True)
    yield Reader("x.csv", lambda: text(","), partial(read_triples, quote='"'))
    yield Reader("x.tsv.gz", text, read_triples, "gzip")
    yield Reader("x.tsv.zst", lambda: zstd(text()), read_triples)
    named = partial(read_triples, columns=["h", "r", "t"])
    yield Reader("header.tsv", lambda: b"h\tr\tt\n" + text(), named)
    columns = dict(zip("hrt", map(list, zip(*ROWS, strict=True)), strict=True))
    yield Reader("x.parquet", lambda: parquet(columns), read_triples)
    yield Reader("names.tsv", lambda: KEYS, read_labels, lines=True)
    yield Reader("labels.tsv", lambda: LABELS, read_node_labels, lines=True)
    for name, content in {"nt": NT, "nq": NT, "ttl": TTL, "trig": TTL, "rdf": XML}.items():
        yield Reader(f"x.{name}", partial(bytes, content), read_rdf)
    for name, content in HPO.items():
        yield Reader(name, partial(bytes, content), read_hpo)


def _numbers() -> Iterator[Reader]:
    yield Reader("f.tsv", lambda: b"a\t1\t2\nb\t0.5\t-3e2\n", read_features)
    yield Reader("f.parquet", lambda: parquet(FEATURES), read_features)
    named = b"key\tage\ttown\twords\na\t0.5\tx\ta b\nb\t\ty\tc\n"
    described = partial(read_features, **COLUMNS)
    yield Reader("about.tsv", lambda: named, described)
    yield Reader("about.parquet", lambda: parquet(ABOUT), described)
    literals = b"a\tage\t5\na\tage\t7e1\nb\tnote\tsome words\n"
    yield Reader(
        "literals.tsv",
        lambda: literals,
        partial(read_features, kind="literals", text=["note"], dim=16),
    )
    yield Reader(FITS, lambda: FITTED_FILE, read_feature_fits)
    writers = {
        "f.npy": lambda file: np.save(file, NUMBERS),
        "f.npz": lambda file: np.savez(file, x=NUMBERS),
        "csr.npz": lambda file: scipy.sparse.save_npz(file, SPARSE),
        "coo.npz": lambda file: scipy.sparse.save_npz(file, SPARSE.tocoo()),
    }
    for name, write in writers.items():
        yield Reader(name, partial(saved, write), read_features, "zip" * name.endswith("z"))
    yield Reader("split.pt", partial(saved, partial(torch.save, SPLIT)), read_torch, "zip")
    yield Reader("old.pt", lambda: legacy(SPLIT), read_torch)
    yield Reader("edge.csv.gz", lambda: b"1\n2\n30\n", read_numbers, "gzip")
    yield Reader("feat.csv.gz", lambda: b"1,2.5\n2,-1e3\n", read_floats, "gzip")
    yield Reader("map.csv.gz", lambda: b"idx,name\n0,a\n1,b\n", read_names, "gzip")
    files = {"data/a.txt": b"a" * 99, "data/b/c": b"c"}
    yield Reader("data.zip", lambda: zipped(files), unpack, "zip")


def _runs() -> Iterator[Reader]:
    yield Reader("config.yaml", lambda: (finished() / "config.yaml").read_bytes(), resume)
    parts = {
        "model": (load_model, ("model.json", "model.safetensors", MANIFEST)),
        "checkpoint": (load_checkpoint, ("state.json", "tensors.safetensors", MANIFEST)),
    }
    for place, (load, names) in parts.items():
        for name in names:
            yield Reader(name, partial(content_of, place, name), resealed(place, load))


def _tables_of_runs() -> Iterator[Reader]:
    likes = b"a\t1\t5\t10\nb\t1\t3\t20\na\t2\t4\t30\nc\t3\t1\t40\n"
    yield Reader("likes.tsv", lambda: likes, read_interactions, lines=True)
    for name, content in PAPERS.items():
        yield Reader(name, lambda content=content: content, read_papers)
    asked = b'{"question": "?x : r(a, ?x)", "easy": ["b"], "hard": ["c"]}\n'
    lines = b"head\trelation\ttail\na\tr\t\n\tr\tb\n"
    yield Reader("many.tsv", lambda: lines, read_query_file)
    many = {"head": ["a", None], "relation": ["r", "r"], "tail": [None, "b"]}
    yield Reader("many.parquet", lambda: parquet(many), read_query_file)
    answers = {"head": ["a"], "tail": ["b"], "score": [0.5]}
    yield Reader(
        "predictions.parquet",
        lambda: parquet(answers),
        lambda path: read_predictions(path.parent, 10),
    )
    yield Reader("questions.jsonl", lambda: asked, read_question_file)
    columns = {"question": ["?x : r(a, ?x)"], "easy": [["b"]], "hard": [["c"]]}
    yield Reader("questions.parquet", lambda: parquet(columns), read_question_file)
    table = b"epoch,step,train/loss\n0,9,1.5\n1,19,1.25\n"
    yield Reader("metrics.csv", lambda: table, lambda path: earlier(path, 100))
    yield Reader("arguments.json", lambda: b'["data=hpo", "trials=2"]', read_arguments)
    steps = b'{"map": {"method": "isotonic", "knots": [-1.5, 2], "values": [0.25, 0.5]}}'
    yield Reader("calibration.json", lambda: steps, lambda path: read_calibration(path.parent))
    told = b'{"status": "done", "metrics": {"test": {"mrr": 0.5}}}'
    yield Reader("results.json", lambda: told, lambda path: read_results(path.parent))


def read_interactions(path: Path) -> int:
    audit = Audit()
    source = Interactions(path=path, header=False, split=[1, 0, 0], max_rejected=1)
    with tempfile.TemporaryDirectory() as scratch:
        list(source.read(audit, Path(scratch)).facts)
    return counted(audit)


def read_papers(path: Path) -> None:
    """One of two files; the other is as it should be."""
    for name, content in PAPERS.items():
        if name != path.name:
            (path.parent / name).write_bytes(content)
    source = Papers(
        ask="coauthor",
        path=path.parent / "papers.tsv",
        years=str(path.parent / "years.tsv"),
        until=[2000, 2001, 2002],
        max_rejected=1,
    )
    with tempfile.TemporaryDirectory() as scratch:
        reading = source.read(Audit(), Path(scratch))
        list(reading.facts)
        list(reading.entities)


def read_feature_fits(path: Path) -> None:
    read_fits(path.parent, {"entity": FITTED})


def read_query_file(path: Path) -> None:
    for rows in QueryFile(path, needed=("relation",), either=("head", "tail")).rows(Audit()):
        assert {len(column) for column in rows.columns.values()} == {len(rows.line)}


def read_question_file(path: Path) -> None:
    for row in read_questions(path):
        parse(row.text)


def read_arguments(path: Path) -> None:
    continued(path.parent, [])


def content_of(place: str, name: str) -> bytes:
    return (part_of(place) / name).read_bytes()


READERS = [*_texts(), *_numbers(), *_runs(), *_tables_of_runs()]
