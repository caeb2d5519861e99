"""Papers with years: worked by hand, and that nobody sees the future of anything."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgscale.data.paper_rows import COAUTHOR
from kgscale.data.papers import Ask, Papers
from kgscale.errors import ConfigError, DataError
from kgscale.graph.adjacency import Adjacency
from kgscale.graph.store import GraphStore, prepare

FACTS = [
    "ann writes p1",
    "bob writes p1",
    "ann writes p2",
    "cid writes p2",
    "bob writes p3",
    "cid writes p3",
    "ann writes p4",
    "bob writes p4",
    "dan writes p4",
    "eve writes p5",
    "ann writes p5",
    "cid writes p5",
    "p2 cites p1",
    "p3 cites p1",
    "p4 cites p2",
    "p5 cites p2",
    "p5 cites p4",
    "p1 has_topic maps",
    "p3 has_topic maps",
    "p4 has_topic maps",
    "p5 has_topic maps",
    "ann works_at uni",
]
YEARS = {"p1": 2000, "p2": 2001, "p3": 2002, "p4": 2003, "p5": 2004}
UNTIL = [2001, 2002, 2003]
Triple = tuple[str, str, str]


def store_of(
    folder: Path, facts: list[str], years: dict[str, int], ask: Ask, until: list[int]
) -> GraphStore:
    (folder / "papers.tsv").write_text("".join(f.replace(" ", "\t") + "\n" for f in facts))
    (folder / "years.tsv").write_text("".join(f"{p}\t{y}\n" for p, y in years.items()))
    own = Papers(path=folder / "papers.tsv", years=str(folder / "years.tsv"), ask=ask, until=until)
    return prepare(own, folder / f"stores-{ask}")


def named(store: GraphStore, split: str) -> set[Triple]:
    found = store.triples(split)
    head, tail = (store.entity_keys(found[:, at]) for at in (0, 2))
    return set(zip(head, store.relation_keys(found[:, 1]), tail, strict=True))


def edges(store: GraphStore, graph: Adjacency) -> set[tuple[str, Triple]]:
    """Who hears of which triple."""
    keys = store.entity_keys(list(range(store.num_entities)))
    relations = store.relation_keys(list(range(store.num_relations)))
    found = set()
    for at, key in enumerate(keys):
        for edge in range(int(graph.indptr[at]), int(graph.indptr[at + 1])):
            relation, other = int(graph.relation[edge]), keys[int(graph.source[edge])]
            if relation < store.num_relations:
                found.add((key, (other, relations[relation], key)))
            else:
                found.add((key, (key, relations[relation - store.num_relations], other)))
    return found


def both(triples: set[Triple]) -> set[tuple[str, Triple]]:
    return {(end, triple) for triple in triples for end in (triple[0], triple[2])}


def triple(text: str) -> Triple:
    head, relation, tail = text.split()
    return head, relation, tail


def test_citations_to_come_by_hand(tmp_path: Path) -> None:
    store = store_of(tmp_path, FACTS, YEARS, "citation", UNTIL)
    assert named(store, "valid") == {("p4", "cites", "p2")}
    assert named(store, "test") == {("p5", "cites", "p2"), ("p5", "cites", "p4")}
    asked = store.asked_links()
    assert asked is not None
    assert edges(store, asked) == both({("p3", "cites", "p1")})
    old = {t for t in map(triple, FACTS) if not {"p3", "p4", "p5"} & {*t}}
    # A later paper hears of its authors and topics, and nobody hears of it.
    own = {
        (p, t) for t in map(triple, FACTS) for p in ("p3", "p4", "p5") if p in t and t[1] != "cites"
    }
    assert edges(store, store.adjacency()) == both(old) | own
    assert [kind.name for kind in store.types] == ["entity", "author", "paper"]


def test_new_coauthors_by_hand(tmp_path: Path) -> None:
    """ann and bob, ann and cid have written together before: of p3 bob and cid are new, of p4
    nobody but dan, of whom nothing was known, of p5 nobody but eve."""
    store = store_of(tmp_path, FACTS, YEARS, "coauthor", UNTIL)
    asked = store.asked_links()
    assert asked is not None
    assert edges(store, asked) == both({("bob", COAUTHOR, "cid")})
    assert named(store, "valid") == named(store, "test") == set()
    old = {t for t in map(triple, FACTS) if not {"p3", "p4", "p5"} & {*t}}
    pairs = {("ann", COAUTHOR, "bob"), ("ann", COAUTHOR, "cid")}
    assert edges(store, store.adjacency()) == both(old | pairs)
    assert any("4 pairs with an author who is new" in n for n in store.manifest["input"]["notes"])


def test_topics_by_hand(tmp_path: Path) -> None:
    more = [*FACTS, "p2 has_topic seas", "p6 has_topic seas", "ann writes p6"]
    store = store_of(tmp_path, more, {**YEARS, "p6": 2004}, "topic", UNTIL)
    labels = store.labels()
    assert labels is not None
    keys = store.entity_keys(list(range(store.num_entities)))
    split = {key: code for key, code in zip(keys, labels.split.tolist(), strict=True) if code < 3}
    assert split == {"p1": 0, "p2": 0, "p3": 0, "p4": 1, "p5": 2, "p6": 2}
    assert "has_topic" not in store.relation_keys(list(range(store.num_relations)))
    late = {(p, t) for t in map(triple, more) for p in ("p4", "p5", "p6") if p in (t[0], t[2])}
    # p5 cites p4: both are late, and p5 alone hears of it.
    late = {(p, t) for p, t in late if t[1] not in ("has_topic",) and (p, t[0]) != ("p4", "p5")}
    old = {t for t in map(triple, more) if not {"p4", "p5", "p6"} & {*t} and t[1] != "has_topic"}
    assert edges(store, store.adjacency()) == both(old) | late


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[str], dict[str, int], list[int]]:
    papers = [f"p{n}" for n in range(draw(st.integers(8, 14)))]
    years = {p: draw(st.integers(2000, 2007)) for p in papers}
    for n, year in enumerate((2000, 2003, 2005, 2007)):
        years[papers[n]] = year
    facts = set()
    for paper in papers:
        for author in draw(st.sets(st.sampled_from("abcdef"), min_size=1, max_size=3)):
            facts.add(f"{author} writes {paper}")
        for other in draw(st.sets(st.sampled_from(papers), max_size=3)):
            if years[other] <= years[paper] and other != paper:
                facts.add(f"{paper} cites {other}")
        first = papers.index(paper) if paper in papers[:2] else draw(st.integers(0, 1))
        facts.add(f"{paper} has_topic t{first}")
    # So that there is something to ask of each period.
    facts |= {f"{papers[n]} cites {papers[0]}" for n in (1, 2, 3)}
    return sorted(facts), years, [2002, 2004, 2006]


@pytest.mark.parametrize("ask", ["citation", "coauthor", "topic"])
@given(world=worlds())
@settings(max_examples=8)
def test_nobody_sees_the_future(
    ask: Ask,
    tmp_path_factory: pytest.TempPathFactory,
    world: tuple[list[str], dict[str, int], list[int]],
) -> None:
    """Whoever hears of a triple does so when it has come out; nothing that is asked is a message;
    what is asked of a split comes out in its period, and has not been there before."""
    facts, years, until = world
    horizon = until[1] if ask == "topic" else until[0]

    def out(one: Triple) -> int:
        if one[1] == COAUTHOR:
            return first[frozenset((one[0], one[2]))]
        return max(years.get(one[0], 0), years.get(one[2], 0))

    teams = defaultdict(set)
    for head, relation, tail in map(triple, facts):
        if relation == "writes":
            teams[tail].add(head)
    first: dict[frozenset[str], int] = {}
    for paper, authors in teams.items():
        for pair in map(frozenset, combinations(sorted(authors), 2)):
            first[pair] = min(first.get(pair, 9999), years[paper])
    known = {author for p, team in teams.items() if years[p] <= until[0] for author in team}
    new = {pair for pair, year in first.items() if year > until[0] and pair <= known}
    folder = tmp_path_factory.mktemp("papers")
    if ask == "coauthor" and not any(first[pair] <= until[1] for pair in new):
        with pytest.raises(DataError, match="nothing of coauthor is new"):
            store_of(folder, facts, years, ask, until)
        return
    store = store_of(folder, facts, years, ask, until)
    heard = edges(store, store.adjacency())
    for who, what in heard:
        assert out(what) <= max(horizon, years.get(who, 0)), (who, what)
    told = {what for _, what in heard}
    asked = store.asked_links()
    train = {what for _, what in edges(store, asked)} if asked is not None else set()
    periods = {"train": until[:2], "valid": until[1:], "test": [until[2], 9999]}
    for split, (low, high) in periods.items():
        questions = train if split == "train" else named(store, split)
        assert not questions & told
        for one in questions:
            assert low < out(one) <= high, (split, one)
    if ask == "coauthor":
        everything = [
            frozenset((h, t)) for h, _, t in train | named(store, "valid") | named(store, "test")
        ]
        assert sorted(map(sorted, everything)) == sorted(map(sorted, new))


def test_what_cannot_be_asked_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.years is not set"):
        Papers(path=tmp_path / "papers.tsv")
    with pytest.raises(ConfigError, match="three years"):
        Papers(until=[2001, 2001, 2003])
    with pytest.raises(ConfigError, match="three years"):
        Papers(until=[float("-inf"), 2005, 2010])
    with pytest.raises(ConfigError, match="three years"):
        Papers(until=[2000, 2005, 10**400])
    with pytest.raises(ConfigError, match="are three relations"):
        Papers(writes="cites")
    with pytest.raises(DataError, match=r"has the year of no paper of .*, which calls them 'p1'"):
        store_of(tmp_path, FACTS, {"zzz": 2000, "zzy": 2001}, "citation", UNTIL)
    with pytest.raises(DataError, match=r"nothing of citation is new .* set data\.until"):
        store_of(tmp_path, [f for f in FACTS if not f.startswith("p3")], YEARS, "citation", UNTIL)
    with pytest.raises(DataError, match="'coauthor' is the relation that is made"):
        store_of(tmp_path, [*FACTS, "ann coauthor bob"], YEARS, "coauthor", UNTIL)
    with pytest.raises(DataError, match="is empty"):
        store_of(tmp_path, [], YEARS, "coauthor", UNTIL)
    with pytest.raises(DataError, match="leave a period without any"):
        store_of(tmp_path, FACTS, YEARS, "citation", [2003, 2004, 2005])
    with pytest.raises(DataError, match="no relation 'cites': name yours"):
        store_of(tmp_path, FACTS[:9], YEARS, "citation", UNTIL)
    with pytest.raises(DataError, match="the year 'soon' of 'p1' is no number"):
        store_of(tmp_path, FACTS, {**YEARS, "p1": "soon"}, "citation", UNTIL)  # type: ignore[dict-item]


def test_papers_without_a_year_are_left_out(tmp_path: Path) -> None:
    store = store_of(tmp_path, [*FACTS, "p9 cites p1", "ann writes p9"], YEARS, "citation", UNTIL)
    assert store.manifest["input"]["dropped"] == {"triple about a paper without a year": 2}
    assert "p9" not in store.entity_keys(list(range(store.num_entities)))


def test_made_papers_cite_earlier_ones(tmp_path: Path) -> None:
    source = Papers(edges=3000)
    assert source.made is not None
    (cites,) = (links for links in source.made.links() if links.relation == "cites")
    paper, cited = cites.draw(np.arange(cites.count))
    assert (source.made.year(cited) <= source.made.year(paper)).all()
    assert (cited < paper).all()
    store = prepare(source, tmp_path)
    assert all(store.num_triples[split] for split in ("train", "valid", "test"))
