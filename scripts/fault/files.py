"""Good files of every kind, which the fuzz damages."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse
import torch

ROWS = [("a", "r", "b"), ("b", "s", "c"), ("NA", "r", "null"), ("ö", "r", " y "), ("1", "s", "2")]


def text(delimiter: str = "\t") -> bytes:
    return "".join(delimiter.join(row) + "\n" for row in ROWS).encode()


def parquet(table: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(table), file)
    return file.getvalue()


def saved(write: Callable[[Any], object]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    def write(file: io.BytesIO) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)

    return saved(write)


def zstd(content: bytes) -> bytes:
    compressed: bytes = pa.Codec("zstd").compress(content, asbytes=True)
    return compressed


def legacy(value: Any) -> bytes:
    return saved(lambda file: torch.save(value, file, _use_new_zipfile_serialization=False))


# The three files of the embedded graph in small: their package may not be installed.
HPO = {
    "hp.obo": b"""format-version: 1.2
data-version: hp/releases/2025-01-16

[Term]
id: HP:0000118
name: Phenotypic abnormality

[Term]
id: HP:0001250
name: Seizure
is_a: HP:0000118 ! Phenotypic abnormality

[Typedef]
id: part_of
name: part of
""",
    "phenotype.hpoa": b"""#version: 2025-01-16
database_id\tdisease_name\tqualifier\thpo_id\treference\tevidence\tonset\tfrequency\tsex\t\
modifier\taspect\tbiocuration
OMIM:1\tA fever\t\tHP:0001250\tPMID:1\tPCS\t\t1/2\t\t\tP\tx
OMIM:1\tA fever\tNOT\tHP:0000118\tPMID:1\tPCS\t\t\t\t\tP\tx
OMIM:2\tB\t\tHP:0001250\tPMID:2\tTAS\tHP:3\t\t\t\tC\tx
""",
    "genes_to_phenotype.txt": b"""ncbi_gene_id\tgene_symbol\thpo_id\thpo_name\tfrequency\tdisease_id
10\tNAT2\tHP:0001250\tSeizure\t-\tOMIM:1
16\t-\tHP:0001250\tSeizure\t3/3\tOMIM:2
""",
}
NT = b"""<http://x/a> <http://x/r> <http://x/b> .
<http://x/a> <http://www.w3.org/2000/01/rdf-schema#label> "A"@en .
_:b0 <http://x/r> <http://x/a> .
<http://x/b> <http://x/s> "1"^^<http://www.w3.org/2001/XMLSchema#integer> .
"""
TTL = b"""@prefix x: <http://x/> .
x:a x:r x:b , [ x:s x:c ] ; a x:Class .
x:b x:r ( x:a "text" 1.5 true ) .
"""
XML = b"""<?xml version="1.0"?>
<!DOCTYPE rdf:RDF [<!ENTITY x "http://x/">]>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:x="http://x/">
<rdf:Description rdf:about="&x;a"><x:r rdf:resource="http://x/b"/><x:s>text</x:s></rdf:Description>
</rdf:RDF>
"""
NUMBERS = np.arange(12, dtype=np.float32).reshape(4, 3)
SPLIT = {"head": np.arange(5), "head_type": ["a", "b"], "edge": torch.arange(6).reshape(3, 2)}
FEATURES = {"key": ["a", "b"], "x": [0.5, 1.0], "y": [1, 2]}
ABOUT = {"key": ["a", "b"], "age": [0.5, None], "town": ["x", "y"], "words": ["a b", "c"]}
COLUMNS = {"key": "key", "numbers": ["age"], "categories": ["town"], "text": ["words"], "dim": 16}
LABELS = b"a\tc\ttrain\nb\td\tvalid\ne\tc\ttest\n"
KEYS = b"a\tname of a\nb\tname of b\n"
SPARSE = scipy.sparse.csr_matrix(NUMBERS)
PAPERS: Final = {
    # bob and dan write p1 together, and ann and dan p2, for the first time.
    "papers.tsv": b"".join(
        b"%s\twrites\t%s\n" % pair
        for pair in (
            (b"ann", b"p0"), (b"bob", b"p0"), (b"dan", b"p4"), (b"bob", b"p1"), (b"dan", b"p1"),
            (b"ann", b"p2"), (b"dan", b"p2"), (b"ann", b"p3"), (b"bob", b"p3"),
        )
    ) + b"p1\tcites\tp0\n",
    "years.tsv": b"p0\t2000\np1\t2001\np2\t2002\np3\t2003\np4\t2000\n",
}  # fmt: skip
FITTED = 22
"""The columns that these features have."""
FITTED_FILE = b"""{"schema": 1, "types": {"entity": [
{"kind": "columns", "file": "about.tsv", "parts": [
{"use": "numbers", "columns": ["age", "size"], "held": ["age"], "unit": [64.0], "mean": [0.5],
"deviation": [0.25]}, {"use": "categories", "column": "town", "levels": ["x", "y"]},
{"use": "text", "columns": ["words"], "encoder": ["hash", 16], "dim": 16}]},
{"kind": "rows", "file": "f.npy", "parts": [{"use": "rows", "dim": 2}]}]}}"""
