"""Answers: the best by score, known facts out, types respected."""

from __future__ import annotations

import pytest
import torch

from kgscale.data.triples import TripleFiles
from kgscale.graph.store import GraphStore, prepare
from kgscale.inference.embed import Embedder, GraphVectors
from kgscale.inference.predict import Predictor, VectorPredictor, table
from kgscale.models.decoders import DistMult
from kgscale.models.registry import build_model
from tests.graphs import adjacency, random_triples

PEOPLE, TOWNS = 12, 5


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> GraphStore:
    """People live in towns and like people; classes say who is what."""
    folder = tmp_path_factory.mktemp("graph")
    lives = [f"p{n}\tlives_in\tt{n % TOWNS}" for n in range(PEOPLE)]
    likes = [f"p{n}\tlikes\tp{(n * 5 + k) % PEOPLE}" for n in range(PEOPLE) for k in (1, 2)]
    (folder / "train.tsv").write_text("\n".join(lives + likes) + "\n")
    (folder / "valid.tsv").write_text("p0\tlikes\tp4\n")
    (folder / "test.tsv").write_text("p1\tlikes\tp3\n")
    kinds = [f"p{n}\tperson" for n in range(PEOPLE)] + [f"t{n}\ttown" for n in range(TOWNS)]
    (folder / "classes.tsv").write_text("\n".join(kinds) + "\n")
    names = [f"p{n}\tPerson {n}" for n in range(PEOPLE)]
    (folder / "names.tsv").write_text("\n".join(names) + "\n")
    source = TripleFiles(
        path=folder, names=str(folder / "names.tsv"), classes=str(folder / "classes.tsv")
    )
    return prepare(source, folder / "stores")


@pytest.fixture(scope="module")
def predictor(store: GraphStore) -> VectorPredictor:
    generator = torch.Generator().manual_seed(0)
    vectors = GraphVectors(
        entity=torch.randn(store.num_entities, 4, generator=generator),
        relation=torch.randn(2 * store.num_relations, 4, generator=generator),
    )
    return VectorPredictor(vectors, DistMult(dim=4), store)


def test_answers_are_the_best_unknown_tails(predictor: Predictor, store: GraphStore) -> None:
    head, relation = store.find_entity("p0"), store.find_relation("likes")
    found = predictor.answers(head=head, relation=relation, k=4)
    known = {store.find_entity(key) for key in ("p1", "p2", "p4")}
    score = predictor.probabilities(torch.tensor([head]), torch.tensor([relation]))[0]
    rest = [e for e in score.argsort(descending=True).tolist() if e not in known]
    assert [answer.tail for answer in found] == rest[:4]
    assert [answer.rank for answer in found] == [1, 2, 3, 4]
    assert found[0].score == pytest.approx(float(score[found[0].tail]))
    assert not any(answer.known for answer in found)


def test_heads_are_asked_by_the_reciprocal_relation(
    predictor: Predictor, store: GraphStore
) -> None:
    tail, relation = store.find_entity("p3"), store.find_relation("likes")
    found = predictor.answers(tail=tail, relation=relation, k=3)
    assert all(answer.tail == tail and answer.relation == relation for answer in found)
    # p1 likes p3 is a test triple: a known fact all the same.
    assert store.find_entity("p1") not in [answer.head for answer in found]


def test_known_answers_can_be_kept_and_are_marked(predictor: Predictor, store: GraphStore) -> None:
    head, relation = store.find_entity("p0"), store.find_relation("likes")
    found = predictor.answers(head=head, relation=relation, k=1000, known=True)
    assert len(found) == store.num_entities
    marked = {store.entity_keys([answer.tail])[0] for answer in found if answer.known}
    assert marked == {"p1", "p2", "p4"}
    assert sum(answer.score for answer in found) == pytest.approx(1, rel=1e-5)


def test_new_facts_keep_the_rule(predictor: Predictor, store: GraphStore) -> None:
    found = predictor.new_facts(count=10, per_relation=2, pairs=1000, seed=0)
    everything = torch.cat([store.triples(split) for split in ("train", "valid", "test")])
    known = {tuple(row) for row in everything.tolist()}
    assert len(found) == 4
    for fact in found:
        assert (fact.head, fact.relation, fact.tail) not in known
        assert fact.head != fact.tail
        (head,), (tail,) = store.entity_keys([fact.head]), store.entity_keys([fact.tail])
        (relation,) = store.relation_keys([fact.relation])
        assert head.startswith("p")
        assert tail.startswith({"likes": "p", "lives_in": "t"}[relation])
    scores = [fact.score for fact in found]
    assert scores == sorted(scores, reverse=True)
    assert [fact.rank for fact in found] == [1, 2, 3, 4]
    again = predictor.new_facts(count=10, per_relation=2, pairs=7, seed=3)
    assert again == predictor.new_facts(count=10, per_relation=2, pairs=7, seed=3)


def test_the_table_has_keys_and_names(predictor: Predictor, store: GraphStore) -> None:
    found = predictor.answers(
        head=store.find_entity("Person 3"), relation=store.find_relation("lives_in"), k=1
    )
    columns = table(found, store)
    assert list(columns) == [
        *("head", "relation", "tail", "score", "rank", "known"),
        *("head_name", "relation_name", "tail_name"),
    ]
    assert columns["head"] == ["p3"]
    assert columns["head_name"] == ["Person 3"]


@pytest.mark.parametrize("memory", [1, 1 << 30])
def test_vectors_do_not_depend_on_memory(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgscale.inference.embed.ROWS", 7)
    graph = adjacency(
        random_triples(90, num_entities=30, num_relations=2), num_entities=30, num_relations=2
    )
    spec = {
        "num_entities": 30,
        "num_relations": 2,
        "encoder": {"name": "CompGCN", "dim": 6, "num_layers": 2},
        "decoder": {"name": "DistMult"},
    }
    model = build_model(spec, seed=0)
    for update in model.encoder.update:
        torch.nn.init.ones_(update.gain)
    expected = Embedder(model=model, graph=graph, memory=1 << 20).every.entity
    assert torch.equal(Embedder(model=model, graph=graph, memory=memory).every.entity, expected)
    monkeypatch.setattr("kgscale.inference.embed.ROWS", 64)
    torch.testing.assert_close(
        Embedder(model=model, graph=graph, memory=memory).every.entity, expected
    )
