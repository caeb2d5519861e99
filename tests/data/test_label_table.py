"""Laws of node labels: numbered and divided the same for any order, refused in one sentence."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgscale.data.database import Database
from kgscale.data.label_table import NodeLabelTable
from kgscale.data.source import NodeLabelRows
from kgscale.data.splits import NO_SPLIT, OPEN, TEST, TRAIN, VALID, LabelRule
from kgscale.data.vocabulary import Vocabulary
from kgscale.errors import ConfigError, DataError

Given = list[tuple[str, str, int]]
"""Key, label, split."""
Found = dict[str, tuple[set[str], int]]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


def resolved(
    scratch: Path, rows: Given, *, entities: set[str] | None = None, threads: int = 1, **rule: Any
) -> tuple[Found, NodeLabelTable]:
    """What each entity has in the end."""
    ordered = sorted(entities or {key for key, _, _ in rows}, key=str.encode)
    with Database(scratch / "spill", threads=threads, memory="100MB") as database:
        vocabulary = Vocabulary(database, "entity", scratch)
        vocabulary.encode(pa.array(ordered, pa.string()))
        vocabulary.number()
        table = NodeLabelTable(database)
        # Two chunks, from a file each.
        for number, part in enumerate(np.array_split(np.arange(len(rows)), 2)):
            chosen = [rows[at] for at in part]
            table.add(
                NodeLabelRows(
                    key=pa.array([key for key, _, _ in chosen], pa.string()),
                    label=pa.array([label for _, label, _ in chosen], pa.string()),
                    split=np.array([split for _, _, split in chosen], np.uint8),
                    file=f"file{number}.tsv",
                    line=part + 1,
                )
            )
        table.resolve(LabelRule(**rule))
        found: Found = {}
        for batch in table.rows():
            for entity, label_id, split in zip(*batch.to_pydict().values(), strict=True):
                labels, _ = found.setdefault(ordered[entity], (set(), split))
                labels.add(table.names[label_id])
                assert found[ordered[entity]][1] == split
        return found, table


classes = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=3)
single = st.lists(classes, min_size=2, max_size=8, unique=True).flatmap(
    lambda names: st.lists(st.integers(2, 9), min_size=len(names), max_size=len(names)).map(
        lambda sizes: [
            (f"{at}-{name}", name, OPEN)
            for name, size in zip(names, [20, *sizes[1:]], strict=True)
            for at in range(size)
        ]
    )
)
multi = st.lists(
    st.tuples(st.integers(0, 40).map(str), st.sampled_from("abcde"), st.just(OPEN)),
    min_size=30,
    max_size=120,
).map(lambda rows: rows + [(f"more {i}", label, OPEN) for i in range(3) for label in "abcde"])


@settings(max_examples=10)
@given(single, st.integers(-3, 3))
def test_a_made_split_is_stratified(scratch: Path, rows: Given, seed: int) -> None:
    found, _ = resolved(scratch, rows, seed=seed)
    assert {key: labels for key, (labels, _) in found.items()} == {k: {v} for k, v, _ in rows}
    count: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for (label,), split in found.values():
        count[label][split] += 1
    for splits in count.values():
        size = splits.total()
        held = [int(size * 0.2 + 0.5)] * 2
        assert splits[VALID] == min(held[0], size - 1)
        assert splits[TEST] == min(held[1], size - 1 - splits[VALID])
        assert splits[TRAIN] >= 1


@settings(max_examples=8)
@given(multi, st.integers(0, 3), st.randoms(use_true_random=False))
def test_several_labels(scratch: Path, rows: Given, seed: int, draw: random.Random) -> None:
    found, _ = resolved(scratch, rows, seed=seed)
    expected: defaultdict[str, set[str]] = defaultdict(set)
    for key, label, _ in rows:
        expected[key].add(label)
    assert {key: labels for key, (labels, _) in found.items()} == expected
    train = set().union(*(labels for labels, split in found.values() if split == TRAIN))
    assert train == set("abcde")
    draw.shuffle(rows)
    again, table = resolved(scratch, rows + rows[:5], seed=seed, threads=3)
    assert again == found
    assert table.names == list("abcde")


def test_the_seed_decides_and_other_entities_do_not(scratch: Path) -> None:
    rows = [(f"k{at}", "ab"[at % 2], OPEN) for at in range(200)]
    first, _ = resolved(scratch, rows)
    assert resolved(scratch, rows, entities={key for key, _, _ in rows} | set("xyz"))[0] == first
    assert resolved(scratch, rows, seed=1)[0] != first


def test_what_a_given_split_lacks_is_made_from_train(scratch: Path) -> None:
    rows = [(f"k{at}", "ab"[at % 2], TEST if at < 30 else TRAIN) for at in range(130)]
    found, _ = resolved(scratch, rows, ratio=(0.7, 0.1, 0.2))
    assert {key for key, (_, split) in found.items() if split == TEST} == {
        key for key, _, split in rows if split == TEST
    }
    assert Counter((*labels, split) for labels, split in found.values()) == {
        ("a", TRAIN): 45,
        ("a", VALID): 5,
        ("a", TEST): 15,
        ("b", TRAIN): 45,
        ("b", VALID): 5,
        ("b", TEST): 15,
    }
    whole, _ = resolved(scratch, rows, ratio=(1, 0, 0))
    assert {key: split for key, (_, split) in whole.items()} == {key: s for key, _, s in rows}


def test_a_single_entity_may_train_where_the_split_is_given(scratch: Path) -> None:
    rows = [("a", "x", TRAIN), ("b", "y", TRAIN), ("c", "y", TEST), ("d", "y", TRAIN)]
    found, _ = resolved(scratch, rows, ratio=(0.5, 0.5, 0))
    assert found["a"] == ({"x"}, TRAIN)
    assert sorted(found[key][1] for key in "bd") == [TRAIN, VALID]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["10", "9", "0"], ["0", "9", "10"]),
        (["10", "9", "01"], ["01", "10", "9"]),
        (["é", "z", "10", "9", "😀", "\ufffd"], ["10", "9", "z", "é", "\ufffd", "😀"]),
    ],
)
def test_labels_are_in_order(scratch: Path, names: list[str], expected: list[str]) -> None:
    rows = [(f"{name}{i}", name, TRAIN) for name in names for i in range(9)]
    _, table = resolved(scratch, rows)
    assert table.names == expected


def test_what_is_left_out_is_counted(scratch: Path) -> None:
    rows = [(f"k{at}", "ab"[at % 2], OPEN) for at in range(20)]
    more = [("k0", "rare", OPEN), ("stranger", "a", OPEN), ("stranger", "b", OPEN)]
    entities = {key for key, _, _ in rows}
    found, table = resolved(
        scratch, rows + more, entities=entities, drop_unknown=True, drop_rare=True
    )
    assert found == resolved(scratch, rows)[0]
    assert (table.left_out.unknown_keys, table.left_out.rare_labels) == (1, 1)
    given = [*rows, *((f"k{at}", "c", TRAIN) for at in range(20, 40)), ("none", "d", NO_SPLIT)]
    given = [(key, label, TRAIN if split == OPEN else split) for key, label, split in given]
    found, table = resolved(scratch, given)
    assert table.names == ["a", "b", "c"]
    assert "none" not in found
    assert table.left_out.in_no_split == 1


FEW = [(f"k{at}", "ab"[at % 2], OPEN) for at in range(4)]


@pytest.mark.parametrize(
    ("rows", "entities", "words"),
    [
        (
            [("k", "a", OPEN), ("x\ny", "a", OPEN), ("z", "a", OPEN), ("k", "b", OPEN)],
            {"k"},
            [r"file0.tsv line 2: 'x\ny' is in no triple, and so are 1 other", "unknown_label=drop"],
        ),
        (
            [("k", "a", TRAIN), ("l", "a", TRAIN), ("k", "b", TEST), ("l", "c", NO_SPLIT)],
            None,
            ["file1.tsv line 3: 'k' is in test, but in train at file0.tsv line 1 (2 such keys)"],
        ),
        (
            [*FEW, ("k9", "x", OPEN)],
            None,
            [
                f"file1.tsv line {len(FEW) + 1}: the label 'x' has a single entity, which",
                "rare_label=drop",
                "or give the split",
            ],
        ),
        (
            [("k", "a", TRAIN), ("l", "a", VALID)],
            None,
            ["every labelled entity is 'a', so that there is nothing to tell apart"],
        ),
        (FEW, None, ["4 labelled entities are too few", "20% for valid", "data.label_split"]),
        ([("k", "a", TEST), ("l", "b", VALID)], None, ["no entity of the graph has a label in"]),
        ([("k", "a", NO_SPLIT)], None, ["file1.tsv: no label is left", "1 in no split"]),
    ],
)
def test_refusals(scratch: Path, rows: Given, entities: set[str] | None, words: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        resolved(scratch, rows, entities=entities)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


@pytest.mark.parametrize(
    "ratio",
    [
        (0.9, 0.2, 0.1),
        (0.0, 0.5, 0.5),
        (1.1, -0.1, 0.0),
        (float("nan"), 0, 0),
        (0.5, float("nan"), 0.5),
    ],
)
def test_impossible_shares(ratio: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigError, match=r"data\.label_split"):
        LabelRule(ratio=ratio)
