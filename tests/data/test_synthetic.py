"""Made graphs: the same for any chunk, in proportion, with the planted truth as promised."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgscale.data import links
from kgscale.data.academic import Academic
from kgscale.data.audit import Audit
from kgscale.data.draws import Shuffle, Stream
from kgscale.data.planted_rules import PlantedRules
from kgscale.data.splits import SPLITS
from kgscale.data.synthetic import SyntheticGraph
from kgscale.errors import ConfigError
from kgscale.graph.store import prepare

KINDS = ("academic", "rules")
Triple = tuple[str, str, str]


def academic(**settings: Any) -> Academic:
    graph = SyntheticGraph(**settings).graph
    assert isinstance(graph, Academic)
    return graph


def rules(**settings: Any) -> PlantedRules:
    graph = SyntheticGraph(kind="rules", **settings).graph
    assert isinstance(graph, PlantedRules)
    return graph


def by_split(**settings: Any) -> dict[str, list[Triple]]:
    found = defaultdict(list)
    for facts in SyntheticGraph(**settings).read(Audit(), Path()).facts:
        columns = facts.head.to_pylist(), facts.relation.to_pylist(), facts.tail.to_pylist()
        found[facts.split] += list(zip(*columns, strict=True))
    return found


def ends(graph: Academic, relation: str) -> tuple[np.ndarray, np.ndarray]:
    (link,) = [link for link in graph.links() if link.relation == relation]
    return link.draw(np.arange(link.count))


@given(st.integers(1, 3000), st.integers(0, 9))
def test_a_shuffle_is_a_bijection(size: int, seed: int) -> None:
    found = Shuffle(size, Stream(seed, "x"))(np.arange(size))
    assert (np.sort(found) == np.arange(size)).all()


def test_numbers_look_like_chance() -> None:
    index = np.arange(200_000)
    one, other = (Stream(0, name).uniform(index) for name in ("one", "other"))
    assert abs(one.mean() - 0.5) < 0.005
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.01
    assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 0.01
    assert (np.bincount(Stream(0, "one").below(7, index)) > 27_000).all()
    normal = Stream(0, "one").normal(index[:20_000], 5)
    assert normal.shape == (20_000, 5)
    assert np.allclose(np.cov(normal.T), np.eye(5), atol=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_and_threads_change_nothing(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fingerprint(seed: int, threads: int, chunk: int) -> str:
        monkeypatch.setattr(links, "CHUNK", chunk)
        source = SyntheticGraph(kind=kind, edges=3000, seed=seed)
        root = tmp_path / f"{seed}-{threads}-{chunk}"
        return prepare(source, root, threads=threads).fingerprint

    same = {fingerprint(0, 1, 1 << 17), fingerprint(0, 2, 997), fingerprint(0, 2, 3000)}
    assert len(same) == 1
    assert fingerprint(1, 2, 997) not in same


@pytest.mark.parametrize("edges", [5_003, 20_000])
def test_everything_is_in_proportion(edges: int, tmp_path: Path) -> None:
    store = prepare(SyntheticGraph(edges=edges), tmp_path)
    counts = store.manifest["counts"]
    assert sum(store.num_triples.values()) + counts["duplicates"]["open"] == edges
    # About 1 in 14 at 5,000 triples, 1 in 100 at 100,000.
    assert counts["duplicates"]["open"] < 6 * edges**0.5
    size = {kind.name: kind.stop - kind.start for kind in store.types}
    assert size["paper"] == edges // 10
    assert size["author"] == edges // 10 * 4 // 5
    labels = store.labels()
    assert labels is not None
    assert len(labels.names) == 16
    shares = np.bincount(labels.split)[:3] / size["paper"]
    assert np.allclose(shares, [0.6, 0.2, 0.2], atol=0.02)
    (features,) = store.features().values()
    assert features.shape == (size["paper"], 64)
    assert counts["features"]["matrices"][0]["entities_without_row"] == 0


def test_a_feature_belongs_to_its_key(tmp_path: Path) -> None:
    store = prepare(SyntheticGraph(edges=2000, features=4, signal=100.0), tmp_path)
    graph = academic(edges=2000, features=4, signal=100.0)
    (number,) = store.features()
    papers = graph.nodes["paper"]
    index = np.arange(papers.size)
    start, stop = store.types[number].start, store.types[number].stop
    place = {key: at for at, key in enumerate(store.entity_keys([*range(start, stop)]), start)}
    ids = [place[key] for key in papers.keys(index).to_pylist()]
    row = np.array(ids) - start
    (rows,) = graph.feature_rows()
    assert (store.features()[number][row].numpy() == rows.take(index)).all()
    labels = store.labels()
    assert labels is not None
    found = [labels.names[int(at)] for at in labels.label_id[labels.indptr[ids]]]
    assert found == graph.label(index).astype(str).tolist()


def test_degrees_are_a_power_law() -> None:
    graph = academic(edges=100_000)
    cited = np.bincount(ends(graph, "cites")[1])
    assert cited.max() > 30 * cited.mean()
    written = np.bincount(ends(graph, "writes")[0])
    assert written.max() > 30 * written.mean()
    # The share of nodes with degree above d falls like d ** -1.67 (Clauset et al. 2009).
    tail = np.sort(cited)[::-1][:500]
    slope = np.polyfit(np.log(tail[20:]), np.log(np.arange(21, 501)), 1)[0]
    assert -2.1 < slope < -1.3
    citing, target = ends(graph, "cites")
    assert (citing != target).all()


@pytest.mark.parametrize("homophily", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("relation", ["writes", "cites", "has_topic"])
def test_homophily_as_planted(homophily: float, relation: str) -> None:
    graph = academic(edges=50_000, classes=5, homophily=homophily)
    head, tail = ends(graph, relation)
    same = (head % 5 == tail % 5).mean()
    assert abs(same - (homophily + (1 - homophily) / 5)) < 0.02


@pytest.mark.parametrize(("classes", "label_noise"), [(16, 0.1), (2, 0.5), (3, 1.0), (4, 0.0)])
def test_the_ceiling_is_what_the_truth_reaches(classes: int, label_noise: float) -> None:
    source = SyntheticGraph(edges=500_000, classes=classes, label_noise=label_noise)
    graph, index = source.graph, np.arange(50_000)
    assert isinstance(graph, Academic)
    hits = graph.label(index) == graph.topic(index)
    assert abs(hits.mean() - source.ceiling) < 4 * np.sqrt(0.25 / len(index))
    # Noise depends on nothing: it hits every topic alike.
    wrong = np.bincount((graph.label(index) - graph.topic(index))[~hits] % classes)
    if label_noise == 1:
        assert abs(wrong[1] - wrong[2]) < 5 * np.sqrt(wrong.sum())


def test_links_tell_what_features_do_not() -> None:
    """Features alone stay below 0.6 of the ceiling; labels two links away exceed 0.9 of it."""
    graph = academic(edges=100_000)
    size = graph.nodes["paper"].size
    index = np.arange(size)
    label, train = graph.label(index), Stream(1, "split").uniform(index) < 0.6
    votes, seen = np.zeros((size, 16)), np.zeros(size)
    for link in graph.links()[:3]:
        head, tail = link.draw(np.arange(link.count))
        pairs = [(head, tail)] if link.head.type == "paper" else [(tail, head)]
        for paper, other in [*pairs, *((t, h) for h, t in pairs if link.tail is link.head)]:
            told = np.zeros((max(link.head.size, link.tail.size), 16))
            mine = train[paper]
            np.add.at(told, (other[mine], label[paper[mine]]), 1)
            told /= told.sum(1, keepdims=True).clip(min=1)
            np.add.at(votes, paper, told[other])
            np.add.at(seen, paper, 1)
    test = ~train
    assert (votes.argmax(1) == label)[test].mean() > 0.9 * graph.ceiling
    (rows,) = graph.feature_rows()
    features = rows.take(index).astype(np.float32)
    one_hot = np.eye(16)[label[train]] - 1 / 16
    weight = np.linalg.lstsq(features[train], one_hot, rcond=None)[0]
    hits = ((features @ weight).argmax(1) == label)[test].mean()
    assert 2 / 16 < hits < 0.6 * graph.ceiling


def closure(train: set[Triple]) -> set[Triple]:
    """Everything that follows from the four rules, worked out the slow way."""
    known = set(train)
    while True:
        by_head = defaultdict(set)
        for head, relation, tail in known:
            by_head[head, relation].add(tail)
        new = {(t, r, h) for h, r, t in known if r == "married_to"}
        new |= {(t, "child_of", h) for h, r, t in known if r == "parent_of"}
        new |= {
            (h, "works_in", city)
            for h, r, t in known
            if r == "works_for"
            for city in by_head[t, "based_in"]
        }
        new |= {
            (h, "part_of", whole)
            for h, r, t in known
            if r == "part_of"
            for whole in by_head[t, "part_of"]
        }
        if new <= known:
            return known
        known |= new


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_what_is_held_out_follows_from_train(noise: float) -> None:
    found = by_split(kind="rules", edges=5000, noise=noise, split=[0.8, 0.1, 0.1])
    assert set(found) == set(SPLITS)
    truth = closure(set(found["train"]))
    for split in ("valid", "test"):
        held = found[split]
        assert abs(len(held) - 500) < 100
        share = np.mean([triple in truth for triple in held])
        expected = rules(edges=5000, noise=noise).ceiling
        assert abs(share - expected) <= (0.05 if noise else 0)
        if not noise:
            assert not set(held) & set(found["train"])
    assert abs(sum(map(len, found.values())) - 5000) < 10


def test_without_noise_all_that_follows_is_in_the_graph() -> None:
    """So a filtered rank compares the answer with nothing that is as true."""
    found = by_split(kind="rules", edges=5000, noise=0.0)
    everything = {triple for triples in found.values() for triple in triples}
    follows = closure(set(found["train"]))
    beyond = {triple for triple in follows - everything if triple[1] != "part_of"}
    assert not beyond
    entities = {key for head, _, tail in found["train"] for key in (head, tail)}
    assert entities == {key for head, _, tail in everything for key in (head, tail)}


def test_the_source_tells_its_truth() -> None:
    assert SyntheticGraph().ceiling == pytest.approx(1 - 0.1 * 15 / 16)
    assert SyntheticGraph(kind="rules").ceiling == 0.95
    assert "0.9062" in SyntheticGraph().describe()
    assert "95.0%" in SyntheticGraph(kind="rules").describe()
    audit = Audit()
    SyntheticGraph().read(audit, Path())
    assert audit.notes == ["planted truth: nothing can be expected to exceed 0.906250"]


def test_the_digest_knows_what_matters() -> None:
    plain = SyntheticGraph()
    assert plain.stamp() == (plain.digest(), 0.0)
    assert SyntheticGraph(noise=0.1).digest() == plain.digest()
    changed: list[dict[str, Any]] = [
        {"kind": "rules"},
        {"kind": "rules", "noise": 0.1},
        *({name: value} for name, value in (("edges", 99_999), ("classes", 5), ("seed", 1))),
        *({name: 0.3} for name in ("homophily", "label_noise", "signal")),
        {"features": 5},
        {"label_split": [0.8, 0.1, 0.1]},
        {"split": [0.8, 0.1, 0.1]},
    ]
    digests = {SyntheticGraph(**settings).digest() for settings in changed}
    assert len(digests | {plain.digest()}) == len(changed) + 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "social"}, ["data.kind is academic or rules", "'social'"]),
        ({"edges": 0}, ["data.edges", "got 0"]),
        ({"edges": 1000}, ["data.edges is 1,000", "raise it to 1,600", "lower data.classes"]),
        ({"classes": 1}, ["data.classes needs a number from 2", "got 1"]),
        ({"homophily": 1.5}, ["data.homophily needs a number from 0 to 1, got 1.5"]),
        ({"label_noise": -0.1}, ["data.label_noise", "got -0.1"]),
        ({"features": -1}, ["data.features", "got -1"]),
        ({"signal": float("nan")}, ["data.signal", "got nan"]),
        ({"kind": "rules", "noise": 0.9}, ["data.noise needs a number from 0 to 0.5, got 0.9"]),
        ({"kind": "rules", "edges": 100}, ["data.edges needs at least 2,000", "got 100"]),
        ({"kind": "rules", "split": [0.4, 0.3, 0.3]}, ["data.split", "conclusions", "hold out"]),
        ({"split": [0.5, 0.5]}, ["data.split needs three shares"]),
        ({"label_split": [0.5, 0.1, 0.1]}, ["data.label_split needs three shares", "add up to 1"]),
    ],
)
def test_refusals(settings: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        SyntheticGraph(**settings)
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)
