"""Whole or absent, whatever happens meanwhile; and one process at a time."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kgscale.durable import (
    alone,
    places,
    remove_directory,
    sweep_folder,
    whole_directory,
    whole_file,
    whole_files,
    write_text,
)
from kgscale.errors import ResourceError

HOLD = """
import sys, time
from pathlib import Path
from kgscale.durable import alone, whole_directory
with alone(Path(sys.argv[1])), whole_directory(Path(sys.argv[1])) as (content, _):
    (content / "half").write_text("half")
    print("held", flush=True)
    time.sleep(600)
"""


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def fail_in(monkeypatch: pytest.MonkeyPatch, name: str) -> Callable[[], None]:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(places.os, name, fail)
    return monkeypatch.undo


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for text in ("old", "new"):
        write_text(tmp_path / "x", text)
        assert (tmp_path / "x").read_text() == text
    assert names(tmp_path) == {"x"}


def _write_half(path: Path, error: type[BaseException]) -> None:
    with whole_file(path) as temporary:
        temporary.write_text("half")
        raise error


def _write_all(*paths: Path) -> None:
    with whole_files(*paths) as found:
        for file in found:
            file.write_text("new")


def test_several_files_are_replaced_when_all_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = (tmp_path / "x", tmp_path / "y")
    for path in paths:
        write_text(path, "old")
    real, synced = places.sync, list[str]()

    def second_fails(path: Path) -> None:
        synced.append(path.name)
        if len(synced) == 2:
            raise OSError(5, "Input/output error")
        real(path)

    monkeypatch.setattr(places, "sync", second_fails)
    with pytest.raises(ResourceError):
        _write_all(*paths)
    assert [path.read_text() for path in paths] == ["old", "old"]
    assert names(tmp_path) == {"x", "y"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_what_fails_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    write_text(tmp_path / "x", "old")
    expected = ResourceError if error is OSError else error
    with pytest.raises(expected):
        _write_half(tmp_path / "x", error)
    assert (tmp_path / "x").read_text() == "old"
    assert names(tmp_path) == {"x"}


def test_a_disk_that_fails_at_the_end_leaves_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "x", "old")
    with whole_directory(tmp_path / "y") as (content, _):
        (content / "a").write_text("old")
    undo = fail_in(monkeypatch, "fsync")
    with pytest.raises(ResourceError, match="x: can't be written"):
        write_text(tmp_path / "x", "new")
    with (
        pytest.raises(ResourceError, match="y: can't be written"),
        whole_directory(tmp_path / "y", replace=True) as (content, _),
    ):
        (content / "a").write_text("new")
    undo()
    assert (tmp_path / "x").read_text() == "old"
    assert (tmp_path / "y" / "a").read_text() == "old"
    assert names(tmp_path) == {"x", "y"}


def make(path: Path, text: str, *, replace: bool = False) -> None:
    with whole_directory(path, replace=replace) as (content, scratch):
        (content / "deep").mkdir()
        (content / "deep" / "a").write_text(text)
        (scratch / "b").write_text("gone afterwards")


@pytest.mark.parametrize("exchange", [True, False])
def test_a_directory_stays_or_gives_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    """``exchange``: by the system's own step, or by two renames where it has none."""
    if not exchange:
        monkeypatch.setattr(places.sys, "platform", "other")
    found = []
    for text, replace in (("1", False), ("2", False), ("3", True)):
        make(tmp_path / "x", text, replace=replace)
        found.append((tmp_path / "x" / "deep" / "a").read_text())
    assert found == ["1", "1", "3"]
    assert names(tmp_path) == {"x"}
    remove_directory(tmp_path / "x")
    remove_directory(tmp_path / "x")
    assert not names(tmp_path)


def holder(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_killed_process_holds_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x"
    told: list[str] = []
    process = holder(path)
    ending = threading.Timer(0.5, process.kill)
    ending.start()
    with alone(path, lambda: told.append("waiting")):
        assert not path.exists()
        make(path, "whole")
    ending.join()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
    assert told == ["waiting"]
    assert (path / "deep" / "a").read_text() == "whole"
    assert names(tmp_path) == {"x"}


def test_a_lock_is_no_link_to_anothers_file(tmp_path: Path) -> None:
    """Nothing is emptied, and nothing is waited for."""
    mine = tmp_path / "mine"
    mine.write_text("text")
    (tmp_path / ".x.lock").symlink_to(mine)
    with pytest.raises(ResourceError, match="x: can't be written"), alone(tmp_path / "x"):
        pass
    (tmp_path / ".y.left").mkdir()
    (tmp_path / ".y.left" / "lock").symlink_to(mine)
    make(tmp_path / "y", "whole")
    assert mine.read_text() == "text"


def test_leftovers_of_a_folder(tmp_path: Path) -> None:
    """Whatever they were of, and whether they had a lock yet; a file is none."""
    for name, inner in ((".a.ckpt.1", "content"), (".b.ckpt.2", "lock"), (".c.ckpt.3", "other")):
        (tmp_path / name / inner).mkdir(parents=True)
    (tmp_path / ".d.ckpt.4").write_text("x")
    (tmp_path / "a.ckpt").mkdir()
    sweep_folder(tmp_path, "*.ckpt")
    assert names(tmp_path) == {".c.ckpt.3", ".d.ckpt.4", "a.ckpt"}


def test_never_two_at_a_time(tmp_path: Path) -> None:
    inside, most = 0, 0

    def enter() -> None:
        nonlocal inside, most
        for _ in range(30):
            with alone(tmp_path / "x"):
                inside += 1
                most = max(most, inside)
                time.sleep(1e-4)
                inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert not names(tmp_path)


def test_a_file_is_written_beside_another_place(tmp_path: Path) -> None:
    """A kill in between leaves nothing in a folder where all that is there is checked."""
    folder = tmp_path / "folder"
    folder.mkdir()
    with whole_file(folder / "file", beside=tmp_path) as temporary:
        assert temporary.parent == tmp_path
        temporary.write_text("new")
        assert not list(folder.iterdir())
    assert (folder / "file").read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]
