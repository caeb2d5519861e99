"""A survey against a slow one, and against what was planted."""

from __future__ import annotations

from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgscale.data.synthetic import SyntheticGraph
from kgscale.data.triples import TripleFiles
from kgscale.errors import ConfigError
from kgscale.graph.store import prepare
from kgscale.graph.survey import pieces
from kgscale.graph.survey import survey as module
from kgscale.graph.survey.counts import Survey
from kgscale.graph.survey.pieces import AllFacts
from kgscale.graph.survey.survey import SurveySettings, count, make_survey, survey
from tests.graph.test_store import given_splits, write
from tests.graphs import adjacency

SPLITS = ("train", "valid", "test")
Fact = tuple[int, int, int]
Graph = tuple[list[Fact], list[int], int, int]
"""Facts, those of train first; sizes of splits; numbers of entities and of relations."""
LOOSE = SurveySettings(overlap=0.5, density=0.5, least=2)
WANTED = [LOOSE, SurveySettings(overlap=0.8, density=0.8, least=3)]


def splits_of(facts: AllFacts) -> dict[Fact, int]:
    """The split of each fact, read off the in-edges."""
    graph, ends = facts.graph, [sum(facts.sizes[: at + 1]) for at in range(3)]
    found = {}
    for target in range(facts.num_entities):
        for edge in range(int(graph.indptr[target]), int(graph.indptr[target + 1])):
            relation, triple = int(graph.relation[edge]), int(graph.triple[edge])
            if relation < graph.num_relations:
                fact = int(graph.source[edge]), relation, target
                found[fact] = next(at for at, end in enumerate(ends) if triple < end)
    return found


def slow(facts: AllFacts, wanted: SurveySettings) -> dict[str, Any]:
    """The same from sets, fact by fact; relations have a direction."""
    split_of = splits_of(facts)
    first = {
        split: {fact for fact, own in split_of.items() if own == at}
        for at, split in enumerate(SPLITS)
    }
    train, known = first["train"], set(split_of)
    relations = range(facts.num_relations)
    pairs = {r: {(h, t) for h, s, t in known if s == r} for r in relations}
    turned = {r: {(t, h) for h, t in pairs[r] if h != t} for r in relations}
    related = []
    for one, other in combinations(relations, 2):
        straight = {(h, t) for h, t in pairs[one] if h != t}
        for kind, left, right in (
            ("duplicate", pairs[one], pairs[other]),
            ("inverse", straight, turned[other]),
        ):
            common = len(left & right)
            if common >= wanted.least:
                shares = common / len(left), common / len(right)
                if min(shares) > wanted.overlap:
                    related.append((kind, one, other, common, *shares))
    partners = {
        kind: {
            (a, b)
            for k, one, other, *_ in related
            if k == kind
            for a, b in ((one, other), (other, one))
        }
        for kind in ("duplicate", "inverse")
    }

    def tells(fact: Fact, other: Fact) -> set[str]:
        (h, r, t), (g, s, u) = fact, other
        kinds = set()
        if h != t and (g, u) == (t, h):
            kinds |= {"reverse"} if r == s else set()
            kinds |= {"inverse"} if (r, s) in partners["inverse"] else set()
        if (g, u) == (h, t) and (r, s) in partners["duplicate"]:
            kinds |= {"duplicate"}
        return kinds

    degree = dict.fromkeys(range(facts.num_entities), 0)
    for h, _, t in train:
        degree[h] += 1
        degree[t] += 1
    component = {entity: {entity} for entity in degree}
    for h, _, t in train:
        both = component[h] | component[t]
        for entity in both:
            component[entity] = both
    held_out, told_of = {}, dict.fromkeys(relations, 0)
    for split in SPLITS[1:]:
        counts = dict.fromkeys(
            ("facts", "reverse", "inverse", "duplicate", "told", "joined", "unseen", "apart"), 0
        )
        for fact in first[split]:
            h, r, t = fact
            kinds = set().union(*(tells(fact, other) for other in train))
            counts["facts"] += 1
            for kind in kinds:
                counts[kind] += 1
            counts["told"] += bool(kinds)
            told_of[r] += bool(kinds) and split == "test"
            counts["joined"] += any({g, u} == {h, t} for g, _, u in train)
            unseen = not degree[h] or not degree[t]
            counts["unseen"] += unseen
            counts["apart"] += not unseen and t not in component[h]
        held_out[split] = counts
    rows = []
    for r in relations:
        heads, tails = {h for h, _ in pairs[r]}, {t for _, t in pairs[r]}
        straight_ = len(pairs[r]) - sum(h == t for h, t in pairs[r])
        both_ways = len(pairs[r] & turned[r])
        dense = len(pairs[r]) > wanted.density * len(heads) * len(tails)
        rows.append(
            {
                **{split: sum(s == r for _, s, _ in first[split]) for split in SPLITS},
                "loops": len(pairs[r]) - straight_,
                "heads": len(heads),
                "tails": len(tails),
                "combinations": len(heads) * len(tails),
                "reversed": both_ways,
                "told": told_of[r],
                "symmetric": both_ways >= wanted.least and both_ways > wanted.overlap * straight_,
                "cartesian": len(pairs[r]) >= wanted.least
                and min(len(heads), len(tails)) > 1
                and dense,
                "constant": len(pairs[r]) >= wanted.least and 1 in (len(heads), len(tails)),
            }
        )
    seen = [entity for entity, number in degree.items() if number]
    sizes = [len(group) for group in {frozenset(component[entity]) for entity in seen}]
    known_entities = {entity for h, _, t in known for entity in (h, t)}
    return {
        "seen": len(seen),
        "unseen": len(known_entities - set(seen)),
        "alone": facts.num_entities - len(known_entities),
        "held_out": held_out,
        "relations": rows,
        "pairs": sorted(related),
        "components": sorted(((size, sizes.count(size)) for size in set(sizes)), reverse=True),
        "histogram": [
            (d, sum(degree[e] == d for e in seen)) for d in sorted({degree[e] for e in seen})
        ],
    }


