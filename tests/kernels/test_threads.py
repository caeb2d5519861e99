"""The thread pool and the cache of compiled kernels."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from kgscale.kernels import compile as compilation
from kgscale.kernels import threads


@pytest.fixture(params=[1, 2, 3])
def number(request: pytest.FixtureRequest) -> Iterator[int]:
    before = threads.num_threads()
    threads.set_threads(request.param)
    yield request.param
    threads.set_threads(before)


@pytest.mark.parametrize("total", [0, 1, 7, 100])
@pytest.mark.parametrize("grain", [1, 4, 1000])
def test_slices_cover_all_once(number: int, total: int, grain: int) -> None:
    for run, unit in ((threads.run_slices, "grain"), (threads.run_blocks, "size")):
        seen: list[int] = []

        def note(start: int, stop: int, seen: list[int] = seen) -> None:
            assert start % grain == 0
            seen.extend(range(start, stop))

        run(note, total, **{unit: grain})
        assert sorted(seen) == list(range(total))


def test_torch_is_serial_in_tasks_and_unchanged_outside(number: int) -> None:
    inside = threads.run_tasks(lambda _: (torch.get_num_threads(), torch.is_grad_enabled()), [0, 1])
    assert inside == [(1, False)] * 2
    assert torch.get_num_threads() == threads.num_threads() == number
    fresh: list[int] = []
    thread = threading.Thread(target=lambda: fresh.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert fresh == [number]


def test_tasks_may_call_kernels(number: int) -> None:
    def nested(item: int) -> int:
        seen: list[int] = []
        threads.run_slices(lambda start, stop: seen.extend(range(start, stop)), 5)
        return item + sum(threads.run_tasks(lambda i: i, seen))

    assert threads.run_tasks(nested, range(6)) == [10 + item for item in range(6)]


def test_a_failure_is_raised(number: int) -> None:
    def fail(start: int, stop: int) -> None:
        raise ValueError("slice")

    with pytest.raises(ValueError, match="slice"):
        threads.run_slices(fail, 10)
    with pytest.raises(ValueError, match="slice"):
        threads.run_blocks(fail, 10, size=1)
    with pytest.raises(ValueError, match="at least 1"):
        threads.set_threads(0)


def test_the_cache_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = compilation.cache_directory.__wrapped__()
    assert path == tmp_path / "cache" / "kgscale" / "numba"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    path.chmod(0o777)
    assert stat.S_IMODE(compilation.cache_directory.__wrapped__().stat().st_mode) == 0o700


def test_an_unusable_home_gets_a_private_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a directory")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    path = compilation.cache_directory.__wrapped__()
    assert tmp_path not in path.parents
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert path.stat().st_uid == os.getuid()
