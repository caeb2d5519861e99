"""By the rules of a benchmark: its own questions and candidates, measured by OGB's own code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from kgscale.errors import ConfigError
from kgscale.graph.asked import Questions
from kgscale.graph.known import KnownFacts
from kgscale.graph.store import GraphStore
from kgscale.inference.classify import Labeller
from kgscale.inference.embed import GraphVectors
from kgscale.metrics.given import candidate_counts, hits_among, reciprocal_rank, roc_auc
from kgscale.models.decoders import Decoder

Answers: TypeAlias = Float[Tensor, " question"]
Rivals: TypeAlias = Float[Tensor, "question rival"]

BEST: Final = 10
"""Tails that WikiKG90Mv2 asks for."""
ROWS: Final = 256
"""Questions whose best tails are looked for at once."""
LSC: Final = {"mag240m": "MAG240MEvaluator", "wikikg90mv2": "WikiKG90Mv2Evaluator"}


def check_evaluator(benchmark: str) -> None:
    """Refuse before hours of training what could not be measured after them."""
    if find_spec("ogb") is None:
        raise _missing(benchmark, "it is not installed")


def _missing(benchmark: str, reason: object) -> ConfigError:
    return ConfigError(
        f"{benchmark} is measured by OGB's own Evaluator, and the package ogb cannot be imported"
        f" ({reason}): pip install 'kgscale[ogb]', or set evaluation.official=false"
    )


def evaluator(benchmark: str) -> Any:
    """OGB's own. It is imported now and not before, as that takes seconds.

    Raises:
        ConfigError: the package ``ogb`` is missing.
    """
    package = {"ogbl": "linkproppred", "ogbn": "nodeproppred"}.get(benchmark[:4], "lsc")
    try:
        with _no_question_for_newer_versions():
            module = import_module(f"ogb.{package}")
    except ImportError as error:
        raise _missing(benchmark, error) from error
    return getattr(module, LSC[benchmark])() if package == "lsc" else module.Evaluator(benchmark)


@contextmanager
def _no_question_for_newer_versions() -> Iterator[None]:
    """While ``ogb`` is imported it asks the network, unless the package ``outdated`` is missing."""
    name = "outdated"
    before = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before


def official_links(
    store: GraphStore, split: str, vectors: GraphVectors, decoder: Decoder, *, memory: int
) -> dict[str, float]:
    """What OGB's Evaluator says of a split of a benchmark of links; empty if it asks nothing."""
    asked = store.asked(split)
    if store.benchmark is None or asked is None:
        return {}
    train = KnownFacts(store.adjacency())
    return measure_links(store.benchmark, asked, vectors, decoder, train, memory=memory)


def official_nodes(labeller: Labeller, split: str) -> dict[str, float]:
    """The same of a benchmark of nodes; empty where OGB keeps the labels."""
    node, label = labeller.labels.of(split)
    if labeller.store.benchmark is None or not len(node):
        return {}
    logits, names = labeller.of_split(split), labeller.labels.names
    return measure_nodes(labeller.store.benchmark, logits, label, names)


def measure_links(
    benchmark: str,
    questions: Questions,
    vectors: GraphVectors,
    decoder: Decoder,
    train: KnownFacts,
    *,
    memory: int,
) -> dict[str, float]:
    """What OGB's Evaluator says of a split.

    Args:
        train: facts that are no answers, where all entities are candidates.
        memory: bytes for what is kept at a time.
    """
    judge = evaluator(benchmark)
    if questions.tail is None:
        return {}
    if questions.other_head is not None:
        positive, negative = pair_scores(questions, vectors, decoder, memory=memory)
        found = judge.eval({"y_pred_pos": positive, "y_pred_neg": negative})
        return {name: float(value) for name, value in found.items()}
    if questions.head_negative is None and questions.tail_negative is None:
        best = best_tails(questions, vectors, decoder, train, memory=memory)
        found = judge.eval({"h,r->t": {"t_pred_top10": best, "t": questions.tail.long()}})
        return {"mrr@10": float(found["mrr"])}
    parts: dict[str, list[Tensor]] = {}
    for positive, negative in candidate_scores(questions, vectors, decoder, memory=memory):
        found = judge.eval({"y_pred_pos": positive, "y_pred_neg": negative})
        for name, values in found.items():
            parts.setdefault(name.removesuffix("_list"), []).append(values.double())
    return {name: float(torch.cat(values).mean()) for name, values in parts.items()}


def own_measure(
    metric: str,
    questions: Questions,
    vectors: GraphVectors,
    decoder: Decoder,
    train: KnownFacts,
    *,
    memory: int,
) -> float:
    """The metric of a leaderboard, the same as the Evaluator's, without the package.

    For validation during training, where a checkpoint is chosen.
    """
    assert questions.tail is not None
    if questions.other_head is not None:
        positive, negative = pair_scores(questions, vectors, decoder, memory=memory)
        _, _, k = metric.partition("@")
        return hits_among(positive, negative, int(k)) if k else roc_auc(positive, negative)
    if questions.head_negative is None and questions.tail_negative is None:
        best = best_tails(questions, vectors, decoder, train, memory=memory)
        return float(reciprocal_rank(best, questions.tail.long()).mean())
    ranks = [
        candidate_counts(positive, negative).realistic
        for positive, negative in candidate_scores(questions, vectors, decoder, memory=memory)
    ]
    return float(torch.cat(ranks).reciprocal().mean())


