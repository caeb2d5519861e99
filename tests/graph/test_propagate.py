"""Propagated features against dense products, in float64, of small random typed graphs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kgscale.data.triples import TripleFiles
from kgscale.errors import ConfigError
from kgscale.graph.catalog import EntityType
from kgscale.graph.labels import UNLABELLED, NodeLabels
from kgscale.graph.propagate import (
    Ingredients,
    Propagated,
    Propagation,
    map_specs,
    propagate,
    write_maps,
)
from kgscale.graph.propagate import hop as hop_module
from kgscale.graph.propagate import write as write_module
from kgscale.graph.propagate.features import subsets
from kgscale.graph.store import prepare
from kgscale.kernels.propagate import fold_of
from kgscale.types import Triples
from tests.graphs import adjacency, graphs, propagated

FEW = settings(max_examples=6)
Graph = tuple[Triples, int, int]
CLASSES = 3


def typed(graph: Graph, seed: int, *, types: int = 2, featured: int = 1) -> Ingredients:
    """Entities of one or two types; features of the first, and labels of the last."""
    triples, entities, relations = graph
    generator = torch.Generator().manual_seed(seed)
    bounds = [0, entities // 2, entities][-types - 1 :] if types == 2 else [0, entities]
    kinds = [
        EntityType(name=name, start=start, stop=stop)
        for name, start, stop in zip("ab", bounds[:-1], bounds[1:], strict=False)
    ]
    features = {
        at: torch.randn(kind.stop - kind.start, 2 + at, generator=generator)
        for at, kind in enumerate(kinds[:featured])
    }
    labelled = torch.rand(entities, generator=generator) < 0.8
    labelled[: kinds[-1].start] = False
    labelled[-1] = True
    degree = labelled.long() * torch.randint(1, 3, (entities,), generator=generator)
    classes = [torch.randperm(CLASSES, generator=generator)[:d].sort().values for d in degree]
    split = torch.randint(2, (entities,), generator=generator)
    split[~labelled] = UNLABELLED
    return Ingredients(
        graph=adjacency(triples, num_entities=entities, num_relations=relations),
        types=kinds,
        features=features,
        relation_names=[f"r{number}" for number in range(relations)],
        labels=NodeLabels(
            indptr=torch.cat([torch.zeros(1).long(), degree.cumsum(0)]),
            label_id=torch.cat(classes).int(),
            split=split.to(torch.uint8),
            names=[f"c{number}" for number in range(CLASSES)],
        ),
    )


def made(given: Ingredients, settings: Propagation) -> Propagated:
    return propagated(given)(settings)


def dense_maps(maps: Propagated, fold: int | None = None) -> dict[tuple[str, int], Tensor]:
    """By name and first entity, the rows of each map."""
    found = {}
    for spec, rows in zip(maps.maps, maps.gather(torch.arange(1000), fold=fold), strict=True):
        assert rows.entity.tolist() == list(range(spec.start, spec.stop))
        assert rows.value.shape == (spec.stop - spec.start, spec.dim)
        found[spec.name, spec.start] = rows.value
    assert len(found) == len(maps.maps), "names tell maps apart"
    return found


def edges(given: Ingredients, relations: set[int]) -> Tensor:
    """How many edges of some relations lead to each entity (row) from each (column)."""
    graph = given.graph
    row = torch.arange(len(graph.indptr) - 1).repeat_interleave(graph.indptr.long().diff())
    count = torch.zeros(len(graph.indptr) - 1, len(graph.indptr) - 1, dtype=torch.float64)
    for i, j, r in zip(row.tolist(), graph.source.tolist(), graph.relation.tolist(), strict=True):
        count[i, j] += r in relations
    return count


def between(count: Tensor, source: EntityType, target: EntityType) -> Tensor:
    found = torch.zeros_like(count)
    rows, columns = slice(target.start, target.stop), slice(source.start, source.stop)
    found[rows, columns] = count[rows, columns]
    return found


def mean(count: Tensor) -> Tensor:
    return count / count.sum(1, keepdim=True).clamp(min=1)


def every(given: Ingredients) -> set[int]:
    return set(range(2 * given.graph.num_relations))


def padded(given: Ingredients, at: int) -> Tensor:
    kind = given.types[at]
    x = torch.zeros(given.types[-1].stop, given.features[at].shape[1], dtype=torch.float64)
    x[kind.start : kind.stop] = given.features[at].double()
    return x


def close(found: Tensor, expected: Tensor, *, half: bool = False) -> None:
    tolerance = {"rtol": 2e-3, "atol": 1e-3} if half else {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(found.double(), expected, **tolerance)


@FEW
@given(graphs(), st.integers(0, 99), st.sampled_from([0, 3]))
def test_all_relations_together(graph: Graph, seed: int, folds: int) -> None:
    given = typed(graph, seed, featured=2)
    maps = dense_maps(made(given, Propagation(hops=2, folds=folds)))
    whole = EntityType(name="", start=0, stop=graph[1])
    count = edges(given, every(given))
    target = whole if folds else given.types[1]
    for at, kind in enumerate(given.types):
        one = mean(between(count, kind, whole)) @ padded(given, at)
        for hop, expected in (("1 hop", one), ("2 hops", mean(count) @ one)):
            found = maps.pop((f"{hop} from {kind.name}", target.start))
            close(found, expected[target.start : target.stop])
        if folds or kind == target:
            assert torch.equal(maps.pop((kind.name, kind.start)), given.features[at])
    assert not maps


@FEW
@given(graphs(), st.integers(0, 99))
def test_symmetric_with_self_loops(graph: Graph, seed: int) -> None:
    given = typed(graph, seed, types=1)
    maps = dense_maps(made(given, Propagation(hops=2, normalize="symmetric")))
    count = edges(given, every(given)) + torch.eye(graph[1])
    root = count.sum(1).rsqrt()
    step = root[:, None] * count * root
    close(maps["1 hop from a", 0], step @ padded(given, 0))
    close(maps["2 hops from a", 0], step @ step @ padded(given, 0))


def test_rows_are_normalised_before_they_are_propagated() -> None:
    given = typed((torch.tensor([[0, 0, 1], [1, 0, 2], [0, 0, 4]]), 5, 1), 1, featured=2)
    x = {at: torch.nn.functional.normalize(x, p=1.0) for at, x in given.features.items()}
    one = dense_maps(made(given, Propagation(hops=2, folds=2, normalize_rows=True)))
    other = dense_maps(made(replace(given, features=x), Propagation(hops=2, folds=2)))
    assert one.keys() == other.keys()
    for key, rows in one.items():
        close(rows, other[key].double())


@FEW
@given(graphs(), st.integers(0, 99), st.booleans(), st.integers(1, 2))
def test_metapaths(graph: Graph, seed: int, links: bool, featured: int) -> None:
    given = typed(graph, seed, featured=featured)
    settings = Propagation(hops=2, paths="metapaths", max_paths=1000, folds=2 if links else 0)
    maps = dense_maps(made(given, settings))
    counts = {relation: edges(given, {relation}) for relation in every(given)}
    targets = given.types if links else given.types[1:]
    for at, length in product(given.features, (0, 1, 2)):
        ways = product(every(given), given.types, repeat=length)
        for flat in ways:
            steps = list(zip(flat[::2], flat[1::2], strict=True))
            x, kind, name, occurs = padded(given, at), given.types[at], given.types[at].name, True
            for relation, to in steps:
                count = between(counts[relation], kind, to)
                occurs &= bool(count.any())
                x, kind = mean(count) @ x, to
                name = f"{kind.name}<-{given.relation_name(relation)}<-{name}"
            if occurs and kind in targets:
                close(maps.pop((name, kind.start)), x[kind.start : kind.stop])
    assert not maps


@FEW
@given(graphs(), st.integers(0, 99))
def test_subsets(graph: Graph, seed: int) -> None:
    given = typed(graph, seed, types=1)
    settings = Propagation(hops=2, paths="subsets", subsets=3, seed=seed)
    maps = dense_maps(made(given, settings))
    assert torch.equal(maps.pop(("a", 0)), given.features[0])
    chosen = subsets(graph[2], number=3, seed=seed)
    assert chosen[0].all()
    assert all(subset.any() for subset in chosen)
    assert len({tuple(subset.tolist()) for subset in chosen}) == min(3, 2 ** graph[2] - 1)
    for number, subset in enumerate(chosen):
        relations = set(subset.repeat(2).nonzero()[:, 0].tolist())
        x, step = padded(given, 0), mean(edges(given, relations))
        for hop in ("1 hop", "2 hops"):
            x = step @ x
            close(maps.pop((f"{hop} from a by subset {number}", 0)), x)
    assert not maps


def train_rows(given: Ingredients) -> Tensor:
    labels = given.labels
    assert labels is not None
    y = torch.zeros(len(labels.split), CLASSES, dtype=torch.float64)
    for i in (labels.split == 0).nonzero()[:, 0].tolist():
        y[i, labels.label_id[labels.indptr[i] : labels.indptr[i + 1]].long()] = 1
    return y


@FEW
@given(graphs(), st.integers(0, 99), st.integers(1, 2))
def test_labels_along_all_relations(graph: Graph, seed: int, types: int) -> None:
    given = typed(graph, seed, types=types)
    kind = given.types[-1]
    maps = dense_maps(made(given, Propagation(hops=0, label_hops=2)))
    count = edges(given, every(given))
    one = mean(between(count, kind, EntityType(name="", start=0, stop=graph[1])))
    name = ""
    for walk in (one, mean(count) @ one):
        name += "all relations<-"
        expected = (walk - walk.diag().diag()) @ train_rows(given)
        found = maps[f"labels: {name}{kind.name}", kind.start]
        close(found, expected[kind.start : kind.stop], half=True)


@FEW
@given(graphs(), st.integers(0, 99), st.integers(1, 2))
def test_labels_along_metapaths(graph: Graph, seed: int, types: int) -> None:
    given = typed(graph, seed, types=types)
    end = given.types[-1]
    settings = Propagation(hops=0, paths="metapaths", label_hops=2)
    maps = {
        key: map for key, map in dense_maps(made(given, settings)).items() if "labels" in key[0]
    }
    counts = {relation: edges(given, {relation}) for relation in every(given)}
    for first, kind, second in product(every(given), given.types, [None, *every(given)]):
        count = between(counts[first], end, kind)
        name, walk, occurs = (
            f"{kind.name}<-{given.relation_name(first)}<-{end.name}",
            mean(count),
            count.any(),
        )
        if second is not None:
            count = between(counts[second], kind, end)
            occurs &= count.any()
            name, walk = f"{end.name}<-{given.relation_name(second)}<-{name}", mean(count) @ walk
        if occurs and (second is not None or kind == end):
            expected = (walk - walk.diag().diag()) @ train_rows(given)
            found = maps.pop((f"labels: {name}", end.start))
            close(found, expected[end.start : end.stop], half=True)
    assert not maps


@FEW
@given(graphs(), st.integers(0, 99), st.sampled_from(["all", "metapaths"]), st.data())
def test_nothing_is_left_of_an_entitys_own_label(
    graph: Graph, seed: int, paths: str, data: st.DataObject
) -> None:
    given = typed(graph, seed, types=1)
    labels = given.labels
    assert labels is not None
    train = (labels.split == 0).nonzero()[:, 0].tolist()
    entity = data.draw(st.sampled_from(train)) if train else 0
    mine = slice(int(labels.indptr[entity]), int(labels.indptr[entity + 1]))
    other = labels.label_id.clone()
    other[mine] = (other[mine] + 1) % CLASSES
    changed = replace(given, labels=replace(labels, label_id=other))
    settings = Propagation(hops=0, paths=paths, label_hops=2)  # type: ignore[arg-type]
    one, two = (made(parts, settings).gather(torch.tensor([entity])) for parts in (given, changed))
    for before, after in zip(one, two, strict=True):
        assert torch.equal(before.value, after.value)


WAYS = [
    Propagation(hops=2, folds=2, profile=3),
    Propagation(hops=1, folds=2, normalize="symmetric"),
    Propagation(hops=2, folds=2, paths="subsets", subsets=2),
    Propagation(hops=1, folds=2, paths="metapaths", profile=2),
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way.paths} {way.normalize}")
@pytest.mark.parametrize("featured", [0, 1])
@settings(max_examples=2)
@given(graphs(), st.integers(0, 99))
def test_a_fold_equals_the_graph_without_its_triples(
    way: Propagation, featured: int, graph: Graph, seed: int
) -> None:
    way = replace(way, seed=seed)
    types = 1 if way.normalize == "symmetric" else 2
    maps = made(typed(graph, seed, types=types, featured=featured), way)
    fold = fold_of(torch.arange(len(graph[0])), folds=2, seed=seed)
    assert maps.num_folds == 2
    for hidden in range(2):
        rest = (graph[0][fold != hidden], *graph[1:])
        other = typed(rest, seed, types=types, featured=featured)
        expected = dense_maps(made(other, way))
        for key, rows in dense_maps(maps, hidden).items():
            # Of a relation that is in no other fold, the smaller graph has no map.
            close(rows, expected.get(key, torch.zeros_like(rows)).double(), half=True)


@settings(max_examples=40)
@given(graphs(), st.integers(0, 99), st.data())
def test_what_maps_will_be_is_known_before_they_are_made(
    graph: Graph, seed: int, data: st.DataObject
) -> None:
    types, featured = data.draw(st.integers(1, 2)), data.draw(st.integers(0, 2))
    given = typed(graph, seed, types=types, featured=min(types, featured))
    paths = data.draw(st.sampled_from(["all", "subsets", "metapaths"]))
    folds = data.draw(st.sampled_from([0, 2]))
    way = Propagation(
        hops=data.draw(st.integers(0, 2)),
        paths=paths,
        normalize="symmetric" if paths == "all" and types == 1 and seed % 2 else "mean",
        normalize_rows=data.draw(st.booleans()),
        subsets=data.draw(st.integers(1, 3)),
        label_hops=0 if folds else data.draw(st.integers(0, 2)),
        folds=folds,
        profile=data.draw(st.integers(1, 8)),
        max_paths=10_000,
        seed=seed,
    )
    assert map_specs(given, way) == made(given, way).maps


def test_no_row_is_written_to_know_what_maps_will_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hop_module, "NpyWriter", None)
    given = typed((torch.tensor([[0, 0, 1], [1, 1, 2], [3, 0, 1]]), 4, 2), 0, featured=0)
    for paths in ("all", "subsets", "metapaths"):
        map_specs(given, Propagation(paths=paths, label_hops=2))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("paths", ["all", "subsets"])
def test_a_hop_stays_on_disk_only_for_the_next(tmp_path: Path, paths: str) -> None:
    """Entities of two types and maps of one: what leads there is no map itself."""
    given = typed((torch.tensor([[0, 0, 3], [3, 0, 2], [1, 0, 2]]), 4, 1), 0)
    aside: list[int] = []

    def look(text: str) -> None:
        scratch = [file for file in tmp_path.glob("*/*.npy") if file.parent.name != "whole"]
        aside.append(len(scratch))

    write_maps(tmp_path, given, Propagation(hops=5, paths=paths), tell=look)  # type: ignore[arg-type]
    assert max(aside) == 1


@FEW
@given(graphs())
def test_profiles_count_relations(graph: Graph) -> None:
    given = typed(graph, 0, types=1, featured=0)
    found = dense_maps(made(given, Propagation(hops=0, folds=2)))["a", 0]
    counts = torch.stack([edges(given, {relation}).sum(1) for relation in sorted(every(given))], 1)
    expected = torch.nn.functional.normalize(counts.log1p())
    close(found, expected, half=True)
    short = dense_maps(made(given, Propagation(hops=0, folds=2, profile=1)))["a", 0]
    assert short.shape == (graph[1], 1)


@pytest.mark.parametrize("way", [*WAYS[:2], Propagation(hops=1, label_hops=2)])
def test_blocks_change_nothing(way: Propagation, monkeypatch: pytest.MonkeyPatch) -> None:
    triples = torch.unique(torch.randint(9, (40, 3)) % torch.tensor([9, 2, 9]), dim=0)
    given = typed((triples, 9, 2), 0, types=1)
    expected = dense_maps(made(given, way))
    monkeypatch.setattr(hop_module, "EDGES", 5)
    monkeypatch.setattr(hop_module, "BYTES", 24)
    found = dense_maps(made(given, way))
    assert found.keys() == expected.keys()
    for key, rows in expected.items():
        close(found[key], rows.double())


def test_halves_stay_halves(tmp_path: Path) -> None:
    triples = torch.tensor([[0, 0, 1], [1, 0, 2]])
    given = typed((triples, 3, 1), 0, types=1)
    given = replace(given, features={0: torch.tensor([[1.0], [2.0], [4.0]]).half()})
    write_maps(tmp_path, given, Propagation(hops=1))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["maps.json", "whole"]
    found = Propagated.open(tmp_path, given.features)
    assert found._whole[1].dtype == torch.float16
    assert found._whole[1].tolist() == [[2], [2.5], [2]]
    some = found.gather(torch.tensor([2, 1]))
    assert [rows.value.dtype for rows in some] == [torch.float32] * 2
    assert some[1].value.tolist() == [[2], [2.5]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hops": -1}, r"strategy\.hops needs an int of at least 0, got -1"),
        ({"normalize": "symmetric", "paths": "subsets"}, r"set strategy\.normalize=mean"),
        ({"label_hops": 3}, "is 0, 1 or 2, got 3"),
        ({"label_hops": 1, "folds": 2}, r"set strategy\.label_hops=0"),
        ({"folds": 1}, "at least 2"),
    ],
)
def test_senseless_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Propagation(**settings)  # type: ignore[arg-type]


def test_what_the_graph_does_not_allow_is_refused(tmp_path: Path) -> None:
    triples = torch.tensor([[0, 0, 1], [1, 1, 2], [3, 0, 1]])
    given = typed((triples, 4, 2), 0)
    for way, message in (
        (Propagation(paths="metapaths", max_paths=3), r"has 6 sequences of up to 2 relations"),
        (Propagation(normalize="symmetric"), "entities of one type, and there are 2"),
    ):
        with pytest.raises(ConfigError, match=message):
            write_maps(tmp_path, given, way)
    with pytest.raises(ConfigError, match="questions about labels"):
        write_maps(tmp_path, replace(given, labels=None), Propagation())


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Propagation]:
    """Settings for which maps were made."""
    seen: list[Propagation] = []
    write: Callable[..., None] = write_module.write_maps

    def counting(
        directory: Path, given: Ingredients, settings: Propagation, **rest: object
    ) -> None:
        seen.append(settings)
        write(directory, given, settings, **rest)

    monkeypatch.setattr(write_module, "write_maps", counting)
    return seen


def test_made_once_and_whole_or_not_at_all(tmp_path: Path, counted: list[Propagation]) -> None:
    (tmp_path / "x.tsv").write_text(
        "".join(f"e{i}\tr\te{i * 7 % 20}\n" for i in range(20)), "utf-8"
    )
    store = prepare(TripleFiles(path=tmp_path / "x.tsv"), tmp_path / "stores")
    settings = Propagation(hops=2, folds=2)

    def stop(text: str) -> None:
        if "fold 2" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        propagate(store, settings, tell=stop)
    assert not list((store.path / "derived").iterdir())
    first = propagate(store, settings)
    again = propagate(store, replace(settings, max_paths=5, subsets=3))
    assert len(counted) == 2
    assert first.specs() == again.specs()
    for one, two in zip(
        first.gather(torch.arange(20), fold=1), again.gather(torch.arange(20), fold=1), strict=True
    ):
        assert torch.equal(one.value, two.value)
    propagate(store, replace(settings, seed=1))
    propagate(store, replace(settings, hops=1))
    assert len(counted) == 4
