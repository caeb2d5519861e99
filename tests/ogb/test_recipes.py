"""The recipes for graphs that no test can have, planned for graphs of their size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kgscale.cli import compose
from kgscale.graph.store import prepare
from kgscale.tasks.components import build
from kgscale.tasks.parts import GraphParts
from kgscale.tasks.plan import choose, planner
from kgscale.tasks.plan.choose import Room, make_plan
from kgscale.tasks.plan.planner import Planner
from kgscale.tasks.settings import RunSettings
from kgscale.tasks.start import TASKS
from tests.ogb.miniature import write

GB = 1_000_000_000
RECIPES = {
    "mag240m_sage": (244_160_499, 64 * GB, 24 * GB),
    "papers100m_sign": (111_059_956, 64 * GB, 24 * GB),
    "wikikg90mv2_anchors": (91_230_610, 64 * GB, 16 * GB),
}
"""Entities, and the host's and the device's memory that the recipe's first lines name."""


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_fits_the_hardware_that_it_names(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Degrees and the kinds of entities as in the miniature, as many entities as there are."""
    entities, host, device = RECIPES[name]

    class Large(Planner):
        @classmethod
        def of(cls, *arguments: Any) -> Planner:
            found = Planner.of(*arguments)
            factor = entities / found.graph.entities
            types = [
                {**kind, **{end: round(kind[end] * factor) for end in ("start", "stop")}}
                for kind in found.model.types
            ]
            return replace(
                found,
                graph=replace(found.graph, count=found.graph.count * factor),
                model=replace(found.model, types=types),
            )

    monkeypatch.setattr(choose, "Planner", Large)
    monkeypatch.setattr(planner, "accelerated", lambda trainer: True)
    settings = compose.settings([f"experiment=ogb/{name}", f"data.path={tmp_path / 'dataset'}"])
    write(settings["data"]["benchmark"], tmp_path / "dataset")
    run = RunSettings.of(settings)
    store = prepare(build("data", run.groups["data"]), tmp_path)
    parts = GraphParts.of(store, run.inputs.arguments())
    room = Room(host=host, device=device, asked=False)
    monkeypatch.setattr(Room, "of", classmethod(lambda cls, settings: room))
    assert make_plan(TASKS[run.task.name].assemble, run, parts).need is not None
