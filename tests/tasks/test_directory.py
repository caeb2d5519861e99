"""The run directory and its files."""

from __future__ import annotations

import csv
import re
import subprocess
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgscale.errors import DataError, ResourceError
from kgscale.tasks import directory
from kgscale.tasks.directory import (
    check_writable,
    make_directory,
    read_predictions,
    run_directory,
    versions,
    write_json,
    write_predictions,
    write_text,
)

COLUMNS = {
    "head": ["a\tb", "ö"],
    "relation": ["r", "r"],
    "tail": ["line\nend", '"quoted"'],
    "score": [0.5, 0.25],
    "rank": [1, 2],
    "known": [False, True],
}


def test_a_failed_run_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), run_directory(tmp_path, "task", "a: 1\n"):
        raise KeyboardInterrupt
    assert not list((tmp_path / "task").iterdir())


def test_what_a_failed_run_has_made_stays(tmp_path: Path) -> None:
    with suppress(ValueError), run_directory(tmp_path, "task", "a: 1\n") as path:
        (path / "checkpoints").mkdir()
        raise ValueError
    assert (path / "config.yaml").read_text() == "a: 1\n"


def test_each_run_has_its_own(tmp_path: Path) -> None:
    assert len({make_directory(tmp_path, "task") for _ in range(5)}) == 5


def test_predictions_come_back_whatever_the_keys_hold(tmp_path: Path) -> None:
    write_predictions(tmp_path, COLUMNS)
    with (tmp_path / "predictions.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for name in ("head", "relation", "tail"):
        assert [row[name] for row in rows] == COLUMNS[name]
    assert pq.read_table(tmp_path / "predictions.parquet").to_pydict() == COLUMNS
    assert {file.name for file in tmp_path.iterdir()} == {
        "predictions.tsv",
        "predictions.parquet",
    }


def test_predictions_of_bytes_that_are_no_text(tmp_path: Path) -> None:
    bad = pa.array([b"\xff\x00"]).view(pa.string())
    pq.write_table(pa.table({"head": bad}), tmp_path / "predictions.parquet")
    with pytest.raises(DataError, match=r"predictions\.parquet can't be read .*train again"):
        read_predictions(tmp_path, 3)


def test_no_predictions_have_the_same_columns(tmp_path: Path) -> None:
    write_predictions(tmp_path, {name: [] for name in COLUMNS})
    schema = pq.read_schema(tmp_path / "predictions.parquet")
    assert schema.field("head").type == pa.string()
    assert schema.field("rank").type == pa.int64()


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for write in (
        lambda: write_text(tmp_path / "file" / "x", ""),
        lambda: write_json(tmp_path / "none" / "x", {}),
        lambda: write_predictions(tmp_path / "none", COLUMNS),
        lambda: make_directory(tmp_path / "file", "task"),
    ):
        with pytest.raises(ResourceError, match="can't be"):
            write()


def test_versions_name_what_numbers_depend_on() -> None:
    assert {"kgscale", "torch", "numba"} <= versions().keys()


def test_a_place_where_nothing_can_be_written_is_told_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match=r"file.*choose another"):
        check_writable(tmp_path / "file" / "answers", "choose another with output=DIR")
    check_writable(tmp_path / "new" / "answers", "")
    assert (tmp_path / "new" / "answers").is_dir()


def test_a_revision_is_of_the_program_and_not_of_what_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> None:
        own = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(tmp_path))
        subprocess.run(["git", *own, *arguments], check=True, capture_output=True)

    for name in ("kgscale/tasks/directory.py", "conf/config.yaml", "results/one.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1\n")
    monkeypatch.setattr(directory, "__file__", str(tmp_path / "kgscale/tasks/directory.py"))
    assert directory.revision() is None, "no clone"
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "one")
    commit = directory.revision()
    assert re.fullmatch("[0-9a-f]{12}", commit or "")
    (tmp_path / "results" / "one.json").write_text("2\n")
    assert directory.revision() == commit
    (tmp_path / "conf" / "config.yaml").write_text("2\n")
    assert directory.revision() == f"{commit}-dirty"
