"""Users and items: what becomes of rows, and the laws of the splits."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kgscale.data.audit import Audit
from kgscale.data.interactions import Interactions
from kgscale.errors import ConfigError, DataError
from kgscale.graph.store import prepare

Row = tuple[str, str, float, int]
SPLITS = ("train", "valid", "test")


def write(path: Path, rows: list[Any]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows(rows)
    return path


def read(folder: Path, rows: list[Any], **options: Any) -> dict[str, set[tuple[str, str]]]:
    """Pairs by split."""
    folder.mkdir(parents=True, exist_ok=True)
    source = Interactions(path=write(folder / "x.tsv", rows), **options)
    found: dict[str, set[tuple[str, str]]] = {split: set() for split in SPLITS}
    (folder / "scratch").mkdir(exist_ok=True)
    for facts in source.read(Audit(), folder / "scratch").facts:
        for head, relation, tail in zip(
            facts.head.to_pylist(), facts.relation.to_pylist(), facts.tail.to_pylist(), strict=True
        ):
            assert relation == "interacts"
            pair = head.removeprefix("user:"), tail.removeprefix("item:")
            assert pair not in found[facts.split]
            found[facts.split].add(pair)
    return found


rows = st.lists(
    st.tuples(
        st.sampled_from("abcde"),
        st.sampled_from("tuvwxyz"),
        st.sampled_from([1.0, 2.0, 3.0, 4.0, 5.0]),
        st.integers(0, 50),
    ),
    min_size=8,
    max_size=60,
)
some = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def last_of(given_: list[Row]) -> dict[tuple[str, str], tuple[float, int]]:
    """Rating and time of each pair, where it came last."""
    found: dict[tuple[str, str], tuple[float, int]] = {}
    for user, item, rating, time in sorted(given_, key=lambda row: row[3]):
        found[user, item] = rating, time
    return found


@given(rows)
@some
def test_shares_of_each_user(tmp_path_factory: Any, given_: list[Row]) -> None:
    found = read(tmp_path_factory.mktemp("x"), given_, split=[0.5, 0.2, 0.3])
    pairs = last_of(given_)
    assert sorted(pair for part in found.values() for pair in part) == sorted(pairs)
    size = Counter(user for user, _ in pairs)
    for split, share in (("valid", 0.2), ("test", 0.3)):
        count = Counter(user for user, _ in found[split])
        for user, number in size.items():
            assert count[user] == int(number * share + 1e-9)


@given(rows)
@some
def test_the_last_of_each_user(tmp_path_factory: Any, given_: list[Row]) -> None:
    found = read(tmp_path_factory.mktemp("x"), given_, split_by="leave_one_out")
    times: dict[str, list[int]] = defaultdict(list)
    pairs = last_of(given_)
    for (user, _), (_, time) in pairs.items():
        times[user].append(time)
    for user, all_times in times.items():
        mine = {split: [pair for pair in found[split] if pair[0] == user] for split in SPLITS}
        ordered = sorted(all_times)
        if len(ordered) < 3:
            assert not mine["valid"] + mine["test"]
            continue
        assert [len(mine["valid"]), len(mine["test"])] == [1, 1]
        assert pairs[mine["test"][0]][1] == ordered[-1]
        assert pairs[mine["valid"][0]][1] == ordered[-2]


def test_one_of_each_user_where_there_are_no_times(tmp_path: Path) -> None:
    rows = [(f"u{n % 4}", f"i{n}") for n in range(40)] + [("few", "i1"), ("few", "i2")]
    found = read(tmp_path / "a", rows, split_by="leave_one_out")
    for split in ("valid", "test"):
        assert sorted(user for user, _ in found[split]) == [f"u{n}" for n in range(4)]
    assert found == read(tmp_path / "b", rows[::-1], split_by="leave_one_out")
    assert found != read(tmp_path / "c", rows, split_by="leave_one_out", seed=1)


@given(rows)
@some
def test_nothing_from_the_future(tmp_path_factory: Any, given_: list[Row]) -> None:
    found = read(tmp_path_factory.mktemp("x"), given_, split_by="time", split=[0.6, 0.2, 0.2])
    pairs = last_of(given_)
    when = {split: [pairs[pair][1] for pair in found[split]] for split in SPLITS}
    assert max(when["train"]) <= min(when["valid"] or [99])
    assert max(when["valid"] or [0]) <= min(when["test"] or [99])
    assert len(when["test"]) == int(0.2 * len(pairs) + 1e-9)


@given(rows)
@some
def test_low_ratings_are_left_out(tmp_path_factory: Any, given_: list[Row]) -> None:
    found = read(tmp_path_factory.mktemp("x"), [*given_, ("a", "t", 5.0, 99)], min_rating=4)
    kept = {pair for part in found.values() for pair in part}
    pairs = last_of([*given_, ("a", "t", 5.0, 99)])
    assert kept == {pair for pair, (rating, _) in pairs.items() if rating >= 4}


def test_the_split_is_the_same_for_any_order_of_lines(tmp_path: Path) -> None:
    rows = [(f"u{n % 5}", f"i{n % 17}") for n in range(60)]
    one = read(tmp_path / "a", rows)
    assert one == read(tmp_path / "b", rows[::-1])
    assert one != read(tmp_path / "c", rows, seed=1)


def test_columns_by_name_and_dates(tmp_path: Path) -> None:
    rows = [("when", "item", "who")] + [(f"2026-0{m}-01", f"i{m}", "u") for m in range(1, 6)]
    options = {"columns": ["who", "item"], "time": "when", "split_by": "leave_one_out"}
    found = read(tmp_path, rows, **options)
    assert (found["test"], found["valid"]) == ({("u", "i5")}, {("u", "i4")})


def test_given_splits_stay(tmp_path: Path) -> None:
    write(tmp_path / "train.tsv", [("a", str(n)) for n in range(20)])
    write(tmp_path / "test.tsv", [("a", "20"), ("b", "1")])
    source = Interactions(path=tmp_path, split=[0.5, 0.5, 0.0])
    (tmp_path / "scratch").mkdir()
    count: Counter[str] = Counter()
    for facts in source.read(Audit(), tmp_path / "scratch").facts:
        count[facts.split] += len(facts.head)
    assert count == {"train": 10, "valid": 10, "test": 2}


def test_facts_about_items(tmp_path: Path) -> None:
    """By the items' own keys, or by what a file of links calls them; one for each item."""
    data = write(tmp_path / "x.tsv", [("a", "1"), ("a", "2"), ("b", "1"), ("b", "3")])
    facts = write(tmp_path / "kg.tsv", [("m1", "by", "p"), ("p", "born", "q"), ("m9", "by", "m2")])
    links = write(tmp_path / "links.tsv", [("1", "m1"), ("3", "m1"), ("2", "m2")])
    names = write(tmp_path / "names.tsv", [("1", "Toy Story")])
    source = Interactions(
        path=data,
        split=[1, 0, 0],
        facts=str(facts),
        links=str(links),
        item_names=str(names),
    )
    store = prepare(source, tmp_path / "stores", threads=1, memory="500MB")
    keys = store.entity_keys(list(range(store.num_entities)))
    relations = store.relation_keys(list(range(store.num_relations)))
    triples = {(keys[h], relations[r], keys[t]) for h, r, t in store.triples("train").tolist()}
    assert triples >= {
        ("item:1", "by", "p"),
        ("item:3", "by", "p"),
        ("p", "born", "q"),
        ("m9", "by", "item:2"),
        ("user:a", "interacts", "item:2"),
    }
    kinds = {kind.name: keys[kind.start : kind.stop] for kind in store.types}
    assert kinds["user"] == ["user:a", "user:b"]
    assert kinds["item"] == ["item:1", "item:2", "item:3"]
    assert store.entity_names([keys.index("item:1")]) == ["Toy Story"]


