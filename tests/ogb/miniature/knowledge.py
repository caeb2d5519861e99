"""Knowledge graphs: ogbl-wikikg2, ogbl-biokg and WikiKG90Mv2."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.ogb.miniature.contents import (
    EDGE,
    NODE,
    Array,
    Miniature,
    Triplet,
    between,
    column,
    distinct,
    features,
    keys,
    negatives,
)

NUM_NEGATIVES = 500  # a side, for each triple of valid and test

_DRUG_DRUG = (
    "acquired_metabolic_disease bacterial_infectious_disease benign_neoplasm cancer "
    "cardiovascular_system_disease chromosomal_disease cognitive_disorder cryptorchidism "
    "developmental_disorder_of_mental_health endocrine_system_disease fungal_infectious_disease "
    "gastrointestinal_system_disease hematopoietic_system_disease hematopoietic_system_diseases "
    "hypospadias immune_system_disease inherited_metabolic_disorder integumentary_system_disease "
    "irritable_bowel_syndrome monogenic_disease musculoskeletal_system_disease "
    "nervous_system_disease orofacial_cleft parasitic_infectious_disease personality_disorder "
    "polycystic_ovary_syndrome pre-malignant_neoplasm psoriatic_arthritis "
    "reproductive_system_disease respiratory_system_disease sexual_disorder sleep_disorder "
    "somatoform_disorder struct_sim substance-related_disorder thoracic_disease "
    "urinary_system_disease viral_infectious_disease"
)
_PROTEIN_PROTEIN = "activation binding catalysis expression inhibition ptmod reaction"
BIOKG: list[Triplet] = sorted(
    [
        ("disease", "disease-protein", "protein"),
        ("drug", "drug-disease", "disease"),
        ("drug", "drug-protein", "protein"),
        ("drug", "drug-sideeffect", "sideeffect"),
        ("function", "function-function", "function"),
        ("protein", "protein-function", "function"),
        *(("drug", f"drug-drug_{name}", "drug") for name in _DRUG_DRUG.split()),
        *(("protein", f"protein-protein_{name}", "protein") for name in _PROTEIN_PROTEIN.split()),
    ]
)


def triples_that_cover(
    rng: np.random.Generator, num_entities: int, num_relations: int, more: int
) -> Array:
    """Distinct triples; each entity and relation is in the first ``num_entities`` of them."""
    head, tail = rng.permutation(num_entities), rng.integers(num_entities, size=num_entities)
    cover = np.stack([head, np.arange(num_entities) % num_relations, tail], axis=1)
    bounds = [num_entities, num_relations, num_entities]
    return distinct(np.concatenate([cover, rng.integers(bounds, size=(more, 3))]))


def both_sides(
    rng: np.random.Generator, part: Array, known: Array, num_heads: Array, num_tails: Array
) -> dict[str, Array]:
    """A part's triples with negatives that make no known triple."""
    head, relation, tail = known.T
    rows = list(part)
    heads = [head[(relation == r) & (tail == t)] for _, r, t in rows]
    tails = [tail[(relation == r) & (head == h)] for h, r, _ in rows]
    return {
        **columns(part),
        "head_neg": negatives(rng, heads, num_heads.tolist(), NUM_NEGATIVES),
        "tail_neg": negatives(rng, tails, num_tails.tolist(), NUM_NEGATIVES),
    }


def columns(triples: Array) -> dict[str, Array]:
    head, relation, tail = triples.T.copy()
    return {"head": head, "relation": relation, "tail": tail}


def wikikg2(folder: Path, rng: np.random.Generator) -> Miniature:
    """Wikidata of 2015: one node type, 535 relations as edge attribute.

    Keys and int64: PyKEEN's reader of the published files. That the graph's edges are those of
    `train.pt` in the same order is a guess; that they are the same edges is on OGB's page.
    """
    num_nodes, held = 700, 15
    triples = triples_that_cover(rng, num_nodes, 535, more=500)
    train, valid, test = np.split(triples, [-2 * held, -held])
    size = np.full(held, num_nodes)
    return Miniature(
        folder=folder,
        split_type="time",
        num_nodes={NODE: num_nodes},
        edge_index={EDGE: train[:, [0, 2]].T},
        edge={"edge_reltype": {EDGE: column(train[:, 1])}},
        split={
            "train": columns(train),
            "valid": both_sides(rng, valid, triples, size, size),
            "test": both_sides(rng, test, triples, size, size),
        },
        mapping={
            "nodeidx2entityid": {
                "node idx": range(num_nodes),
                "entity id": keys(rng, num_nodes, "Q{}"),
            },
            "reltype2relid": {"reltype": range(535), "rel id": keys(rng, 535, "P{}")},
        },
    )


