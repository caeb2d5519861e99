"""A survey of a store: two passes over its facts, made once and kept beside it.

Memory grows with the entities (some 50 bytes each), with what pairs of relations have in common
and with the largest hub, not with the facts; time with the facts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np

from kgscale.data.audit import Tell, silent
from kgscale.data.splits import SPLITS, TEST, TRAIN
from kgscale.data.spool import Array
from kgscale.durable import read_text
from kgscale.errors import ConfigError, ResourceError
from kgscale.graph.integrity import write_json
from kgscale.graph.labels import NodeLabels
from kgscale.graph.store import GraphStore
from kgscale.graph.survey.counts import SHARED, Degrees, LabelCounts, RelationRow, Survey
from kgscale.graph.survey.leaks import LeakCounter, Tellers
from kgscale.graph.survey.pieces import AllFacts, Pairs, Rows, pairs_of, rows_of
from kgscale.graph.survey.relations import KINDS, Related, RelationCounter, RelationPair
from kgscale.graph.survey.shape import Shape

KIND: Final = "survey"
"""Of what is kept with the store."""
_FILE: Final = "survey.json"
_SCHEMA: Final = 3
"""Of that file."""
HUBS: Final = 10


@dataclass(frozen=True, kw_only=True)
class SurveySettings:
    """``audit`` in ``conf/audit.yaml``; see there for what each means."""

    overlap: float = 0.8
    density: float = 0.8
    least: int = 10

    def __post_init__(self) -> None:
        for name in ("overlap", "density"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(
                    f"audit.{name} is a share between 0 and 1, got {getattr(self, name)}"
                )
        if self.least < 1:
            raise ConfigError(f"audit.least needs a positive int, got {self.least}")


def survey(store: GraphStore, settings: SurveySettings, *, tell: Tell = silent) -> Survey:
    """Made the first time, read afterwards; made each time where it can't be kept."""

    def write(directory: Path) -> None:
        write_json(directory / _FILE, asdict(make_survey(store, settings, tell=tell)))

    try:
        path = store.derived(KIND, _kept_by(settings), write)
    except ResourceError:  # such as a store on a read-only disk
        return make_survey(store, settings, tell=tell)
    return Survey.of(json.loads(read_text(path / _FILE)))


def is_made(store: GraphStore, settings: SurveySettings) -> bool:
    """Whether it would only be read."""
    return store.has_derived(KIND, _kept_by(settings))


def _kept_by(settings: SurveySettings) -> dict[str, Any]:
    return {"schema": _SCHEMA, **asdict(settings)}


def make_survey(store: GraphStore, settings: SurveySettings, *, tell: Tell = silent) -> Survey:
    found = count(AllFacts.of(store), settings, tell=tell)
    return replace(found, shared=_shared(store), labels=_labels(store))


def count(facts: AllFacts, settings: SurveySettings, *, tell: Tell = silent) -> Survey:
    """All but what splits share, and labels."""
    size = facts.num_relations
    relations = RelationCounter(size, undirected=facts.undirected)
    shape = Shape(facts.num_entities)
    for rows, pairs in _pieces(facts, tell, "relations"):
        relations.add(rows, pairs)
        shape.add(rows, pairs)
    related, component = relations.total(), shape.components.labels()
    alike = related.pairs(overlap=settings.overlap, least=settings.least)
    leaks = LeakCounter(_tellers(facts, alike), size, shape.degree, component)
    if sum(facts.sizes) > facts.sizes[TRAIN]:
        for _, pairs in _pieces(facts, tell, "held-out facts"):
            leaks.add(pairs)
    seen = shape.degree > 0
    return Survey(
        entities=facts.num_entities,
        seen=int(seen.sum()),
        unseen=int((~seen & (shape.known > 0)).sum()),
        alone=int((shape.known == 0).sum()),
        undirected=facts.undirected,
        shared={},
        held_out={split: leaks.total(split) for split in SPLITS[1:]},
        relations=_rows(related, leaks, settings),
        pairs=alike,
        degrees=_degrees(shape.degree),
        components=_sizes(component[seen]),
        labels=None,
    )


def _pieces(facts: AllFacts, tell: Tell, what: str) -> Iterator[tuple[Rows, Pairs]]:
    done, total = 0, facts.graph.source.shape[0]
    for rows in rows_of(facts):
        done += len(rows.target)
        tell(f"looking at {what}: {done / max(total, 1):.0%}")
        yield rows, pairs_of(rows, facts)


