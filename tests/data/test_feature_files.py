"""Tables by name of column and literals: every way to write them gives the same features."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from kgscale.data.described import Described
from kgscale.data.feature_files import feature_files
from kgscale.data.ngrams import NGrams
from kgscale.errors import ConfigError, DataError

KEYS = ["a", "b", "c", "d"]
AGE = [1.0, None, 3.0, 5.0]
KIND = ["x", "y", "x", None]
WORDS = ["red house", None, "red horse", "sea"]
TABLE = {"id": KEYS, "age": AGE, "kind": KIND, "words": WORDS}
USED = {"numbers": "age", "categories": ["kind"], "text": "words", "dim": 16}


def opened(root: Path, setting: Any) -> tuple[list[str], Described]:
    (file,) = feature_files(setting)
    keys: list[str] = []
    scratch = root / f"scratch{len(list(root.glob('scratch*')))}"
    rows = file.open(scratch, lambda chunk: keys.extend(chunk.to_pylist()))
    assert isinstance(rows, Described)
    return keys, rows


def taken(rows: Described, known: list[int] | None = None) -> np.ndarray:
    everyone = np.arange(len(rows))
    return rows.fit(everyone, everyone if known is None else np.array(known)).take(everyone)


def as_text(path: Path, delimiter: str) -> Path:
    rows = [TABLE.keys(), *zip(*TABLE.values(), strict=True)]
    lines = [delimiter.join("" if v is None else str(v) for v in row) for row in rows]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def packed(path: Path) -> Path:
    plain = as_text(path.with_suffix(""), "\t")
    path.write_bytes(gzip.compress(plain.read_bytes()))
    return path


def parquet(path: Path, *columns: pa.Array) -> Path:
    given = columns or [pa.array(column) for column in TABLE.values()]
    pq.write_table(pa.table(list(given), names=list(TABLE)), path)
    return path


WRITERS: dict[str, Callable[[Path], Path]] = {
    "tsv": lambda root: as_text(root / "x.tsv", "\t"),
    "csv": lambda root: as_text(root / "x.csv", ","),
    "gz": lambda root: packed(root / "x.tsv.gz"),
    "parquet": lambda root: parquet(root / "x.parquet"),
    "other types": lambda root: parquet(
        root / "x.parquet",
        pa.array(KEYS, pa.large_string()),
        pa.array([1, None, 3, 5], pa.int8()),
        pa.array(KIND).dictionary_encode(),
        pa.array(WORDS, pa.string_view()),
    ),
    "NaN": lambda root: parquet(
        root / "x.parquet",
        pa.array(KEYS),
        pa.array([1.0, np.nan, 3.0, 5.0], pa.float32()),
        pa.array(KIND),
        pa.array(WORDS),
    ),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())
def test_columns_by_name(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    keys, rows = opened(tmp_path, {"path": write(tmp_path), **USED})
    assert keys == KEYS
    far = 2 / np.sqrt(8 / 3)
    expected = [[-far, 1, 1, 0], [0, 0, 0, 1], [0, 1, 1, 0], [far, 1, 0, 0]]
    found = taken(rows)
    np.testing.assert_allclose(found[:, :4], expected, atol=1e-6)
    np.testing.assert_array_equal(found[:, 4:], NGrams(dim=16).encode(WORDS))


def test_only_who_may_be_learned_from_decides(tmp_path: Path) -> None:
    """Of a and b: 1 is the mean of ages, and no level but x and y is known."""
    _, rows = opened(tmp_path, {"path": as_text(tmp_path / "x.tsv", "\t"), **USED})
    found = taken(rows, known=[0])
    np.testing.assert_array_equal(found[:, :3], [[0, 1, 1], [0, 0, 0], [2, 1, 1], [4, 1, 0]])


def test_the_most_frequent_levels_get_a_column(tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"
    path.write_text("".join(f"{at}\t{level}\n" for at, level in enumerate("cbbaac")), "utf-8")
    _, rows = opened(tmp_path, {"path": path, "categories": [1], "levels": 2})
    np.testing.assert_array_equal(taken(rows).argmax(axis=1)[1:5], [1, 1, 0, 0])
    np.testing.assert_array_equal(taken(rows).sum(axis=1), [0, 1, 1, 1, 1, 0])


def test_all_numbers_of_a_table_and_of_an_array(tmp_path: Path) -> None:
    numbers = np.array([[1, np.nan], [3, 7], [5, 8]], np.float32)
    np.save(tmp_path / "x.npy", numbers)
    (tmp_path / "x.csv").write_text("key,p,q\n0,1,\n1,3,7\n2,5,8\n", "utf-8")
    settings = [
        {"path": tmp_path / "x.npy", "numbers": "all"},
        {"path": tmp_path / "x.csv", "numbers": "all", "header": True},
        {"path": tmp_path / "x.csv", "numbers": ["p", "q"]},
        {"path": tmp_path / "x.csv", "numbers": [1, 2], "key": 0, "header": True},
    ]
    first, *others = (opened(tmp_path, setting) for setting in settings)
    assert first[0] == ["0", "1", "2"]
    np.testing.assert_array_equal(taken(first[1])[0, 2:], [0, 0])
    for keys, rows in others:
        assert keys == first[0]
        np.testing.assert_array_equal(taken(rows), taken(first[1]))


LITERALS = [
    ("b", "born", "1900"),
    ("a", "height", "2"),
    ("a", "born", "1950"),
    ("a", "motto", "per aspera"),
    ("c", "height", "4"),
    ("a", "height", "8"),
    ("a", "height", "4"),
    ("a", "alias", "Ada"),
]


@pytest.mark.parametrize("backwards", [False, True])
def test_literals_are_columns(tmp_path: Path, backwards: bool) -> None:
    lines = ["\t".join(line) + "\n" for line in (LITERALS[::-1] if backwards else LITERALS)]
    path = tmp_path / "literals.tsv"
    path.write_text("".join(lines), "utf-8")
    text = {"text": ["motto", "alias"], "dim": 8}
    keys, rows = opened(tmp_path, {"path": path, "kind": "literals", **text})
    assert keys == ["a", "b", "c"]
    found = taken(rows)
    # Of the heights 2, 8 and 4 of "a" the median.
    expected = [[1, 1, 0, 1], [-1, 1, 0, 0], [0, 0, 0, 1]]
    np.testing.assert_array_equal(found[:, :4], expected)
    np.testing.assert_array_equal(
        found[:, 4:], NGrams(dim=8).encode(["Ada per aspera", None, None])
    )
    few = {"least": 3}
    with pytest.raises(DataError, match="no attribute has 3 entities"):
        opened(tmp_path, {"path": parquet_literals(tmp_path), "kind": "literals", **few})


def parquet_literals(root: Path) -> Path:
    numbers = [line for line in LITERALS if line[2].isdigit()]
    columns = [pa.array(column) for column in zip(*numbers, strict=True)]
    pq.write_table(pa.table(columns, names=["entity", "attribute", "value"]), root / "x.parquet")
    return root / "x.parquet"


@pytest.mark.parametrize(
    ("content", "setting", "words"),
    [
        ("k\tage\na\tten\n", {"numbers": "age"}, ["line 2", "'age'", "'ten'", "leave it empty"]),
        ("k\tage\na\t1_000\n", {"numbers": "age"}, ["line 2", "'1_000'"]),
        ("k\tage\na\t٣\n", {"numbers": "age"}, ["line 2", "'٣'"]),
        ("k\tage\na\tinf\n", {"numbers": "age"}, ["line 2", "'inf'", "finite"]),
        ("k\tage\n\t3\n", {"numbers": "age"}, ["line 2", "empty field"]),
        ("k\tage\n", {"numbers": "age"}, ["is empty"]),
        ("k\tage\na\t3\n", {"numbers": "old"}, ["no column 'old'", "'age'"]),
        ("a\tage\tten\n", {"kind": "literals"}, ["line 1", "'ten'", "text: […]"]),
        ("a\tage\n", {"kind": "literals"}, ["line 1", "too few columns"]),
    ],
)
def test_bad_files(tmp_path: Path, content: str, setting: dict[str, Any], words: list[str]) -> None:
    path = tmp_path / "x.tsv"
    path.write_text(content, "utf-8")
    with pytest.raises(DataError) as caught:
        opened(tmp_path, {"path": path, **setting})
    assert all(word in str(caught.value) for word in words), caught.value


def test_columns_without_any_value(tmp_path: Path) -> None:
    """As pandas writes them: of no type."""
    none = pa.nulls(len(KEYS))
    path = parquet(tmp_path / "x.parquet", pa.array(KEYS), pa.array(AGE), none, none)
    whole = {"path": path, "numbers": ["age", "kind"], "text": "words", "dim": 16}
    _, rows = opened(tmp_path, whole)
    found = taken(rows)
    _, rows = opened(tmp_path, {"path": path, "numbers": "age"})
    np.testing.assert_array_equal(found[:, :2], taken(rows))
    assert not found[:, 2:].any()
    _, rows = opened(tmp_path, {"path": path, "numbers": "age", "categories": "kind"})
    np.testing.assert_array_equal(found[:, :2], taken(rows))


def test_bad_columns_of_parquet(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the column 'id' has the keys of"):
        opened(tmp_path, {"path": parquet(tmp_path / "x.parquet"), "numbers": "id"})
    with pytest.raises(DataError, match=r"'kind'.*'x' is no finite number"):
        opened(tmp_path, {"path": parquet(tmp_path / "x.parquet"), "numbers": "kind"})
    with pytest.raises(DataError, match=r"'age' has type double.*give it as numbers"):
        opened(tmp_path, {"path": tmp_path / "x.parquet", "text": "age"})
    with pytest.raises(DataError, match="row 4 column 'kind' is null"):
        opened(tmp_path, {"path": tmp_path / "x.parquet", "key": "kind", "numbers": "age"})


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"path": "x.tsv", "kind": "triples"}, ["kind is literals"]),
        ({"path": "x.tsv", "numbers": "a", "prefix": "p"}, ["unknown ['prefix']", "levels"]),
        ({"path": "x.tsv", "numbers": "a", "dim": 3}, ["dim is for text"]),
        ({"path": "x.tsv", "text": "a", "dim": "3"}, ["dim is a whole number", "'3'"]),
        ({"path": "x.tsv", "text": "a", "ngrams": 3}, ["ngrams is a list"]),
        ({"path": "x.tsv", "text": "a", "ngrams": [12]}, ["from 1 to 8"]),
        ({"path": "x.tsv", "text": "a", "download": True}, ["download is for an encoder"]),
        ({"path": "x.tsv", "text": "a", "encoder": "bert"}, ["sentence-transformers/MODEL"]),
        ({"path": "x.tsv", "text": "a", "numbers": "a"}, ["'a' has two uses"]),
        ({"path": "x.tsv", "text": "a", "numbers": "all"}, ["numbers: all leaves no column"]),
        ({"path": "x.tsv", "categories": "a", "levels": 0}, ["levels needs at least 1"]),
        ({"path": "x.tsv", "text": "a", "header": "maybe"}, ["header", "x.tsv", "true or false"]),
        ({"path": "x.tsv", "columns": 3, "kind": "literals"}, ["columns", "a list of positions"]),
        ({"path": "x.tsv", "numbers": 1.5}, ["numbers is a column, or a list", "1.5"]),
        ({"path": "x.tsv", "numbers": {"a": 1}}, ["numbers is a column, or a list"]),
        ({"path": "x.npy", "numbers": ["a"]}, ["x.npy is an array"]),
        ({"path": "x.npy", "text": "a"}, ["unknown ['text']"]),
    ],
)
def test_bad_settings(setting: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        feature_files(setting)
    assert all(word in str(caught.value) for word in words), caught.value


def test_what_changes_numbers_is_in_the_settings_that_are_hashed() -> None:
    base = {"path": "x.tsv", "text": "a"}
    others = [
        {"dim": 8},
        {"ngrams": []},
        {"encoder": "sentence-transformers/m"},
        {"levels": 3},
        {"key": "b"},
        {"categories": "c"},
    ]
    told = [feature_files({**base, **more})[0].settings() for more in ({}, *others)]
    assert len(set(map(repr, told))) == len(told)
    (literals,) = feature_files({**base, "kind": "literals"})
    (least,) = feature_files({**base, "kind": "literals", "least": 2})
    assert literals.settings() != least.settings()
