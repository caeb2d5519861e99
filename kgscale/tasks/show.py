"""What a person sees: tables and sentences for the terminal."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from kgscale.data.audit import Tell, silent
from kgscale.data.splits import SPLITS
from kgscale.errors import printable
from kgscale.graph.store import REJECTED, GraphStore
from kgscale.inference.evaluate import RankReport
from kgscale.metrics import word
from kgscale.metrics.ranking import HITS

_WIDE: Final = 200
_NAMED: Final = 3
LONGEST: Final = 500
"""Letters of a name, or of a path of names, on the terminal."""
_LEAK: Final = 0.05
"""Triples that join an entity to its label, per labelled entity, from which on it is told."""
_NUMBER_METRICS: Final = ("mae", "rmse", "r2", "covered", "width")
_SPREAD: Final = ("least", "median", "largest")
_METRICS = ("mrr", *(f"hits@{k}" for k in HITS))
_NODE_METRICS = ("accuracy", "micro_f1", "macro_f1", "average_precision", "rocauc")


def console(*, quiet: bool = False) -> Console:
    """Plain text as it is: names may hold brackets and colons that a console could take as its own.

    Into a file or pipe, no sentence is wrapped.
    """
    plain = Console(quiet=quiet, markup=False, emoji=False, highlight=False)
    if not plain.is_terminal and "COLUMNS" not in os.environ:
        plain.width = _WIDE
    return plain


def sentence(console: Console, text: str) -> None:
    """A line, wrapped at words on a terminal; a path stays whole, to be copied."""
    is_path = " " not in text.partition(": ")[2]
    console.print(printable(text), soft_wrap=is_path or not console.is_terminal)


@contextmanager
def busy(console: Console, what: str) -> Iterator[Tell]:
    """On a terminal, shows what is going on and for how long; gives a function to change it."""
    if not console.is_terminal:
        yield silent
        return
    columns = SpinnerColumn("line"), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda text: progress.update(task, description=text)


def graph(store: GraphStore) -> Iterator[str]:
    """A line about a store, and one about input that was left out."""
    counts = ", ".join(f"{store.num_triples[split]:,} {split}" for split in store.num_triples)
    yield (
        f"graph: {store.num_entities:,} entities, {store.num_relations:,} relations,"
        f" triples {counts}"
    )
    told = store.manifest["input"]
    left_out = {**told["rejected"], **told["dropped"]}
    if left_out:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in left_out.items())
        rejected = store.path / REJECTED
        where = f" (listed in {rejected})" if rejected.exists() else ""
        yield f"lines left out: {reasons}{where}"
    yield from _labels(store)
    yield from _features(store)
    yield from (f"note: {note}" for note in told["notes"])
    yield from _oddities(store.manifest["counts"])


def _labels(store: GraphStore) -> Iterator[str]:
    """A line about the labels, and notes about those that cannot help."""
    told = store.manifest["counts"].get("labels")
    if not told:
        return
    entities = ", ".join(f"{told['entities'][split]:,} {split}" for split in store.num_triples)
    several = " (several may apply)" if told["several_per_entity"] else ""
    out = ", ".join(
        f"{count:,} {reason.replace('_', ' ')}"
        for reason, count in told["left_out"].items()
        if count
    )
    kind = f"{len(told['classes']):,} classes{several}"
    if "numbers" in told:
        least, middle, largest = (f"{told['numbers'][name]:,g}" for name in _SPREAD)
        kind = f"numbers from {least} to {largest}, half of them up to {middle}"
    yield f"labels: {kind}, entities {entities}" + (f"; left out: {out}" if out else "")
    if told["unseen_in_train"]:
        yield f"note: {told['unseen_in_train']:,} labels occur in no training entity"
    yield from _leaks(store, told)


def _leaks(store: GraphStore, told: Mapping[str, Any]) -> Iterator[str]:
    """Relations that join many entities to their own labels, the worst first."""
    least = _LEAK * sum(told["entities"].values())
    found = told.get("triples_that_join_own_label", {}).items()
    worst = sorted((-count, int(relation)) for relation, count in found if count >= least)
    if worst:
        keys = store.relation_keys([relation for _, relation in worst[:_NAMED]])
        named = [f"{-count:,} {key!r}" for (count, _), key in zip(worst, keys, strict=False)]
        more = f" and {len(worst) - _NAMED:,} more relations" if len(worst) > _NAMED else ""
        yield (
            f"note: triples that still join an entity to its own label: {', '.join(named)}{more}; "
            "data.label_relation takes a list of relations to leave out"
        )


def _features(store: GraphStore) -> Iterator[str]:
    told = store.manifest["counts"].get("features")
    if not told:
        return
    matrices = []
    for matrix in told["matrices"]:
        missing = matrix["entities_without_row"]
        zeros = f", zeros for {missing:,} entities without a row" if missing else ""
        name = store.types[matrix["type"]].name
        matrices.append(f"{matrix['dim']:,} {matrix['dtype']} of {name!r}{zeros}")
    unused = told["rows_without_facts"]
    more = f"; {unused:,} rows of keys in no triple left out" if unused else ""
    yield f"features: {'; '.join(matrices)}{more}"


def _oddities(counts: Mapping[str, Any]) -> Iterator[str]:
    """What is kept although a reader might not expect it."""
    repeated = sum(counts["duplicates"].values())
    if repeated:
        yield f"note: {repeated:,} repeated triples count once"
    if counts["in_several_splits"]:
        yield f"note: {counts['in_several_splits']:,} triples stand in several splits"
    unseen = counts["triples_with_unseen_entity"]
    if any(unseen.values()):
        asked = ", ".join(f"{count:,} {split}" for split, count in unseen.items() if count)
        yield f"note: triples with an entity that train lacks, kept: {asked}"


def outcome(results: Mapping[str, Any]) -> Table:
    """Filtered metrics of the model beside the popularity baseline's."""
    metrics = results["metrics"]
    table = _table("Full filtered ranking, both sides")
    table.add_column("split")
    table.add_column("model")
    for name in ("MRR", *(f"Hits@{k}" for k in HITS)):
        table.add_column(name, justify="right")
    kinds = ("encoder", "decoder", "reasoner")
    model = " + ".join(results[kind] for kind in kinds if kind in results)
    for split in ("valid", "test"):
        if metrics.get(split):
            table.add_row(split, model, *_numbers(metrics[split]))
    baseline = metrics.get("baseline")
    if baseline:
        table.add_row(baseline["split"], "popularity", *_numbers(baseline["popularity"]))
    return table