def told(found: Survey) -> dict[str, Any]:
    """What the slow one tells too."""
    plain = asdict(found)
    names = ("kind", "one", "other", "common", "share_of_one", "share_of_other")
    return {
        **{name: plain[name] for name in ("seen", "unseen", "alone", "held_out")},
        "relations": plain["relations"],
        "pairs": sorted(tuple(pair[name] for name in names) for pair in plain["pairs"]),
        "components": plain["components"],
        "histogram": plain["degrees"]["histogram"],
    }


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Small and dense, so that much coincides; no fact is in two splits."""
    num_entities, num_relations = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    entity, relation = st.integers(0, num_entities - 1), st.integers(0, num_relations - 1)
    found = draw(
        st.lists(st.tuples(entity, relation, entity), min_size=1, max_size=60, unique=True)
    )
    sizes = [len(found)]
    for _ in range(2):
        sizes.append(draw(st.integers(0, sizes[0])))
        sizes[0] -= sizes[-1]
    return found, sizes, num_entities, num_relations


def all_facts(graph: Graph, *, undirected: bool = False) -> AllFacts:
    triples, sizes, num_entities, num_relations = graph
    own = adjacency(torch.tensor(triples), num_entities=num_entities, num_relations=num_relations)
    return AllFacts(graph=own, sizes=sizes, undirected=undirected)


@settings(max_examples=100)
@given(graph=graphs(), piece=st.sampled_from([1, 7, 1 << 20]), wanted=st.sampled_from(WANTED))
def test_equals_the_slow_one_in_pieces_of_any_size(
    graph: Graph, piece: int, wanted: SurveySettings
) -> None:
    facts = all_facts(graph)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "PIECE", piece)
        assert told(count(facts, wanted)) == slow(facts, wanted)


@given(graph=graphs())
def test_a_relation_without_direction_is_not_called_symmetric(graph: Graph) -> None:
    """Nor has a fact a reverse; written the other way round it is the same."""
    _, _, *size = graph
    split_of: dict[Fact, int] = {}
    for (h, r, t), split in splits_of(all_facts(graph)).items():
        if h != t:
            split_of.setdefault((min(h, t), r, max(h, t)), split)
    if not split_of:
        return
    ordered = sorted(split_of, key=lambda fact: split_of[fact])
    sizes = [sum(split == at for split in split_of.values()) for at in range(3)]
    found = []
    for way in (1, -1):
        own = [fact[::way] for fact in ordered]
        found.append(count(all_facts((own, sizes, *size), undirected=True), LOOSE))
    assert found[0].held_out == found[1].held_out
    assert found[0].pairs == found[1].pairs
    assert found[0].components == found[1].components
    assert found[0].relations == found[1].relations
    for at, row in enumerate(found[0].relations):
        ends = {end for h, r, t in split_of if r == at for end in (h, t)}
        assert row.heads == row.tails == len(ends)
        assert row.combinations == len(list(combinations(ends, 2)))
    assert not any(row.symmetric or row.reversed for row in found[0].relations)
    assert all(one.reverse == one.inverse == 0 for one in found[0].held_out.values())
    assert {pair.kind for pair in found[0].pairs} <= {"duplicate"}


def test_by_hand(tmp_path: Path) -> None:
    """``s`` is ``r`` backwards, ``q`` the same as ``r``; a test fact of each kind."""
    ring = [(f"e{n}", f"e{(n + 1) % 12}") for n in range(12)]
    train = [(h, "r", t) for h, t in ring[:11]] + [(t, "s", h) for h, t in ring]
    train += [(h, "q", t) for h, t in ring[:11]]
    test = [(*ring[11][:1], "r", ring[11][1]), (ring[11][0], "q", ring[11][1]), ("x", "r", "y")]
    path = given_splits(tmp_path / "data", train, [train[0]], test)
    found = make_survey(prepare(TripleFiles(path=str(path)), tmp_path), SurveySettings())
    kinds = [(pair.kind, pair.common) for pair in found.pairs]
    assert sorted(kinds) == [("duplicate", 12), ("inverse", 12), ("inverse", 12)]
    held = found.held_out["test"]
    assert (held.facts, held.told, held.inverse, held.duplicate, held.reverse) == (3, 2, 2, 0, 0)
    assert (held.unseen, held.apart, held.joined) == (1, 0, 2)
    assert found.shared == {"train and valid": 1, "train and test": 0, "valid and test": 0}
    assert found.held_out["valid"].facts == 0
    assert (found.seen, found.unseen) == (12, 2)


def test_a_clique_joins_all_its_ends(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.tsv", [(f"n{a}", "knows", f"n{b}") for a in range(6) for b in range(a)]
    )
    source = TripleFiles(path=str(path), split=[1, 0, 0], undirected=True)
    (row,) = make_survey(prepare(source, tmp_path), SurveySettings()).relations
    assert (row.heads, row.facts, row.density, row.cartesian) == (6, 15, 1.0, True)


def test_finds_what_is_planted(tmp_path: Path) -> None:
    """Of the made graph: married_to holds both ways, parent_of and child_of are inverse."""
    store = prepare(SyntheticGraph(kind="rules", edges=8000, noise=0.0), tmp_path)
    found = make_survey(store, SurveySettings())
    keys = store.relation_keys(list(range(store.num_relations)))
    assert [keys[at] for at, row in enumerate(found.relations) if row.symmetric] == ["married_to"]
    (pair,) = found.pairs
    assert (pair.kind, {keys[pair.one], keys[pair.other]}) == ("inverse", {"parent_of", "child_of"})
    test = found.held_out["test"]
    rules = dict(zip(keys, found.relations, strict=True))
    # Every held-out one of these follows from its premise, which is in train.
    assert test.reverse == rules["married_to"].test > 0
    assert test.inverse == rules["parent_of"].test + rules["child_of"].test > 0


def test_a_planted_product_is_found(tmp_path: Path) -> None:
    triples = [(f"h{a}", "all", f"t{b}") for a in range(5) for b in range(6)][:-2]
    triples += [(f"h{n}", "one", "t0") for n in range(5)]
    triples += [(f"t{n % 6}", "some", f"h{n % 5}") for n in range(12)]
    path = write(tmp_path / "t.tsv", triples)
    store = prepare(TripleFiles(path=str(path), split=[1, 0, 0]), tmp_path)
    found = make_survey(store, SurveySettings(least=5))
    keys = store.relation_keys([0, 1, 2])
    dense = {keys[at]: row.density for at, row in enumerate(found.relations) if row.cartesian}
    assert dense == {"all": pytest.approx(28 / 30)}


def test_relations_with_a_single_head_or_tail_are_constant(tmp_path: Path) -> None:
    """In all splits, and of ``least`` facts; a product of several heads and tails is not."""
    train = [(f"c{n}", "in", "land") for n in range(8)]
    train += [("queen", "rules", f"c{n}") for n in range(4)]
    train += [("x", "scarce", f"c{n}") for n in range(4)]
    train += [(f"c{n}", "near", "land") for n in range(8)]
    train += [(f"h{a}", "all", f"t{b}") for a in range(3) for b in range(3)]
    valid = [("c8", "in", "land")]
    test = [("c9", "in", "land"), ("queen", "rules", "c4"), ("c9", "near", "sea")]
    store = prepare(
        TripleFiles(path=str(given_splits(tmp_path / "data", train, valid, test))), tmp_path
    )
    keys = store.relation_keys(list(range(store.num_relations)))
    rows = make_survey(store, SurveySettings(least=5)).relations
    found = {key: row for key, row in zip(keys, rows, strict=True) if row.constant}
    assert {key: (row.heads, row.tails, row.test) for key, row in found.items()} == {
        "in": (10, 1, 1),
        "rules": (1, 5, 1),
    }
    assert [key for key, row in zip(keys, rows, strict=True) if row.cartesian] == ["all"]


def test_is_made_once_and_read_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = given_splits(
        tmp_path / "data", [("a", "r", "b"), ("b", "r", "c")], [("a", "r", "c")], [("c", "r", "a")]
    )
    store = prepare(TripleFiles(path=str(path)), tmp_path)
    assert not module.is_made(store, SurveySettings())
    found = survey(store, SurveySettings())
    assert module.is_made(store, SurveySettings())
    assert not module.is_made(store, LOOSE)
    monkeypatch.setattr(module, "make_survey", None)
    assert survey(store, SurveySettings()) == found


@pytest.mark.parametrize("wrong", [{"overlap": 1.0}, {"density": 0.0}, {"least": 0}])
def test_thresholds_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"audit.{next(iter(wrong))}"):
        SurveySettings(**wrong)


def test_labels_that_the_graph_tells(tmp_path: Path) -> None:
    """Three of four persons are joined to the entity that is their label."""
    write(
        tmp_path / "t.tsv",
        [("p0", "in", "x"), ("y", "has", "p1"), ("p2", "in", "x"), ("p3", "in", "z")],
    )
    write(tmp_path / "l.tsv", [("p0", "x"), ("p1", "y"), ("p2", "x"), ("p3", "x")])
    own = {"labels": {"train": str(tmp_path / "l.tsv")}, "split": [1, 0, 0]}
    own["label_split"] = [1, 0, 0]
    store = prepare(TripleFiles(path=str(tmp_path / "t.tsv"), **own), tmp_path)
    found = make_survey(store, SurveySettings()).labels
    assert found is not None
    assert (found.joined, found.alone, found.classes) == (3, 0, 2)
    assert found.entities == {"train": 4, "valid": 0, "test": 0}
    assert found.largest == 0.75