def test_the_same_files_are_the_same_data(tmp_path: Path) -> None:
    data = write(tmp_path / "x.tsv", [("a", "1"), ("b", "1")])
    one = Interactions(path=data)
    assert one.digest() == Interactions(path=data).digest()
    others = [
        Interactions(path=data, seed=1),
        Interactions(path=data, min_rating=3),
        Interactions(path=data, facts=str(data)),
        Interactions(path=data, columns=[1, 0]),
    ]
    assert len({one.digest(), *(other.digest() for other in others)}) == 5
    assert one.stamp()[0] != others[0].stamp()[0]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"split_by": "time"}, ConfigError, "needs times, and"),
        ({"columns": [0]}, ConfigError, "those of user and item"),
        ({"rating": 2}, ConfigError, r"need data\.columns"),
        ({"links": "x.tsv"}, ConfigError, r"data\.links says what"),
        ({"facts": {"path": "x.tsv", "kind": 1}}, ConfigError, r"no setting data\.facts\.kind"),
        ({"min_rating": 9}, DataError, "nothing to train on"),
        ({"min_rating": 4, "columns": [0, 1]}, ConfigError, "min_rating=4 needs ratings"),
    ],
)
def test_wrong_settings(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    rows = [("a", str(n), 3) for n in range(5)]
    with pytest.raises(error, match=words):
        read(tmp_path, rows, **options)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("a", "1", "good")], "line 1: a rating that is none: 'good'"),
        ([("a", "1", "3", "noon")], "line 1: a time that is none: 'noon'"),
        ([("a", "1", "nan")], "a rating that is none"),
        ([("a",)], "has 1 columns"),
        ([tuple("abcde")], "has 5 columns"),
        ([], "is empty"),
    ],
)
def test_wrong_rows(tmp_path: Path, rows: list[Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        read(tmp_path, rows)


def test_a_missing_path() -> None:
    with pytest.raises(ConfigError, match=r"data\.path is not set"):
        Interactions(path=None)


def test_some_wrong_rows_are_counted(tmp_path: Path) -> None:
    rows = [("a", str(n), 3) for n in range(50)] + [("a", "x", "bad")]
    audit = Audit()
    source = Interactions(path=write(tmp_path / "x.tsv", rows))
    (tmp_path / "scratch").mkdir()
    list(source.read(audit, tmp_path / "scratch").facts)
    assert (audit.accepted, dict(audit.rejected)) == (50, {"a rating that is none": 1})


def test_facts_about_nothing_here(tmp_path: Path) -> None:
    facts = write(tmp_path / "kg.tsv", [("m1", "by", "p")])
    with pytest.raises(DataError, match="has no fact about any item"):
        read(tmp_path / "x", [("a", "1"), ("b", "2")], facts=str(facts))