def items_outcome(results: Mapping[str, Any], cuts: Sequence[int]) -> Table:
    """Metrics of lists of items, the model's beside the baselines'."""
    metrics, longest = results["metrics"], cuts[-1]
    names = [f"{name}@{longest}" for name in ("recall", "ndcg", "hit", "mrr", "coverage")]
    table = _table(f"Lists of {longest} items, of all that users don't have")
    table.add_column("split")
    table.add_column("model")
    for name in names:
        table.add_column(word(name), justify="right")
    model = " + ".join(results[kind] for kind in ("encoder", "decoder"))
    for split in ("valid", "test"):
        if metrics.get(split):
            table.add_row(split, model, *_numbers(metrics[split], names))
    baselines = dict(metrics.get("baseline") or {})
    split = baselines.pop("split", "")
    for name, found in baselines.items():
        table.add_row(split, name, *_numbers(found, names))
    return table


def cold_items(split: str, found: Mapping[str, Any], cut: int) -> str:
    """How well the items of few users are found."""
    told = ", ".join(
        f"{found[part].get(f'recall@{cut}', 0.0):.4f} {words}"
        for part, words in (("among_all", "among all items"), ("among_cold", "among these"))
    )
    return (
        f"{split}: {found['links']:,} links to the {found['items']:,} items that the fewest users"
        f" have: Recall@{cut} {told}"
    )


def items_evaluation_content(
    split: str, found: Mapping[str, Any], task: str = "recommendation"
) -> dict[str, Any]:
    """What ``evaluation-<split>.json`` holds of recommendation."""
    return {"split": split, "task": task, "overall": dict(found)}


