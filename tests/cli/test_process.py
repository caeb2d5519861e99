"""The program as a process: signals, launchers, another directory, an installed wheel."""

from __future__ import annotations

import csv
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import SMALL

CLONE = Path(__file__).resolve().parents[2]
LONG = ("trainer.max_epochs=100000", "trainer.patience=100000")
PATCHED = (
    "import time, kgscale.{module} as m, kgscale.cli; "
    "m.{name} = lambda *a, **k: (print('NOW', flush=True), time.sleep(60)); "
    "raise SystemExit(kgscale.cli.main())"
)
"""The program with one function that announces itself and takes a minute."""
NOTING = """
import os
from pathlib import Path
from kgscale.training import distributed
from kgscale.training.module import GraphModule

step = GraphModule.training_step

def noted(self, batch, index):
    asked, names = batch.query, batch.entity_id
    heads, relations = names[asked.head[asked.answer_query]], asked.relation[asked.answer_query]
    rows = zip(heads.tolist(), relations.tolist(), names[asked.answer].tolist())
    text = "".join(f"{self.current_epoch} {h} {r} {t}\\n" for h, r, t in rows)
    with (Path(os.environ["NOTES"]) / f"{distributed.rank()}-{os.getpid()}").open("a") as notes:
        notes.write(text)
    return step(self, batch, index)

GraphModule.training_step = noted
"""
"""A module that Python imports by itself: every process notes what each of its steps asks."""


@pytest.fixture
def own(data: Path, tmp_path: Path) -> list[str]:
    return ["data=triples", f"data.path={data}", f"root={tmp_path / 'out'}", *SMALL]


def environment(*paths: Path, **more: str) -> dict[str, str]:
    path = os.pathsep.join(map(str, (*paths, CLONE)))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **more}


class Program:
    """A child in a session of its own, whose output is read as it comes."""

    def __init__(
        self,
        *arguments: str,
        start: tuple[str, ...] = ("-m", "kgscale"),
        paths: tuple[Path, ...] = (),
        **more: str,
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *start, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(*paths, **more),
            start_new_session=True,
        )

    def wait_for(self, word: str, *, times: int = 1) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            times -= word in line
            if not times:
                return
        assert self.process.stderr is not None
        raise AssertionError(f"ended without {word!r}: {self.process.stderr.read()}")

    def children(self) -> list[int]:
        """Python children; a resource tracker isn't one of the run's processes."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [
            int(child)
            for child in listed.split()
            if b"--settings" in Path(f"/proc/{child}/cmdline").read_bytes()
        ]

    def end(self, *, timeout: float = 60) -> tuple[int, str]:
        """Exit code and error output."""
        try:
            _, error = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.stop()
            raise
        return self.process.returncode, error

    def stop(self) -> None:
        """End it, first in a way that lets it end its own children."""
        self.process.terminate()
        try:
            self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


@pytest.fixture
def programs() -> Iterator[list[Program]]:
    started: list[Program] = []
    yield started
    for program in started:
        if program.process.poll() is None:
            program.stop()


def only_run(root: Path) -> Path:
    (directory,) = (root / "out" / "link_prediction").iterdir()
    return directory


def check_interrupted(directory: Path) -> None:
    results = json.loads((directory / "results.json").read_text())
    assert results["status"] == "interrupted"
    assert results["metrics"]["valid"]["mrr"] > 0
    assert (directory / "model" / "model.safetensors").is_file()
    assert list((directory / "checkpoints").glob("best-*.ckpt/tensors.safetensors"))


def gone(process: int) -> bool:
    """Ended, or waiting for a parent to take notice."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys, time; begin = time.monotonic(); import kgscale; from kgscale.cli import main\n"
        "assert main(['--help']) == main(['--version']) == 0\n"
        "assert time.monotonic() - begin < 1\n"
        "assert not {'torch', 'hydra', 'numpy', 'rich'} & set(sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CLONE)
    assert ended.returncode == 0, ended.stderr
    for word in ("predict", "strategy", "neighbor", "exit codes"):
        assert word in ended.stdout


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
@pytest.mark.slow
def test_a_signal_during_training(
    own: list[str], tmp_path: Path, programs: list[Program], number: int, code: int
) -> None:
    program = Program(*own, *LONG)
    programs.append(program)
    program.wait_for("epoch ", times=2)
    program.process.send_signal(number)
    found, error = program.end()
    assert found == code
    assert error.startswith("kgscale: interrupted")
    assert error.count("\n") == 1
    check_interrupted(only_run(tmp_path))
    assert "Interrupted after" in (only_run(tmp_path) / "report.html").read_text()


@pytest.mark.slow
def test_a_closed_terminal(own: list[str], tmp_path: Path) -> None:
    """Nothing can be written to it any more, and the state is kept."""
    child, terminal = pty.fork()
    if child == 0:
        os.execve(sys.executable, [sys.executable, "-m", "kgscale", *own, *LONG], environment())
    shown = b""
    while b"epoch 3/" not in shown.replace(b"  ", b" ").replace(b"  ", b" "):
        shown += os.read(terminal, 1 << 16)
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 129
    check_interrupted(only_run(tmp_path))