def _tellers(facts: AllFacts, alike: list[RelationPair]) -> dict[str, Tellers]:
    """Turned round, a fact without direction is itself."""
    by: dict[str, Tellers] = {
        kind: Tellers.of(
            [pair for pair in alike if pair.kind == kind],
            facts.num_relations,
            turned=kind == "inverse",
        )
        for kind in KINDS
    }
    return by if facts.undirected else {"reverse": Tellers.itself(facts.num_relations), **by}


def _shared(store: GraphStore) -> dict[str, int]:
    """Facts that two splits have."""
    if not store.manifest["counts"]["in_several_splits"]:
        return dict.fromkeys(SHARED, 0)
    query = (
        "SELECT count(*) FROM read_parquet(?) SEMI JOIN read_parquet(?)"
        " USING (head, relation, tail)"
    )
    with duckdb.connect() as database:
        return {
            name: int(database.execute(query, _tables(store, splits)).fetchall()[0][0])
            for name, splits in SHARED.items()
        }


def _tables(store: GraphStore, splits: Iterable[str]) -> list[str]:
    return [str(store.path / f"{split}.parquet") for split in splits]


def _rows(related: Related, leaks: LeakCounter, settings: SurveySettings) -> list[RelationRow]:
    columns = {
        **dict(zip(SPLITS, related.facts.T, strict=True)),
        "loops": related.loops,
        "heads": related.heads,
        "tails": related.tails,
        "combinations": related.combinations,
        "reversed": related.reversed,
        "told": leaks.told[:, TEST],
        "symmetric": related.symmetric(overlap=settings.overlap, least=settings.least),
        "cartesian": related.cartesian(density=settings.density, least=settings.least),
        "constant": related.constant(least=settings.least),
    }
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [RelationRow(**dict(zip(columns, row, strict=True))) for row in rows]


def _degrees(degree: Array) -> Degrees:
    used = np.sort(degree[degree > 0])
    value, count = np.unique(used, return_counts=True)
    most = np.argsort(-degree, kind="stable")[:HUBS]
    top = used[len(used) - -(-len(used) // 100) :]
    return Degrees(
        histogram=list(zip(value.tolist(), count.tolist(), strict=True)),
        hubs=[(int(entity), int(degree[entity])) for entity in most if degree[entity]],
        mean=float(used.mean()) if len(used) else 0.0,
        median=float(np.median(used)) if len(used) else 0.0,
        most=int(used[-1]) if len(used) else 0,
        once=int((used == 1).sum()),
        hub_share=float(top.sum() / used.sum()) if len(used) else 0.0,
    )


def _sizes(component: Array) -> list[tuple[int, int]]:
    _, sizes = np.unique(component, return_counts=True)
    size, number = np.unique(sizes, return_counts=True)
    return list(zip(size[::-1].tolist(), number[::-1].tolist(), strict=True))


def _labels(store: GraphStore) -> LabelCounts | None:
    labels = store.labels()
    if labels is None:
        return None
    degree = np.diff(store.adjacency().indptr.numpy())
    split, indptr = labels.split.numpy(), labels.indptr.numpy()
    sizes = {name: int((split == at).sum()) for at, name in enumerate(SPLITS)}
    owner = np.repeat(np.arange(len(split)), np.diff(indptr))
    train = labels.label_id.numpy()[split[owner] == TRAIN]
    joined, by = (set(), {}) if store.has_numbers else _joined(store, labels)
    return LabelCounts(
        entities=sizes,
        classes=len(labels.names),
        largest=float(np.bincount(train).max() / len(train)) if len(train) else 0.0,
        alone=int(((split < len(SPLITS)) & (degree == 0)).sum()),
        joined=len(joined),
        joined_by=sorted(
            ((relation, len(entities)) for relation, entities in by.items()),
            key=lambda pair: (-pair[1], pair[0]),
        ),
    )


def _joined(store: GraphStore, labels: NodeLabels) -> tuple[set[int], dict[int, set[int]]]:
    """Labelled entities next to the one that their label is the key of, and by which relations."""
    graph = store.adjacency(known=True)
    found: set[int] = set()
    by: dict[int, set[int]] = {}
    own = labels.label_id.numpy()
    owner = np.repeat(np.arange(len(labels.split)), np.diff(labels.indptr.numpy()))
    place = {name: at for at, name in enumerate(labels.names)}
    for name, entity in store.entity_ids(labels.names).items():
        edges = slice(int(graph.indptr[entity]), int(graph.indptr[entity + 1]))
        neighbor = graph.source[edges].numpy()
        beside = np.isin(neighbor, owner[own == place[name]])
        found.update(neighbor[beside].tolist())
        relation = graph.relation[edges].numpy()[beside] % store.num_relations
        for one, other in zip(relation.tolist(), neighbor[beside].tolist(), strict=True):
            by.setdefault(one, set()).add(other)
    return found, by
