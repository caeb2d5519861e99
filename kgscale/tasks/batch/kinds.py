"""What lines ask of each kind of run, and the tables that answer some of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from kgscale.metrics.calibration import Calibration, log_odds
from kgscale.tasks.batch.questions import EntityLines, Lines, LinkLines, UserLines
from kgscale.tasks.directory import schema_of
from kgscale.tasks.runs import LinkRun, NodeRun, NumberRun, PathRun, RecommendationRun, Run

Part: TypeAlias = Mapping[str, NDArray[np.int64]]
"""The numbers of some lines."""
Answer = Callable[[Part], pa.Table]
"""Answers to them: the columns of ``predictions.parquet`` behind ``line``."""


def kind_of(run: Run, *, k: int, known: bool) -> tuple[Lines, Answer]:
    """How to read the lines that ask a run, and how to answer them.

    Args:
        known: keep known facts among the answers.
    """
    if isinstance(run, RecommendationRun):
        lines = UserLines(run.store, run.interest.users, run.spec["recommends"]["users"])
        return lines, lambda part: _items(run, part, k, known)
    if isinstance(run, NodeRun | NumberRun):
        return EntityLines(run.store), lambda part: _entities(run, part, k)
    assert isinstance(run, LinkRun)
    links = _paths if isinstance(run, PathRun) else _links
    return LinkLines(run.store), lambda part: links(run, part, k, known)


def _links(run: LinkRun, part: Part, k: int, known: bool) -> pa.Table:
    asked, direction = (torch.from_numpy(part[name]) for name in ("asked", "relation"))
    found = run.predictor.best(asked, direction, k=k, known=known)
    row, store = found.row, run.store
    backwards = direction[row] >= store.num_relations
    head = torch.where(backwards, found.entity, asked[row])
    tail = torch.where(backwards, asked[row], found.entity)
    relation = direction[row] % store.num_relations
    columns = {
        "line": part["line"][row.numpy()],
        "head": store.entity_column(head, names=False),
        "relation": store.relation_column(relation, names=False),
        "tail": store.entity_column(tail, names=False),
        "score": found.score.double().numpy(),
        "rank": _ranks(row),
        "known": found.known.numpy(),
        "probability": _probability(found.score, run.calibration, odds=True),
        "head_name": store.entity_column(head, names=True),
        "relation_name": store.relation_column(relation, names=True),
        "tail_name": store.entity_column(tail, names=True),
    }
    return pa.table(columns, schema=schema_of(columns))


def _paths(run: LinkRun, part: Part, k: int, known: bool) -> pa.Table:
    """One question after the other, as each has a subgraph of its own."""
    tables, relations = [], run.store.num_relations
    for line, asked, direction in zip(*(part[name].tolist() for name in part), strict=True):
        backwards = direction >= relations
        end = {"tail": asked} if backwards else {"head": asked}
        found = run.predictor.answers(relation=direction % relations, k=k, known=known, **end)
        columns = run.columns(found, backwards=backwards)
        tables.append(_table(np.full(len(found), line), columns))
    return pa.concat_tables(tables)


def _items(run: RecommendationRun, part: Part, k: int, known: bool) -> pa.Table:
    user = torch.from_numpy(part["asked"])
    found, store = run.best(user, k=k, known=known), run.store
    row, place = found.score.isfinite().nonzero(as_tuple=True)
    item, whose, score = found.item[row, place], user[row], found.score[row, place]
    has = run.has(user, found.item)[row, place].numpy() if known else np.zeros(len(row), bool)
    probability = _probability(score, run.calibration, odds=False)
    columns = {
        "line": part["line"][row.numpy()],
        "rank": (place + 1).numpy(),
        "user": store.entity_column(whose, names=False),
        "item": store.entity_column(item, names=False),
        "score": score.double().numpy(),
        "known": has,
        # What a user has already is no prediction.
        "probability": pc.if_else(pa.array(has), None, probability),
        "user_name": store.entity_column(whose, names=True),
        "item_name": store.entity_column(item, names=True),
    }
    return pa.table(columns, schema=schema_of(columns))


def _entities(run: NodeRun | NumberRun, part: Part, k: int) -> pa.Table:
    _ = run.vectors  # once for all parts
    node = torch.from_numpy(part["asked"])
    if isinstance(run, NodeRun):
        columns = run.labeller.answers(node, k=k)
    else:
        columns = run.estimator.answers(node)
    each = len(columns["entity"]) // len(node)
    return _table(part["line"].repeat(each), columns)


def _table(line: NDArray[np.int64], columns: Mapping[str, list[Any]]) -> pa.Table:
    found = {"line": line, **columns}
    return pa.table(found, schema=schema_of(found))


def _ranks(row: Tensor) -> NDArray[np.int64]:
    """From 1 on, among the answers to the same question, which follow each other."""
    places = np.arange(len(row))
    found: NDArray[np.int64] = places - np.searchsorted(row.numpy(), row.numpy()) + 1
    return found


def _probability(score: Tensor, calibration: Calibration | None, *, odds: bool) -> pa.Array:
    if calibration is None:
        return pa.nulls(len(score), pa.float64())
    return pa.array(calibration(log_odds(score) if odds else score).double().numpy())