@pytest.mark.slow
def test_nohup_outlives_its_terminal(own: list[str], programs: list[Program]) -> None:
    ignoring = "import signal as s, os, sys; s.signal(s.SIGHUP, s.SIG_IGN); "
    start = ("-c", f"{ignoring} os.execv(sys.executable, [sys.executable, '-m', 'kgscale'"
             ", *sys.argv[1:]])")  # fmt: skip
    program = Program(*own, *LONG, start=start)
    programs.append(program)
    program.wait_for("epoch ", times=2)
    program.process.send_signal(signal.SIGHUP)
    program.wait_for("epoch ", times=2)
    program.process.send_signal(signal.SIGTERM)
    assert program.end()[0] == 143


@pytest.mark.slow
def test_ctrl_c_while_reading(own: list[str], tmp_path: Path, programs: list[Program]) -> None:
    """No half-made store and no empty run directory stay behind."""
    start = ("-c", PATCHED.format(module="graph.store", name="hash_files"))
    program = Program(*own, f"store.root={tmp_path / 'stores'}", start=start)
    programs.append(program)
    program.wait_for("NOW")
    program.process.send_signal(signal.SIGINT)
    assert program.end() == (130, "kgscale: interrupted\n")
    assert not list(filter(Path.is_dir, (tmp_path / "stores").iterdir()))
    assert not list((tmp_path / "out" / "link_prediction").iterdir())


