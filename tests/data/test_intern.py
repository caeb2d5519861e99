"""Interned keys are those that went in, for any limits."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from kgscale.data.intern import Interner


@given(
    st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=30), max_size=4),
    st.integers(1, 40),
    st.integers(1, 200),
)
def test_numbers_stand_for_keys(columns: list[list[str]], max_keys: int, max_bytes: int) -> None:
    stored: list[str] = []
    interner = Interner(
        lambda keys: stored.extend(keys.to_pylist()), max_keys=max_keys, max_bytes=max_bytes
    )
    numbers = [interner.encode(pa.array(column, pa.string())) for column in columns]
    interner.flush()
    assert [[stored[at] for at in column] for column in numbers] == columns
    assert interner.size == len(stored)


def test_one_generation_has_no_key_twice() -> None:
    stored: list[str] = []
    interner = Interner(lambda keys: stored.extend(keys.to_pylist()))
    keys = [str(number % 20_000) for number in range(50_000)]
    interner.encode(pa.array(keys, pa.string()).slice(7))
    interner.flush()
    assert len(stored) == len(set(stored)) == 20_000
