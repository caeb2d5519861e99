"""An audit: what a survey of a store counted, what that means, and all of it for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from kgscale.data.audit import Tell, silent
from kgscale.graph.store import GraphStore
from kgscale.graph.survey.counts import Survey
from kgscale.graph.survey.survey import SurveySettings, is_made, survey
from kgscale.tasks.audit.finding import WEIGHTS, Finding, counted, verdict
from kgscale.tasks.audit.learning import about_learning
from kgscale.tasks.audit.links import about_links, measured_split

SHORT: Final = 5_000_000
"""Facts up to which a training begins with an audit: some four seconds, once for a graph."""
_KEYS: Final = 10_000
"""Entities whose keys are looked up together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Of a store."""

    survey: Survey
    findings: list[Finding]
    """Those that weigh most first."""
    verdict: str


def audit(
    store: GraphStore,
    settings: SurveySettings,
    *,
    links: bool = True,
    other: GraphStore | None = None,
    tell: Tell = silent,
) -> Audit:
    """Survey a store and judge what is found.

    Args:
        links: whether links are asked for, and not the labels of entities alone.
        other: a graph of other entities, on which what is learned here is measured.
    """
    found = survey(store, settings, tell=tell)
    names = store.relation_names(list(range(store.num_relations)))
    findings = list(about_learning(found, names, store.manifest))
    if links:
        findings += about_links(found, names)
    if other is not None:
        findings += _elsewhere(store, other)
    findings.sort(key=lambda finding: WEIGHTS.index(finding.weight))
    measured = found.labels is not None or measured_split(found) is not None
    return Audit(
        survey=found,
        findings=findings,
        verdict=verdict(store.name, findings, measured=measured),
    )


def short(store: GraphStore, *, links: bool, tell: Tell = silent) -> Audit | None:
    """The same before a training; none of a large graph, unless it was made already."""
    settings = SurveySettings()
    if sum(store.num_triples.values()) > SHORT and not is_made(store, settings):
        return None
    return audit(store, settings, links=links, tell=tell)


def short_lines(found: Audit | None) -> Iterator[str]:
    """What matters of it, if anything does; repeated facts are told beside the graph's size."""
    again = "python -m kgscale audit with the same arguments"
    if found is None:
        yield f"audit: of more than {SHORT:,} facts it is made by {again}"
        return
    grave = [finding for finding in found.findings if finding.weight != "mind"]
    if grave:
        yield f"audit: {found.verdict}; {again} tells more"
    yield from (f"audit: {finding.words}" for finding in grave if finding.kind != "shared")


def short_content(found: Audit | None) -> dict[str, Any] | None:
    """For ``results.json``."""
    if found is None:
        return None
    return {
        "verdict": found.verdict,
        "findings": [finding.told() for finding in found.findings],
    }


def _elsewhere(store: GraphStore, other: GraphStore) -> Iterator[Finding]:
    """What a graph that should have other entities, and no other relations, has."""
    shared = sum(
        len(store.entity_ids(other.entity_keys(list(range(first, min(first + _KEYS, end))))))
        for end in [other.num_entities]
        for first in range(0, end, _KEYS)
    )
    if shared:
        yield Finding(
            kind="other_shares_entities",
            weight="wrong",
            count=shared,
            share=shared / other.num_entities,
            words=f"the other graph has {counted(shared, 'entity', 'entities')} of this one",
            remedy="take them out of data.inductive: its entities should all be new",
        )
    keys = other.relation_keys(list(range(other.num_relations)))
    if unknown := len(keys) - len(store.relation_ids(keys)):
        yield Finding(
            kind="other_has_relations",
            weight="wrong",
            count=unknown,
            share=unknown / len(keys),
            words=f"the other graph has {counted(unknown, 'relation')} that this one lacks",
            remedy="nothing can be learned of these: take their facts out of data.inductive",
        )


def content(store: GraphStore, settings: SurveySettings, found: Audit) -> dict[str, Any]:
    """What ``audit.json`` holds; entities and relations by key, and by name where they have one."""
    counts = store.manifest["counts"]
    relations = _named_relations(store)
    hubs = [entity for entity, _ in found.survey.degrees.hubs]
    entities = dict(
        zip(hubs, _named(store.entity_keys(hubs), store.entity_names(hubs)), strict=True)
    )
    told = asdict(found.survey)
    degrees, labels = told["degrees"], told["labels"]
    if labels is not None:
        by = labels["joined_by"]
        labels = {**labels, "joined_by": [{**relations[r], "entities": n} for r, n in by]}
    return {
        "schema": 1,
        "data": {"name": store.name, "fingerprint": store.fingerprint},
        "verdict": found.verdict,
        "findings": [finding.told() for finding in found.findings],
        "thresholds": asdict(settings),
        "undirected": found.survey.undirected,
        "entities": {
            "all": store.num_entities,
            **{name: told[name] for name in ("seen", "unseen", "alone")},
            "by_type": {kind.name: kind.stop - kind.start for kind in store.types},
        },
        "triples": dict(store.num_triples),
        "shared": told["shared"],
        "held_out": told["held_out"],
        "relations": [
            {
                **name,
                "facts": row.facts,
                **asdict(row),
                "density": row.density,
                "mutual": row.mutual,
            }
            for name, row in zip(relations, found.survey.relations, strict=True)
        ],
        "pairs": [
            {**pair, "one": relations[pair["one"]], "other": relations[pair["other"]]}
            for pair in told["pairs"]
        ],
        "degrees": {**degrees, "hubs": [{**entities[e], "degree": d} for e, d in degrees["hubs"]]},
        "components": told["components"],
        "labels": labels,
        "features": counts.get("features"),
        "ingest": {
            **store.manifest["input"],
            **{name: counts[name] for name in ("duplicates", "keys_with_several_names")},
            "labels_without_facts": counts["labels_without_facts"],
        },
    }


def _named_relations(store: GraphStore) -> list[dict[str, str]]:
    every = list(range(store.num_relations))
    return _named(store.relation_keys(every), store.relation_names(every))


def _named(keys: Sequence[str], names: Sequence[str]) -> list[dict[str, str]]:
    return [
        {"key": key, **({"name": name} if name != key else {})}
        for key, name in zip(keys, names, strict=True)
    ]
