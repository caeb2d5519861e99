"""Plain data come back from .pt files; anything else is refused and never run."""

from __future__ import annotations

import contextlib
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kgscale.data.ogb import torch_file
from kgscale.data.ogb.torch_file import read_torch_file
from kgscale.data.spool import forget
from kgscale.errors import DataError

KINDS = ["<i8", "<i4", "<i2", "i1", "u1", "<f8", "<f4", "<f2", "?", ">i4"]
numbers = st.sampled_from(KINDS).flatmap(
    lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=0, min_side=0, max_side=4))
)
leaves = st.one_of(
    numbers,
    numbers.map(np.asfortranarray),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(allow_nan=False),
    st.booleans(),
    st.none(),
    st.text(max_size=5),
    st.sampled_from([torch.arange(6).reshape(2, 3), torch.arange(6.0).reshape(2, 3).T[1:]]),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def assert_same(actual: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert list(actual) == list(expected)
        for key, value in expected.items():
            assert_same(actual[key], value)
    elif isinstance(expected, list):
        assert len(actual) == len(expected)
        for pair in zip(actual, expected, strict=True):
            assert_same(*pair)
    elif isinstance(expected, torch.Tensor):
        np.testing.assert_array_equal(actual, expected.numpy(), strict=True)
    elif isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(actual, expected, strict=True)
    else:
        assert (actual, type(actual)) == (expected, type(expected))


def saved(value: object, folder: Path, *, zipped: bool = True) -> Path:
    path = folder / "value.pt"
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


@settings(max_examples=150)
@given(values, st.booleans(), st.sampled_from([1, 1 << 20]))
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, value: Any, zipped: bool, large: int
) -> None:
    """Also when the bytes of every array go through a file."""
    folder = tmp_path_factory.mktemp("saved")
    path = saved({"a": value, "again": value}, folder, zipped=zipped)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_file, "LARGE", max(large, 40))
        patch.setattr(torch_file, "PIECE", 7 if large == 1 else 1 << 22)
        found = read_torch_file(path, folder / "scratch")
    assert_same(found, {"a": value, "again": value})


def test_names_of_numpy_1(tmp_path: Path) -> None:
    path = saved({"head": np.arange(5)}, tmp_path, zipped=False)
    content = path.read_bytes().replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray")
    assert b"cnumpy.core.multiarray\n_reconstruct" in content
    path.write_bytes(content)
    assert_same(read_torch_file(path, tmp_path / "scratch"), {"head": np.arange(5)})


def test_large_arrays_are_mapped(tmp_path: Path) -> None:
    value = np.arange(1 << 18)
    path = saved(value, tmp_path)
    found = read_torch_file(path, tmp_path / "scratch")
    assert isinstance(found, np.memmap)
    assert_same(found, value)


class Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, (f"open({str(self.path)!r}, 'w')",)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_refused(tmp_path: Path, zipped: bool) -> None:
    mark = tmp_path / "mark"
    path = saved({"head": Harmful(mark)}, tmp_path, zipped=zipped)
    with pytest.raises(DataError, match=r"value\.pt has __builtin__\.exec, which is no plain data"):
        read_torch_file(path, tmp_path / "scratch")
    assert not mark.exists()


@pytest.mark.parametrize(
    "value", [np.array(["text"]), np.array([None]), {1, 2}, b"text", (1, 2), np.float64]
)
def test_other_things_are_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(DataError, match="download it again"):
        read_torch_file(saved(value, tmp_path), tmp_path / "scratch")


@settings(max_examples=60)
@given(st.data(), st.booleans())
def test_damage_is_an_error_of_the_data(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, zipped: bool
) -> None:
    """Whatever byte is changed, or wherever the file ends."""
    folder = tmp_path_factory.mktemp("damaged")
    value = {"head": np.arange(7), "types": ["a", "b", "a"], "edge": torch.arange(4)}
    path = saved(value, folder, zipped=zipped)
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[at] = data.draw(st.integers(0, 255))
    else:
        del content[at:]
    path.write_bytes(bytes(content))
    with contextlib.suppress(DataError):
        found = read_torch_file(path, folder / "scratch")
        assert isinstance(found, dict | list | str | int | float | np.ndarray | torch.Tensor)


def test_an_archive_that_promises_more_than_it_holds(tmp_path: Path) -> None:
    """zipfile's EOFError for it has no words."""
    path = saved(np.arange(7), tmp_path)
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    content[directory + 20 : directory + 28] = b"\xff\xff\xff\x7f" * 2  # both sizes
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="cannot be read"):
        read_torch_file(path, tmp_path / "scratch")


def test_no_file_of_torch(tmp_path: Path) -> None:
    path = tmp_path / "value.pt"
    path.write_bytes(pickle.dumps([1, 2], protocol=2))
    with pytest.raises(DataError, match="head of a file of torch"):
        read_torch_file(path, tmp_path / "scratch")


def test_what_is_forgotten_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "numbers.raw"
    np.arange(1 << 20).tofile(path)
    mapped = np.memmap(path, np.int64, "r")
    assert int(mapped.sum()) == sum(range(1 << 20))
    before = resident(path)
    forget(mapped[1:].reshape(3, -1))
    assert resident(path) < before // 4
    np.testing.assert_array_equal(mapped, np.arange(1 << 20))
    forget(np.arange(3))  # no map, nothing to do


def resident(path: Path) -> int:
    """Kilobytes of the file that are mapped into this process."""
    lines = Path("/proc/self/smaps").read_text().splitlines()
    start = next(at for at, line in enumerate(lines) if line.endswith(str(path)))
    (size,) = (line for line in lines[start : start + 10] if line.startswith("Rss:"))
    return int(size.split()[1])


@pytest.mark.parametrize(
    ("place", "byte", "told"), [(6, 1, r"value\.pt cannot be read"), (8, 99, "compressed parts")]
)
def test_an_archive_that_claims_strange_things(
    tmp_path: Path, place: int, byte: int, told: str
) -> None:
    """A password, or a packing that nobody knows; both stand in the archive's directory too."""
    path = saved({"head": np.arange(7)}, tmp_path)
    content = bytearray(path.read_bytes())
    for mark, shift in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
        content[content.index(mark) + place + shift] = byte
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=told):
        read_torch_file(path, tmp_path / "scratch")


def test_a_bomb_in_an_archive(tmp_path: Path) -> None:
    """Torch compresses nothing; a thousand bytes could be a billion."""
    path = saved({"head": torch.zeros(1 << 20)}, tmp_path)
    bomb = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(DataError, match="compressed parts"):
        read_torch_file(bomb, tmp_path / "scratch")


def test_lists_within_lists_are_no_bomb(tmp_path: Path) -> None:
    """Fifty lists, each twice in the next, of which copies would fill any memory."""
    value: list[Any] = [1]
    for _ in range(50):
        value = [value, value]
    found = read_torch_file(saved(value, tmp_path), tmp_path / "scratch")
    for _ in range(50):
        assert found[0] is found[1]
        found = found[0]
    assert found == [1]


def test_a_list_within_itself(tmp_path: Path) -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(DataError, match="a list within itself"):
        read_torch_file(saved(value, tmp_path), tmp_path / "scratch")
