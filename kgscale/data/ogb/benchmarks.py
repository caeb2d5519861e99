"""The benchmarks by name: where OGB keeps them, in which layout.

Source: ``master.csv`` of ogb 1.3.6, and its classes of LSC.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from kgscale.errors import ConfigError

SERVER = "http://snap.stanford.edu/ogb/data"
LSC_SERVER = "https://dgl-data.s3-accelerate.amazonaws.com/dataset/OGB-LSC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One data set of OGB."""

    name: str
    folder: str
    """Of the archive, and so below the root."""
    layout: str
    """How its files are read: see ``kgscale.data.ogb.source``."""
    url: str
    release: int = 1
    split: str = ""
    """The folder of its split."""
    relation: str = ""
    """What its edges are called, where they have no name."""
    metric: str = "acc"
    """Of its leaderboard, as OGB's Evaluator calls it."""


def _link(
    name: str, archive: str, layout: str, split: str, metric: str, relation: str = ""
) -> Benchmark:
    return Benchmark(
        name=f"ogbl-{name}",
        folder=f"ogbl_{name}",
        layout=layout,
        url=f"{SERVER}/linkproppred/{archive}.zip",
        split=split,
        relation=relation,
        metric=metric,
    )


def _node(
    name: str,
    archive: str,
    layout: str,
    split: str,
    relation: str = "",
    metric: str = "acc",
    release: int = 1,
) -> Benchmark:
    return Benchmark(
        name=f"ogbn-{name}",
        folder=f"ogbn_{name}",
        layout=layout,
        url=f"{SERVER}/nodeproppred/{archive}.zip",
        release=release,
        split=split,
        relation=relation,
        metric=metric,
    )


BENCHMARKS = {
    found.name: found
    for found in (
        _link("wikikg2", "wikikg-v2", "triples", "time", "mrr"),
        _link("biokg", "biokg", "typed_triples", "random", "mrr"),
        _link("citation2", "citation-v2", "ranked_pairs", "time", "mrr", "cites"),
        _link("collab", "collab", "pairs", "time", "hits@50", "works_with"),
        _link("ppa", "ppassoc", "pairs", "throughput", "hits@100", "associated_with"),
        _link("ddi", "ddi", "pairs", "target", "hits@20", "interacts_with"),
        _link("vessel", "vessel", "pairs", "spatial", "rocauc", "joins"),
        _node("mag", "mag", "typed_nodes", "time", release=2),
        _node("arxiv", "arxiv", "nodes", "time", "cites"),
        _node("products", "products", "nodes", "sales_ranking", "bought_with"),
        _node("proteins", "proteins", "nodes", "species", "near", "rocauc"),
        _node("papers100M", "papers100M-bin", "packed_nodes", "time", "cites"),
        Benchmark(
            name="mag240m",
            folder="mag240m_kddcup2021",
            layout="mag240m",
            url=f"{LSC_SERVER}/mag240m_kddcup2021.zip",
        ),
        Benchmark(
            name="wikikg90mv2",
            folder="wikikg90m-v2",
            layout="wikikg90mv2",
            url=f"{LSC_SERVER}/wikikg90m-v2.zip",
            metric="mrr@10",
        ),
    )
}


def find_benchmark(name: str) -> Benchmark:
    if name not in BENCHMARKS:
        near = difflib.get_close_matches(name, BENCHMARKS, n=1, cutoff=0)[0]
        raise ConfigError(f"data.benchmark has no {name!r}; did you mean {near}?")
    return BENCHMARKS[name]
