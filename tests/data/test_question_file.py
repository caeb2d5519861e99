"""Files of questions: read as written, refused by file and line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgscale.data.question_file import read_questions
from kgscale.errors import DataError

GOOD = {"question": "?x : r(a, ?x)", "easy": ["b"], "hard": ["c", "c", "d"], "structure": "1p"}


def lines(path: Path, *rows: Any) -> Path:
    text = "".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows)
    content = text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["q.jsonl", "q.jsonl.gz", "q.parquet"])
def test_every_kind_of_file_reads_the_same(tmp_path: Path, name: str) -> None:
    rows = [GOOD, {"question": "?y : r(b, ?y)", "hard": ["a"]}]
    path = tmp_path / name
    if name.endswith("parquet"):
        pq.write_table(
            pa.Table.from_pylist([{"easy": [], "structure": None} | r for r in rows]), path
        )
    else:
        lines(path, *rows)
    first, second = read_questions(path)
    assert (first.text, first.easy, first.hard) == ("?x : r(a, ?x)", ["b"], ["c", "d"])
    assert (first.structure, second.structure) == ("1p", None)
    assert (second.easy, second.hard) == ([], ["a"])
    assert second.place.endswith(("line 2", "row 2"))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("nothing\n", "no JSON object"),
        ("[" * 100_000 + "\n", "no JSON object"),
        ([], "no JSON object"),
        ({**GOOD, "question": 3}, "question needs a text, got 3"),
        ({"hard": ["a"]}, "question needs a text, got None"),
        ({**GOOD, "structure": 1}, "structure needs a text"),
        ({**GOOD, "hard": []}, "hard is empty"),
        ({**GOOD, "hard": [1]}, "hard needs a list of keys as texts"),
        ({**GOOD, "easy": "b"}, "easy needs a list of keys"),
        ({**GOOD, "easy": ["d"]}, "'d' is among the easy and the hard answers"),
    ],
)
def test_a_wrong_row_is_told_by_file_and_line(tmp_path: Path, row: Any, words: str) -> None:
    path = lines(tmp_path / "q.jsonl", GOOD, row)
    with pytest.raises(DataError) as told:
        list(read_questions(path))
    assert f"{path}, line 2: " in str(told.value)
    assert words in str(told.value)


@pytest.mark.parametrize("name", ["q.tsv", "q.parquet", "q.jsonl.gz"])
def test_other_files_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PAR1 no such thing")
    with pytest.raises(DataError, match=r"q\."):
        list(read_questions(tmp_path / name))
    with pytest.raises(DataError, match="does not exist"):
        list(read_questions(tmp_path / "none.jsonl"))


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgscale.data.question_file.LONGEST", 1000)
    path = lines(tmp_path / "q.jsonl", "x" * (3 << 20))
    with pytest.raises(DataError, match="a line of more than"):
        list(read_questions(path))
