"""Take the command off, compose the settings, run, and end with the right exit code."""

from __future__ import annotations

import difflib
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kgscale.cli.conf import help_text
from kgscale.errors import ConfigError, Interrupted, KgscaleError, is_name, out_of_memory, printable
from kgscale.signals import asking_to_end, took_the_terminal

if TYPE_CHECKING:
    from kgscale.tasks.show import Output

COMMANDS: Final = {
    "train": "train a model and write a run directory (the default command)",
    "evaluate": "measure a trained model on a split: run=DIR split=valid|test",
    "predict": "answer: run=DIR head=… relation=… k=10, entity=… for its labels, or queries=FILE",
    "ask": "a question of several hops: run=DIR \"?x : knows(?x, ?y) and likes(?y, 'Ann')\"",
    "explain": "why: the facts behind run=DIR head=… relation=… tail=…, or entity=…, in a picture",
    "ingest": "read a graph into a store; onto=STORE or onto=RUN adds what has arrived since",
    "report": "report.html and the model's card, anew: run=DIR, as after evaluate",
    "export": "run=DIR kinds=[vectors,faiss,onnx]: vectors with keys, an index, networks",
    "compare": "several strategies and seeds for equal time: a table, a CSV file and a picture",
    "audit": "what is odd about a data set: a verdict, tables, pictures (the arguments of train)",
    "tune": "search for settings by validation: trials=20, kept on disk (extra tune)",
    "leaderboard": "what OGB's form asks for, from runs=DIR of one recipe; files for OGB-LSC",
    "doctor": "what is installed, what this machine can do, what is missing",
}

_PDEATHSIG: Final = 1
"""PR_SET_PDEATHSIG of prctl(2)."""
STUDIES: Final = ("compare", "tune")


class _Signals:
    """Turns what asks to end into :class:`Interrupted`, so that everything is cleaned up."""

    received: int | None = None

    @contextmanager
    def raised(self) -> Iterator[None]:
        if _rank() > 0:  # rank 0 tells when to end
            yield
            return
        before = {number: signal.getsignal(number) for number in asking_to_end()}
        try:
            for number in before:
                signal.signal(number, self._handle)
        except ValueError:  # not the main thread
            before = {}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: object) -> None:
        took_the_terminal(number)
        self.received = number
        raise Interrupted(number)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code instead of raising."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    signals = _Signals()
    with signals.raised():
        try:
            return _main(arguments)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        except (Exception, Interrupted, KeyboardInterrupt) as error:
            # A library that was waiting may report a signal in its own words.
            failure = error if signals.received is None else Interrupted(signals.received)
            known = _explain(failure)
            if known is None:
                raise
            code, message = known
            _complain(message)
            return code


def run() -> None:
    """Entry point of the installed script."""
    sys.exit(main())


def _explain(error: BaseException) -> tuple[int, str] | None:
    """Exit code and one line, or None for a defect of the program."""
    if isinstance(error, KgscaleError):
        return error.exit_code, str(error)
    if isinstance(error, Interrupted | KeyboardInterrupt):
        code = error.exit_code if isinstance(error, Interrupted) else 130
        return code, "interrupted"
    if out_of_memory(error):
        return 4, "out of memory; a smaller strategy.batch_size or encoder.dim needs less"
    if isinstance(error, OSError) and error.strerror:
        return 4, f"{error.filename or 'input or output'}: {error.strerror}"
    return None


def _complain(message: str) -> None:
    line = " ".join(message.split("\n"))
    print(f"kgscale: {printable(line)}", file=sys.stderr)


def _rank() -> int:
    told = os.environ.get("RANK", "0") if "LOCAL_RANK" in os.environ else "0"
    return int(told) if told.isascii() and told.isdigit() else 0


def _main(arguments: list[str]) -> int:
    for text in arguments:
        if not is_name(text):
            raise ConfigError(
                f"the argument {text!a} is no text of UTF-8: write it, or rename it so"
            )
    if "--help" in arguments or "-h" in arguments:
        print(help_text(COMMANDS))
        return 0
    if "--version" in arguments:
        from importlib.metadata import version

        print(version("kgscale"))
        return 0
    if arguments and arguments[0] in ("--completion", "--complete"):
        print(_completed(*arguments[:2]))
        return 0
    command = "train"
    if arguments and "=" not in arguments[0] and not arguments[0].startswith(("-", "~")):
        command = arguments.pop(0)
    reader = _reader(arguments)
    if command not in COMMANDS:
        near = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"there is no command {command!r}{hint} ({', '.join(COMMANDS)})")
    if reader == "people":
        return _run(command, arguments)
    if command == "doctor":
        raise ConfigError("doctor tells people: leave out --quiet and --json")
    from kgscale.tasks import show

    with show.output(reader):
        return _run(command, arguments)


def _run(command: str, arguments: list[str]) -> int:
    if command == "train":
        return _train(arguments)
    return _study(command, arguments) if command in STUDIES else _other(command, arguments)


def _reader(arguments: list[str]) -> Output:
    """Who is to read standard output; the flag is taken off."""
    quiet, as_json = _take(arguments, "--quiet"), _take(arguments, "--json")
    if quiet and as_json:
        raise ConfigError("--quiet and --json are two ways to write for scripts: leave one out")
    return "quiet" if quiet else "json" if as_json else "people"


