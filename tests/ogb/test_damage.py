"""What is wrong with a benchmark's files is told by file and row, and nothing is built."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kgscale.data.ogb.source import OgbDataSet
from kgscale.errors import ConfigError, DataError
from kgscale.graph.store import prepare
from tests.ogb.miniature import DATASETS, NUMPY_ARRAYS, write


def built(name: str, folder: Path, damage: Callable[[Path], None]) -> str:
    """What the error says; there must be one."""
    write(name, folder / "dataset")
    damage(folder / "dataset" / DATASETS[name][0])
    with pytest.raises(DataError) as error:
        prepare(OgbDataSet(benchmark=name, path=folder / "dataset"), folder / "stores", threads=1)
    assert not [path for path in (folder / "stores").glob("*") if path.is_dir()]
    return str(error.value)


def lines(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    text = gzip.decompress(path.read_bytes()).decode().splitlines()
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in change(text)).encode()))


def loaded(path: Path) -> Any:
    with torch.serialization.safe_globals(NUMPY_ARRAYS):
        return torch.load(path, weights_only=True)


def arrays(path: Path, **changed: Callable[[np.ndarray], object]) -> None:
    content = loaded(path)
    for name, change in changed.items():
        found = change(content[name])
        content[name] = np.array(found) if isinstance(content[name], np.ndarray) else found
    torch.save(content, path)


def test_no_folder(tmp_path: Path) -> None:
    source = OgbDataSet(benchmark="ogbn-arxiv", path=tmp_path)
    with pytest.raises(
        DataError, match=r"ogbn_arxiv does not exist: say data\.download=true to fetch .*arxiv\.zip"
    ):
        prepare(source, tmp_path / "stores")


def test_unknown_name() -> None:
    with pytest.raises(ConfigError, match="did you mean ogbl-wikikg2"):
        OgbDataSet(benchmark="ogbl-wikikg")


def test_another_release(tmp_path: Path) -> None:
    told = built("ogbn-mag", tmp_path, lambda at: rename(at, "RELEASE_v2.txt", "RELEASE_v1.txt"))
    assert "has no RELEASE_v2.txt (found: RELEASE_v1.txt)" in told


def rename(folder: Path, name: str, other: str) -> None:
    (folder / name).rename(folder / other)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("ogbl-wikikg2", "split/time/test.pt"),
        ("ogbn-mag", "raw/relations/author___writes___paper/edge.csv.gz"),
        ("ogbn-papers100M", "raw/node-label.npz"),
        ("mag240m", "split_dict.pt"),
        ("wikikg90mv2", "processed/val_t.npy"),
    ],
)
def test_a_missing_file_is_named(name: str, file: str, tmp_path: Path) -> None:
    told = built(name, tmp_path, lambda at: (at / file).unlink())
    assert f"{file} is missing" in told


def test_an_entity_that_is_not(tmp_path: Path) -> None:
    def damage(folder: Path) -> None:
        arrays(
            folder / "split/time/valid.pt", tail=lambda tail: np.where(tail == tail[3], 700, tail)
        )

    told = built("ogbl-wikikg2", tmp_path, damage)
    assert "valid.pt row 3 (counted from 0) has the tail 700, while there are 700" in told


def test_a_negative_that_is_not(tmp_path: Path) -> None:
    def change(rows: np.ndarray) -> np.ndarray:
        rows = rows.copy()
        rows[2, 7] = -1
        return rows

    told = built(
        "ogbl-biokg", tmp_path, lambda at: arrays(at / "split/random/test.pt", tail_neg=change)
    )
    assert "test.pt tail_neg row 2 column 7 is -1, which is no entity" in told


def test_a_type_that_is_not(tmp_path: Path) -> None:
    def damage(folder: Path) -> None:
        arrays(folder / "split/random/train.pt", head_type=lambda types: ["drugs", *types[1:]])

    told = built("ogbl-biokg", tmp_path, damage)
    assert "train.pt head_type row 0 is 'drugs', which is no type of entity" in told


def test_columns_of_different_lengths(tmp_path: Path) -> None:
    def damage(folder: Path) -> None:
        arrays(folder / "split/time/train.pt", head=lambda head: head[:-1])

    assert "train.pt has columns of different lengths" in built("ogbl-wikikg2", tmp_path, damage)


def test_a_missing_array(tmp_path: Path) -> None:
    def damage(folder: Path) -> None:
        path = folder / "split/target/valid.pt"
        content = loaded(path)
        del content["edge_neg"]
        torch.save(content, path)

    assert "valid.pt has no 'edge_neg', only edge" in built("ogbl-ddi", tmp_path, damage)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: [*text[:5], "7,x", *text[6:]], "x"),
        (lambda text: [*text[:5], "7", *text[6:]], "Expected 2 columns, got 1"),
        (lambda text: [*text[:5], "7,200", *text[6:]], "has the tail 200, while there are 200"),
    ],
)
def test_broken_lines(change: Callable[[list[str]], list[str]], told: str, tmp_path: Path) -> None:
    found = built("ogbn-arxiv", tmp_path, lambda at: lines(at / "raw/edge.csv.gz", change))
    assert "edge.csv.gz" in found
    assert told in found
    assert "#6" in found or "row 5" in found


def test_a_cut_file(tmp_path: Path) -> None:
    def damage(folder: Path) -> None:
        path = folder / "raw/edge.csv.gz"
        path.write_bytes(path.read_bytes()[:-40])

    assert "edge.csv.gz cannot be read" in built("ogbn-arxiv", tmp_path, damage)


def test_too_few_rows_of_features(tmp_path: Path) -> None:
    told = built(
        "ogbn-arxiv",
        tmp_path,
        lambda at: lines(at / "raw/node-feat.csv.gz", lambda text: text[:-1]),
    )
    assert "node-feat.csv.gz has 199 rows for 200 entities" in told
