"""Questions of several hops, asked of a model that predicts links."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from kgscale.data.audit import Tell, silent
from kgscale.data.question_file import QuestionRow, read_questions
from kgscale.errors import ConfigError, DataError
from kgscale.graph.known import KnownFacts
from kgscale.graph.store import GraphStore
from kgscale.inference.predict import Predictor
from kgscale.inference.queries.answer import Answerer, Links, Step
from kgscale.inference.queries.draw import Drawer
from kgscale.inference.queries.edges import Observed, holds
from kgscale.inference.queries.formula import form
from kgscale.inference.queries.language import Compiler, Question, parse
from kgscale.inference.queries.measure import measure
from kgscale.inference.queries.questions import Asked
from kgscale.inference.queries.structures import STRUCTURES, templates
from kgscale.tasks.schema import at_least

DRAWN: Final = "drawn"
Columns = dict[str, list[Any]]


@dataclass(frozen=True, kw_only=True)
class QuestionSettings:
    """``evaluation.questions`` in ``conf/``; see there for what each means."""

    file: str | None = DRAWN
    count: int = 50
    width: int = 64
    negation: float = 3.0

    def __post_init__(self) -> None:
        at_least("count", self.count, 1)
        at_least("width", self.width, 1)
        if self.negation <= 0:
            raise ConfigError(f"negation needs a number above 0, got {self.negation}")


@torch.no_grad()
def measure_questions(
    predictor: Predictor,
    split: str,
    settings: QuestionSettings,
    *,
    memory: int,
    seed: int = 0,
    tell: Tell = silent,
) -> dict[str, Any]:
    """Metrics by structure, of questions whose answers need triples of a split.

    What stands in the splits before it is known.
    """
    store = predictor.store
    if split == "train" or not store.num_triples[split]:
        raise ConfigError(
            f"questions need links to find that training has not seen, and {split} of"
            f" {store.name} has none: ask about another split"
        )
    graph = Observed.at(store, split)
    if settings.file == DRAWN or settings.file is None:
        drawer = Drawer(graph=graph, seed=seed)
        asked = [one for name in STRUCTURES for one in drawer.draw(name, settings.count)]
    else:
        asked = read_asked(Path(settings.file).expanduser(), store)
    answers = answerer(predictor, graph, settings, memory=memory)
    report = measure(asked, answers, graph.edges, tell=tell)
    return {
        "protocol": "filtered, by question",
        "split": split,
        "file": settings.file or DRAWN,
        "questions": len(asked),
        "width": settings.width,
        "negation": settings.negation,
        **report.content(),
    }


def answerer(
    predictor: Predictor, graph: Observed, settings: QuestionSettings, *, memory: int
) -> Answerer:
    links = Links(
        probabilities=predictor.probabilities,
        facts=KnownFacts(graph.known),
        edges=graph.edges,
        memory=memory,
    )
    return Answerer(links=links, width=settings.width, negation=settings.negation)


def read_asked(path: Path, store: GraphStore) -> list[Asked]:
    """The questions of a file, about a graph.

    Raises:
        DataError: by file and line, what can't be understood or isn't in the graph.
    """
    rows = list(read_questions(path))
    if not rows:
        raise DataError(f"{path} has no questions")
    questions = [_understood(row) for row in rows]
    entities, relations = set[str](), set[str]()
    for row, question in zip(rows, questions, strict=True):
        ends, named = question.names()
        entities.update(ends, row.easy, row.hard)
        relations.update(named)
    compiler = Compiler(
        entity=_by_key("entity", store.entity_ids(sorted(entities))),
        relation=_by_key("relation", store.relation_ids(sorted(relations))),
        num_relations=store.num_relations,
    )
    known = {form(node): name for name, node in templates().items()}
    return [
        _asked(row, question, compiler, known)
        for row, question in zip(rows, questions, strict=True)
    ]


def _by_key(kind: str, ids: dict[str, int]) -> Callable[[str], int]:
    def find(key: str) -> int:
        if key not in ids:
            raise ConfigError(f"no {kind} of the graph has the key {key!r}")
        return ids[key]

    return find


def _understood(row: QuestionRow) -> Question:
    try:
        return parse(row.text)
    except ConfigError as error:
        raise DataError(f"{row.place}: {error}") from error


def _asked(
    row: QuestionRow, question: Question, compiler: Compiler, known: dict[str, str]
) -> Asked:
    try:
        node = compiler(question)
        easy, hard = ([compiler.entity(key) for key in keys] for keys in (row.easy, row.hard))
    except ConfigError as error:
        raise DataError(f"{row.place}: {error}") from error
    return Asked(
        node=node,
        structure=row.structure or known.get(form(node), form(node)),
        easy=torch.tensor(easy, dtype=torch.int64),
        hard=torch.tensor(hard, dtype=torch.int64),
    )


@torch.no_grad()
def ask(
    predictor: Predictor,
    text: str,
    settings: QuestionSettings,
    *,
    k: int,
    known: bool,
    memory: int,
) -> tuple[Columns, int]:
    """Columns of the ``k`` best answers, each with the links that it rests on, and how many
    answers follow from known facts alone.

    Args:
        known: list those too, marked.
    """
    store, question = predictor.store, parse(text)
    compiler = Compiler(
        entity=store.find_entity, relation=store.find_relation, num_relations=store.num_relations
    )
    node = compiler(question)
    graph = Observed.at(store)
    answers = answerer(predictor, graph, settings, memory=memory)
    truth = answers(node)[0]
    follows = holds(node, graph.edges)
    shown = truth if known else truth.masked_fill(follows, 0.0)
    value, found = shown.topk(min(k, len(shown)))
    entity = found[value > 0].tolist()
    proofs = [answers.proof(node, one, question.variable.text) for one in entity]
    columns: Columns = {
        "rank": list(range(1, len(entity) + 1)),
        "entity": store.entity_keys(entity),
        "score": [float(truth[one]) for one in entity],
        "known": [bool(follows[one]) for one in entity],
        "entity_name": store.entity_names(entity),
        "because": list(_told(proofs, store)),
    }
    return columns, int(follows.sum())


def _told(proofs: Sequence[Sequence[Step]], store: GraphStore) -> Iterator[str]:
    """The links in words, by names; reciprocal ones the way they are in the data."""
    steps = [step for proof in proofs for step in proof]
    ends = sorted({end for step in steps for end in (step.head, step.tail)})
    relations = sorted({step.relation % store.num_relations for step in steps})
    entity = dict(zip(ends, store.entity_names(ends), strict=True))
    relation = dict(zip(relations, store.relation_names(relations), strict=True))

    def link(step: Step) -> str:
        ends, variables = (step.head, step.tail), step.variables
        if step.relation >= store.num_relations:
            ends, variables = ends[::-1], variables[::-1]
        head, tail = (
            f"{variable}={entity[end]}" if variable else entity[end]
            for variable, end in zip(variables, ends, strict=True)
        )
        sure = "known" if step.known else f"{step.truth:.3f}"
        denied = "not " if step.denied else ""
        called = relation[step.relation % store.num_relations]
        return f"{denied}{called}({head}, {tail}) [{sure}]"

    for proof in proofs:
        yield " and ".join(map(link, proof))