STRANGERS: Final = {"random": "random", "matched": "as popular"}


def pairs_outcome(results: Mapping[str, Any], hits: Sequence[int]) -> Table:
    """How friends are told from strangers, by the model and by what it has to beat."""
    metrics = results["metrics"]
    model = " + ".join(results[kind] for kind in ("encoder", "decoder"))
    rows = [(split, model, metrics.get(split) or {}) for split in ("valid", "test")]
    baselines = dict(metrics.get("baseline") or {})
    split = baselines.pop("split", "")
    rows += [(split, name, found) for name, found in baselines.items()]
    table = _table("Friends among strangers")
    names = ("auc", *(f"hits@{cut}" for cut in hits))
    for name in ("split", "model", "strangers"):
        table.add_column(name)
    for name in names:
        table.add_column(word(name), justify="right")
    for split, name, found in rows:
        for kind, told in STRANGERS.items():
            if found.get(kind):
                table.add_row(split, name, told, *_numbers(found[kind], names))
    return table


def items_evaluation(content: Mapping[str, Any]) -> Table:
    """One split's lists, by their lengths."""
    found = content["overall"]
    cuts = sorted(int(name.partition("@")[2]) for name in found if name.startswith("recall@"))
    kinds = ("recall", "ndcg", "precision", "hit", "mrr", "coverage")
    table = _table(f"Lists of items for {found.get('users', 0):,.0f} users of {content['split']}")
    table.add_column("items", justify="right")
    for kind in kinds:
        table.add_column(word(kind), justify="right")
    for cut in cuts:
        table.add_row(str(cut), *_numbers(found, [f"{kind}@{cut}" for kind in kinds]))
    for kind, told in STRANGERS.items():
        if found.get(kind):
            numbers = {name: value for name, value in found[kind].items() if name != "strangers"}
            words = ", ".join(f"{word(name)} {value:.4f}" for name, value in numbers.items())
            table.caption = f"{table.caption or ''}\namong {told} strangers: {words}".strip()
    return table


def items(columns: Mapping[str, Sequence[Any]], title: str) -> Table:
    """Lists of items of users, by name."""
    table = _table(title)
    table.add_column("user", overflow="fold")
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("item", overflow="fold")
    kind = _likely(columns)
    table.add_column(kind, justify="right", overflow="fold")
    before = None
    for row, user in enumerate(columns["user"]):
        shown = _named(columns, "user", row) if user != before else ""
        before = user
        rank, score = str(columns["rank"][row]), f"{columns[kind][row]:.3f}"
        table.add_row(shown, rank, _named(columns, "item", row), score)
    return table


def probabilities(metrics: Mapping[str, Any]) -> Iterator[str]:
    """How scores became probabilities, and how far off they are."""
    found = metrics.get("calibration", {})
    for split in SPLITS:
        if split in found:
            off, before = found[split]["ece"], found[split].get("ece_of_scores")
            told = "" if before is None else f" ({before:.4f} of the scores as they are)"
            yield (
                f"{split}: probabilities ({found['method']}, fitted on {found['questions']:,}"
                f" questions of valid) are off by {off:.4f} in the mean{told}"
            )
    if abstains := metrics.get("abstention"):
        right = f", of which {abstains['right']:.1%} are right" if "right" in abstains else ""
        yield (
            f"{abstains['split']}: {abstains['answered']:.1%} of the entities have a label of"
            f" probability {abstains['least']:g} or more{right}; the others are left out"
        )


def _likely(columns: Mapping[str, Sequence[Any]]) -> str:
    """The column of probabilities, or of scores where there are none."""
    known = [value for value in columns.get("probability", ()) if value is not None]
    return "probability" if known else "score"


def official(found: Mapping[str, Any]) -> Iterator[str]:
    """A benchmark's own measure of each split."""
    for split in SPLITS:
        if found.get(split):
            told = ", ".join(f"{word(name)} {value:.4f}" for name, value in found[split].items())
            yield f"{split} by the rules of {found['benchmark']} (OGB's Evaluator): {told}"


