"""Encoders of maps: what they compute, by hand, and the contract that all keep."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from kgscale.batch import FeatureRows, NodeQueries, SubgraphBatch
from kgscale.errors import ConfigError
from kgscale.models.encoders.precomputed import NARS, SIGN, MapEncoder, SeHGNN
from kgscale.models.node import NodeModel
from kgscale.models.registry import build_model

ENTITIES, DIM = 7, 8
ABOUT: list[tuple[str, str, int, int, int | None]] = [
    # kind, source, hop, dim, subset
    ("feature", "a", 0, 3, None),
    ("feature", "a", 1, 3, 0),
    ("feature", "a", 1, 3, 1),
    ("feature", "b", 1, 5, None),
    ("label", "a", 2, 2, None),
]
MAPS = [
    {"kind": kind, "source": source, "hop": hop, "dim": dim, "subset": subset, "start": 0}
    for kind, source, hop, dim, subset in ABOUT
]
SGC = [[-0.097214, 0.289869], [-0.331058, -0.215327], [-1.046532, -0.725494]]
"""Weights drawn from seed 0."""
ALL = pytest.mark.parametrize("kind", [SIGN, NARS, SeHGNN])


def features(*, rows: int = ENTITIES) -> tuple[FeatureRows, ...]:
    """The map from b has rows of every other entity."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for spec in MAPS:
        value = torch.randn(ENTITIES, spec["dim"], generator=generator)  # type: ignore[call-overload]
        entity = torch.arange(0, rows, 1 + (spec["source"] == "b"))
        found.append(FeatureRows(entity=entity, value=value[entity]))
    return tuple(found)


def encoder(kind: type[MapEncoder], **settings: Any) -> Any:
    generator = torch.Generator().manual_seed(1)
    whole = {"residual": False, **settings}
    return kind(num_relations=2, dim=DIM, maps=MAPS, generator=generator, **whole).eval()  # type: ignore[call-arg]


def batch() -> SubgraphBatch:
    nothing, node = torch.empty(0, dtype=torch.int32), torch.arange(ENTITIES)
    return SubgraphBatch(
        entity_id=node,
        indptr=torch.zeros(ENTITIES + 1, dtype=torch.int64),
        source=nothing,
        relation=nothing,
        triple=nothing.long(),
        hop_size=(ENTITIES,),
        hop_edges=(),
        query=NodeQueries(node=node, label=node, step_queries=ENTITIES),
        features=features(),
    )


@ALL
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_runs_forward_and_backward(kind: type[MapEncoder], residual: bool, device: str) -> None:
    model = encoder(kind, residual=residual, input_dropout=0.2).train().to(device)
    out, relation = model(torch.zeros(ENTITIES, DIM, device=device), batch().to(device))
    assert out.shape == (ENTITIES, DIM)
    assert relation is model.relation
    (out.square().sum() + relation.sum()).backward()
    assert all(p.grad is not None and p.grad.device.type == device for p in model.parameters())
    assert (model.reads, model.num_layers) == ("maps", 0)


@pytest.mark.parametrize("kind", [SIGN, NARS])
def test_the_last_hops_alone_are_read_and_all_parameters_learn(kind: type[MapEncoder]) -> None:
    """The first map went less far than others of its kind and source."""
    model, given = encoder(kind, last_only=True), features()
    assert model.places == [1, 2, 3, 4]
    assert (model.num_maps, model.map_dims) == (4, [3, 3, 5, 2])
    x, read = torch.zeros(ENTITIES, DIM), tuple(given[at] for at in model.places)
    model.rows(x, read).square().sum().backward()
    names = {name for name, p in model.named_parameters() if p.grad is None}
    assert names == {"relation"}
    with pytest.raises(ValueError, match="reads 4 maps, got 5"):
        model.rows(x, given)


