"""Entities that are told by anchors and relations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import kgscale
from kgscale.batch import FeatureRows, TokenRows
from kgscale.data.triples import TripleFiles
from kgscale.errors import ConfigError
from kgscale.graph.anchors import AnchorSettings, choose_anchors, find_anchors
from kgscale.graph.store import prepare
from kgscale.models.inputs import EntityInput
from kgscale.tasks.runs import LinkRun
from tests.graphs import adjacency, random_triples

SETTINGS: dict[str, Any] = {
    "count": 3, "nearest": 2, "hops": 2, "relations": 1, "num_relations": 2, "width": 4,
}  # fmt: skip


def inputs(features: int = 0) -> EntityInput:
    return EntityInput(
        types=[{"start": 0, "stop": 9, "features": features}],
        dim=5,
        learned="anchors",
        anchors=SETTINGS,
        generator=torch.Generator().manual_seed(0),
    ).eval()


def tokens() -> TokenRows:
    return TokenRows(
        anchor=torch.tensor([[0, 2], [1, 3]]),
        hop=torch.tensor([[0, 1], [2, 3]]),
        relation=torch.tensor([[1], [4]]),
    )


def test_by_hand() -> None:
    module = inputs()
    told = module.anchored
    assert told is not None
    assert module.table is None
    found = module(torch.tensor([4, 7]), (tokens(),))
    rows = [
        [told.anchor[0] + told.hop[0], told.anchor[2] + told.hop[1], told.relation[1]],
        [told.anchor[1] + told.hop[2], told.anchor[3] + told.hop[3], told.relation[4]],
    ]
    expected = [told.last(told.first(torch.cat(row)).relu()) for row in rows]
    torch.testing.assert_close(found, torch.stack(expected))


def test_features_are_added() -> None:
    module, ids = inputs(features=3), torch.tensor([4, 7])
    value = torch.randn(1, 3)
    given = FeatureRows(entity=torch.tensor([1]), value=value)
    found = module(ids, (given, tokens()))
    plain = inputs(features=3)
    plain.load_state_dict(module.state_dict())
    without = FeatureRows(entity=torch.tensor([], dtype=torch.int64), value=value[:0])
    other = plain(ids, (without, tokens()))
    torch.testing.assert_close(found[0], other[0])
    torch.testing.assert_close(found[1] - other[1], module.maps[0](value)[0])


def test_all_of_it_learns_and_none_of_it_grows_with_the_graph() -> None:
    module = inputs()
    module(torch.tensor([4, 7]), (tokens(),)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())
    assert [len(vector) for vector in module.vectors()] == [4, 4, 5]


def test_most_anchors_are_those_with_most_edges() -> None:
    triples = random_triples(400, num_entities=50, num_relations=2)
    graph = adjacency(triples, num_entities=50, num_relations=2)
    degree = graph.indptr.long().diff()
    found = choose_anchors(graph, 10, seed=0)
    assert len(found.unique()) == 10
    assert degree[found[:8]].tolist() == degree.sort(descending=True).values[:8].tolist()
    assert not torch.equal(found[8:], choose_anchors(graph, 10, seed=1)[8:])
    assert sorted(choose_anchors(graph, 80, seed=0).tolist()) == list(range(50))


def test_no_anchor_has_the_same_number_in_every_graph(tmp_path: Path) -> None:
    """That of the settings, also where a graph has fewer entities than they want anchors."""
    file = tmp_path / "x.tsv"
    file.write_text("a\tr\tb\nc\tr\td\n")
    store = prepare(TripleFiles(path=str(file), split=(1.0, 0.0, 0.0)), tmp_path)
    settings = AnchorSettings(count=50, nearest=3, hops=2, relations=1)
    found = find_anchors(store, settings).gather(torch.arange(4))
    assert (found.anchor[:, :2] < 4).all()
    assert found.anchor[:, 2].tolist() == [50] * 4
    assert found.hop.tolist() == [[0, 1, 3]] * 4


@pytest.mark.parametrize("name", ["count", "nearest", "hops", "relations"])
def test_settings_that_make_no_sense(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"inputs\.anchors\.{name} needs a positive int, got 0"):
        AnchorSettings(**{name: 0})


SMALL = (
    "data=synthetic",
    "data.kind=rules",
    "data.edges=3000",
    "inputs.learned=anchors",
    "inputs.anchors={count: 40, nearest: 5, hops: 3, relations: 4, width: 8}",
    "encoder.dim=16",
    "trainer.threads=1",
    "predictions.count=0",
)


@pytest.mark.parametrize("encoder", ["embedding", "compgcn"])
def test_it_learns_and_is_opened_again(encoder: str, tmp_path: Path) -> None:
    own = (f"root={tmp_path / 'outputs'}", f"store.root={tmp_path / 'stores'}")
    run = kgscale.train(*SMALL, *own, f"encoder={encoder}", "trainer.max_epochs=4", quiet=True)
    assert isinstance(run, LinkRun)
    results = json.loads((run.directory / "results.json").read_text())
    found = results["metrics"]["valid"]["mrr"]
    assert found > 5 / run.store.num_entities
    assert run.evaluate("valid").overall()["mrr"] == pytest.approx(found, abs=1e-6)
    held = sum(p.numel() for p in run.model.inputs.parameters())
    assert held < 16 * run.store.num_entities / 2
    assert len(list(run.store.path.glob("derived/anchors-*"))) == 1


def test_no_encoder_of_maps() -> None:
    with pytest.raises(ConfigError, match=r"use strategy=neighbor with encoder=embedding"):
        kgscale.train(*SMALL, "encoder=sign", "strategy=precomputed", quiet=True)


def test_a_setting_that_is_none() -> None:
    with pytest.raises(ConfigError, match=r"no setting inputs\.anchors\.near.* did you mean"):
        kgscale.train(*SMALL, "inputs.anchors.near=4", quiet=True)