def form(found: Mapping[str, Any]) -> Table:
    """The fields of OGB's form."""
    table = _table(f"For the leaderboard of {found['dataset']}")
    table.add_column("field", no_wrap=True)
    table.add_column("value", overflow="fold")
    none = "not measured" if found["dataset"].startswith("ogb") else "kept by OGB"
    for name in ("test", "validation"):
        spread = found[name]
        told = none if spread is None else f"{spread['mean']:.4f} ± {spread['deviation']:.4f}"
        table.add_row(f"{name} {word(found['metric'])}", told)
    hardware = found["hardware"]
    table.add_row("runs", f"{found['runs']} (seeds {', '.join(map(str, found['seeds']))})")
    table.add_row("method", found["method"])
    table.add_row("parameters", f"{found['parameters']:,}")
    table.add_row("hardware", ", ".join(str(value) for value in hardware.values() if value))
    table.add_row("evaluator", found["evaluator"])
    table.add_row("commit", found["revision"] or "unknown")
    table.add_row("command", found["commands"][0])
    return table


def coverage(split: str, found: Mapping[str, Any]) -> str:
    """What share of answers a reasoner could find at all, and what another model's order adds."""
    text = f"{split}: {found['coverage']:.1%} of the answers lie in the subgraph of their head"
    if "without_rest" not in found:
        return text
    return f"{text}; MRR {found['without_rest']['mrr']:.4f} without the other run's scores"


def inductive(split: str, found: Mapping[str, Any]) -> str:
    """Metrics on a graph that training never saw, each with its protocol."""
    some = found["among_negatives"]
    return (
        f"{split} of {printable(found['name'])}, entities never seen: full ranking MRR"
        f" {found['mrr']:.4f}, Hits@10 {found['hits@10']:.4f}; among {some['negatives']:.0f} random"
        f" negatives MRR {some['mrr']:.4f}, Hits@10 {some['hits@10']:.4f};"
        f" {found['coverage']:.1%} of the answers lie in the subgraph of their head"
    )


def node_outcome(results: Mapping[str, Any]) -> Table:
    """Metrics of the model beside those of the most frequent class."""
    metrics = results["metrics"]
    baseline = metrics.get("baseline") or {"majority": {}, "split": ""}
    rows = [(split, results["encoder"], metrics.get(split) or {}) for split in ("valid", "test")]
    rows.append((baseline["split"], "most frequent class", baseline["majority"]))
    names = [name for name in _NODE_METRICS if any(name in found for _, _, found in rows)]
    table = _table("Classes of labelled entities")
    table.add_column("split")
    table.add_column("model")
    for name in names:
        table.add_column(word(name), justify="right")
    for split, model, found in rows:
        if found:
            table.add_row(split, model, *_numbers(found, names))
    return table


def node_evaluation_content(split: str, metrics: Mapping[str, float]) -> dict[str, Any]:
    """What ``evaluation-<split>.json`` holds of node classification."""
    return {"split": split, "task": "node_classification", "overall": dict(metrics)}


def node_evaluation(content: Mapping[str, Any]) -> Table:
    """One split's metrics."""
    table = _table(f"Classes of the labelled entities of {content['split']}")
    names = [name for name in _NODE_METRICS if name in content["overall"]]
    table.add_column("entities", justify="right")
    for name in names:
        table.add_column(word(name), justify="right")
    count = content["overall"].get("nodes", 0)
    table.add_row(f"{count:,.0f}", *_numbers(content["overall"], names))
    return table


def number_outcome(results: Mapping[str, Any]) -> Table:
    """Errors of the model beside those of the middle number of train."""
    metrics = results["metrics"]
    baseline = metrics.get("baseline") or {"median": {}, "split": ""}
    rows = [(split, results["encoder"], metrics.get(split) or {}) for split in ("valid", "test")]
    rows.append((baseline["split"], "middle number", baseline["median"]))
    table = _table("Numbers of entities")
    table.add_column("split")
    table.add_column("model")
    for name in _NUMBER_METRICS:
        table.add_column(word(name), justify="right")
    for split, model, found in rows:
        if found:
            table.add_row(split, model, *_figures(found))
    return table


