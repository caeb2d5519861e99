"""What is known of entities that arrived after training.

``newcomers``: 1,000 diseases of the Human Phenotype Ontology (extra "demo") are held out whole, and
the default model is trained on the rest. Half of each one's phenotypes then arrive; the model goes
on with them, without training, and the other half is asked (filtered, among all entities, both
sides). Beside it a model of the same kind that was trained on those facts too, and popularity.
With ``--quick`` 100 diseases and short trainings.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

import kgscale
from kgscale.cli.main import main
from kgscale.data.hpo import HumanPhenotypeOntology
from kgscale.data.splits import SPLITS
from kgscale.graph.known import KnownFacts
from kgscale.graph.store import GraphStore, prepare
from kgscale.inference.evaluate import Ranker, evaluate
from kgscale.inference.popularity import popularity_ranker
from kgscale.tasks.runs import LinkRun

Triple = tuple[str, str, str]
HELD, LEAST, SEED, RELATION = 1000, 6, 0, "has_phenotype"


def run(*, quick: bool = False) -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        parts = _written(root, 100 if quick else HELD)
        short = ("trainer.max_seconds=20",) if quick else ()
        base = _trained(root, "base", *short)
        begin = time.process_time()
        where = (f"onto={base.directory}", f"data.path={root / 'more'}", f"root={root}")
        assert main(["ingest", *where, f"store.root={root}"]) == 0
        spent = time.process_time() - begin
        (later,) = (root / "continued").iterdir()
        went_on, upper = kgscale.load(later), _trained(root, "upper", *short)
        assert isinstance(went_on, LinkRun)
        asked = parts["asked"]
        ours, theirs = (_mrr(one.store, one.ranker(), asked) for one in (went_on, upper))
        graph = went_on.store.adjacency()
        known = KnownFacts(went_on.store.adjacency(known=True))
        popular = _mrr(went_on.store, popularity_ranker(graph, known, memory=1 << 28), asked)
    print(
        f"{len(asked):,} facts asked of newcomers: MRR of tails and heads"
        f" {ours[0]:.4f} {ours[1]:.4f}, trained on them {theirs[0]:.4f} {theirs[1]:.4f}, popularity"
        f" {popular[0]:.4f} {popular[1]:.4f}; {spent:.0f} processor seconds to go on"
    )
    return [
        {
            "work": "newcomers",
            "ours": sum(ours) / 2,
            "theirs": sum(theirs) / 2,
            "unit": "MRR",
            "ratio": sum(ours) / sum(theirs),
            "peer": "the model trained on their facts",
        },
        {
            "work": "newcomers_popularity",
            "ours": sum(ours) / 2,
            "theirs": sum(popular) / 2,
            "unit": "MRR",
            "ratio": sum(ours) / sum(popular),
            "peer": "popularity",
        },
    ]


def _written(root: Path, held: int) -> Mapping[str, list[Triple]]:
    """Folders ``base``, ``more`` (half in train, half in test) and ``upper``; what each has."""
    store = prepare(HumanPhenotypeOntology(), root)
    keys = store.entity_keys(list(range(store.num_entities)))
    relations = store.relation_keys(list(range(store.num_relations)))
    splits = {
        split: [(keys[h], relations[r], keys[t]) for h, r, t in store.triples(split).tolist()]
        for split in SPLITS
    }
    phenotypes = defaultdict[str, list[str]](list)
    for head, relation, tail in sorted({one for part in splits.values() for one in part}):
        if relation == RELATION:
            phenotypes[head].append(tail)
    draw = random.Random(SEED)
    chosen = {one for one, found in phenotypes.items() if len(found) >= LEAST}
    # On the first of them PRIOR was chosen.
    chosen -= set(draw.sample(sorted(chosen), HELD))
    out = set(draw.sample(sorted(chosen), held))
    base = {
        split: [one for one in part if one[0] not in out and one[2] not in out]
        for split, part in splits.items()
    }
    seen = {end for head, _, tail in base["train"] for end in (head, tail)}
    given, asked = [], []
    for one in sorted(out):
        mine = [tail for tail in phenotypes[one] if tail in seen]
        draw.shuffle(mine)
        half = len(mine) // 2
        given += [(one, RELATION, tail) for tail in mine[:half]]
        asked += [(one, RELATION, tail) for tail in mine[half:]]
    known = {
        split: [one for one in base[split] if one[0] in seen and one[2] in seen]
        for split in ("valid", "test")
    }
    _write(root / "base", {**base, **known})
    _write(root / "more", {"train": given, "test": asked})
    # The same facts are known to both, and so the same answers are filtered.
    upper = {"train": base["train"] + given, "valid": known["valid"], "test": known["test"] + asked}
    _write(root / "upper", upper)
    return {"asked": asked}


def _write(folder: Path, parts: Mapping[str, Iterable[Sequence[str]]]) -> None:
    folder.mkdir()
    for split, rows in parts.items():
        text = "".join("\t".join(row) + "\n" for row in rows)
        (folder / f"{split}.tsv").write_text(text, encoding="utf-8")


def _trained(root: Path, name: str, *short: str) -> LinkRun:
    own = (f"data.path={root / name}", f"root={root / 'runs'}", f"store.root={root}")
    settings = ("experiment=demo", "data=triples", *own, "evaluation.test=false", *short)
    found = kgscale.train(*settings, "trainer.clock=cpu", "predictions.count=0", quiet=True)
    assert isinstance(found, LinkRun)
    return found


def _mrr(store: GraphStore, ranker: Ranker, asked: Sequence[Triple]) -> tuple[float, float]:
    """Of tails and of heads."""
    keys = sorted({end for head, _, tail in asked for end in (head, tail)})
    ids, relation = store.entity_ids(keys), store.find_relation(RELATION)
    triples = torch.tensor([[ids[head], relation, ids[tail]] for head, _, tail in asked])
    with torch.no_grad():
        found = evaluate(ranker, triples, store.adjacency())
    sides = found.breakdown(store.relation_keys(list(range(store.num_relations))))["side"]
    return sides["tail"]["mrr"], sides["head"]["mrr"]
