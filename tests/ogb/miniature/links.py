"""Link prediction between nodes of one type."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tests.ogb.miniature.contents import (
    EDGE,
    NODE,
    Array,
    Miniature,
    among,
    column,
    disjoint_pairs,
    every_one_of,
    features,
    keys,
    negatives,
)


def citation2(folder: Path, rng: np.random.Generator) -> Miniature:
    """Papers; a source loses two of its references, one to valid and one to test.

    Keys and 1,000 negatives per source: OGB's page and examples. That both parts have the same
    sources in the same order follows from the page's text and is a guess.
    """
    num_nodes, held = 400, 15
    sources = rng.choice(num_nodes, held, replace=False)
    edges = among(rng, num_nodes, 1200)
    edges = edges[:, ~np.isin(edges[0], sources)]
    cited = np.stack([rng.choice(np.setdiff1d(range(num_nodes), [s]), 6, False) for s in sources])
    kept = np.stack([np.repeat(sources, 4), cited[:, 2:].ravel()])
    head, tail = rng.permutation(np.concatenate([edges, kept], axis=1), axis=1)

    def part(target: Array) -> dict[str, Array]:
        misses = negatives(rng, list(cited), [num_nodes] * held, 1000)
        return {"source_node": sources, "target_node": target, "target_node_neg": misses}

    return Miniature(
        folder=folder,
        split_type="time",
        num_nodes={NODE: num_nodes},
        edge_index={EDGE: np.stack([head, tail])},
        node={
            "node_feat": {NODE: features(rng, num_nodes, 128)},
            "node_year": {NODE: column(rng.integers(1990, 2020, num_nodes))},
        },
        split={
            "train": {"source_node": head, "target_node": tail},
            "valid": part(cited[:, 0]),
            "test": part(cited[:, 1]),
        },
        mapping={
            "nodeidx2paperid": {"node idx": range(num_nodes), "paper id": keys(rng, num_nodes)}
        },
    )


def collab(folder: Path, rng: np.random.Generator) -> Miniature:
    """Authors; a multigraph, because a pair that writes together in two years is there twice.

    Weight and year are whole numbers: OGB's examples convert them to float before use.
    """
    num_nodes = 200
    train, valid, test, valid_neg, test_neg = disjoint_pairs(rng, num_nodes, 600, 40, 40, 80, 80)
    year = rng.integers(1990, 2018, 600)
    train = np.concatenate([train, train[:60]])
    year = np.concatenate([year, 2017 - (year[:60] == 2017)])

    def part(edge: Array, year: Array) -> dict[str, Array]:
        return {"edge": edge, "weight": rng.geometric(0.6, len(edge)), "year": year}

    known = part(train, year)
    return Miniature(
        folder=folder,
        split_type="time",
        num_nodes={NODE: num_nodes},
        edge_index={EDGE: train.T},
        node={"node_feat": {NODE: features(rng, num_nodes, 128)}},
        edge={
            "edge_weight": {EDGE: column(known["weight"])},
            "edge_year": {EDGE: column(known["year"])},
        },
        split={
            "train": known,
            "valid": {**part(valid, np.full(40, 2018)), "edge_neg": valid_neg},
            "test": {**part(test, np.full(40, 2019)), "edge_neg": test_neg},
        },
        mapping={
            "nodeidx2authorid": {"node idx": range(num_nodes), "author id": keys(rng, num_nodes)}
        },
    )


def ppa(folder: Path, rng: np.random.Generator) -> Miniature:
    """Proteins of 58 species; the features are one-hot and stand there as whole numbers.

    The published negatives are 3,000,000 pairs a part, not a number per edge. The columns of
    `featdim2speciesid` are a guess, only its name is known.
    """
    num_nodes, species = 200, every_one_of(rng, 58, 200)
    train, valid, test, valid_neg, test_neg = disjoint_pairs(rng, num_nodes, 600, 40, 40, 300, 300)
    return Miniature(
        folder=folder,
        split_type="throughput",
        num_nodes={NODE: num_nodes},
        edge_index={EDGE: train.T},
        node={"node_feat": {NODE: np.eye(58, dtype=np.int64)[species]}},
        split={
            "train": {"edge": train},
            "valid": {"edge": valid, "edge_neg": valid_neg},
            "test": {"edge": test, "edge_neg": test_neg},
        },
        mapping={
            "nodeidx2proteinid": {"node idx": range(num_nodes), "protein id": keys(rng, num_nodes)},
            "featdim2speciesid": {"feat dim": range(58), "species id": keys(rng, 58)},
        },
    )


def ddi(folder: Path, rng: np.random.Generator) -> Miniature:
    """Drugs; no features at all. `ddi_description` also has pairs that are in no part."""
    num_nodes = 60
    train, valid, test, valid_neg, test_neg, more = disjoint_pairs(
        rng, num_nodes, 800, 100, 100, 80, 80, 50
    )
    drug = np.array(keys(rng, num_nodes, "DB{}"))
    first, second = drug[np.concatenate([train, valid, test, more])].T
    return Miniature(
        folder=folder,
        split_type="target",
        num_nodes={NODE: num_nodes},
        edge_index={EDGE: train.T},
        split={
            "train": {"edge": train},
            "valid": {"edge": valid, "edge_neg": valid_neg},
            "test": {"edge": test, "edge_neg": test_neg},
        },
        mapping={
            "nodeidx2drugid": {"node idx": range(num_nodes), "drug id": drug.tolist()},
            "ddi_description": {
                "first drug id": first.tolist(),
                "first drug name": [f"Name, {d}" for d in first],
                "second drug id": second.tolist(),
                "second drug name": [f"Name, {d}" for d in second],
                "description": [
                    f"{a} may increase {b}." for a, b in zip(first, second, strict=True)
                ],
            },
        },
    )


def vessel(folder: Path, rng: np.random.Generator) -> Miniature:
    """Blood vessels between points in space; the graph has both directions, the parts have one.

    From the public script that made it (with OGB's `DatasetSaver`): no edge features, although
    `master.csv` promises them; torch tensors in the split; train has negatives too; no mapping.
    """
    num_nodes = 300
    part = disjoint_pairs(rng, num_nodes, 400, 50, 50, 400, 50, 50)
    pairs = [torch.from_numpy(np.ascontiguousarray(pair)) for pair in part]
    return Miniature(
        folder=folder,
        split_type="spatial",
        num_nodes={NODE: num_nodes},
        edge_index={EDGE: np.concatenate([part[0], part[0][:, ::-1]]).T.copy()},
        node={"node_feat": {NODE: features(rng, num_nodes, 3) * np.float32(1000)}},
        split={
            name: {"edge": edge, "edge_neg": edge_neg}
            for name, edge, edge_neg in zip(
                ("train", "valid", "test"), pairs[:3], pairs[3:], strict=True
            )
        },
    )