def _completed(flag: str, text: str = "") -> str:
    """What a shell asks for once, or at each press of the key."""
    from kgscale.cli import completion

    if flag == "--completion":
        return completion.script(text)
    return "\n".join(completion.completions(text, COMMANDS))


def _study(command: str, arguments: list[str]) -> int:
    from kgscale.cli import compose, study

    if _take(arguments, "--cfg", "job"):
        print(compose.as_yaml(compose.settings(arguments, name=command)), end="")
        return 0
    return study.compare(arguments) if command == "compare" else study.tune(arguments)


def _other(command: str, arguments: list[str]) -> int:
    from kgscale.cli import compose

    show = _take(arguments, "--cfg", "job")
    if command == "ask":
        # A question is no override, and may hold whatever it likes.
        arguments = [f"question={text}" if text[:1] == "?" else text for text in arguments]
    settings = compose.settings(arguments, name=command)
    if show:
        print(compose.as_yaml(settings), end="")
        return 0
    return _OTHERS[command](settings)


def _train(arguments: list[str]) -> int:
    from kgscale.cli import compose, resume

    if arguments[:1] == ["--settings"]:
        if len(arguments) != 4 or arguments[2] != "--parent" or not arguments[3].isdigit():
            raise ConfigError("--settings is for processes that a training starts itself")
        _end_with(int(arguments[3]))
        return _train_one(compose.from_yaml(Path(arguments[1])))
    multirun = _take(arguments, "-m") or _take(arguments, "--multirun")
    show = _take(arguments, "--cfg", "job")
    if resume.wanted(arguments):
        if multirun or show:
            raise ConfigError(f"{resume.KEY}… goes on with one run: leave out -m and --cfg")
        return _resume(arguments)
    if not arguments:
        arguments = ["experiment=demo"]
    jobs = compose.sweep(arguments) if multirun else [arguments]
    # All are composed first: a mistake in the last should not cost the time of the others.
    for job, settings in [(job, compose.settings(job)) for job in jobs]:
        if show:
            print(compose.as_yaml(settings), end="")
        elif code := _train_one(settings, resume.told(job)):
            return code
    return 0


def _end_with(parent: int) -> None:
    """End as by SIGTERM when the process of ours that started this one is gone (on Linux)."""
    import ctypes

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:  # it was killed before that
            raise Interrupted(signal.SIGTERM)


def _resume(arguments: list[str]) -> int:
    from kgscale.cli import resume
    from kgscale.tasks import show

    run = resume.resumed(arguments)
    if run.done:
        said = (
            f"{run.directory} is done; to train longer, raise trainer.max_epochs (or max_seconds)"
        )
        show.sentence(show.console(), said)
        return 0
    return _train_one(run.settings, run.told, run.directory)


def _train_one(settings: dict[str, Any], told: str = "", directory: Path | None = None) -> int:
    """Train.

    Args:
        told: how it was started, for the first line of the settings that the run keeps.
        directory: of a run to go on with.
    """
    from kgscale.cli import compose, resume
    from kgscale.tasks import show
    from kgscale.tasks.directory import read_results
    from kgscale.tasks.start import train

    config = told + compose.as_yaml(settings)
    run, code = train(settings, config=config, console=show.console(), resume=directory)
    if code:
        words = shlex.join(["python", "-m", "kgscale", f"{resume.KEY}{run}"])
        _complain(f"interrupted; go on at that very step by: {words}")
    show.result(run, read_results(run))
    return code


def _evaluate(settings: dict[str, Any]) -> int:
    from kgscale.cli.answer import evaluate

    return evaluate(settings)


def _predict(settings: dict[str, Any]) -> int:
    from kgscale.cli.answer import predict

    return predict(settings)


def _ask(settings: dict[str, Any]) -> int:
    from kgscale.cli.ask import ask

    return ask(settings)


def _explain_prediction(settings: dict[str, Any]) -> int:
    from kgscale.cli.explain import explain

    return explain(settings)


def _audit(settings: dict[str, Any]) -> int:
    from kgscale.cli.audit import audit_data

    return audit_data(settings)


def _ingest(settings: dict[str, Any]) -> int:
    from kgscale.cli.ingest import ingest

    return ingest(settings)


def _report(settings: dict[str, Any]) -> int:
    from kgscale.cli.report import report

    return report(settings)


def _export(settings: dict[str, Any]) -> int:
    from kgscale.cli.export import export_run

    return export_run(settings)


def _leaderboard(settings: dict[str, Any]) -> int:
    from kgscale.cli.answer import leaderboard

    return leaderboard(settings)


def _doctor(settings: dict[str, Any]) -> int:
    from kgscale.cli.doctor import doctor

    return doctor(settings)


def _take(arguments: list[str], *flag: str) -> bool:
    """Take a flag (and the word that must follow it) off the arguments."""
    if flag[0] not in arguments:
        return False
    at = arguments.index(flag[0])
    if arguments[at : at + len(flag)] != list(flag):
        raise ConfigError(f"{flag[0]} is written as: {' '.join(flag)}")
    del arguments[at : at + len(flag)]
    return True


_OTHERS: Final[dict[str, Callable[[dict[str, Any]], int]]] = {
    "ask": _ask,
    "audit": _audit,
    "evaluate": _evaluate,
    "explain": _explain_prediction,
    "ingest": _ingest,
    "export": _export,
    "predict": _predict,
    "report": _report,
    "leaderboard": _leaderboard,
    "doctor": _doctor,
}
