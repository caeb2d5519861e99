"""Labels from a user's files: forms, splits, relations that never reach the graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgscale.data.audit import Audit
from kgscale.data.source import NodeLabelRows
from kgscale.data.splits import SPLITS
from kgscale.data.triples import TripleFiles
from kgscale.errors import ConfigError, DataError, KgscaleError
from tests.data.test_triples import read, write

TRIPLES = b"a\tr\tb\nb\tis\tred\nc\tis\tblue\nb\thue\tred\n"
WORDS = (*SPLITS, "open", "none")
Row = tuple[str, str, str, int]
"""Key, label, split, line."""


def listed(rows: NodeLabelRows) -> list[Row]:
    columns = rows.key.to_pylist(), rows.label.to_pylist(), rows.split.tolist(), rows.line.tolist()
    return [(key, label, WORDS[split], at) for key, label, split, at in zip(*columns, strict=True)]


def labels_of(audit: Audit | None = None, **settings: Any) -> list[Row]:
    reading = TripleFiles(**settings).read(audit or Audit(), Path())
    found = [facts.node_labels for facts in reading.facts if facts.node_labels]
    return [row for rows in [*found, *reading.node_labels] for row in listed(rows)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "x.tsv", TRIPLES)


def test_keys_and_labels(path: Path) -> None:
    file = write(path.parent / "labels.tsv", "a\tÄ 😀\nb\tnull\n".encode())
    assert labels_of(path=path, labels=str(file)) == [
        ("a", "Ä 😀", "open", 1),
        ("b", "null", "open", 2),
    ]


def test_a_column_of_splits(path: Path) -> None:
    content = b"node,split,x,label\na,train,,1\nb,,,2\nc,valid,,\na,test,,3\n"
    file = write(path.parent / "labels.csv.gz", content)
    audit = Audit()
    setting = {"path": str(file), "columns": ["node", "label", "split"]}
    assert labels_of(audit, path=path, labels=setting) == [
        ("a", "1", "train", 2),
        ("b", "2", "none", 3),
        ("a", "3", "test", 5),
    ]
    assert audit.dropped == {"empty label": 1}
    assert audit.lines == 8
    by_place = {"path": str(file), "columns": [0, 3, 1], "header": True}
    assert labels_of(path=path, labels=by_place) == labels_of(path=path, labels=setting)
    plain = write(path.parent / "plain.tsv", b"a\t1\ttrain\nb\t2\t\n")
    assert labels_of(path=path, labels=str(plain)) == [
        ("a", "1", "train", 1),
        ("b", "2", "none", 2),
    ]


def test_parquet_with_nulls(path: Path) -> None:
    columns = {"key": ["a", "b", "c"], "label": [1, None, 2], "split": ["train", "test", None]}
    pq.write_table(pa.table(columns), path.parent / "labels.parquet")
    assert labels_of(path=path, labels=str(path.parent / "labels.parquet")) == [
        ("a", "1", "train", 1),
        ("c", "2", "none", 3),
    ]


def test_several_labels_in_a_field(path: Path) -> None:
    file = write(path.parent / "labels.tsv", b"a\tx|y||\ttrain\nb\t|\ttrain\nc\tz\ttest\n")
    setting = {"path": str(file), "separator": "|"}
    assert labels_of(path=path, labels=setting) == [
        ("a", "x", "train", 1),
        ("a", "y", "train", 1),
        ("c", "z", "test", 3),
    ]


def test_a_file_per_split(path: Path) -> None:
    train = write(path.parent / "1.tsv", b"a\tx\n")
    test = write(path.parent / "2.csv", b"b;y\n")
    setting = {"train": str(train), "test": {"path": str(test), "delimiter": ";"}}
    assert labels_of(path=path, labels=setting) == [("a", "x", "train", 1), ("b", "y", "test", 1)]


@pytest.mark.parametrize(("relations", "facts"), [("is", 2), (["is", "hue"], 1)])
def test_a_withheld_relation(path: Path, relations: Any, facts: int) -> None:
    audit = Audit()
    expected = [("b", "red", "open", 2), ("c", "blue", "open", 3)]
    assert labels_of(audit, path=path, label_relation=relations) == expected
    assert audit.dropped["triple of 'is' (data.label_relation)"] == 2
    assert (audit.accepted, audit.lines) == (facts, 4)
    found = read(path=path, label_relation=relations)
    assert found == [("open", "a", "r", "b"), ("open", "b", "hue", "red")][:facts]
    file = write(path.parent / "labels.tsv", b"a\tx\n")
    both = labels_of(path=path, label_relation=relations, labels=str(file))
    assert both == [("a", "x", "open", 1)]


def test_a_withheld_relation_in_every_split(tmp_path: Path) -> None:
    for split in SPLITS:
        write(tmp_path / f"{split}.tsv", f"a\tr\tb\n{split}\tis\tx\n".encode())
    assert {row[0] for row in labels_of(path=tmp_path, label_relation="is")} == set(SPLITS)
    found = read(path=tmp_path, label_relation="is")
    assert found == [(split, "a", "r", "b") for split in SPLITS]
    # A relation that only valid has is unseen, but not if it is withheld.
    write(tmp_path / "train.tsv", b"a\tr\tb\n")
    assert read(path=tmp_path, label_relation="is") == found


def test_a_constant_relation(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", b"from,to\n1,2\n2,3\n")
    expected = [("open", "1", "cites", "2"), ("open", "2", "cites", "3")]
    assert read(path=path, relation="cites", header=True) == expected
    assert read(path=path, relation="cites", columns=["from", "to"]) == expected
    reverse = read(path=path, relation="cites", columns=[1, 0], header=True)
    assert [(tail, head) for _, head, _, tail in reverse] == [("1", "2"), ("2", "3")]


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({"labels": "words.tsv"}, DataError, ["words.tsv line 2: 'dev' is no split", "train"]),
        ({"labels": {"valid": "words.tsv"}}, ConfigError, ["data.labels", "no train"]),
        (
            {"labels": {"train": "words.tsv", "dev": "words.tsv"}},
            ConfigError,
            ["data.labels", "unknown ['dev']"],
        ),
        (
            {"labels": {"train": {"file": "x"}}},
            ConfigError,
            ["data.labels.train", "unknown ['file']"],
        ),
        (
            {"label_relation": "iss"},
            ConfigError,
            ["data.label_relation", "no relation 'iss'", "did you mean 'is'"],
        ),
        ({"label_relation": ["is", "hue", "r"]}, DataError, ["no triples but those of data.label"]),
        ({"label_split": [0.5, 0.5]}, ConfigError, ["data.label_split needs three shares"]),
        ({"unknown_label": "keep"}, ConfigError, ["data.unknown_label is error or drop, got"]),
        ({"rare_label": "keep"}, ConfigError, ["data.rare_label is error or drop, got"]),
        ({"relation": "r"}, DataError, ["x.tsv line 1: too many columns"]),
    ],
)
def test_refusals(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    kind: type[KgscaleError],
    words: list[str],
) -> None:
    monkeypatch.chdir(path.parent)
    write(path.parent / "words.tsv", b"a\tx\ttrain\nb\tx\tdev\n")
    with pytest.raises(kind) as caught:
        labels_of(**{"path": path, **settings})
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)


def test_two_columns_ask_for_a_relation(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tsv", b"a\tb\n")
    with pytest.raises(DataError, match=r"x\.tsv line 1: too few columns.*data\.relation=NAME"):
        read(path=path)


def test_the_digest_knows_what_is_set_alone(path: Path) -> None:
    plain = TripleFiles(path=path).digest()
    assert TripleFiles(path=path, label_split=[0.8, 0.1, 0.1]).digest() == plain
    labels = str(write(path.parent / "labels.tsv", b"a\tx\n"))
    digests = {
        TripleFiles(path=path, **settings).digest()
        for settings in (
            {},
            {"labels": labels},
            {"labels": {"train": labels}},
            {"labels": labels, "label_split": [0.8, 0.1, 0.1]},
            {"labels": labels, "rare_label": "drop"},
            {"types": labels},
            {"label_relation": "is"},
            {"label_relation": ["is", "hue"]},
            {"features": labels},
            {"features": {"x": labels}},
            {"relation": "r"},
        )
    }
    assert len(digests) == 11
    before = TripleFiles(path=path, labels=labels, features=labels).digest()
    write(Path(labels), b"a\ty\n")
    assert TripleFiles(path=path, labels=labels, features=labels).digest() != before
