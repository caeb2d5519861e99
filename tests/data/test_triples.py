"""Files of triples: forms, settings, and one clear sentence for each bad input."""

from __future__ import annotations

import base64
import gzip
import os
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgscale.data import tables
from kgscale.data.audit import Audit
from kgscale.data.triples import TripleFiles
from kgscale.errors import ConfigError, DataError, KgscaleError, ResourceError

ROWS = [("a", "r", "b"), ("b", "s", "c"), ("NA", "r", "null"), ('"x', "r", " y ")]


def text_of(rows: list[tuple[str, ...]], delimiter: str = "\t") -> bytes:
    return "".join(delimiter.join(row) + "\n" for row in rows).encode()


def read(audit: Audit | None = None, **settings: Any) -> list[tuple[str, str, str, str]]:
    source = TripleFiles(**settings)
    return [
        (facts.split, *row)
        for facts in source.read(audit or Audit(), Path()).facts
        for row in zip(
            *(c.to_pylist() for c in (facts.head, facts.relation, facts.tail)), strict=True
        )
    ]


def read_all(**settings: Any) -> None:
    reading = TripleFiles(**settings).read(Audit(), Path())
    list(reading.facts)
    list(reading.entities)


def write(path: Path, data: bytes) -> Path:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(data))
    elif path.suffix == ".zst":
        with pa.output_stream(str(path), compression="zstd") as stream:
            stream.write(data)
    else:
        path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["x.tsv", "x.txt", "x.tsv.gz", "x.tsv.zst", "x.csv", "x.csv.gz"])
def test_text_files(tmp_path: Path, name: str) -> None:
    delimiter = "," if "csv" in name else "\t"
    path = write(tmp_path / name, text_of(ROWS, delimiter))
    assert read(path=path) == [("open", *row) for row in ROWS]


def test_concatenated_gzip_members(tmp_path: Path) -> None:
    path = tmp_path / "x.tsv.gz"
    path.write_bytes(b"".join(gzip.compress(text_of([row])) for row in ROWS))
    assert read(path=path) == [("open", *row) for row in ROWS]


def test_parquet_with_names_and_numbers(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    table = {"score": [0.5, 1.0], "to": ["x", "y"], "from": [1, 2], "by": ["r", "s"]}
    pq.write_table(
        pa.table({**table, "by": pa.array(table["by"]).dictionary_encode()}),
        path,
    )
    found = read(path=path, columns=["from", "by", "to"])
    assert found == [("open", "1", "r", "x"), ("open", "2", "s", "y")]


def test_parquet_rejects_missing_fields(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"h": ["a", None, "b"], "r": ["r"] * 3, "t": ["b", "c", ""]}), path)
    audit = Audit()
    assert read(audit, path=path) == [("open", "a", "r", "b")]
    assert [found["line"] for found in audit.first] == [2, 3]


def test_columns_by_position_and_by_name(tmp_path: Path) -> None:
    rows = [("tail", "weight", "relation", "head"), ("b", "1", "r", "a"), ("c", "", "s", "b")]
    path = write(tmp_path / "x.csv", text_of(rows, ","))
    expected = [("open", "a", "r", "b"), ("open", "b", "s", "c")]
    assert read(path=path, columns=["head", "relation", "tail"]) == expected
    assert read(path=path, columns=[3, 2, 0], header=True) == expected
    assert read(path=path, columns=[3, 2, 0], header=False)[0][1:] == ("head", "relation", "tail")


