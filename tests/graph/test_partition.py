"""Parts of a store: made once, whole, within their size; what they keep together adds up."""

from __future__ import annotations

import random
from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import given

from kgscale.data.triples import TripleFiles
from kgscale.errors import ConfigError, ResourceError
from kgscale.graph import metis as metis_module
from kgscale.graph import partition as partition_module
from kgscale.graph.metis import available_bytes, metis, metis_bytes
from kgscale.graph.partition import Method, edges_inside, partition, random_parts
from kgscale.graph.store import GraphStore, prepare
from kgscale.kernels.partition import capacity
from kgscale.types import Triples
from tests.graphs import adjacency, graphs

METHODS = get_args(Method)
GROUPS, SIZE = 8, 40


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> GraphStore:
    """Groups of 40 with six edges an entity inside, some of them twice, and one outside."""
    root = tmp_path_factory.mktemp("partition")
    draw = random.Random(0)
    entities = [f"e{number}" for number in range(GROUPS * SIZE)]
    draw.shuffle(entities)
    lines = []
    for at, entity in enumerate(entities):
        group = entities[at // SIZE * SIZE :][:SIZE]
        for other in draw.sample(group, 6):
            lines += [f"{entity}\t{relation}\t{other}\n" for relation in draw.choice(["r", "rs"])]
        lines.append(f"{entity}\tt\t{draw.choice(entities)}\n")
    (root / "x.tsv").write_text("".join(sorted(set(lines))), "utf-8")
    return prepare(TripleFiles(path=root / "x.tsv"), root / "stores")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("parts", [1, 5, GROUPS, 30])
def test_every_entity_is_in_one_part_of_limited_size(
    store: GraphStore, method: Method, parts: int
) -> None:
    found = partition(store, parts=parts, method=method)
    assert found.num_parts == parts
    assert found.part.dtype == torch.int32
    assert len(found.part) == store.num_entities
    sizes = found.indptr.diff()
    assert sizes.max() <= capacity(store.num_entities, parts, 1.05)
    assert torch.equal(sizes, found.part.bincount(minlength=parts))
    assert torch.equal(found.member.long(), found.part.argsort(stable=True)), "parts ascend"


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"random"}))
def test_groups_are_found(store: GraphStore, method: Method) -> None:
    found, chance = (
        edges_inside(store.adjacency(), partition(store, parts=GROUPS, method=kind).part).total()
        for kind in (method, "random")
    )
    assert chance < 0.2
    assert found > 0.75, "nine of ten lie within a group"


def test_random_parts_are_equal_and_seeded() -> None:
    part = random_parts(23, parts=5, seed=1)
    assert sorted(part.bincount().tolist()) == [4, 4, 5, 5, 5]
    assert torch.equal(part, random_parts(23, parts=5, seed=1))
    assert not torch.equal(part, random_parts(23, parts=5, seed=2))


def test_metis_is_seeded(store: GraphStore) -> None:
    torch.manual_seed(0)
    cuts = [metis(store.adjacency(), parts=7, balance=1.05, seed=seed) for seed in (0, 1, 0, -1)]
    assert torch.equal(cuts[0], cuts[2])
    assert not torch.equal(cuts[0], cuts[1])


