"""Checkpoints hold everything, exactly, and nothing that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kgscale.errors import DataError, ResourceError
from kgscale.training.checkpoints import SafetensorsIO, load_state, save_state

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
KEYS = st.text() | st.integers()
STATES = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner) | st.dictionaries(KEYS, inner) | st.tuples(inner, inner) | st.tuples()
    ),
    max_leaves=12,
)


@given(STATES)
def test_plain_values_come_back(tmp_path_factory: pytest.TempPathFactory, state: Any) -> None:
    path = tmp_path_factory.mktemp("state") / "one"
    save_state(state, path)
    assert load_state(path) == state


def test_tensors_come_back_to_the_bit(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    state = {
        "a": torch.tensor([float("nan"), -0.0, float("inf")]),
        "b": [shared, shared[2:], torch.arange(6).view(2, 3).t()],
        "c": (torch.tensor(3, dtype=torch.int32), torch.zeros(0, 4), torch.tensor([True])),
        "d": torch.randn(3).bfloat16(),
    }
    save_state(state, tmp_path / "x")
    found = load_state(tmp_path / "x")
    torch.testing.assert_close(found, state, rtol=0, atol=0, equal_nan=True)
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


def test_a_new_one_replaces_the_old(tmp_path: Path) -> None:
    for number in (1, 2):
        save_state({"number": number}, tmp_path / "x")
    assert load_state(tmp_path / "x") == {"number": 2}


def test_any_changed_byte_is_noticed(tmp_path: Path) -> None:
    save_state({"weight": torch.ones(4), "epoch": 3}, tmp_path / "x")
    for file in (tmp_path / "x").iterdir():
        whole = file.read_bytes()
        for at in range(0, len(whole), 7):
            file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            with pytest.raises(DataError, match="not a readable checkpoint"):
                load_state(tmp_path / "x")
        file.write_bytes(whole[:-1])
        with pytest.raises(DataError):
            load_state(tmp_path / "x")
        file.write_bytes(whole)
    load_state(tmp_path / "x")


def test_a_missing_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a readable checkpoint"):
        load_state(tmp_path / "nothing")


def test_what_could_run_code_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="plain values"):
        save_state({"function": print}, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_an_unwritable_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="written"):
        save_state({}, tmp_path / "file" / "x")


def test_lightnings_own_calls(tmp_path: Path) -> None:
    """What it removes goes when a state is kept that doesn't name it, and nothing else ever."""
    folder = tmp_path / "checkpoints"
    io, state = SafetensorsIO(folder), {"state_dict": {"w": torch.ones(2)}, "epoch": 1}
    for name in ("best-epoch=1.ckpt", "best-epoch=2.ckpt", "x.ckpt"):
        io.save_checkpoint(state, folder / name)
    torch.testing.assert_close(io.load_checkpoint(folder / "x.ckpt", torch.device("cpu")), state)
    for place in (folder, folder / "best-epoch=1.ckpt", tmp_path, folder / "x.ckpt"):
        io.remove_checkpoint(place)
    assert len(list(folder.iterdir())) == 3
    io.sweep({"ModelCheckpoint": {"best_k_models": {"elsewhere/best-epoch=2.ckpt": 1.0}}})
    assert {path.name for path in folder.iterdir()} == {"best-epoch=2.ckpt", "x.ckpt"}
