"""A few of the faults of scripts/faults.py; and hypothesis damages a file of every reader."""

from __future__ import annotations

import contextlib
import pickle
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.scripts import script

FAULTS = script("faults.py")
FUZZ, READERS = FAULTS.fuzz, FAULTS.fuzz.READERS
NAMES = [f"{at}-{reader.name}" for at, reader in enumerate(READERS)]


@pytest.mark.parametrize("reader", READERS, ids=NAMES)
def test_a_good_file_is_read(reader: Any, tmp_path: Path) -> None:
    """Else it would prove nothing that a damaged one is refused."""
    path = tmp_path / reader.name
    path.write_bytes(FUZZ.packed(reader, reader.content()))
    reader.read(path)


@pytest.mark.parametrize("reader", READERS, ids=NAMES)
def test_damaged_files_are_read_or_refused(reader: Any) -> None:
    for at in range(8):
        with tempfile.TemporaryDirectory() as folder:
            FUZZ.tried(reader, Path(folder) / reader.name, Random(at))


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS, ids=NAMES)
@settings(
    max_examples=500, suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example]
)
@given(draw=st.randoms(use_true_random=False))
def test_many_damaged_files_are_read_or_refused(reader: Any, draw: Random) -> None:
    with tempfile.TemporaryDirectory() as folder:
        FUZZ.tried(reader, Path(folder) / reader.name, draw)


def test_metadata_that_would_end_the_process() -> None:
    """Tries of scripts/faults.py at which Arrow aborted."""
    (number,) = (at for at, reader in enumerate(READERS) if reader.name == "x.parquet")
    assert FUZZ.in_child(number, [1637, 6226, 7496]) == 3


@pytest.mark.parametrize(("found", "error"), [(0, FUZZ.Flaw), (KeyError("x"), KeyError)])
def test_a_reader_that_errs_is_found(found: Any, error: type[Exception], tmp_path: Path) -> None:
    """That of this test forgets all lines, or raises what no user should see."""

    def read(path: Path) -> int:
        if isinstance(found, Exception):
            raise found
        return int(found)

    reader = FUZZ.Reader("x.tsv", lambda: b"a\n" * 9, read, lines=True)
    with pytest.raises(error):
        FUZZ.tried(reader, tmp_path / "x.tsv", Random(0))


ARMED = ("reduce", "posix", "inst", "obj", "protocol_4", "evaluated", "built")


@pytest.mark.parametrize("name", ARMED)
def test_the_payloads_are_armed(name: str, tmp_path: Path) -> None:
    """Whoever unpickles one sees the mark: else its absence would prove nothing."""
    mark = tmp_path / "mark"
    with contextlib.suppress(TypeError, AttributeError):
        pickle.loads(FAULTS.corpus.pickles.payloads(mark)[name])  # noqa: S301
    for _ in range(100):
        if mark.exists():
            return
        time.sleep(0.05)
    pytest.fail("nothing ran")


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAULTS.corpus.CORPORA)
def test_what_means_harm_is_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FAULTS.corpus, "CORPORA", {kind: FAULTS.corpus.CORPORA[kind]})
    (row,) = FAULTS.corpus.refused(1)
    assert row.tries > 8
    assert row.passed == row.tries


def test_a_changed_byte_of_every_file_is_found() -> None:
    for row in FAULTS.flipped(0):
        assert row.tries > 2
        assert row.passed == row.tries, row
