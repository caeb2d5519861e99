"""What entities bring to the first layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kgscale.batch import FeatureRows
from kgscale.errors import ConfigError
from kgscale.models.inputs import EntityInput

TYPES = [
    {"start": 0, "stop": 3, "features": 0},
    {"start": 3, "stop": 8, "features": 4},
    {"start": 8, "stop": 10, "features": 0},
    {"start": 10, "stop": 13, "features": 2},
]
FEATURES = {kind: torch.randn(5 if kind == 1 else 3, TYPES[kind]["features"]) for kind in (1, 3)}
LEARNED = st.sampled_from(["missing", "all", "none"])


def inputs(**settings: Any) -> EntityInput:
    generator = torch.Generator().manual_seed(1)
    module = EntityInput(**{"types": TYPES, "dim": 6, "generator": generator, **settings}).eval()
    for linear in module.maps:
        # As after some training.
        torch.nn.init.normal_(linear.weight, generator=generator)
    return module


def rows(entity_id: torch.Tensor) -> tuple[FeatureRows, ...]:
    found = []
    for kind, matrix in FEATURES.items():
        start, stop = TYPES[kind]["start"], TYPES[kind]["stop"]
        place = ((entity_id >= start) & (entity_id < stop)).nonzero()[:, 0]
        found.append(FeatureRows(entity=place, value=matrix[entity_id[place] - start]))
    return tuple(found)


@given(ids=st.lists(st.integers(0, 12), min_size=1, unique=True), learned=LEARNED)
def test_an_entity_is_the_same_in_every_batch(ids: list[int], learned: str) -> None:
    module, everyone = inputs(learned=learned), torch.arange(13)
    whole, some = module(everyone, rows(everyone)), torch.tensor(ids)
    torch.testing.assert_close(module(some, rows(some)), whole[some])


def test_features_and_learned_vectors_by_hand() -> None:
    module, ids = inputs(), torch.tensor([9, 4, 2])
    assert module.table is not None
    found = module(ids, rows(ids))
    # The table holds entities 0, 1, 2, 8, 9 in this order.
    assert module.table.weight.shape == (5, 6)
    torch.testing.assert_close(found[0], module.table.weight[4])
    torch.testing.assert_close(found[1], module.maps[0](FEATURES[1][1]))
    torch.testing.assert_close(found[2], module.table.weight[2])


def test_all_adds_a_learned_vector_to_the_features() -> None:
    module, ids = inputs(learned="all"), torch.tensor([11])
    assert module.table is not None
    expected = module.table.weight[11] + module.maps[1](FEATURES[3][1])
    torch.testing.assert_close(module(ids, rows(ids))[0], expected)


def test_beside_learned_vectors_features_begin_with_nothing() -> None:
    ids, generator = torch.tensor([4, 11, 2]), torch.Generator().manual_seed(1)
    module = EntityInput(types=TYPES, dim=6, learned="all", generator=generator)
    assert module.table is not None
    assert torch.equal(module(ids, rows(ids)), module.table.weight[ids])
    module(ids, rows(ids)).sum().backward()
    assert all((linear.weight.grad != 0).any() for linear in module.maps)
    alone = EntityInput(types=TYPES, dim=6, learned="missing", generator=generator)
    assert all((linear.weight != 0).any() for linear in alone.maps)


def test_none_knows_the_type_alone() -> None:
    module, ids = inputs(learned="none"), torch.tensor([0, 2, 8, 5])
    found = module(ids, rows(ids))
    assert module.table is None
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    torch.testing.assert_close(found[3], module.maps[0](FEATURES[1][2]))


@given(learned=st.sampled_from(["missing", "all"]))
def test_the_gradient_names_only_rows_that_were_read(learned: str) -> None:
    module, ids = inputs(learned=learned), torch.tensor([1, 6, 9])
    module(ids, rows(ids)).sum().backward()
    assert module.table is not None
    gradient = module.table.weight.grad
    assert gradient is not None
    assert gradient.is_sparse
    expected = {"missing": [1, 4], "all": [1, 6, 9]}[learned]
    assert sorted(gradient._indices()[0].tolist()) == expected


def test_normalize_divides_by_the_sum() -> None:
    module, ids = inputs(normalize=True), torch.tensor([3])
    value = FEATURES[1][0] / FEATURES[1][0].abs().sum()
    torch.testing.assert_close(module(ids, rows(ids))[0], module.maps[0](value))


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"inputs\.dropout"):
        inputs(dropout=1.0)
