"""Lists of items from a store: whose, of what, how good, and by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from kgscale.data.splits import SPLITS
from kgscale.errors import DataError
from kgscale.graph.adjacency import Adjacency, first_triples
from kgscale.graph.known import KnownFacts
from kgscale.graph.store import GraphStore
from kgscale.inference.friends import (
    draw_strangers,
    pair_metrics,
    score_pairs,
)
from kgscale.inference.recommend import (
    ItemScores,
    Recommender,
    TopItems,
    cold_items,
    evaluate_items,
    item_metrics,
)
from kgscale.sampling.interest import Interest
from kgscale.tasks.calibration import Columns
from kgscale.tasks.parts import rows_of
from kgscale.tasks.settings import TaskSettings
from kgscale.types import Ids, Triples

COLD: Final = 0.1
"""Share of items that are called cold."""


def interest_of(
    task: TaskSettings, relations: Sequence[str], types: Sequence[Mapping[str, Any]]
) -> Interest:
    """What a graph has of users, items and the relation between them.

    Raises:
        DataError: it has no such relation or type.
    """
    named = {kind["name"]: range(kind["start"], kind["stop"]) for kind in types}
    if task.relation not in relations:
        raise DataError(
            f"the graph has no relation {task.relation!r} between users and items: set"
            " data=interactions, or name it with task.relation"
        )
    for setting, name in (("users", task.users), ("items", task.items)):
        if name not in named:
            known = ", ".join(map(repr, named))
            raise DataError(
                f"no entity has the type {name!r}: name the type of {setting} with"
                f" task.{setting}, which is one of {known}"
            )
    return Interest(
        relation=list(relations).index(task.relation),
        users=named[task.users],
        items=named[task.items],
    )


def check_between(store: GraphStore, task: TaskSettings) -> None:
    """Refuse a relation that also joins others than users and items.

    Raises:
        DataError: a triple of it does.
    """
    relations = store.relation_keys(list(range(store.num_relations)))
    kinds = [{"name": t.name, "start": t.start, "stop": t.stop} for t in store.types]
    interest = interest_of(task, relations, kinds)
    for split in SPLITS:
        triples = store.triples(split)
        mine = triples[triples[:, 1] == interest.relation]
        for side, rows, kind in ((0, interest.users, task.users), (2, interest.items, task.items)):
            wrong = (mine[:, side] < rows.start) | (mine[:, side] >= rows.stop)
            if wrong.any():
                (key,) = store.entity_keys([int(mine[wrong][0, side])])
                raise DataError(
                    f"{store.name}: {task.relation!r} is to join {task.users!r} to {task.items!r},"
                    f" and in {int(wrong.sum()):,} triples of {split} it joins others, such as"
                    f" {key!r}, which is no {kind!r}: call their relation something else, or give"
                    " them that type in data.types"
                )


def known_before(store: GraphStore, split: str | None) -> Adjacency:
    """What is known when the links of a split are asked for: all splits before it, or all."""
    if split is None:
        return store.adjacency(known=True)
    return first_triples(store.adjacency(known=True), rows_of(store, split)[0])


def held_links(store: GraphStore, split: str) -> Triples:
    """Of a split; both ways, where relations have no direction."""
    triples = store.triples(split)
    return torch.cat([triples, triples.flip(1)]) if store.undirected else triples


def measure_items(
    store: GraphStore,
    split: str,
    scores: ItemScores,
    interest: Interest,
    cuts: Sequence[int],
    *,
    memory: int,
) -> dict[str, float]:
    """Metrics of the lists for the users of a split."""
    recommender = Recommender(
        scores=scores, interest=interest, seen=KnownFacts(known_before(store, split)), memory=memory
    )
    sums = evaluate_items(recommender, held_links(store, split), cuts)
    return item_metrics(sums, cuts, len(interest.items))


def friend_pairs(store: GraphStore, split: str, interest: Interest) -> Tensor:
    """Of a split, each once."""
    triples = store.triples(split)
    return triples[triples[:, 1] == interest.relation][:, [0, 2]]


def measure_friends(
    store: GraphStore,
    split: str,
    scores: ItemScores,
    interest: Interest,
    task: TaskSettings,
    *,
    memory: int,
) -> dict[str, Any]:
    """Metrics of lists, and of a split's pairs among strangers (``random`` and ``matched``, drawn
    once and for all: the same for every model and seed)."""
    found: dict[str, Any] = measure_items(store, split, scores, interest, task.cuts, memory=memory)
    friends = score_pairs(scores, interest, friend_pairs(store, split, interest), memory=memory)
    known = store.adjacency(known=True)
    for name, matched in (("random", False), ("matched", True)):
        drawn = draw_strangers(known, interest, task.strangers, matched=matched, seed=0)
        strangers = score_pairs(scores, interest, drawn, memory=memory)
        found[name] = pair_metrics(friends, strangers, task.hits)
    return found


def measure_cold_items(
    store: GraphStore,
    split: str,
    scores: ItemScores,
    interest: Interest,
    cuts: Sequence[int],
    *,
    memory: int,
) -> dict[str, Any]:
    """Metrics of the links of a split to the tenth of all items that the fewest users of train
    have: ranked among all items, and among these alone."""
    cold = cold_items(store.adjacency(), interest, COLD)
    held = held_links(store, split)
    held = held[held[:, 1] == interest.relation]
    held = held[cold[held[:, 2] - interest.items.start]]
    found: dict[str, Any] = {"items": int(cold.sum()), "links": len(held)}
    for name, among in (("among_all", None), ("among_cold", cold)):
        recommender = Recommender(
            scores=scores,
            interest=interest,
            seen=KnownFacts(known_before(store, split)),
            memory=memory,
            among=among,
        )
        number = len(interest.items) if among is None else int(cold.sum())
        found[name] = item_metrics(evaluate_items(recommender, held, cuts), cuts, number)
    return found


def recommender_of(
    store: GraphStore, scores: ItemScores, interest: Interest, memory: int
) -> Recommender:
    """Leaves out all that users are known to have."""
    seen = KnownFacts(store.adjacency(known=True))
    return Recommender(scores=scores, interest=interest, seen=seen, memory=memory)


def joined(lists: Sequence[tuple[Ids, TopItems]], store: GraphStore) -> Columns:
    """Columns of the lists of some users, one after the other."""
    parts = [columns_of(user, found, store) for user, found in lists]
    return {name: [value for part in parts for value in part[name]] for name in parts[0]}


def columns_of(
    user: Ids, found: TopItems, store: GraphStore, known: Tensor | None = None
) -> Columns:
    """Of lists: a row for each place that has an item.

    Args:
        known: which items the users have; without it none.
    """
    row, place = found.score.isfinite().nonzero(as_tuple=True)
    item, whose = found.item[row, place].tolist(), user[row].tolist()
    return {
        "rank": (place + 1).tolist(),
        "user": store.entity_keys(whose),
        "item": store.entity_keys(item),
        "score": found.score[row, place].tolist(),
        "known": [False] * len(row) if known is None else known[row, place].tolist(),
        "user_name": store.entity_names(whose),
        "item_name": store.entity_names(item),
    }
