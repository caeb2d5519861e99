"""Columns on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kgscale.data.spool import mapped


def test_a_mapped_file_has_its_room_before_it_is_written(tmp_path: Path) -> None:
    array = mapped(tmp_path / "x.raw", np.int32, 100_000)
    assert (tmp_path / "x.raw").stat().st_blocks * 512 >= 400_000
    array[99_999] = 7
    assert np.fromfile(tmp_path / "x.raw", np.int32).tolist() == [*[0] * 99_999, 7]
