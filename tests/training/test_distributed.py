"""Several processes do what one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kgscale.errors import ConfigError
from kgscale.training.distributed import agree, check_devices, is_leader, process_group

CLONE = Path(__file__).resolve().parents[2]


def test_two_processes_do_what_one_does(tmp_path: Path) -> None:
    """Gradients of the joined batch, equal rank counts, equal weights; only rank 0 writes."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.training.ranks", str(tmp_path)],
        cwd=CLONE,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["gradients"].keys() == {"all", "5"}
    assert max(found["gradients"].values()) < 1e-5
    assert found["reports_equal"]
    assert found["training"]["weights_equal"]
    assert found["training"]["writes_of_rank_1"] == 0
    assert found["training"]["metrics"]["mrr"] > 0
    assert list(tmp_path.glob("checkpoints/best*/tensors.safetensors"))


def test_alone_words_are_ones_own() -> None:
    assert agree("a", "b") == ["a", "b"]
    assert is_leader()


def test_launcher_and_settings_must_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    check_devices(2)
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ConfigError, match=r"trainer\.devices=3"):
        check_devices(2)
    monkeypatch.setenv("RANK", "1")
    assert not is_leader()
    monkeypatch.setenv("RANK", "one")
    with pytest.raises(ConfigError, match="RANK=one: a launcher of processes"):
        check_devices(3)


def test_environment_is_restored_when_a_process_cannot_start() -> None:
    """A child that fails at once is told in one sentence, and leaves nothing behind."""
    before = dict(os.environ)
    command = ["-c", "import sys; print('kgscale: no such thing', file=sys.stderr); sys.exit(2)"]
    with pytest.raises(ConfigError, match=r"^no such thing$"), process_group("gloo", 2, command):
        raise AssertionError("never reached")
    assert dict(os.environ) == before
