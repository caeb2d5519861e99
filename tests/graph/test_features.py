"""Features of a store: files side by side, scaled by those who may be learned from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kgscale.data.ngrams import NGrams
from kgscale.data.triples import TripleFiles
from kgscale.errors import DataError
from kgscale.graph.store import GraphStore, prepare

TRIPLES = "a\tr\tb\nb\tr\tc\nc\tr\td\nd\tr\ta\n"


def built(root: Path, features: Any, **more: Any) -> GraphStore:
    (root / "t.tsv").write_text(TRIPLES, "utf-8")
    source = TripleFiles(path=root / "t.tsv", features=features, split=[1, 0, 0], **more)
    return prepare(source, root / "stores")


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


def test_described_files_stand_beside_plain_numbers(tmp_path: Path) -> None:
    plain = [
        write(tmp_path / "one.tsv", "a\t10\t20", "d\t30\t40"),
        write(tmp_path / "two.tsv", "c\t50\t60"),
    ]
    literals = write(tmp_path / "literals.tsv", "c\theight\t1", "a\theight\t3", "z\theight\t9")
    gloss = write(tmp_path / "gloss.tsv", "key\ttext", "b\tred house", "c\t", "q\tstrange")
    settings = [
        {"path": literals, "kind": "literals"},
        *map(str, plain),
        {"path": gloss, "text": "text", "dim": 6},
    ]
    store = built(tmp_path, settings)
    (found,) = store.features().values()
    stacked = [[10, 20], [0, 0], [50, 60], [30, 40]]
    numbers = [[1, 1], [0, 0], [-1, 1], [0, 0]]
    texts = NGrams(dim=6).encode([None, "red house", None, None])
    expected = np.concatenate([stacked, numbers, texts], axis=1).astype(np.float32)
    np.testing.assert_array_equal(found, expected)
    told = store.manifest["counts"]["features"]
    assert told["matrices"][0]["entities_without_row"] == 0
    assert told["rows_without_facts"] == 2


def test_one_key_may_be_in_several_files_but_once_in_each(tmp_path: Path) -> None:
    gloss = write(tmp_path / "gloss.tsv", "a\tx", "a\ty")
    with pytest.raises(DataError, match=r"'a' has features at .* already"):
        built(tmp_path, {"path": gloss, "text": [1]})


@pytest.mark.parametrize("held", ["7", "1000"])
def test_held_out_entities_do_not_scale_the_others(tmp_path: Path, held: str) -> None:
    """d is of test: whatever its number and its level, the others have the same features."""
    table = write(
        tmp_path / "x.tsv", "k\tn\tc", "a\t1\tu", "b\t2\tv", "c\t3\tu", f"d\t{held}\t{held}"
    )
    labels = write(tmp_path / "labels.tsv", "a\tp\ttrain", "b\tq\tvalid", "d\tp\ttest")
    setting = {"path": table, "numbers": "n", "categories": "c"}
    store = built(tmp_path, setting, labels={"path": labels, "columns": [0, 1, 2]})
    (found,) = store.features().values()
    # Mean and deviation of a and c, 1 and 3; b is of validation, and so is the level v.
    expected = torch.tensor([[-1.0, 1, 1], [0, 1, 0], [1, 1, 1], [5, 1, 0]])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("unseen", ["7", "1000"])
def test_entities_that_train_lacks_do_not_scale_the_others(tmp_path: Path, unseen: str) -> None:
    """d is in a test triple alone: whatever its number and its level, the others have the same."""
    folder = tmp_path / "splits"
    folder.mkdir()
    write(folder / "train.tsv", "a\tr\tb", "b\tr\tc", "c\tr\ta")
    write(folder / "valid.tsv", "a\tr\tc")
    write(folder / "test.tsv", "a\tr\td", "d\tr\tw")
    types = write(tmp_path / "types.tsv", *(f"{key}\tman" for key in "abcd"), "w\ttown")
    table = write(
        tmp_path / "x.tsv",
        *("k\tn\tc", "a\t1\tu", "b\t2\tv", "c\t3\tu", f"d\t{unseen}\t{unseen}", "w\t4\tx"),
    )
    setting = {"path": table, "numbers": "n", "categories": "c"}
    source = TripleFiles(path=folder, features=setting, types=str(types))
    man, town = prepare(source, tmp_path / "stores").features().values()
    low = -1 / np.sqrt(2 / 3)
    expected = [[low, 1, 1, 0], [0, 1, 0, 1], [-low, 1, 1, 0], [5, 1, 0, 0]]
    torch.testing.assert_close(man, torch.tensor(expected, dtype=torch.float32))
    # Where train has no entity of a type, there is nobody else to scale it by.
    assert town.tolist() == [[0, 1, 1]]


def test_types_have_columns_of_their_own(tmp_path: Path) -> None:
    types = str(write(tmp_path / "types.tsv", "a\tman", "b\ttown", "c\tman", "d\ttown"))
    literals = write(tmp_path / "x.tsv", "a\tage\t1", "c\tage\t3", "b\tsize\t5", "d\tage\t9")
    setting = {"path": literals, "kind": "literals"}
    store = built(tmp_path, setting, types=types)
    man, town = store.features().values()
    torch.testing.assert_close(man, torch.tensor([[-1.0, 1], [1, 1]]))
    torch.testing.assert_close(town, torch.tensor([[0.0, 0, 0, 1], [0, 1, 0, 0]]))
    (alone,) = built(tmp_path, {"man": [setting | {"path": men(tmp_path)}]}, types=types).features()
    assert alone == 0
    with pytest.raises(DataError, match="belongs to an entity of the type 'town'"):
        built(tmp_path, {"man": [setting]}, types=types)


def men(root: Path) -> Path:
    return write(root / "men.tsv", "a\tage\t1", "c\tage\t3")


def test_the_order_of_lines_changes_nothing(tmp_path: Path) -> None:
    lines = ["a\t0.1\tx", "b\t0.2\ty", "c\t0.7\tx", "d\t9\tz"]
    prints = []
    for at, some in enumerate((lines, lines[::-1])):
        path = write(tmp_path / f"{at}.tsv", *some)
        setting = {"path": path, "numbers": [1], "categories": [2], "text": []}
        prints.append(built(tmp_path, setting).fingerprint)
    assert prints[0] == prints[1]
