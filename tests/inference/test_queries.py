"""Questions of several hops: against all assignments of their variables, one by one."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float
from torch import Tensor

from kgscale.errors import ConfigError, DataError, ScoreError
from kgscale.graph.adjacency import first_triples
from kgscale.graph.known import KnownFacts
from kgscale.graph.reciprocal import inverse
from kgscale.inference.queries.answer import CERTAIN, Answerer, Links
from kgscale.inference.queries.draw import Drawer
from kgscale.inference.queries.edges import FAR, Observed, holds, missing
from kgscale.inference.queries.formula import (
    Anchor,
    Anything,
    Both,
    Either,
    Hop,
    Node,
    Without,
    form,
    leaves,
    ordered,
    together,
)
from kgscale.inference.queries.language import Compiler, parse
from kgscale.inference.queries.measure import Report, filtered_ranks, measure
from kgscale.inference.queries.structures import STRUCTURES, templates
from kgscale.types import Triples
from tests.graphs import adjacency, random_triples

ENTITIES, RELATIONS = 7, 3
LETTERS = {f"r{n}": n - 1 for n in (1, 2, 3)} | {"a": 0, "b": 1, "c": 2}


def shuffled(count: int, *, entities: int, seed: int) -> Triples:
    drawn = random_triples(count, num_entities=entities, num_relations=RELATIONS, seed=seed)
    return drawn[torch.randperm(len(drawn), generator=torch.Generator().manual_seed(seed))]


def graph(seed: int, *, triples: int = 14, known: int = 9) -> Observed:
    drawn = shuffled(triples, entities=ENTITIES, seed=seed)
    found = adjacency(drawn, num_entities=ENTITIES, num_relations=RELATIONS)
    return Observed.of(found, known=min(known, len(drawn) - 1), until=len(drawn))


def compiled(text: str) -> Node:
    names: Callable[[str], int] = LETTERS.__getitem__
    return Compiler(entity=names, relation=names, num_relations=RELATIONS)(parse(text))


def filled(template: Node, draw: Callable[[int], int]) -> Node:
    match template:
        case Anchor():
            return Anchor(torch.tensor([draw(ENTITIES)]))
        case Anything():
            return template
        case Hop():
            relation = torch.tensor([draw(2 * RELATIONS)])
            return Hop(relation, filled(template.source, draw), template.variable)
        case Without():
            return Without(filled(template.part, draw))
        case Both() | Either():
            return type(template)(tuple(filled(part, draw) for part in template.parts))


@dataclass(frozen=True)
class Model:
    """Any probabilities, of any relation and its reciprocal."""

    of: Float[Tensor, "relation entity entity"]

    @classmethod
    def drawn(cls, seed: int) -> Model:
        generator = torch.Generator().manual_seed(seed)
        score = 3 * torch.randn(2 * RELATIONS, ENTITIES, ENTITIES, generator=generator)
        return cls(score.softmax(dim=-1))

    def __call__(self, head: Tensor, relation: Tensor) -> Tensor:
        return self.of[relation, head].clone()


def answerer(observed: Observed, model: Model, *, width: int = ENTITIES) -> Answerer:
    facts = KnownFacts(observed.known)
    return Answerer(
        links=Links(probabilities=model, facts=facts, edges=observed.edges), width=width
    )


def by_hand(node: Node, link: Callable[[int, int, int], float], negation: float) -> list[float]:
    """The truth of each entity, from the definition."""
    match node:
        case Anchor():
            return [float(e == int(node.entity)) for e in range(ENTITIES)]
        case Anything():
            return [1.0] * ENTITIES
        case Hop():
            source = by_hand(node.source, link, negation)
            relation = int(node.relation)
            return [
                max(source[h] * link(h, relation, t) for h in range(ENTITIES))
                for t in range(ENTITIES)
            ]
        case Without():
            return [1 - min(1.0, negation * x) for x in by_hand(node.part, link, negation)]
        case Both() | Either():
            columns = [by_hand(part, link, negation) for part in node.parts]
            if isinstance(node, Either):
                return [max(row) for row in zip(*columns, strict=True)]
            found = []
            for row in zip(*columns, strict=True):
                product = 1.0
                for value in row:
                    product *= value
                found.append(product)
            return found


def triples_of(observed: Observed, *, known: bool) -> set[tuple[int, int, int]]:
    edges, found = observed.edges, set()
    for relation in range(2 * RELATIONS):
        within = edges.of_relation(relation)
        for h, t, unknown in zip(
            edges.head[within].tolist(),
            edges.tail[within].tolist(),
            edges.held_out[within].tolist(),
            strict=True,
        ):
            if not (known and unknown):
                found.add((h, relation, t))
    return found


questions = st.tuples(
    st.integers(0, 500), st.sampled_from(list(STRUCTURES)), st.randoms(use_true_random=False)
)


@given(questions)
@settings(max_examples=60)
def test_truths_are_those_of_the_definition(drawn: tuple) -> None:  # type: ignore[type-arg]
    seed, structure, chance = drawn
    observed, model = graph(seed), Model.drawn(seed)
    node = filled(templates()[structure], chance.randrange)
    known = triples_of(observed, known=True)

    def link(head: int, relation: int, tail: int) -> float:
        if (head, relation, tail) in known:
            return 1.0
        count = sum((head, relation, other) in known for other in range(ENTITIES))
        return min(CERTAIN, float(model.of[relation, head, tail]) * max(1, count))

    found = answerer(observed, model)(node)[0]
    torch.testing.assert_close(found, torch.tensor(by_hand(node, link, 3.0)))


@given(questions)
@settings(max_examples=60)
def test_what_holds_and_what_is_missing(drawn: tuple) -> None:  # type: ignore[type-arg]
    """With links that are 0 or 1, truths say what holds; costs are least sums of unknown links."""
    seed, structure, chance = drawn
    observed = graph(seed)
    node = filled(templates()[structure], chance.randrange)
    for known in (True, False):
        triples = triples_of(observed, known=known)
        expected = by_hand(node, lambda *link, all_=triples: float(link in all_), 1.0)
        assert holds(node, observed.edges, known=known).tolist() == [x == 1 for x in expected]
    cost = missing(node, observed.edges)
    assert (cost < FAR).tolist() == holds(node, observed.edges).tolist()
    if "n" not in structure:
        assert (cost == 0).tolist() == holds(node, observed.edges, known=True).tolist()
        assert cost.tolist() == least_links(node, observed)


def least_links(node: Node, observed: Observed) -> list[int]:
    """The cheapest of all assignments, from the definition."""
    known, every = (triples_of(observed, known=known) for known in (True, False))

    def costs(node: Node, answer: int) -> int:
        match node:
            case Anchor():
                return 0 if answer == int(node.entity) else FAR
            case Hop():
                links = ((head, int(node.relation), answer) for head in range(ENTITIES))
                return min(
                    (
                        min(FAR, costs(node.source, link[0]) + (link not in known))
                        for link in links
                        if link in every
                    ),
                    default=FAR,
                )
            case Both():
                return min(FAR, sum(costs(part, answer) for part in node.parts))
            case Either():
                return min(costs(part, answer) for part in node.parts)
        raise AssertionError(node)

    return [costs(node, answer) for answer in range(ENTITIES)]


@given(questions)
@settings(max_examples=60)
def test_an_answer_is_as_true_as_the_links_it_rests_on(drawn: tuple) -> None:  # type: ignore[type-arg]
    seed, structure, chance = drawn
    observed, model = graph(seed), Model.drawn(seed)
    node = filled(templates()[structure], chance.randrange)
    answers = answerer(observed, model)
    truth = answers(node)[0]
    for answer in range(ENTITIES):
        steps = answers.proof(node, answer, "?x")
        product, against = 1.0, 1.0
        for step in steps:
            product *= 1.0 if step.denied else step.truth
            against *= step.truth if step.denied else 1.0
            triple = (step.head, step.relation, step.tail)
            assert step.known == (triple in triples_of(observed, known=True))
        if any(step.denied for step in steps):
            product *= 1 - min(1.0, answers.negation * against)
        assert product == pytest.approx(float(truth[answer]), rel=1e-5, abs=1e-6)
        # Each ends where the next begins, and the last at the answer.
        steps = [step for step in steps if not step.denied]
        assert steps[-1].tail == answer
        assert steps[-1].variables[1] == "?x"


def test_questions_of_one_form_are_answered_together() -> None:
    observed, model = graph(1), Model.drawn(1)
    for template in templates().values():
        nodes = [filled(template, random.Random(seed).randrange) for seed in range(3)]
        answers = answerer(observed, model, width=3)
        found = answers(together([ordered(node) for node in nodes]))
        expected = torch.cat([answers(node) for node in nodes])
        torch.testing.assert_close(found, expected)
    with pytest.raises(AssertionError, match="another form"):
        together([templates()["1p"], templates()["2i"]])


def test_memory_changes_nothing() -> None:
    observed, model = graph(2), Model.drawn(2)
    node = filled(templates()["3p"], lambda most: 1)
    answers = answerer(observed, model)
    small = Links(probabilities=model, facts=answers.links.facts, edges=observed.edges, memory=1)
    assert small.rows == 1
    found = Answerer(links=small, width=ENTITIES)
    assert torch.equal(found(node), answers(node))
    assert found.proof(node, 3, "?x") == answers.proof(node, 3, "?x")


def test_a_narrow_beam_keeps_all_known_links() -> None:
    """What is known counts from every entity, however many there are."""
    observed = graph(3)
    silent = Model(torch.zeros(2 * RELATIONS, ENTITIES, ENTITIES))
    for template in templates().values():
        node = filled(template, lambda most: most // 2)
        if isinstance(node, Both) and any(isinstance(part, Without) for part in node.parts):
            continue
        found = answerer(observed, silent, width=1)(node)[0]
        assert (found == 1).tolist() == holds(node, observed.edges, known=True).tolist()


def test_something_open() -> None:
    """``r2(?x, ?y)`` with nothing else said of ?y: any link will do, known or likely."""
    observed, model = graph(4), Model.drawn(4)
    node = compiled("?x : r1(a, ?x) and r2(?x, ?y)")
    answers = answerer(observed, model)
    links = answers.links
    first_part = links(torch.tensor([0]), torch.tensor([0]))[0]
    everyone = torch.arange(ENTITIES)
    second = links(everyone, torch.full((ENTITIES,), 1)).amax(dim=1)
    torch.testing.assert_close(answers(node)[0], first_part * second)
    best = int(answers(node)[0].argmax())
    *_, last = answers.proof(node, best, "?x")
    assert last.relation == inverse(1, num_relations=RELATIONS)
    assert (last.tail, last.variables) == (best, ("?y", "?x"))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_drawn_questions(structure: str) -> None:
    drawn = shuffled(400, entities=30, seed=5)
    found = adjacency(drawn, num_entities=30, num_relations=RELATIONS)
    observed = Observed.of(found, known=300, until=len(drawn))
    questions = list(Drawer(graph=observed, seed=7).draw(structure, 20))
    assert len({leaves(one.node) for one in questions}) == 20
    for one in questions:
        assert form(one.node) == form(templates()[structure])
        easy = holds(one.node, observed.edges, known=True)
        every = holds(one.node, observed.edges)
        assert len(one.hard)
        assert (every[one.hard] & ~easy[one.hard]).all()
        assert set(one.easy.tolist()) | set(one.hard.tolist()) == set(
            every.nonzero()[:, 0].tolist()
        )
    again = list(Drawer(graph=observed, seed=7).draw(structure, 5))
    assert [leaves(one.node) for one in again] == [leaves(one.node) for one in questions[:5]]
    other = list(Drawer(graph=observed, seed=8).draw(structure, 5))
    assert [leaves(one.node) for one in other] != [leaves(one.node) for one in again]


def test_more_questions_than_there_are() -> None:
    with pytest.raises(DataError, match="of the structure 2i were found"):
        list(Drawer(graph=graph(0), seed=0).draw("2i", 1000))


@given(
    st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), min_size=3, max_size=9),
    st.integers(1, 3),
    st.integers(0, 2),
)
def test_filtered_ranks(scores: list[float], hard: int, easy: int) -> None:
    truth = torch.tensor(scores)
    answers = torch.arange(min(hard, len(scores)))
    easy_ = torch.arange(len(answers), min(len(answers) + easy, len(scores)))
    rivals = scores[len(answers) + len(easy_) :]
    expected = [
        1 + sum(s > scores[a] for s in rivals) + sum(s == scores[a] for s in rivals) / 2
        for a in answers.tolist()
    ]
    assert filtered_ranks(truth, easy_, answers).tolist() == expected


def test_nan_is_refused() -> None:
    none = torch.empty(0, dtype=torch.int64)
    with pytest.raises(ScoreError, match="NaN"):
        filtered_ranks(torch.tensor([0.1, float("nan")]), none, torch.tensor([0]))


def test_a_report_worked_out_by_hand() -> None:
    """Means over answers, then over questions, then over structures; by missing links apart."""
    report = Report()
    report.add("1p", torch.tensor([1.0, 2.0]), torch.tensor([1, 1]))
    report.add("1p", torch.tensor([4.0]), torch.tensor([1]))
    report.add("2p", torch.tensor([10.0, 2.0]), torch.tensor([1, 2]))
    found = report.content()
    assert found["all"]["1p"]["mrr"] == pytest.approx((0.75 + 0.25) / 2)
    assert found["all"]["1p"]["hits@1"] == pytest.approx(0.25)
    assert found["all"]["2p"]["mrr"] == pytest.approx(0.3)
    assert found["all"]["positive"]["mrr"] == pytest.approx((0.5 + 0.3) / 2)
    assert found["one_link"]["2p"]["mrr"] == pytest.approx(0.1)
    assert found["more_links"]["2p"]["mrr"] == pytest.approx(0.5)
    assert found["more_links"]["1p"]["questions"] == 0
    assert found["more_links"]["positive"]["mrr"] == pytest.approx(0.5)


def test_a_model_that_knows_everything_ranks_every_answer_first() -> None:
    drawn = shuffled(400, entities=30, seed=5)
    found = adjacency(drawn, num_entities=30, num_relations=RELATIONS)
    observed = Observed.of(found, known=300, until=len(drawn))
    exact = torch.zeros(2 * RELATIONS, 30, 30)
    for relation in range(2 * RELATIONS):
        within = observed.edges.of_relation(relation)
        exact[relation, observed.edges.head[within], observed.edges.tail[within]] = 1.0
    answers = Answerer(
        links=Links(
            probabilities=lambda h, r: exact[r, h].clone(),
            facts=KnownFacts(observed.known),
            edges=observed.edges,
        ),
        width=30,
    )
    asked = [one for name in STRUCTURES for one in Drawer(graph=observed, seed=3).draw(name, 10)]
    report = measure(asked, answers, observed.edges).content()
    assert {one["mrr"] for one in report["all"].values()} == {1.0}
    assert sum(report["all"][name]["questions"] for name in STRUCTURES) == len(asked)


def test_the_first_triples_alone() -> None:
    drawn = shuffled(14, entities=ENTITIES, seed=1)
    whole = adjacency(drawn, num_entities=ENTITIES, num_relations=RELATIONS)
    part = adjacency(drawn[:9], num_entities=ENTITIES, num_relations=RELATIONS)
    found = first_triples(whole, 9)
    for name in ("indptr", "source", "relation", "triple"):
        assert getattr(found, name).tolist() == getattr(part, name).tolist()
    assert first_triples(whole, len(drawn)) is whole


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("", 1, "expected the variable that is asked for"),
        ("?x r1(a, ?x)", 4, "expected ':'"),
        ("?x : r1(a ?x)", 11, "expected ',' between head and tail, found '?x'"),
        ("?x : r1(a, ?x", 14, "expected ')'"),
        ("?x : r1 a, ?x)", 9, "expected '(' after the relation 'r1'"),
        ("?x : r1(a, ?x) and", 19, "expected a relation"),
        ("?x : r1(a, ?x) r2(b, ?x)", 16, "expected 'and', 'or' or the end"),
        ("?x : r1('a, ?x)", 9, "the quote that begins here has no end"),
        ("?x : r1(a, ?x) € r2", 16, "'€' begins nothing"),
        ("?x : r1(a, ?y)", 1, "?x does not occur"),
        ("?x : r1(?y, ?x) and r2(?x, ?y)", 21, "?x and ?y are joined in a circle"),
        ("?x : r1(?x, ?x)", 6, "?x is joined with itself"),
        ("?x : not r1(a, ?x)", 6, "only tells what ?x is not"),
        ("?x : r1(a, ?x) and r2(b, ?z)", 20, "this is about ?z, which nothing joins with ?x"),
        ("?x : r1(a, ?x) and r2(a, b)", 20, "this is about no variable"),
        ("?x : r1(a, ?x) or r2(b, ?y)", 19, "each side of 'or' has to say something of ?x"),
        ("?x : not r2(?y, ?x) and r1(?y, ?x)", 6, "?y occurs inside and outside of this 'not'"),
        ("?x : r1(a, ?v) and (r2(?v, ?x) or r3(?v, ?x))", 21, "inside and outside of this 'or'"),
        ("?x : " + "(" * 51 + "r1(a, ?x)" + ")" * 51, 56, "more than 50 parentheses"),
    ],
)
def test_what_is_wrong_with_a_question_is_told_by_its_column(
    text: str, column: int, words: str
) -> None:
    with pytest.raises(ConfigError) as told:
        compiled(text)
    assert f"column {column}: " in str(told.value)
    assert words in str(told.value)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("?x : r1(a, ?x)", "?x : r1( 'a' ,?x )"),
        (
            "?x : r1(a, ?x) and r2(b, ?x) or r3(c, ?x)",
            "?x : (r1(a, ?x) and r2(b, ?x)) or r3(c, ?x)",
        ),
        ("?x : r1(a, ?x) and not not r2(b, ?x)", "?x : r1(a, ?x) and r2(b, ?x)"),
        ("?x : r1(a, ?x) AND NOT r2(b, ?x)", "?x : r1(a, ?x) and (not (r2(b, ?x)))"),
        ("?x : r2(?v, ?x) and r1(a, ?v)", "?x : r1(a, ?w) and r2(?w, ?x)"),
        (
            "?x : r1(a, ?x) and (r2(b, ?x) and r3(c, ?x))",
            "?x : r1(a, ?x) and r2(b, ?x) and r3(c, ?x)",
        ),
    ],
)
def test_the_same_question_in_other_words(text: str, same: str) -> None:
    one, other = compiled(text), compiled(same)
    assert form(one) == form(other)
    assert leaves(one) == leaves(other)


def test_what_a_question_is_about() -> None:
    """A link from the variable that is asked for is its reciprocal."""
    node = compiled("?x : r1(?x, a) and r2(?y, ?x)")
    assert isinstance(node, Both)
    back, open_ = node.parts
    assert isinstance(back, Hop)
    assert isinstance(open_, Hop)
    assert int(back.relation) == inverse(0, num_relations=RELATIONS)
    assert (open_.source, open_.variable) == (Anything(), "?y")
    question = parse(r"?x : 'part of'(?x, 'it\'s \\ \"one\"')")
    assert question.names() == (['it\'s \\ "one"'], ["part of"])


def test_names_that_do_not_exist_are_told_by_their_column() -> None:
    def unknown(text: str) -> int:
        raise ConfigError(f"no entity has the key or name {text!r}")

    names = Compiler(entity=unknown, relation=LETTERS.__getitem__, num_relations=RELATIONS)
    with pytest.raises(ConfigError, match="column 9: no entity has the key or name 'z'"):
        names(parse("?x : r1(z, ?x)"))


def test_every_structure_has_a_form_of_its_own() -> None:
    forms = [form(node) for node in templates().values()]
    assert len(set(forms)) == len(forms) == 14


def test_questions_do_not_share_their_random_numbers() -> None:
    """One structure's questions don't depend on which others are drawn."""
    drawn = shuffled(400, entities=30, seed=5)
    found = adjacency(drawn, num_entities=30, num_relations=RELATIONS)
    observed = Observed.of(found, known=300, until=len(drawn))
    drawer = Drawer(graph=observed, seed=1)
    pairs = zip(drawer.draw("2p", 5), drawer.draw("2p", 5), strict=True)
    assert all(leaves(one.node) == leaves(other.node) for one, other in pairs)