def test_quotes_where_they_are_set(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", b'"a ""1""","r, s",b\n')
    assert read(path=path, quote='"') == [("open", 'a "1"', "r, s", "b")]


def test_byte_order_mark_is_reported(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tsv", b"\xef\xbb\xbfa\tr\tb\n\xef\xbb\xbfc\tr\td\n")
    audit = Audit()
    assert read(audit, path=path)[1][1] == "\ufeffc"
    assert read(path=path)[0][1] == "a"
    assert "x.tsv" in audit.notes[0]


def test_small_blocks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.tsv", b"\xef\xbb\xbf" + text_of(ROWS * 50))
    whole = read(path=path)
    monkeypatch.setattr(tables, "BLOCK", 16)
    assert read(path=path) == whole


def test_directory_with_splits(tmp_path: Path) -> None:
    write(tmp_path / "train.tsv.gz", text_of(ROWS))
    write(tmp_path / "test.csv", b"b,r,c\n")
    assert read(path=tmp_path)[-1] == ("test", "b", "r", "c")
    assert read(path=tmp_path)[0] == ("open", *ROWS[0])
    write(tmp_path / "valid.txt", b"a\tr\tc\n")
    assert [row[0] for row in read(path=tmp_path)] == ["train"] * 4 + ["valid", "test"]


def test_unseen_relations_can_be_dropped(tmp_path: Path) -> None:
    write(tmp_path / "train.tsv", text_of(ROWS))
    write(tmp_path / "valid.tsv", b"a\tr\tc\na\tnew\tc\n")
    audit = Audit()
    found = read(audit, path=tmp_path, unseen_relation="drop")
    assert found[-1] == ("valid", "a", "r", "c")
    assert audit.dropped == {"relation unseen in train": 1}
    assert audit.lines == 6


def test_names_and_classes(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tsv", text_of(ROWS))
    write(tmp_path / "names.tsv", b"entity\tid\tname\na\t1\tAnna\nb\t2\tBert\n")
    write(tmp_path / "classes.csv", b"a,person actor\nb,person\n")
    source = TripleFiles(
        path=path,
        names={"path": str(tmp_path / "names.tsv"), "columns": ["entity", "name"]},
        classes={"path": str(tmp_path / "classes.csv"), "separator": " "},
    )
    names, classes = source.read(Audit(), Path()).entities
    assert names.name is not None
    assert dict(zip(names.key.to_pylist(), names.name.to_pylist(), strict=True)) == {
        "a": "Anna",
        "b": "Bert",
    }
    assert classes.class_ is not None
    assert list(zip(classes.key.to_pylist(), classes.class_.to_pylist(), strict=True)) == [
        ("a", "person"),
        ("a", "actor"),
        ("b", "person"),
    ]


def test_digest_knows_content_and_settings_but_no_paths(tmp_path: Path) -> None:
    first = write(tmp_path / "x.tsv", text_of(ROWS))
    copy = write(tmp_path / "y.tsv", text_of(ROWS))
    digest = TripleFiles(path=first).digest()
    assert TripleFiles(path=copy).digest() == digest
    assert TripleFiles(path=first, seed=1).digest() != digest
    assert TripleFiles(path=first, quote='"').digest() != digest
    write(first, text_of(ROWS[::-1]))
    assert TripleFiles(path=first).digest() != digest


def test_rejections_are_counted_and_listed(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tsv", text_of(ROWS) + b"\nbad\n")
    audit = Audit(tmp_path / "rejected.tsv")
    assert len(read(audit, path=path)) == 4
    audit.close()
    assert audit.summary()["rejected"] == {"blank line": 1, "too few columns": 1}
    listed = (tmp_path / "rejected.tsv").read_text().splitlines()
    assert listed == [
        "file\tline\treason\tvalue",
        "x.tsv\t5\tblank line\t''",
        "x.tsv\t6\ttoo few columns\t'bad'",
    ]


@pytest.mark.parametrize(
    ("bad", "share", "stops"), [(10, 0.001, False), (11, 0.001, True), (1, 0, True)]
)
def test_too_many_rejections_stop(tmp_path: Path, bad: int, share: float, stops: bool) -> None:
    path = write(tmp_path / "x.tsv", text_of(ROWS) * 25 + b"bad\n" * bad)
    if not stops:
        assert len(read(path=path, max_rejected=share)) == 100
        return
    with pytest.raises(DataError, match=r"x\.tsv line 101: too few columns: 'bad'; .*max_rejected"):
        read(path=path, max_rejected=share)


def _two_columns(root: Path) -> Path:
    return write(root / "x.tsv", b"a\tb\nb\tc\n")


def _binary(root: Path) -> Path:
    return write(root / "x.tsv", bytes(range(256)) * 50)


def _not_gzip(root: Path) -> Path:
    path = root / "x.tsv.gz"
    path.write_bytes(b"a\tr\tb\n")
    return path


def _cut_gzip(root: Path) -> Path:
    path = root / "x.tsv.gz"
    path.write_bytes(gzip.compress(text_of(ROWS * 1000))[:-20])
    return path


def _not_parquet(root: Path) -> Path:
    return write(root / "x.parquet", b"a\tr\tb\n")


SHORT_COLUMN = (
    "c-oDV&rcIU6vyA}mJP0rDGf83(T&-IOgI2qA`LOs<ZXe5uxQ(ac;Qmkrl?5kwn#J{J$UfoAK}R(hsHbqfqw*lhx2"
    "AjX;ThPHuHY$_kH%w%WNH+C7$DDz8Q0$LlNLXfdN2^&21ey#(9afUk)i*;=l#JzhaaH?r|?D!?JTZl&rL{U|!!{C"
    "aKR{_xlbQ=pvV~F$DD=QGH5V-$067OhH&*veYu}gc*amMN?YgFRt5qXxlnsbM+)=oYS+D6W7@Ab4dC1TRO{;M!H6"
    "ETX!nn0O|FU<MxLZ_kib@9LbKCAP$Twi_)oRFp7k)0#(rv@Vwdpub@mBcZ4r~G4Y$}Lp?t=7PUen;0~CrU`$2aQ="
    "Zb`8<Ykfj3KFod==lAzGC`<P0nQ&;!i*(IvH5V1rvXm{^{zWGc$-;)Z!Q={<^}~^Ww?{705g`o3CC!%SI%BIFD&<"
    "BCQ5yYY*`pqYmyMcCgy9xhO*1C#Q<IYZEsXvscl3^5QY7`jpVNwrP_GH+meqZ|oP}ku>=qeM0^0f1#!u7&WM$n#t"
    "nUNU?pbZXDS2)TWL$a%=Wb+Z0UjpMwm0t@Ptrd$5}HdaJE8?Vg99+G+o7_cUBDuRU2SsfxKR*#lj3_3GwN`v>{6m"
    "Wu"
)
"""A Parquet file of five rows whose second column has none, found by fuzzing (zlib, base 85)."""


def _same_name(root: Path) -> Path:
    columns = [pa.array(column) for column in zip(*ROWS, strict=True)]
    pq.write_table(pa.table(columns, names=["h", "t", "t"]), root / "x.parquet")
    return root / "x.parquet"


def _short_column(root: Path) -> Path:
    return write(root / "x.parquet", zlib.decompress(base64.b85decode(SHORT_COLUMN)))


def _two_trains(root: Path) -> Path:
    write(root / "train.tsv", text_of(ROWS))
    write(root / "train.csv", text_of(ROWS, ","))
    return root


def _unknown_relation(root: Path) -> Path:
    write(root / "train.tsv", text_of(ROWS))
    write(root / "test.tsv", b"a\tr\tb\na\tnew\tb\n")
    return root


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: root / "none.tsv", ["none.tsv", "does not exist", "data.path"]),
        (lambda root: root, ["train", "tsv"]),
        (_two_columns, ["x.tsv line 1", "too few columns", "a\\tb"]),
        (_binary, ["x.tsv line 1", "cannot be used"]),
        (lambda root: write(root / "x.tsv", b""), ["x.tsv", "is empty"]),
        (_not_gzip, ["x.tsv.gz", "damaged"]),
        (_cut_gzip, ["x.tsv.gz", "damaged"]),
        (_not_parquet, ["x.parquet", "damaged"]),
        (_short_column, ["x.parquet", "damaged"]),
        (_same_name, ["x.parquet: two columns are called 't'"]),
        (_two_trains, ["train.tsv", "train.csv", "keep one"]),
        (_unknown_relation, ["test.tsv line 2", "'new'", "data.unseen_relation=drop"]),
    ],
)
def test_bad_input_is_one_clear_sentence(tmp_path: Path, make: Any, words: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        read(path=make(tmp_path))
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({"path": None}, ConfigError, ["data.path"]),
        (
            {"columns": ["head", "relation", "tail"]},
            DataError,
            ["'head'", "'a'", "name one of these"],
        ),
        ({"columns": [0, 1]}, ConfigError, ["data.columns", "3"]),
        ({"columns": [0, 1, 1]}, ConfigError, ["data.columns"]),
        ({"columns": ["a", "b", "c"], "header": False}, ConfigError, ["data.header"]),
        ({"columns": [0, 1, 7], "header": True}, DataError, ["no column 7"]),
        ({"delimiter": "::"}, ConfigError, ["data.delimiter", "'::'"]),
        ({"split": [0.9, 0.2, 0.1]}, ConfigError, ["data.split"]),
        ({"max_rejected": 5}, ConfigError, ["data.max_rejected"]),
        ({"unseen_relation": "keep"}, ConfigError, ["data.unseen_relation", "'keep'"]),
        ({"names": {"file": "x"}}, ConfigError, ["data.names", "'file'"]),
        ({"names": "none.tsv"}, DataError, ["none.tsv"]),
    ],
)
def test_bad_settings(
    tmp_path: Path, settings: dict[str, Any], kind: type[KgscaleError], words: list[str]
) -> None:
    path = write(tmp_path / "x.tsv", text_of(ROWS))
    with pytest.raises(kind) as caught:
        read_all(**{"path": path, **settings})
    assert all(word in str(caught.value) for word in words), caught.value


def test_unknown_suffix_needs_a_delimiter(tmp_path: Path) -> None:
    path = write(tmp_path / "x.data", b"a|r|b\n")
    with pytest.raises(ConfigError, match=r"x\.data .*data\.delimiter"):
        read(path=path)
    assert read(path=path, delimiter="|") == [("open", "a", "r", "b")]


def test_endless_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "BLOCK", 1 << 10)
    path = write(tmp_path / "x.csv", text_of(ROWS, ",") + b'"' + b"a" * 5000)
    with pytest.raises(DataError, match=r"x\.csv line 5 is longer"):
        read(path=path, quote="'")


def test_a_line_too_long_is_rejected_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "BLOCK", 1 << 10)
    lines = text_of(ROWS, ",")
    path = write(tmp_path / "x.csv", lines + b"a" * 5000 + b"\n" + lines + b"b" * 5000)
    audit = Audit()
    found = [
        row
        for facts in TripleFiles(path=path, max_rejected=1).read(audit, Path()).facts
        for row in facts.head.to_pylist()
    ]
    assert len(found) == 2 * len(ROWS)
    assert [first["line"] for first in audit.first] == [len(ROWS) + 1, 2 * len(ROWS) + 2]
    assert set(audit.rejected) == {"longer than 0 MiB"}


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.tsv", text_of(ROWS))

    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(ResourceError, match=r"x\.tsv"):
        read(path=path)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_refused_unread(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.tsv"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(DataError, match="a device or a pipe"):
        read_all(path=path)


@pytest.mark.parametrize("dictionary", [False, True])
def test_parquet_that_repeats_a_long_text_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dictionary: bool
) -> None:
    """Before it is in memory; a text that is too long is rejected in small portions."""
    monkeypatch.setattr("kgscale.data.files.HARMLESS", 1 << 24)
    path, long = tmp_path / "x.parquet", "x" * (2 << 20)
    head = pa.array([long] * 500)
    head = head.dictionary_encode() if dictionary else head
    table = pa.table({"head": head, "relation": ["r"] * 500, "tail": ["b"] * 500})
    pq.write_table(table, path, compression="zstd")
    with pytest.raises(DataError, match="which no data set does"):
        read_all(path=path)
    batches = []
    monkeypatch.setattr("kgscale.data.tables.TEXT", 4 << 20)
    monkeypatch.setattr("kgscale.data.tables.check_growth", lambda *_: None)
    sound = tables._sound
    monkeypatch.setattr(
        "kgscale.data.tables._sound",
        lambda columns, *rest: (batches.append(len(columns[0])), sound(columns, *rest))[1],
    )
    source = TripleFiles(path=path)
    with pytest.raises(DataError, match="500 of 500 lines"):
        list(source.read(Audit(), tmp_path).facts)
    assert max(batches) <= 2
    assert sum(batches) == 500