def number_evaluation_content(split: str, metrics: Mapping[str, float]) -> dict[str, Any]:
    """What ``evaluation-<split>.json`` holds of node regression."""
    return {"split": split, "task": "node_regression", "overall": dict(metrics)}


def number_evaluation(content: Mapping[str, Any]) -> Table:
    """One split's errors and intervals."""
    table = _table(f"Numbers of the entities of {content['split']}")
    table.add_column("entities", justify="right")
    for name in _NUMBER_METRICS:
        table.add_column(word(name), justify="right")
    found = content["overall"]
    table.add_row(f"{found.get('nodes', 0):,.0f}", *_figures(found))
    return table


def _figures(metrics: Mapping[str, float]) -> list[str]:
    return [f"{metrics[name]:.4g}" if name in metrics else "" for name in _NUMBER_METRICS]


def numbers(columns: Mapping[str, Sequence[Any]], title: str) -> Table:
    """Estimates of entities by name, with their intervals, beside what is given."""
    table, mark = _table(title), any(columns["given"])
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("entity", overflow="fold")
    for name in ("estimate", "from", "to"):
        table.add_column(name, justify="right", overflow="fold")
    if mark:
        table.add_column("given", overflow="fold")
    for row in range(len(columns["entity"])):
        cells = [str(row + 1), _named(columns, "entity", row)]
        ends = (columns[name][row] for name in ("value", "low", "high"))
        cells += ["" if end is None else f"{end:,.5g}" for end in ends]
        table.add_row(*cells, *([short(columns["given"][row])] if mark else []))
    return table


def labels(columns: Mapping[str, Sequence[Any]], title: str) -> Table:
    """Classes of entities by name, beside what is given."""
    table, mark = _table(title), any(columns["given"])
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("entity", overflow="fold")
    table.add_column("label", overflow="fold")
    kind = _likely(columns)
    table.add_column(kind, justify="right", overflow="fold")
    if mark:
        table.add_column("given", overflow="fold")
    for row in range(len(columns["entity"])):
        cells = [str(row + 1), _named(columns, "entity", row)]
        cells += [short(columns["label"][row]), f"{columns[kind][row]:.3f}"]
        table.add_row(*cells, *([short(columns["given"][row])] if mark else []))
    return table


_REPORTED: Final = {
    "edges_kept": "of the train edges are in some batch of an epoch",
    "edges_kept_worst_relation": "of those of the relation that loses most, {worst}",
    "answers_covered": "of the answers lie in the subgraph of their head",
}


def report(measured: Mapping[str, float], relations: Mapping[str, float]) -> Iterator[str]:
    """What a strategy's batches lack of the graph; ``relations`` are the shares kept of each."""
    worst = printable(min(relations, key=lambda key: relations[key], default=""))
    for name, share in measured.items():
        yield f"note: {share:.1%} {_REPORTED[name].format(worst=worst)}"


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)


def _numbers(metrics: Mapping[str, float], names: Sequence[str] = _METRICS) -> list[str]:
    return [f"{metrics[name]:.4f}" if name in metrics else "" for name in names]


def evaluation_content(split: str, report: RankReport, relations: list[str]) -> dict[str, Any]:
    """What ``evaluation-<split>.json`` holds."""
    return {
        "split": split,
        "protocol": "filtered",
        "overall": report.overall(),
        **report.breakdown(relations),
    }


def evaluation(content: Mapping[str, Any]) -> Table:
    """One split's metrics: overall, by side, relation category and degree of the true tail."""
    table = _table(f"Full filtered ranking of {content['split']}")
    table.add_column("group")
    for name in ("queries", "MRR", *(f"Hits@{k}" for k in HITS), "tie rate"):
        table.add_column(name, justify="right")
    rows = {"overall": content["overall"]}
    for kind in ("side", "category", "degree"):
        rows.update({f"{kind} {name}": metrics for name, metrics in content[kind].items()})
    for name, metrics in rows.items():
        if metrics:
            count, ties = f"{metrics['queries']:,.0f}", f"{metrics['tie_rate']:.4f}"
            table.add_row(name, count, *_numbers(metrics), ties)
    return table


