"""Laws of the line scanner: nothing is lost, nothing is guessed."""

from __future__ import annotations

import csv
import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kgscale.data.scan import NO_QUOTE, Layout, scan

TAB, COMMA, QUOTE = 9, 44, 34
THREE = {"wanted": (0, 1, 2), "least": 3, "most": 3}
PLAIN = Layout(delimiter=TAB, **THREE)
QUOTED = Layout(delimiter=COMMA, quote=QUOTE, **THREE)

unicode = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
keys = st.text(unicode, min_size=1)
plain_keys = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\t\n"), min_size=1
).filter(lambda key: not key.endswith("\r"))
soup = st.lists(
    st.sampled_from([b"a", b"\t", b"\n", b"\r", b"\r\n", b'"', b"\0", b"\xff", b"\xc3\xa9", b"NA"]),
    max_size=60,
).map(b"".join)


def rows_of(data: bytes, layout: Layout = PLAIN) -> list[tuple[str, ...]]:
    found = scan(data, layout, first_line=1, final=True)
    return list(zip(*(column.to_pylist() for column in found.columns), strict=True))


def by_hand(data: bytes) -> tuple[list[tuple[str, ...]], list[int]]:
    """The rules in a few lines of Python: accepted rows, and numbers of rejected lines."""
    lines = data.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    elif lines[-1].endswith(b"\r"):
        lines[-1] += b"\r"  # no newline follows, so the last return is data
    accepted, rejected = [], []
    for number, line in enumerate(lines, start=1):
        fields = line.removesuffix(b"\r").split(b"\t")
        try:
            texts = tuple(field.decode() for field in fields)
        except UnicodeDecodeError:
            rejected.append(number)
            continue
        if len(texts) == 3 and all(texts) and not any("\0" in text for text in texts):
            accepted.append(texts)
        else:
            rejected.append(number)
    return accepted, rejected


@given(st.lists(st.tuples(plain_keys, plain_keys, plain_keys)), st.sampled_from(["\n", "\r\n"]))
def test_any_unicode_comes_back(rows: list[tuple[str, ...]], end: str) -> None:
    data = "".join("\t".join(row) + end for row in rows).encode()
    assert rows_of(data) == rows


@given(soup)
def test_every_line_is_accepted_or_rejected_by_the_rules(data: bytes) -> None:
    found = scan(data, PLAIN, first_line=1, final=True)
    accepted, rejected = by_hand(data)
    assert list(zip(*(c.to_pylist() for c in found.columns), strict=True)) == accepted
    assert [line for line, _, _ in found.rejected] == rejected
    assert sorted([*found.line.tolist(), *rejected]) == list(range(1, found.lines + 1))


@given(st.lists(st.tuples(keys, keys, keys), max_size=8))
def test_quoted_fields_come_back(rows: list[tuple[str, ...]]) -> None:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows(rows)
    assert rows_of(text.getvalue().encode(), QUOTED) == rows


@given(soup, st.integers(1, 30), st.sampled_from([NO_QUOTE, QUOTE]))
def test_cutting_into_blocks_changes_nothing(data: bytes, size: int, quote: int) -> None:
    layout = Layout(delimiter=TAB, quote=quote, **THREE)
    whole = scan(data, layout, first_line=1, final=True)
    pending, line, columns, numbers, rejected = b"", 1, [], [], []
    blocks = [data[at : at + size] for at in range(0, len(data), size)]
    for last, block in enumerate([*blocks, b""]):
        part = scan(pending + block, layout, first_line=line, final=last == len(blocks))
        columns += list(zip(*(c.to_pylist() for c in part.columns), strict=True))
        numbers += part.line.tolist()
        rejected += part.rejected
        pending, line = (pending + block)[part.consumed :], line + part.lines
    assert columns == list(zip(*(c.to_pylist() for c in whole.columns), strict=True))
    assert numbers == whole.line.tolist()
    assert rejected == whole.rejected


def test_each_flaw_has_its_reason() -> None:
    lines = [b"", b"a\tb", b"a\tb\tc\td", b"a\t\tc", b"a\0\tb\tc", b"\xff\tb\tc"]
    found = scan(b"\n".join(lines), PLAIN, first_line=1, final=True)
    assert [reason for _, reason, _ in found.rejected] == [
        "blank line",
        "too few columns",
        "too many columns",
        "empty field",
        "NUL byte",
        "invalid UTF-8",
    ]


def test_quotes_are_data_unless_set() -> None:
    assert rows_of(b'"a\tb\t"c"\n') == [('"a', "b", '"c"')]


def test_quoted_flaws_and_line_numbers() -> None:
    data = b'"x\ny",r,b\n"a"b,r,c\n"",r,c\na,r,d\n"open,r,e\n'
    found = scan(data, QUOTED, first_line=1, final=True)
    assert found.line.tolist() == [1, 5]
    assert [(line, reason) for line, reason, _ in found.rejected] == [
        (3, "text after a closing quote"),
        (4, "empty field"),
        (6, "too few columns"),
    ]


def test_other_columns_are_left_alone() -> None:
    layout = Layout(delimiter=TAB, wanted=(3, 0, 1), least=4, most=np.iinfo(np.int64).max)
    assert rows_of(b"a\tb\t\td\te\n", layout) == [("d", "a", "b")]