@pytest.mark.slow
def test_ctrl_c_in_the_final_evaluation(
    own: list[str], tmp_path: Path, programs: list[Program]
) -> None:
    start = ("-c", PATCHED.format(module="tasks.link_prediction", name="popularity_ranker"))
    program = Program(*own, start=start)
    programs.append(program)
    program.wait_for("NOW")
    program.process.send_signal(signal.SIGINT)
    assert program.end() == (130, "kgscale: interrupted\n")
    check_interrupted(only_run(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_orphans(
    own: list[str], tmp_path: Path, programs: list[Program], number: int
) -> None:
    program = Program(*own, *LONG, "trainer=ddp")
    programs.append(program)
    program.wait_for("epoch ", times=2)
    (child,) = program.children()
    program.process.send_signal(number)
    code, error = program.end()
    assert code == 128 + number
    assert error.startswith("kgscale: interrupted")
    assert error.count("\n") == 1
    assert gone(child)
    check_interrupted(only_run(tmp_path))


@pytest.mark.slow
def test_a_killed_rank_ends_the_run(
    own: list[str], tmp_path: Path, programs: list[Program]
) -> None:
    program = Program(*own, *LONG, "trainer=ddp")
    programs.append(program)
    program.wait_for("epoch ", times=2)
    (child,) = program.children()
    os.kill(child, signal.SIGKILL)
    code, error = program.end(timeout=30)
    assert code == 4
    assert "process 1 of the run was ended by SIGKILL" in error
    assert error.count("\n") == 1
    assert list(only_run(tmp_path).glob("checkpoints/best-*.ckpt"))


def losses(root: Path) -> list[float]:
    """Mean loss of each epoch of the only run."""
    (file,) = root.glob("*/*/metrics.csv")
    with file.open(newline="") as table:
        return [float(row["train/loss"]) for row in csv.DictReader(table) if row["train/loss"]]


@pytest.mark.slow
def test_a_killed_rank_costs_nothing_that_was_saved(
    own: list[str], tmp_path: Path, programs: list[Program]
) -> None:
    many = ("trainer=ddp", "trainer.max_epochs=200", "trainer.patience=200", "trainer.save_steps=2")
    assert Program(*own, *many, f"root={tmp_path / 'whole'}").end(timeout=200) == (0, "")
    program = Program(*own, *many)
    programs.append(program)
    program.wait_for("epoch   1/")
    (child,) = program.children()
    os.kill(child, signal.SIGKILL)
    assert program.end(timeout=30)[0] == 4
    again = Program("resume=latest", f"root={tmp_path / 'out'}")
    assert again.end(timeout=200) == (0, "")
    found, expected = losses(tmp_path / "out"), losses(tmp_path / "whole")
    assert len(found) == 200
    assert found[-1] == pytest.approx(expected[-1], abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("before", "now"), [(2, 1), (1, 2), (2, 3)])
def test_another_number_of_processes(
    own: list[str], data: Path, tmp_path: Path, before: int, now: int
) -> None:
    """Between two epochs a run may change it: each of its epochs asks all there is, once."""
    module, notes = tmp_path / "module", tmp_path / "notes"
    module.mkdir()
    notes.mkdir()
    (module / "sitecustomize.py").write_text(NOTING)

    def run(*arguments: str) -> None:
        program = Program(*arguments, paths=(module,), NOTES=str(notes))
        assert program.end(timeout=200) == (0, "")

    run(*own, f"trainer.devices={before}", "trainer.max_epochs=2")
    more = ("trainer.max_epochs=4", f"trainer.devices={now}")
    run("resume=latest", f"root={tmp_path / 'out'}", *more)
    assert len(losses(tmp_path / "out")) == 4
    assert len(list(notes.iterdir())) == before + now
    asked = Counter(line for file in notes.iterdir() for line in file.read_text().splitlines())
    assert set(asked.values()) == {1}
    epochs: dict[str, set[str]] = {}
    for line in asked:
        epoch, _, triple = line.partition(" ")
        epochs.setdefault(epoch, set()).add(triple)
    assert sorted(epochs) == ["0", "1", "2", "3"]
    train = set((data / "train.tsv").read_text(encoding="utf-8").splitlines())
    assert len(epochs["0"]) == 2 * len(train)  # in both directions
    assert all(found == epochs["0"] for found in epochs.values())


@pytest.mark.slow
def test_a_killed_parent_leaves_no_orphans(own: list[str], programs: list[Program]) -> None:
    program = Program(*own, *LONG, "trainer=ddp")
    programs.append(program)
    program.wait_for("epoch ", times=2)
    (child,) = program.children()
    program.process.kill()
    program.end()
    for _ in range(300):
        if gone(child):
            return
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    raise AssertionError("the child outlived its parent")


@pytest.mark.slow
def test_a_killed_study_leaves_no_training(
    own: list[str], tmp_path: Path, programs: list[Program]
) -> None:
    program = Program("tune", *own, *LONG, "trials=2", f"root={tmp_path / 'out'}")
    programs.append(program)
    for _ in range(600):
        if children := program.children():
            break
        time.sleep(0.1)
    program.process.kill()
    program.end()
    for _ in range(300):
        if all(map(gone, children)):
            return
        time.sleep(0.1)
    for child in children:
        os.kill(child, signal.SIGKILL)
    raise AssertionError("the training outlived its study")


@pytest.mark.slow
def test_a_sweep_over_processes_makes_a_directory_for_each(own: list[str], tmp_path: Path) -> None:
    ended = Program("-m", *own, "seed=0,1", "trainer=ddp", "predictions.count=0").end(timeout=200)
    assert ended == (0, "")
    found = [json.loads(file.read_text()) for file in tmp_path.glob("out/*/*/results.json")]
    assert sorted(results["seed"] for results in found) == [0, 1]
    assert len(list((tmp_path / "out" / "link_prediction").iterdir())) == 2


@pytest.mark.slow
def test_torchrun_makes_one_directory(own: list[str], tmp_path: Path) -> None:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    start = (*launcher, "-m", "kgscale", "train")
    code, error = Program(*own, "trainer=ddp", start=start).end(timeout=200)
    assert code == 0, error
    assert json.loads((only_run(tmp_path) / "results.json").read_text())["status"] == "done"


@pytest.mark.slow
def test_a_sweep_under_torchrun_makes_a_directory_for_each(own: list[str], tmp_path: Path) -> None:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    start = (*launcher, "-m", "kgscale", "train")
    program = Program("-m", *own, "seed=0,1", "trainer=ddp", "predictions.count=0", start=start)
    code, error = program.end(timeout=200)
    assert code == 0, error
    found = [json.loads(file.read_text()) for file in tmp_path.glob("out/*/*/results.json")]
    assert sorted(results["seed"] for results in found) == [0, 1]
    assert len(list((tmp_path / "out" / "link_prediction").iterdir())) == 2


@pytest.mark.slow
def test_processes_and_one_alone_agree(own: list[str], tmp_path: Path) -> None:
    """Half the batch on each of two ranks: the same losses as one process."""
    found = []
    exact = ("strategy.fanout=[-1]", "encoder.dropout=0", "trainer.max_epochs=2")
    for name, batch, trainer in (("one", 16, "cpu"), ("two", 8, "ddp")):
        more = [*exact, f"strategy.batch_size={batch}", f"trainer={trainer}"]
        assert Program(*own, f"root={tmp_path / name}", *more).end(timeout=200) == (0, "")
        found.append(losses(tmp_path / name))
    assert found[0] == pytest.approx(found[1], rel=1e-4)


@pytest.mark.slow
def test_an_installed_wheel_works_elsewhere(own: list[str], tmp_path: Path) -> None:
    """``conf/`` and the templates of a report are found inside the wheel, from any directory."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(tmp_path)]
    subprocess.run([*build, str(CLONE)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    place = tmp_path / "place"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(place)]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    assert (place / "kgscale" / "conf" / "config.yaml").is_file()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(place)}
    where = "import kgscale, sys; sys.exit(not kgscale.__file__.startswith(sys.argv[1]))"
    for command in (["-c", where, str(place)], ["-m", "kgscale", *own]):
        ended = subprocess.run(
            [sys.executable, *command],
            cwd=elsewhere,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stderr
    assert (only_run(tmp_path) / "results.json").is_file()
    assert (only_run(tmp_path) / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.shared_data
def test_a_real_data_set(shared_data: Path, tmp_path: Path) -> None:
    own = ["data=triples", f"data.path={shared_data / 'umls'}", f"root={tmp_path / 'out'}"]
    assert Program(*own, "trainer.max_epochs=5").end(timeout=200) == (0, "")
    results = json.loads((only_run(tmp_path) / "results.json").read_text())
    assert results["metrics"]["valid"]["mrr"] > 0.6
