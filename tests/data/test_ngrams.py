"""Hashed words: the compiled counts equal a few readable lines, and are the same everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgscale.data.ngrams import NGrams, words
from kgscale.errors import ConfigError

TEXTS = st.lists(st.text(max_size=30) | st.none(), max_size=5)
SIZES = st.lists(st.integers(1, 8), max_size=3, unique=True)
MASK = (1 << 64) - 1


def reference(text: str | None, dim: int, sizes: tuple[int, ...]) -> np.ndarray:
    row = np.zeros(dim, np.int64)
    for word in words(text or ""):
        padded = f" {word} "
        parts = [padded]
        for size in sizes:
            if size < len(padded):
                parts += [padded[at : at + size] for at in range(len(padded) - size + 1)]
        for part in parts:
            value = 0xCBF29CE484222325
            for letter in part:
                value = ((value ^ ord(letter)) * 0x100000001B3) & MASK
            value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
            value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
            value ^= value >> 31
            row[(value >> 1) % dim] += 1 if value & 1 else -1
    length = np.sqrt(float((row * row).sum()))
    return (row / (length or 1.0)).astype(np.float32)


@given(TEXTS, st.integers(1, 50), SIZES)
def test_counts_equal_the_reference(texts: list[str | None], dim: int, sizes: list[int]) -> None:
    found = NGrams(dim=dim, sizes=tuple(sizes)).encode(texts)
    expected = [reference(text, dim, tuple(sizes)) for text in texts]
    np.testing.assert_array_equal(found, np.array(expected).reshape(len(texts), dim))


def test_numbers_of_one_text_are_known() -> None:
    """Of any machine: what a store holds does not depend on where it was made."""
    found = NGrams(dim=8, sizes=(3,)).encode(["An ENTITY"])[0]
    whole = np.round(found / np.abs(found[found != 0]).min()).astype(int)
    assert whole.tolist() == [3, 0, 1, 1, -1, -1, -1, 0]


def test_alike_texts_are_near_and_case_and_width_tell_nothing() -> None:
    near, far, other = NGrams(dim=512).encode(["heart attack", "Heart-attacks", "banana"])
    assert near @ far > 0.7 > 0.3 > near @ other
    one, two = NGrams().encode(["ﬁle \uff21", "FILE a"])
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    "settings", [{"dim": 0}, {"dim": 1 << 17}, {"sizes": (0,)}, {"sizes": (9,)}]
)
def test_bad_settings(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"data\.features"):
        NGrams(**settings)  # type: ignore[arg-type]
