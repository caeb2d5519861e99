"""Words are completed from the settings that there are."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kgscale.cli.main import COMMANDS
from tests.cli.conftest import Command


@pytest.mark.parametrize(
    ("line", "there", "missing"),
    [
        ("kgscale pre", ["predict"], ["train"]),
        ("kgscale ", [*COMMANDS, "encoder=", "data.seed=", "seed="], ["run="]),
        ("kgscale enc", ["encoder=", "encoder.dim="], ["seed="]),
        ("kgscale encoder=r", ["encoder=rgat", "encoder=rgcn"], ["encoder=sage"]),
        ("kgscale data=triples data.", ["data.path=", "data.names="], ["data=", "data._target_="]),
        ("kgscale task=recommendation data.", ["data.rating=", "data.time="], ["data.labels="]),
        ("kgscale experiment=demo trainer.", ["trainer.max_epochs="], ["encoder="]),
        ("kgscale predict h", ["head="], ["hub="]),
        ("kgscale predict run=somewhere ", ["relation=", "k="], ["encoder=", "predict"]),
        ("kgscale compare compare.", ["compare.strategies=", "compare.minutes="], []),
        ("kgscale compare enc", ["encoder="], []),
        ("kgscale --j", ["--json"], ["--help"]),
        ("kgscale zzz", [], ["train"]),
    ],
)
def test_what_a_word_may_become(
    command: Command, line: str, there: list[str], missing: list[str]
) -> None:
    code, out, error = command("--complete", line)
    assert (code, error) == (0, "")
    found = out.split()
    assert set(there) <= set(found)
    assert not set(missing) & set(found)
    assert all(text.startswith(line.rpartition(" ")[2]) for text in found)


def test_a_shell_that_is_unknown(command: Command) -> None:
    code, _, error = command("--completion", "cmd.exe")
    assert code == 2
    assert "bash, zsh, fish" in error


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("kgscale predi", "predict"),
        ("kgscale encoder=rgc", "rgcn"),
        ("kgscale evaluat", "evaluate"),
    ],
)
def test_bash_completes(tmp_path: Path, line: str, reply: str) -> None:
    own = tmp_path / "kgscale"
    own.write_text(f'#!/bin/sh\nexec {sys.executable} -m kgscale "$@"\n')
    own.chmod(0o755)
    code = f"""
eval "$({own} --completion bash)"
compopt() {{ :; }}
COMP_LINE='{line}' COMP_POINT={len(line)}
_kgscale {own}
echo "${{COMPREPLY[0]}}"
"""
    ended = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == [reply]
    assert ended.stderr == ""