def biokg(folder: Path, rng: np.random.Generator) -> Miniature:
    """Five node types and 51 relations, whose names and order others list from OGB's loader.

    Types in the split are lists of str (`head_type`, `tail_type`), negatives are of the type that
    they replace: OGB's examples. Whether `train.pt` is ordered by relation isn't known: here it
    is not, so that no reader relies on it.
    """
    count = {"disease": 40, "drug": 60, "function": 20, "protein": 50, "sideeffect": 20}
    blocks = []
    for relation, (head_type, _, tail_type) in enumerate(BIOKG):
        head, tail = between(rng, count[head_type], count[tail_type], 10)
        blocks.append(np.stack([head, np.full(10, relation), tail], axis=1))
    drawn = np.stack(blocks)
    train = rng.permutation(drawn[:, 2:].reshape(-1, 3))
    known = drawn.reshape(-1, 3)

    def with_types(part: Array, arrays: dict[str, Array]) -> dict[str, Array | list[str]]:
        head_type, tail_type = ([BIOKG[r][side] for r in part[:, 1]] for side in (0, 2))
        return {"head_type": head_type, "tail_type": tail_type, **arrays}

    def held(part: Array) -> dict[str, Array | list[str]]:
        heads, tails = (np.array([count[t[side]] for t in BIOKG]) for side in (0, 2))
        asked = part[:, 1]
        return with_types(part, both_sides(rng, part, known, heads[asked], tails[asked]))

    edges = {t: train[train[:, 1] == r][:, [0, 2]].T for r, t in enumerate(BIOKG)}
    forms = {
        "disease": "C{:07}",
        "drug": "CID{:09}",
        "function": "GO:{:07}",
        "protein": "{}",
        "sideeffect": "C{:07}",
    }
    return Miniature(
        folder=folder,
        split_type="random",
        num_nodes=count,
        edge_index=edges,
        edge={
            "edge_reltype": {
                triplet: np.full((edges[triplet].shape[1], 1), relation)
                for relation, triplet in enumerate(BIOKG)
            }
        },
        split={
            "train": with_types(train, columns(train)),
            "valid": held(rng.permutation(drawn[:, 0])),
            "test": held(rng.permutation(drawn[:, 1])),
        },
        mapping={
            "relidx2relname": {"rel idx": range(51), "rel name": [name for _, name, _ in BIOKG]},
            **{
                f"{kind}_entidx2name": {
                    "ent idx": range(number),
                    "ent name": keys(rng, number, forms[kind]),
                }
                for kind, number in count.items()
            },
        },
    )


def wikikg90mv2(folder: Path, rng: np.random.Generator) -> Miniature:
    """Wikidata of 2021 with vectors of the texts; questions for the tail only, tests unanswered.

    The 1,387 published relations would not fit, 40 do. int64 triples are a guess (signed for
    certain: others pass them to `torch.from_numpy`). Texts (`entity.csv`, `relation.csv`) are a
    download of their own; OGB's loader deletes a folder `mapping` that it finds here.
    """
    num_entities, num_relations, held = 300, 40, 25
    triples = triples_that_cover(rng, num_entities, num_relations, more=700)
    train, valid, dev, challenge = np.split(triples, [-3 * held, -2 * held, -held])
    return Miniature(
        folder=folder,
        split_type="time",
        num_nodes={NODE: num_entities},
        edge_index={EDGE: train[:, [0, 2]].T},
        node={"node_feat": {NODE: features(rng, num_entities, 768).astype(np.float16)}},
        edge={"edge_reltype": {EDGE: column(train[:, 1])}},
        relation_feat=features(rng, num_relations, 768).astype(np.float16),
        split={
            "train": train,
            "valid": {"h,r->t": {"hr": valid[:, :2], "t": valid[:, 2]}},
            "test-dev": {"h,r->t": {"hr": dev[:, :2]}},
            "test-challenge": {"h,r->t": {"hr": challenge[:, :2]}},
        },
    )
