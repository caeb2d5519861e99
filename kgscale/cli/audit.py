"""The command that tells what is odd about a data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kgscale.cli import compose
from kgscale.graph.store import GraphStore
from kgscale.graph.survey.survey import SurveySettings
from kgscale.tasks import show
from kgscale.tasks.audit.picture import draw_degrees, draw_relations
from kgscale.tasks.audit.report import audit, content
from kgscale.tasks.components import build
from kgscale.tasks.directory import run_directory, write_json
from kgscale.tasks.schema import from_settings
from kgscale.tasks.settings import NODE_TASKS, RunSettings
from kgscale.tasks.training import read_graph, stored


def audit_data(settings: Mapping[str, Any]) -> int:
    """Print a verdict and tables; write ``audit.json`` and pictures."""
    wanted = from_settings("audit", SurveySettings, settings["audit"])
    run = RunSettings.of({key: value for key, value in settings.items() if key != "audit"})
    console = show.console()
    store = read_graph(run, console)
    other = _other(run)
    with show.busy(console, "looking at the graph") as tell:
        links = run.task.name not in NODE_TASKS
        found = audit(store, wanted, links=links, other=other, tell=tell)
    told = content(store, wanted, found)
    for line in (*show.graph(store), show.audit_ingest(told)):
        show.sentence(console, line)
    console.print()
    for line in show.audit_verdict(told):
        show.sentence(console, line)
    console.print()
    tables = (show.audit_splits, show.audit_relations, show.audit_pairs, show.audit_shape)
    for table in (make(told) for make in tables):
        if table is not None:
            console.print(table)
    with run_directory(run.run_root, "audit", compose.as_yaml(settings)) as directory:
        write_json(directory / "audit.json", told)
        draw_degrees(told, directory / "degrees.png")
        draw_relations(told, directory / "relations.png")
        for name in ("audit.json", "degrees.png", "relations.png"):
            show.sentence(console, f"written: {directory / name}")
        show.result(directory, told)
    return 0


def _other(run: RunSettings) -> GraphStore | None:
    """The graph on which what is learned is to be measured, if there is one."""
    source = getattr(build("data", run.groups["data"]), "inductive", None)
    return None if source is None else stored(source, run)
