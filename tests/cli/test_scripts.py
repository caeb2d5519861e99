"""What scripts read: a path, or a line of JSON, and nothing else on standard output."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import SMALL, Command

ASKED = ("head=entity 1", "relation=relation 0")
COMMANDS: dict[str, tuple[str, ...]] = {
    "predict": (*ASKED, "k=3"),
    "evaluate": ("split=test",),
    "ask": ("?x : 'relation 0'('entity 1', ?x)",),
    "explain": (*ASKED, "tail=entity 2"),
    "export": (),
    "report": (),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_line_of_json(command: Command, trained: Path, tmp_path: Path, name: str) -> None:
    places = () if name in ("evaluate", "report") else (f"output={tmp_path / 'out'}",)
    arguments = (name, f"run={trained}", *COMMANDS[name], *places)
    code, out, error = command(*arguments, "--json")
    assert code == 0
    (line,) = out.splitlines()
    found = json.loads(line)
    assert Path(found["path"]).exists()
    assert "written" in error
    if name == "predict":
        assert found["result"]["rank"] == [1, 2, 3]
    if name == "evaluate":
        assert found["result"] == json.loads(Path(found["path"]).read_text())
    code, out, error = command(*arguments, "--quiet")
    assert (code, out, error) == (0, found["path"] + "\n", "")


def test_a_training_and_its_graph(command: Command, data: Path, tmp_path: Path) -> None:
    own = ("data=triples", f"data.path={data}", f"root={tmp_path}", *SMALL)
    code, out, error = command(*own, "--quiet")
    assert (code, error) == (0, "")
    (run,) = (tmp_path / "link_prediction").iterdir()
    assert out == f"{run}\n"
    code, out, error = command("-m", *own, "seed=1,2", "--json")
    assert code == 0
    runs = [json.loads(line) for line in out.splitlines()]
    assert [found["result"]["seed"] for found in runs] == [1, 2]
    assert [Path(found["path"]).parent for found in runs] == [run.parent] * 2
    assert "run directory" in error
    code, out, _ = command("ingest", f"data.path={data}", "--json")
    assert code == 0
    store = json.loads(out)["result"]["store"]
    assert command("ingest", f"data.path={data}", "--quiet") == (0, f"{store}\n", "")
    code, out, error = command("audit", *own[:3], "--json")
    assert code == 0
    assert "verdict" in json.loads(out)["result"]


def test_mistakes_are_told_as_ever(command: Command, trained: Path) -> None:
    for flag in ("--quiet", "--json"):
        code, out, error = command("predict", f"run={trained}", flag)
        assert (code, out) == (2, "")
        assert "predict needs relation" in error
    for arguments in (("doctor", "--json"), ("predict", "--json", "--quiet")):
        code, out, error = command(*arguments)
        assert (code, out) == (2, "")
        assert "leave" in error
