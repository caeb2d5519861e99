"""Node classification: ogbn-* and MAG240M."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.ogb.miniature.contents import (
    EDGE,
    NODE,
    Array,
    Miniature,
    Triplet,
    among,
    between,
    by_year,
    column,
    disjoint_pairs,
    every_one_of,
    features,
    keys,
)

# The txids in the README of ogbn-proteins' mapping.
SPECIES = np.array([511145, 3702, 4932, 6239, 7227, 7955, 9606, 10090])


def arxiv(folder: Path, rng: np.random.Generator) -> Miniature:
    """Papers that cite each other, 40 subject areas; `arxivcategeory` is OGB's own spelling."""
    num_nodes = 200
    year = rng.integers(2010, 2021, num_nodes)
    return Miniature(
        folder=folder,
        split_type="time",
        num_nodes={NODE: num_nodes},
        edge_index={EDGE: among(rng, num_nodes, 800)},
        node={
            "node_feat": {NODE: features(rng, num_nodes, 128)},
            "node_year": {NODE: column(year)},
            "node_label": {NODE: column(every_one_of(rng, 40, num_nodes))},
        },
        split=by_year(year),
        mapping={
            "nodeidx2paperid": {"node idx": range(num_nodes), "paper id": keys(rng, num_nodes)},
            "labelidx2arxivcategeory": {
                "label idx": range(40),
                "arxiv category": [f"arxiv cs {a}{b}" for a in "abcd" for b in "qrstuvwxyz"],
            },
        },
    )


def products(folder: Path, rng: np.random.Generator) -> Miniature:
    """Products bought together, 47 classes; train and valid are the tenth that sells best."""
    num_nodes = 250
    train, valid, test = np.split(rng.permutation(num_nodes), [20, 25])
    return Miniature(
        folder=folder,
        split_type="sales_ranking",
        num_nodes={NODE: num_nodes},
        edge_index={EDGE: disjoint_pairs(rng, num_nodes, 900)[0].T},
        node={
            "node_feat": {NODE: features(rng, num_nodes, 100)},
            "node_label": {NODE: column(every_one_of(rng, 47, num_nodes))},
        },
        split={"train": np.sort(train), "valid": np.sort(valid), "test": np.sort(test)},
        mapping={
            "nodeidx2asin": {"node idx": range(num_nodes), "asin": keys(rng, num_nodes, "B{}")},
            "labelidx2productcategory": {
                "label idx": range(47),
                "product category": [f"Toys, Games & {i}" for i in range(47)],
            },
        },
    )


def proteins(folder: Path, rng: np.random.Generator) -> Miniature:
    """Proteins without features of their own; 8 weights an edge and 112 yes-or-no tasks.

    Weights: README of the mapping. Which species make valid and test is a guess, and so is the
    second column of `labelidx2GO`.
    """
    num_nodes = 150
    species = every_one_of(rng, SPECIES, num_nodes)
    weight = rng.integers(1, 1000, (600, 8)) / 1000
    return Miniature(
        folder=folder,
        split_type="species",
        num_nodes={NODE: num_nodes},
        edge_index={EDGE: disjoint_pairs(rng, num_nodes, 600)[0].T},
        node={
            "node_species": {NODE: column(species)},
            "node_label": {NODE: rng.integers(0, 2, (num_nodes, 112))},
        },
        edge={"edge_feat": {EDGE: weight.astype(np.float32)}},
        split={
            "train": np.flatnonzero(np.isin(species, SPECIES[:5]) | (species == 10090)),
            "valid": np.flatnonzero(species == 9606),
            "test": np.flatnonzero(species == 7955),
        },
        mapping={
            "nodeidx2proteinid": {
                "node idx": range(num_nodes),
                "protein id": [
                    f"{s}.{k}" for s, k in zip(species, keys(rng, num_nodes, "P{}"), strict=True)
                ],
            },
            "labelidx2GO": {"label idx": range(112), "GO": keys(rng, 112, "GO:{:07}")},
        },
    )


