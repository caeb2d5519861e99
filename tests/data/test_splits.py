"""Laws of made splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgscale.data.splits import TEST, TRAIN, VALID, SplitRule, divide
from kgscale.errors import ConfigError

triples = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 2), st.integers(0, 9)),
    min_size=1,
    max_size=120,
    unique=True,
).map(lambda rows: np.array(rows, np.int64))


def sides_of(
    triples: np.ndarray, scratch: Path, *, valid: int, test: int, seed: int = 0
) -> np.ndarray:
    parts = np.array_split(triples, 3)
    division = divide(
        lambda: (tuple(part.T) for part in parts),
        scratch,
        num_entities=10,
        num_relations=3,
        valid=valid,
        test=test,
        seed=seed,
    )
    return division.sides(0, len(triples))


@given(triples, st.integers(0, 20), st.integers(0, 20), st.integers(0, 3))
def test_laws(
    tmp_path_factory: pytest.TempPathFactory, triples: np.ndarray, valid: int, test: int, seed: int
) -> None:
    scratch = tmp_path_factory.mktemp("scratch")
    side = sides_of(triples, scratch, valid=valid, test=test, seed=seed)
    assert (side == VALID).sum() <= valid
    assert ((side == VALID) | (side == TEST)).sum() <= valid + test

    train = triples[side == TRAIN]
    assert set(train[:, [0, 2]].ravel()) == set(triples[:, [0, 2]].ravel())
    assert set(train[:, 1]) == set(triples[:, 1])

    by_pair: dict[frozenset[int], set[int]] = {}
    for (head, _, tail), where in zip(triples.tolist(), side.tolist(), strict=True):
        by_pair.setdefault(frozenset((head, tail)), set()).add(where)
    assert all(len(sides) == 1 for sides in by_pair.values())

    order = np.random.default_rng(0).permutation(len(triples))
    again = sides_of(triples[order], scratch, valid=valid, test=test, seed=seed)
    assert (again == side[order]).all()


def test_ratio_is_met_where_the_graph_allows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    many = np.unique(rng.integers(0, [1000, 3, 1000], (50_000, 3)), axis=0)
    division = divide(
        lambda: [tuple(many.T)],
        tmp_path,
        num_entities=1000,
        num_relations=3,
        valid=2500,
        test=2500,
        seed=0,
    )
    side = division.sides(0, len(many))
    assert division.held == ((side == VALID).sum(), (side == TEST).sum())
    assert min(division.held) > 2480


def test_the_seed_decides(tmp_path: Path) -> None:
    rows = np.array([(h, r, t) for h in range(10) for r in range(3) for t in range(10)])
    first, again, other = (sides_of(rows, tmp_path, valid=30, test=30, seed=s) for s in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("ratio", [(0.9, 0.2, 0.1), (0.0, 0.5, 0.5), (1.1, -0.1, 0.0)])
def test_impossible_shares(ratio: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigError, match=r"data\.split"):
        SplitRule(ratio=ratio)