def test_made_once_per_settings(store: GraphStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first = partition(store, parts=6, method="ldg", seed=3)
    made: list[object] = []
    cut = partition_module.cut
    monkeypatch.setattr(partition_module, "cut", lambda *a, **b: (made.append(b), cut(*a, **b))[1])
    again = partition(GraphStore.open(store.path), parts=6, method="ldg", seed=3)
    assert torch.equal(first.part, again.part)
    assert not made
    partition(store, parts=6, method="ldg", seed=4)
    partition(store, parts=6, method="ldg", seed=3, passes=2)
    partition(store, parts=6, method="ldg", seed=3, balance=1.2)
    assert len(made) == 3
    for settings in ({}, {"passes": 7}, {"balance": 1.3}):
        partition(store, parts=6, method="random", **settings)
    assert len(made) == 4, "random parts depend on neither"


def test_what_is_opened_cannot_be_changed(store: GraphStore) -> None:
    found = partition(store, parts=6, method="random")
    before = found.part.clone()
    found.part.fill_(0)
    assert torch.equal(partition(store, parts=6, method="random").part, before)


def test_auto_is_metis_where_it_fits_and_stays_what_it_was(
    store: GraphStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"parts": 9, "method": "auto"}
    assert partition(store, **settings).method == "metis"
    monkeypatch.setattr(metis_module, "available_bytes", lambda: 1000)
    assert partition(store, **settings).method == "metis"
    assert partition(store, **settings, seed=1).method == "ldg"


def test_metis_beyond_memory_is_refused(store: GraphStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metis_module, "available_bytes", lambda: 1000)
    with pytest.raises(ResourceError, match=r"set strategy\.method=ldg"):
        partition(store, parts=11, method="metis")
    monkeypatch.undo()
    assert partition(store, parts=11, method="metis").method == "metis", "nothing was left over"


def test_memory() -> None:
    assert 1 << 20 < available_bytes() < 1 << 50
    assert metis_bytes(10, 100) < metis_bytes(20, 100) < metis_bytes(20, 200)


def test_memory_of_a_control_group(tmp_path: Path) -> None:
    assert metis_module._group_bytes(tmp_path) == metis_module.UNLIMITED
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 50\nactive_file 7\n")
    for limit, left in (("max", metis_module.UNLIMITED), ("1000", 350), ("600", 0)):
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        assert metis_module._group_bytes(tmp_path) == left


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"parts": 0}, r"strategy\.parts must lie between 1 and the 320 entities .* got 0"),
        ({"parts": 321}, r"strategy\.parts .* got 321: a part of a few hundred"),
        ({"method": "louvain"}, r"strategy\.method is one of .*metis.* got 'louvain'"),
        ({"balance": 0.9}, r"strategy\.balance must be at least 1 .* got 0\.9"),
        ({"balance": float("nan")}, r"strategy\.balance .* got nan"),
        ({"balance": float("inf")}, r"strategy\.balance .* got inf"),
        ({"passes": 0}, r"strategy\.passes must be at least 1, got 0"),
    ],
)
def test_refusals(store: GraphStore, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        partition_module._check(
            **{
                "num_entities": store.num_entities,
                "parts": 4,
                "method": "ldg",
                "balance": 1.05,
                "passes": 1,
            }
            | settings
        )


def test_a_refusal_comes_before_any_work(store: GraphStore) -> None:
    with pytest.raises(ConfigError, match=r"got 321"):
        partition(store, parts=321, method="random")
    assert not list((store.path / "derived").glob(".*"))


def test_shares_by_hand() -> None:
    """Parts {0, 1} and {2, 3}: 0-r-1 and the loop 2-r-2 stay inside, 1-r-2 and 3-s-0 don't."""
    triples = torch.tensor([[0, 0, 1], [1, 0, 2], [2, 0, 2], [3, 1, 0]])
    graph = adjacency(triples, num_entities=4, num_relations=3)
    found = edges_inside(graph, torch.tensor([0, 0, 1, 1]).int())
    assert found.inside.tolist() == [2, 0, 0]
    assert found.edges.tolist() == [3, 1, 0]
    torch.testing.assert_close(
        found.share(), torch.tensor([2 / 3, 0, torch.nan]).double(), equal_nan=True
    )
    assert found.total() == 0.5


@given(graphs())
def test_shares_count_every_triple_once(graph: tuple[Triples, int, int]) -> None:
    triples, num_entities, num_relations = graph
    part = random_parts(num_entities, parts=2, seed=0)
    found = edges_inside(
        adjacency(triples, num_entities=num_entities, num_relations=num_relations), part
    )
    head, relation, tail = triples.T
    inside = relation[part[head] == part[tail]]
    assert torch.equal(found.edges, relation.bincount(minlength=num_relations))
    assert torch.equal(found.inside, inside.bincount(minlength=num_relations))
