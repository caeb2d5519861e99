"""Files of numbers: every kind gives the same rows, and bad ones are refused in one sentence."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kgscale.data import matrices
from kgscale.data.feature_files import feature_files
from kgscale.data.matrices import SparseMatrix
from kgscale.errors import ConfigError, DataError

NUMBERS = np.array([[1, 0, -2.5], [0, 0, 0], [1e-3, 7, 0]], np.float32)
KEYS = ["a", "ö b", "null"]


def opened(root: Path, setting: Any) -> tuple[list[str], np.ndarray]:
    (file,) = feature_files(setting)
    keys: list[str] = []
    scratch = root / f"scratch{len(list(root.glob('scratch*')))}"
    matrix = file.open(scratch, lambda chunk: keys.extend(chunk.to_pylist()))
    return keys, matrix.take(np.arange(len(matrix)))


def csr(dense: np.ndarray) -> dict[str, np.ndarray]:
    row, column = dense.nonzero()
    indptr = np.searchsorted(row, np.arange(len(dense) + 1)).astype(np.int32)
    parts = {"data": dense[row, column], "indices": column.astype(np.int32), "indptr": indptr}
    return {**parts, "format": np.array(b"csr"), "shape": np.array(dense.shape)}


def coo(dense: np.ndarray) -> dict[str, np.ndarray]:
    row, column = dense.nonzero()
    order = np.random.default_rng(0).permutation(len(row))
    parts = {"data": dense[row, column][order], "row": row[order], "col": column[order]}
    return {**parts, "format": np.array("coo"), "shape": np.array(dense.shape)}


def save(path: Path, values: np.ndarray = NUMBERS) -> Path:
    np.save(path, values)
    return path


def packed(path: Path, **values: np.ndarray) -> Path:
    np.savez_compressed(path, **values)
    return path


def text(path: Path, delimiter: str = "\t", header: str = "") -> Path:
    lines = [delimiter.join([key, *map(str, row)]) for key, row in zip(KEYS, NUMBERS, strict=True)]
    path.write_text(header + "\n".join(lines) + "\n", "utf-8", newline="\n")
    return path


def parquet(path: Path, **more: Any) -> Path:
    columns = {f"x{at}": NUMBERS[:, at].astype(np.float64) for at in range(3)}
    pq.write_table(pa.table({"key": KEYS, **columns, **more}), path)
    return path


def _twice(root: Path, name: str) -> Path:
    table = pq.read_table(parquet(root / "x.parquet"))
    pq.write_table(table.append_column(name, table[name]), root / "x.parquet")
    return root / "x.parquet"


ARRAYS: dict[str, Callable[[Path], Path]] = {
    "npy": lambda root: save(root / "x.npy"),
    "fortran": lambda root: save(root / "x.npy", np.asfortranarray(NUMBERS)),
    "wide": lambda root: save(root / "x.npy", NUMBERS.astype(">f8")),
    "npz": lambda root: packed(root / "x.npz", anything=NUMBERS),
    "csr": lambda root: packed(root / "x.npz", **csr(NUMBERS)),
    "coo": lambda root: packed(root / "x.npz", **coo(NUMBERS)),
}


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("small", [0, 1 << 16])
def test_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, small: int) -> None:
    monkeypatch.setattr(matrices, "SMALL", max(small, 300))
    path = ARRAYS[kind](tmp_path)
    keys, found = opened(tmp_path, str(path))
    assert keys == ["0", "1", "2"]
    assert (found == NUMBERS).all()
    assert opened(tmp_path, {"path": str(path), "prefix": "p"})[0] == ["p0", "p1", "p2"]
    (tmp_path / "keys.txt").write_text("\n".join(KEYS), "utf-8")
    names = {"path": str(path), "keys": str(tmp_path / "keys.txt")}
    assert opened(tmp_path, names)[0] == KEYS


@pytest.mark.parametrize("kind", ["tsv", "csv", "txt"])
def test_text(tmp_path: Path, kind: str) -> None:
    path = text(tmp_path / f"x.{kind}", "," if kind == "csv" else "\t")
    keys, found = opened(tmp_path, str(path))
    assert keys == KEYS
    assert (found == NUMBERS).all()


def test_chosen_columns(tmp_path: Path) -> None:
    path = text(tmp_path / "x.tsv", header="key\tx0\tx1\tx2\n")
    for columns in (["key", "x2", "x0"], [0, 3, 1]):
        setting = {"path": str(path), "columns": columns, "header": True}
        assert (opened(tmp_path, setting)[1] == NUMBERS[:, [2, 0]]).all()
    table = parquet(tmp_path / "x.parquet", extra=["not", "a", "number"])
    setting = {"path": str(table), "columns": ["key", "x2", "x0"]}
    assert (opened(tmp_path, setting)[1] == NUMBERS[:, [2, 0]]).all()


def test_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgscale.data.number_tables.BYTES", 32)
    flags, counts = [True, False, True], [1 << 40, 2, 3]
    keys, found = opened(tmp_path, str(parquet(tmp_path / "x.parquet", flag=flags, count=counts)))
    assert keys == KEYS
    assert (found == np.column_stack([NUMBERS, flags, counts]).astype(np.float32)).all()
    halves = {"key": KEYS, "x": pa.array(NUMBERS[:, 0].astype(np.float16))}
    pq.write_table(pa.table(halves), tmp_path / "half.parquet")
    assert opened(tmp_path, str(tmp_path / "half.parquet"))[1].dtype == np.float16


@given(
    arrays(np.float32, (5, 4), elements=st.sampled_from([0, 0, 1, -2.5])),
    st.lists(st.integers(0, 4), max_size=9),
)
def test_sparse_rows_are_dense_rows(dense: np.ndarray, rows: list[int]) -> None:
    parts = csr(dense)
    matrix = SparseMatrix(
        path=Path("x"), dim=4, **{name: parts[name] for name in ("data", "indices", "indptr")}
    )
    chosen = np.array(rows, np.int64)
    assert (matrix.take(chosen) == dense[chosen]).all()


def test_numbers_of_one_place_add_up() -> None:
    data, place = np.array([1, 2, 4]), np.array([1, 1, 0])
    matrix = SparseMatrix(
        path=Path("x"), data=data, indices=place, indptr=np.array([0, 2, 3]), dim=2
    )
    assert matrix.take(np.array([1, 0])).tolist() == [[4, 0], [0, 3]]


class Bomb:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return pytest.fail, ("unpickled",)


def _pickle(root: Path) -> Path:
    np.save(root / "x.npy", np.array([[Bomb()]], object), allow_pickle=True)
    return root / "x.npy"


def _pickle_inside(root: Path) -> Path:
    buffer = io.BytesIO()
    np.save(buffer, np.array([[Bomb()]], object), allow_pickle=True)
    with zipfile.ZipFile(root / "x.npz", "w") as archive:
        archive.writestr("../../x.npy", buffer.getvalue())
    return root / "x.npz"


def _cut(root: Path) -> Path:
    path = packed(root / "x.npz", x=np.random.default_rng(0).random((100, 100)))
    data = bytearray(path.read_bytes())
    data[5000:5100] = bytes(100)
    path.write_bytes(data)
    return path


def _lines(name: str, content: str) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        (root / name).write_text(content, "utf-8")
        return root / name

    return make


def _broken(**parts: np.ndarray) -> Callable[[Path], Path]:
    return lambda root: packed(root / "x.npz", **{**csr(NUMBERS), **parts})


BAD: list[tuple[Callable[[Path], Path], list[str]]] = [
    (lambda root: root / "none.npy", ["none.npy", "does not exist"]),
    (_pickle, ["x.npy is not a file of plain numbers", "numpy.save"]),
    (_pickle_inside, ["x.npz is not a file of plain numbers", "numpy.save"]),
    (_cut, ["x.npz", "damaged"]),
    (_lines("x.npz", "hello"), ["x.npz is not an .npz file"]),
    (_lines("x.npy", "hello"), ["x.npy is not a file of plain numbers"]),
    (lambda root: save(root / "x.npy", np.arange(3)), ["shape (3,)", "two dimensions"]),
    (lambda root: save(root / "x.npy", np.array([["a"]])), ["type <U1", "real numbers"]),
    (lambda root: packed(root / "x.npz", a=NUMBERS, b=NUMBERS), ["arrays 'a', 'b'", "one dense"]),
    (_broken(format=np.array(b"csc")), ["format 'csc'", "tocsr()"]),
    (_broken(indptr=np.array([0, 9, 2, 3])), ["x.npz", "not those of a sparse matrix"]),
    (_broken(indices=np.array([0, 3, 1, 1])), ["x.npz", "not those of a sparse matrix"]),
    (_broken(indices=np.array([0, -1, 1, 1])), ["x.npz", "not those of a sparse matrix"]),
    (_lines("x.tsv", ""), ["x.tsv has 1 column"]),
    (_lines("x.tsv", "k\tx\na\t1\n"), ["line 1 column 1: 'x' is no finite", "header: true"]),
    (_lines("x.csv", "a,1\nb,\n"), ["x.csv line 2 column 1: '' is no finite number"]),
    (_lines("x.csv", "a,1\nb,nan\n"), ["x.csv line 2 column 1: 'nan' is no finite number"]),
    (_lines("x.csv", "a,1\nb,1e39\n"), ["x.csv line 2 column 1: '1e39' is no finite"]),
    (_lines("x.csv", "a,1\nb\n"), ["x.csv line 2: too few columns: 'b'"]),
    (
        lambda root: parquet(root / "x.parquet", y=pa.array([1.0, None, 2.0])),
        ["x.parquet row 2 column 'y' is null"],
    ),
    (
        lambda root: parquet(root / "x.parquet", y=[1.0, float("inf"), 2.0]),
        ["x.parquet row 2 column 'y' holds inf, which is no finite float32"],
    ),
    (lambda root: parquet(root / "x.parquet", y=["a", "b", "c"]), ["'y' has type string"]),
    (lambda root: _twice(root, "x0"), ["x.parquet: two columns are called 'x0'"]),
]


@pytest.mark.parametrize(("make", "words"), BAD)
def test_bad_files(tmp_path: Path, make: Callable[[Path], Path], words: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        opened(tmp_path, str(make(tmp_path)))
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message
    assert not (tmp_path.parent / "x.npy").exists()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("a\nb\n", ["keys.txt has 2 keys for the 3 rows of", "x.npy"]),
        ("a\n\nb\nc\n", ["keys.txt line 2: blank line"]),
        ("a\nb\tc\nd\n", ["keys.txt line 2: too many columns: 'b\\tc'"]),
    ],
)
def test_bad_keys(tmp_path: Path, keys: str, words: list[str]) -> None:
    (tmp_path / "keys.txt").write_text(keys)
    setting = {"path": str(save(tmp_path / "x.npy")), "keys": str(tmp_path / "keys.txt")}
    with pytest.raises(DataError) as caught:
        opened(tmp_path, setting)
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"path": "x.npy", "columns": [0, 1]}, ["x.npy is an array"]),
        ({"path": "x.tsv", "prefix": "p"}, ["x.tsv is a table", "keys and prefix"]),
        ({"path": "x.npy", "prefix": "p", "keys": "k.txt"}, ["not both"]),
        ({"path": "x.npy", "rows": 3}, ["data.features", "unknown ['rows']"]),
        ({"paper": {"file": "x.npy"}}, ["data.features", "unknown ['file']"]),
        ({"paper": {"keys": "x.txt"}}, ["data.features", "no path"]),
        ("x.npy.gz", ["x.npy.gz", "unpack it"]),
    ],
)
def test_bad_settings(setting: Any, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        feature_files(setting)
    assert all(word in str(caught.value) for word in words), caught.value


def test_forms_of_the_setting() -> None:
    assert feature_files(None) == ()
    several = feature_files(["x.npy", {"path": "y.npy", "prefix": "p"}])
    assert [(file.path.name, file.prefix) for file in several] == [("x.npy", ""), ("y.npy", "p")]
    typed = feature_files({"paper": "x.npy", "author": {"path": "y.csv", "columns": [0, 2]}})
    assert [(file.type, file.path.name) for file in typed] == [
        ("paper", "x.npy"),
        ("author", "y.csv"),
    ]


def test_unknown_suffix(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"x\.data .*data\.delimiter"):
        opened(tmp_path, str(text(tmp_path / "x.data")))