@ALL
@pytest.mark.parametrize("residual", [True, False])
def test_a_model_has_vectors_of_its_own_only_where_they_are_added_to(
    kind: type[MapEncoder], residual: bool
) -> None:
    model = build_model(spec_of(kind, residual=residual), seed=0)
    assert isinstance(model, NodeModel)
    assert (model.inputs.table is not None) == residual
    model(batch()).square().sum().backward()
    names = {name for name, p in model.named_parameters() if p.grad is None}
    assert names == {"encoder.relation"}


def test_sgc_draws_the_weights_that_its_results_came_from() -> None:
    """The committed results: whatever is left out is drawn last, or not at all."""
    maps = [{**MAPS[0], "hop": hop} for hop in range(4)]
    about = {"name": "SIGN", "dim": 2, "maps": maps, "residual": False, "depth": 0}
    spec = {"num_entities": 3, "num_relations": 1, "encoder": {**about, "last_only": True}}
    state = build_model({**spec, "head": {"num_classes": 2}}, seed=0).state_dict()
    assert state.keys() == {
        *("encoder.relation", "encoder.project.0.weight", "encoder.project.0.bias"),
        *("head.layers.1.weight", "head.layers.1.bias"),
    }
    expected = torch.tensor(SGC)
    torch.testing.assert_close(state["encoder.project.0.weight"], expected)


@ALL
def test_a_row_depends_on_its_own_rows_alone(kind: type[MapEncoder]) -> None:
    model = encoder(kind)
    whole = model.rows(torch.zeros(ENTITIES, DIM), features())
    part = model.rows(torch.zeros(3, DIM), features(rows=3))
    torch.testing.assert_close(part, whole[:3])


@ALL
def test_a_residual_encoder_starts_as_the_embedding_only_model(kind: type[MapEncoder]) -> None:
    x = torch.randn(ENTITIES, DIM)
    assert torch.equal(encoder(kind, residual=True).rows(x, features()), x)


@ALL
def test_weights_are_seeded(kind: type[MapEncoder]) -> None:
    one, two = encoder(kind).state_dict(), encoder(kind).state_dict()
    assert all(torch.equal(value, two[name]) for name, value in one.items())


@ALL
def test_an_entity_without_a_row_gets_zeros(kind: type[MapEncoder]) -> None:
    """Of a map that has none: as if a weight of zero had been put on what it says."""
    model, given = encoder(kind, depth=0), list(features())
    other = FeatureRows(entity=given[3].entity[:0], value=given[3].value[:0])
    changed = model.rows(torch.zeros(ENTITIES, DIM), (*given[:3], other, given[4]))
    before = model.rows(torch.zeros(ENTITIES, DIM), tuple(given))
    torch.testing.assert_close(changed[1::2], before[1::2])
    assert not torch.allclose(changed[::2], before[::2])


def dense(rows: FeatureRows) -> Tensor:
    found = torch.zeros(ENTITIES, rows.value.shape[1])
    found[rows.entity] = rows.value
    return found


def test_sign_by_hand() -> None:
    model = encoder(SIGN, depth=2)
    parts = [
        dense(FeatureRows(entity=rows.entity, value=rows.value @ linear.weight + linear.bias))
        for rows, linear in zip(features(), model.project, strict=True)
    ]
    first, second = model.mix.layers
    hidden = torch.cat(parts, 1).relu() @ first.weight + first.bias
    expected = hidden.relu() @ second.weight + second.bias
    torch.testing.assert_close(model.rows(torch.zeros(ENTITIES, DIM), features()), expected)


def test_sgc_is_linear_in_the_last_hops() -> None:
    model = encoder(SIGN, depth=0, last_only=True)
    x, given = torch.zeros(ENTITIES, DIM), [features()[at] for at in model.places]
    whole = [FeatureRows(entity=torch.arange(ENTITIES), value=dense(rows)) for rows in given]

    def scaled(factor: float) -> Tensor:
        rows = tuple(FeatureRows(entity=r.entity, value=factor * r.value) for r in whole)
        out: Tensor = model.rows(x, rows)
        return out

    torch.testing.assert_close(scaled(3.0) - scaled(0.0), 3 * (scaled(1.0) - scaled(0.0)))
    expected = sum(
        rows.value @ linear.weight for rows, linear in zip(whole, model.project, strict=True)
    )
    torch.testing.assert_close(scaled(1.0), expected)