def papers100m(folder: Path, rng: np.random.Generator) -> Miniature:
    """Papers that cite each other; few have one of the 172 labels, the others NaN.

    float32 labels and int64 years ``[nodes, 1]`` follow from the sizes (424 and 848 MB) that
    others report of the unpacked arrays.
    """
    num_nodes, labelled = 300, 200
    year = rng.integers(2010, 2021, num_nodes)
    label = np.full(num_nodes, np.nan, np.float32)
    label[rng.choice(num_nodes, labelled, replace=False)] = every_one_of(rng, 172, labelled)
    return Miniature(
        folder=folder,
        split_type="time",
        num_nodes={NODE: num_nodes},
        edge_index={EDGE: among(rng, num_nodes, 1200)},
        node={
            "node_feat": {NODE: features(rng, num_nodes, 128)},
            "node_year": {NODE: column(year)},
            "node_label": {NODE: column(label)},
        },
        split=by_year(year, of=~np.isnan(label)),
        mapping={
            "nodeidx2paperid": {"node idx": range(num_nodes), "paper id": keys(rng, num_nodes)},
            "labelidx2arxivcategeory": {
                "label idx": range(172),
                "arxiv category": [f"arxiv {i}" for i in range(172)],
            },
        },
    )


def mag(folder: Path, rng: np.random.Generator) -> Miniature:
    """Four node types, four relations; papers alone have features, years and one of 349 labels.

    The number of each relation (`edge_reltype`) is its place among the sorted triplets: a guess.
    """
    count = {"author": 300, "field_of_study": 60, "institution": 20, "paper": 400}
    size = {
        ("author", "affiliated_with", "institution"): 250,
        ("author", "writes", "paper"): 700,
        ("paper", "cites", "paper"): 600,
        ("paper", "has_topic", "field_of_study"): 500,
    }
    edges: dict[Triplet, Array] = {
        (head, relation, tail): between(rng, count[head], count[tail], number)
        for (head, relation, tail), number in size.items()
    }
    year = rng.integers(2010, 2020, count["paper"])
    names = [relation for _, relation, _ in size]
    return Miniature(
        folder=folder,
        release=2,
        split_type="time",
        num_nodes=count,
        edge_index=edges,
        node={
            "node_feat": {"paper": features(rng, count["paper"], 128)},
            "node_year": {"paper": column(year)},
            "node_label": {"paper": column(every_one_of(rng, 349, count["paper"]))},
        },
        edge={
            "edge_reltype": {
                triplet: np.full((number, 1), names.index(triplet[1]))
                for triplet, number in size.items()
            }
        },
        split={part: {"paper": index} for part, index in by_year(year).items()},
        mapping={
            "relidx2relname": {"rel idx": range(4), "rel name": names},
            "labelidx2venuename": {"label idx": range(349), "venue name": keys(rng, 349)},
            **{
                f"{kind}_entidx2name": {"ent idx": range(number), "ent name": keys(rng, number)}
                for kind, number in count.items()
            },
        },
    )


def mag240m(folder: Path, rng: np.random.Generator) -> Miniature:
    """Papers, authors, institutions; papers from arXiv have one of 153 labels, the others NaN.

    Test labels are hidden (NaN). float64 labels and int64 years: Kùzu's page on this very data set
    declares the unconverted `.npy` files DOUBLE and INT64 (and converts the float16 features).
    `split_dict.pt` has "test" and OGB's loader makes the three parts of it: three of five go to
    test-dev; the loader also takes a file in which the three are already there.
    """
    count = {"author": 120, "institution": 10, "paper": 260}
    paper = count["paper"]
    year = rng.integers(2010, 2018, paper)
    year[rng.choice(paper, 80, replace=False)] = np.repeat([2018, 2019], 40)
    arxiv = rng.random(paper) < 0.95
    train, valid, test = by_year(year, of=arxiv).values()
    label = np.full(paper, np.nan)
    label[train] = every_one_of(rng, 153, len(train))
    label[valid] = rng.integers(153, size=len(valid))
    dev = np.arange(len(test)) % 5 < 3
    return Miniature(
        folder=folder,
        split_type="time",
        num_nodes=count,
        edge_index={
            ("author", "affiliated_with", "institution"): between(rng, 120, 10, 100),
            ("author", "writes", "paper"): between(rng, 120, paper, 500),
            ("paper", "cites", "paper"): among(rng, paper, 900),
        },
        node={
            "node_feat": {"paper": features(rng, paper, 768).astype(np.float16)},
            "node_year": {"paper": year},
            "node_label": {"paper": label},
        },
        split={
            "train": train,
            "valid": valid,
            "test-whole": test,
            "test-dev": test[dev],
            "test-challenge": test[~dev],
        },
    )
