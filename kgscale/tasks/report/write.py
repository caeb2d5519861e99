"""A run's report: gathered from its directory and its model, and written into it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from kgscale.durable import write_text
from kgscale.graph.store import GraphStore
from kgscale.tasks import show
from kgscale.tasks.directory import DONE
from kgscale.tasks.report import files, svg, tables, words
from kgscale.tasks.report.card import write_card
from kgscale.tasks.report.examples import Examples, examples
from kgscale.tasks.report.page import REPORT, Curves, Page, render
from kgscale.tasks.runs import NodeRun, NumberRun, RecommendationRun, Run


def write_report(run: Run) -> bool:
    """``report.html`` and ``model/README.md``; no other file of the run is touched.

    Returns:
        Whether the card was written: one that its owner has made theirs stays as it is.

    Raises:
        DataError: what training has left there can't be read.
        ResourceError: the disk is full, or can't be written.
    """
    results = files.results_of(run.directory)
    write_text(run.directory / REPORT, render(page_of(run, results)))
    return write_card(run, results)


def page_of(run: Run, results: Mapping[str, Any]) -> Page:
    """The parts of a report."""
    metrics, task = results["metrics"], words.TASKS[results["task"]]
    found = words.headline(results)
    split = "valid" if found is None else found[0]
    content = files.evaluation(run.directory, split)
    breakdown = tables.split_of(content)
    done = results["status"] == DONE
    some = examples(run) if done and (run.directory / "predictions.tsv").exists() else None
    arguments, settings = files.config(run.directory)
    return Page(
        name=tables.clip(results["data"]["name"]),
        task=task,
        verdict=words.verdict(results),
        learned=list(_learned(run.store, results)),
        tables=[
            *tables.measured(results, tables.cuts_of(metrics)),
            *tables.questions(metrics.get("questions") or {}),
        ],
        details=[] if breakdown is None else [breakdown],
        remarks=list(tables.remarks(metrics)),
        relations=_relations(run.store, content, results),
        split=words.SPLIT_WORDS[split].lower(),
        curves=[
            Curves(title=name, picture=svg.curve(points, label=name, across="steps"))
            for name, points in files.curves(run.directory, results["monitor"])
        ],
        reliability=_reliability(files.calibration(run.directory)),
        probabilities=list(show.probabilities(metrics)),
        predictions=None if some is None else _predictions(run, some),
        examples=some,
        commands=list(_commands(run, arguments, some)),
        effort=[*words.effort(results), ("Directory", run.directory.name)],
        versions=[
            *results["versions"].items(),
            ("revision", results["revision"] or "unknown: it ran from an installed package"),
        ],
        settings=settings,
    )


def _learned(store: GraphStore, results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for line in show.graph(store):
        name, _, told = line.partition(": ")
        yield name.capitalize(), told
    yield "Fingerprint", results["data"]["fingerprint"]
    yield "Model", f"{words.model_of(results)}, {results['parameters']:,} parameters"
    yield "Strategy", words.strategy_of(results)
    for line in show.report(results["strategy_report"], results["relations_kept"]):
        yield "Note", line.removeprefix("note: ")
    yield "Training", f"{results['epochs']:g} epochs, seed {results['seed']}"


def _relations(
    store: GraphStore, content: Mapping[str, Any], results: Mapping[str, Any]
) -> list[tables.Relation]:
    every = list(range(store.num_relations))
    names = dict(zip(store.relation_keys(every), store.relation_names(every), strict=True))
    return tables.relations(content, results["relations_kept"], names)


def _reliability(found: Mapping[str, Any]) -> Curves | None:
    """None of a task whose answers have intervals, nor where nothing was right or wrong."""
    maps = dict(found.get("reliability") or {})
    split = maps.pop("split", "valid")
    curves = {
        name: [(float(row["said"]), float(row["right"]), int(row["answers"])) for row in rows]
        for name, rows in maps.items()
        if rows
    }
    if not curves:
        return None
    title = f"The share that is right of answers to questions of {words.SPLIT_WORDS[split].lower()}"
    return Curves(title=title, picture=svg.reliability(curves), names=list(curves))


def _predictions(run: Run, some: Examples) -> tables.Table | None:
    if not next(iter(some.columns.values()), []):
        return None
    if isinstance(run, NodeRun):
        return tables.of_terminal(show.labels(some.columns, "The surest labels"))
    if isinstance(run, NumberRun):
        return tables.of_terminal(show.numbers(some.columns, "The surest numbers"))
    title = "The first of predictions.tsv"
    if isinstance(run, RecommendationRun):
        return tables.of_terminal(show.items(some.columns, title))
    return tables.of_terminal(show.predictions(some.columns, title))


def _commands(run: Run, arguments: str, some: Examples | None) -> Iterator[tuple[str, str]]:
    if arguments:
        yield "Train", f"python -m kgscale {arguments}"
    place = f"run={run.directory}"
    yield "Measure on a split", shlex.join(["python", "-m", "kgscale", "evaluate", place])
    if some is None or not next(iter(some.columns.values()), []):
        return
    asked = [f"{name}={some.columns[name][0]}" for name in run.predicted]
    yield "Explain", shlex.join(["python", "-m", "kgscale", "explain", place, *asked])
    yield "This page anew", shlex.join(["python", "-m", "kgscale", "report", place])