def test_nars_mixes_subsets_feature_by_feature() -> None:
    model, given = encoder(NARS), features()
    assert model.groups == [[0], [1, 2], [3], [4]]
    mean = (given[1].value + given[2].value) / 2
    torch.testing.assert_close(model.mixed(given)[1].value, mean)
    with torch.no_grad():
        model.weight["1"].copy_(torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 1.0]]))
    columns = [given[1].value[:, 0], given[2].value[:, 1]]
    columns.append(2 * given[1].value[:, 2] + given[2].value[:, 2])
    torch.testing.assert_close(model.mixed(given)[1].value, torch.stack(columns, 1))
    assert model.mixed(given)[0] is given[0]


def test_sehgnn_by_hand() -> None:
    model, given = encoder(SeHGNN), features()
    torch.nn.init.constant_(model.fusion.beta, 0.7)
    parts = []
    for rows, project in zip(given, model.project, strict=True):
        h = rows.value @ project.linear.weight + project.linear.bias
        h = (h - h.mean(1, keepdim=True)) / (h.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        parts.append(dense(FeatureRows(entity=rows.entity, value=torch.where(h > 0, h, h / 4))))
    fusion, (linear,) = model.fusion, model.mix.layers
    for i in range(ENTITIES):
        h = torch.stack([part[i] for part in parts])
        logits = (h @ fusion.query) @ (h @ fusion.key).T / 2**0.5
        fused = h + 0.7 * logits.softmax(1) @ (h @ fusion.value)
        expected = fused.flatten().relu() @ linear.weight + linear.bias
        found = model.rows(torch.zeros(ENTITIES, DIM), given)[i]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def spec_of(kind: type[MapEncoder], *, residual: bool = True, **inputs: Any) -> dict[str, Any]:
    about = {"name": kind.__name__, "dim": DIM, "maps": MAPS, "residual": residual}
    return {
        **{"num_entities": ENTITIES, "num_relations": 2, "encoder": about, "inputs": inputs},
        "head": {"num_classes": 2},
    }


@ALL
def test_settings_of_inputs_that_would_change_nothing_are_refused(kind: type[MapEncoder]) -> None:
    """Features reach these encoders in maps, and learned vectors only where they add to them."""
    for inputs, message in (
        ({"dropout": 0.5}, r"inputs\.dropout=0\.5 .* set encoder\.input_dropout"),
        ({"normalize": True}, r"inputs\.normalize=True .* set strategy\.normalize_rows"),
    ):
        with pytest.raises(ConfigError, match=message):
            build_model(spec_of(kind, **inputs), seed=0)
    with pytest.raises(ConfigError, match=r"inputs\.learned=all .* set encoder\.residual=true"):
        build_model(spec_of(kind, residual=False, learned="all"), seed=0)
    for learned in ("missing", "all"):
        assert build_model(spec_of(kind, learned=learned), seed=0).inputs.table is not None
    for residual in (True, False):
        model = build_model(spec_of(kind, residual=residual, learned="none"), seed=0)
        assert model.inputs.table is None


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"encoder\.depth needs an int of at least 0, got -1"):
        encoder(SIGN, depth=-1)
    with pytest.raises(ConfigError, match=r"encoder\.input_dropout needs a share .* got 1"):
        encoder(SeHGNN, input_dropout=1.0)
    with pytest.raises(ConfigError, match=r"encoder\.maps is empty: use strategy=precomputed"):
        SIGN(num_relations=1, dim=2, maps=[])
    with pytest.raises(ValueError, match="reads 5 maps, got 2"):
        encoder(NARS).rows(torch.zeros(ENTITIES, DIM), features()[:2])