@torch.no_grad()
def candidate_scores(
    questions: Questions, vectors: GraphVectors, decoder: Decoder, *, memory: int
) -> Iterator[tuple[Answers, Rivals]]:
    """Scores of the answers, and of the candidates that come with each; some at a time."""
    assert questions.relation is not None
    assert questions.tail is not None
    reciprocal = questions.relation.long() + vectors.relation.shape[0] // 2
    sides = [
        (questions.head, questions.relation, questions.tail, questions.tail_negative),
        (questions.tail, reciprocal, questions.head, questions.head_negative),
    ]
    for head, relation, tail, negative in sides:
        if negative is None:
            continue
        rows = max(1, memory // (8 * vectors.entity.shape[1] * (1 + negative.shape[1])))
        for first in range(0, len(head), rows):
            mine = slice(first, first + rows)
            candidate = torch.cat([tail[mine, None], negative[mine]], dim=1)
            scores = _scores(head[mine], relation[mine], candidate, vectors, decoder)
            yield scores[:, 0].contiguous(), scores[:, 1:]


def pair_scores(
    questions: Questions, vectors: GraphVectors, decoder: Decoder, *, memory: int
) -> tuple[Answers, Float[Tensor, " other"]]:
    """Of joined pairs and of others: the mean of both directions, as pairs have none."""
    assert questions.relation is not None
    assert questions.tail is not None
    assert questions.other_head is not None
    assert questions.other_tail is not None
    relation = questions.relation[:1].long()
    found = []
    for head, tail in (
        (questions.head, questions.tail),
        (questions.other_head, questions.other_tail),
    ):
        found.append(_both_ways(head, relation, tail, vectors, decoder, memory))
    return found[0], found[1]


@torch.no_grad()
def _both_ways(
    head: Int[Tensor, " pair"],
    relation: Int64[Tensor, " 1"],
    tail: Int[Tensor, " pair"],
    vectors: GraphVectors,
    decoder: Decoder,
    memory: int,
) -> Float[Tensor, " pair"]:
    reciprocal = relation + vectors.relation.shape[0] // 2
    rows = max(1, memory // (16 * vectors.entity.shape[1]))
    parts = [torch.empty(0)]
    for first in range(0, len(head), rows):
        one, other = head[first : first + rows], tail[first : first + rows]
        scores = [
            _scores(left, asked.expand(len(left)), right[:, None], vectors, decoder)[:, 0]
            for left, asked, right in ((one, relation, other), (other, reciprocal, one))
        ]
        parts.append((scores[0] + scores[1]) / 2)
    return torch.cat(parts)


def _scores(
    head: Int[Tensor, " question"],
    relation: Int[Tensor, " question"],
    candidate: Int[Tensor, "question candidate"],
    vectors: GraphVectors,
    decoder: Decoder,
) -> Float[Tensor, "question candidate"]:
    question = decoder.query(vectors.rows(head.long()), vectors.of(relation.long()))
    return decoder.compare_own(question, vectors.rows(candidate.long())).cpu()


@torch.no_grad()
def best_tails(
    questions: Questions,
    vectors: GraphVectors,
    decoder: Decoder,
    train: KnownFacts,
    *,
    memory: int,
    count: int = BEST,
) -> Int64[Tensor, "question best"]:
    """The best tails among all entities, best first; facts of train are no answers."""
    assert questions.relation is not None
    head, relation = questions.head.long(), questions.relation.long()
    entity, columns = vectors.entity, max(count, memory // (8 * ROWS))
    parts = [torch.empty(0, count, dtype=torch.int64)]
    for first in range(0, len(head), ROWS):
        asked = slice(first, first + ROWS)
        question = decoder.query(vectors.rows(head[asked]), vectors.of(relation[asked]))
        indptr, known = train.tails(head[asked], relation[asked])
        row = torch.arange(len(question)).repeat_interleave(indptr.diff())
        score = torch.full((len(question), 0), 0.0)
        place = torch.empty(len(question), 0, dtype=torch.int64)
        for start in range(0, len(entity), columns):
            candidate = entity[start : start + columns].to(vectors.device)
            scores = decoder.compare(question, candidate).cpu()
            inside = (known >= start) & (known < start + columns)
            scores[row[inside], known[inside] - start] = -torch.inf
            here = torch.arange(start, start + scores.shape[1]).expand(len(question), -1)
            score, at = torch.cat([score, scores], dim=1).topk(min(count, start + scores.shape[1]))
            place = torch.cat([place, here], dim=1).gather(1, at)
        parts.append(place)
    return torch.cat(parts)


def measure_nodes(
    benchmark: str,
    logits: Float[Tensor, "node class"],
    label: Int64[Tensor, " node"] | Float[Tensor, "node class"],
    names: list[str],
) -> dict[str, float]:
    """What OGB's Evaluator says of nodes, whose classes are called by their numbers."""
    judge = evaluator(benchmark)
    number = torch.tensor([int(name) for name in names])
    if label.ndim == 2:
        truth, score = (torch.zeros(len(logits), judge.num_tasks) for _ in range(2))
        truth[:, number], score[:, number] = label, logits
        found = judge.eval({"y_true": truth.numpy().astype(np.int64), "y_pred": score})
    else:
        answers = number[label], number[logits.argmax(dim=1)]
        if benchmark not in LSC:
            answers = answers[0][:, None], answers[1][:, None]
        found = judge.eval({"y_true": answers[0], "y_pred": answers[1]})
    return {name: float(value) for name, value in found.items()}