def reasons(columns: Mapping[str, Sequence[Any]]) -> Table:
    """Facts and paths, and what the score would lose without each."""
    table = _table("It rests on")
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("reason", overflow="fold")
    table.add_column("loss without it", justify="right", no_wrap=True)
    for rank, reason, loss in zip(columns["rank"], columns["reason"], columns["loss"], strict=True):
        table.add_row(str(rank), short(reason), f"{loss:.3f}")
    return table


def predictions(columns: Mapping[str, Sequence[Any]], title: str) -> Table:
    """Ranked triples by name; known facts are marked where there are any."""
    table, mark = _table(title), any(columns["known"])
    table.add_column("", justify="right", no_wrap=True)
    for name in ("head", "relation", "tail"):
        table.add_column(name, overflow="fold")
    kind = _likely(columns)
    table.add_column(kind, justify="right", overflow="fold")
    if mark:
        table.add_column("known")
    if "path" in columns:
        table.add_column("best path", overflow="fold")
    for row in range(len(columns["head"])):
        cells = [str(columns["rank"][row])]
        cells += [_named(columns, kind, row) for kind in ("head", "relation", "tail")]
        cells.append(f"{columns[kind][row]:.3f}")
        cells += ["yes" if columns["known"][row] else "new"] if mark else []
        cells += [short(columns["path"][row])] if "path" in columns else []
        table.add_row(*cells)
    return table


def questions(split: str, found: Mapping[str, Mapping[str, float]]) -> Table:
    """Metrics of questions by structure, then their means."""
    table = _table(f"Questions of several hops, answers that need links of {split}")
    table.add_column("structure")
    table.add_column("questions", justify="right")
    for name in _METRICS:
        table.add_column(word(name), justify="right")
    means = {"positive": "mean without not", "negative": "mean with not"}
    for name, metrics in found.items():
        if name not in means:
            table.add_row(name, f"{metrics['questions']:,}", *_numbers(metrics))
    table.add_section()
    for name, told in means.items():
        if name in found:
            table.add_row(told, "", *_numbers(found[name]))
    return table


def hardness(content: Mapping[str, Any]) -> str:
    """Answers that lack one link beside those that lack more."""
    told = []
    for part, words in (("one_link", "one unknown link"), ("more_links", "several")):
        if metrics := content[part].get("positive"):
            told.append(f"{metrics['mrr']:.4f} where an answer needs {words}")
    return f"mean MRR without not: {', '.join(told)}" if told else "no questions without not"


def asked(columns: Mapping[str, Sequence[Any]], question: str) -> Table:
    """Answers to a question, each with the links that it rests on."""
    table, mark = _table(printable(question)), any(columns["known"])
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("answer", overflow="fold")
    table.add_column("truth", justify="right")
    if mark:
        table.add_column("known")
    table.add_column("because", overflow="fold")
    for row, rank in enumerate(columns["rank"]):
        cells = [str(rank), _named(columns, "entity", row), f"{columns['score'][row]:.3f}"]
        cells += ["yes" if columns["known"][row] else "new"] if mark else []
        table.add_row(*cells, short(columns["because"][row]))
    return table


def _named(columns: Mapping[str, Sequence[Any]], kind: str, row: int) -> str:
    key, name = columns[kind][row], columns[f"{kind}_name"][row]
    return short(key if key == name else f"{name} ({key})")


def short(text: str) -> str:
    """Printable, and cut where a name would fill the terminal; files have it whole."""
    return printable(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")


def size(count: int | float) -> str:
    """Bytes in a person's words, with two digits or more."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "KB")):
        if count >= unit:
            number = count / unit
            return f"{number:,.0f} {name}" if number >= 10 else f"{number:.1f} {name}"
    return f"{count:.0f} bytes"


def rule(*, pairs: int, per_relation: int) -> str:
    """How the new facts were chosen."""
    return (
        f"Rule: the best softmax scores over (head, relation) pairs whose head is of a type"
        f" that the relation has in train ({pairs:,} pairs at most, a seeded sample"
        f" where there are more); tails of a type seen with the relation, never the head itself;"
        f" known facts of all splits left out; at most {per_relation} per relation."
        " A probability is that of an answer where one is missing."
    )
