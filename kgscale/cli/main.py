"""Take the command off, compose the settings, run, and end with the right exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from kgscale.cli.conf import help_text
from kgscale.errors import ConfigError, KgscaleError

COMMANDS: Final = {
    "train": "train a model and write a run directory (the default command)",
    "evaluate": "rank a split by a trained model: run=DIR split=valid|test",
    "predict": "answer head or tail: run=DIR head=… relation=… k=10",
    "doctor": "what is installed, what this machine can do, what is missing",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code instead of raising."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _main(arguments)
    except KgscaleError as error:
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _complain("interrupted")
        return 130
    except MemoryError:
        _complain("out of memory; a smaller strategy.batch_size or encoder.dim needs less")
        return 4
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def run() -> None:
    """Entry point of the installed script."""
    sys.exit(main())


def _complain(message: str) -> None:
    if os.environ.get("RANK", "0") == "0":
        print(f"kgscale: {message}", file=sys.stderr)


def _main(arguments: list[str]) -> int:
    if "--help" in arguments or "-h" in arguments:
        print(help_text(COMMANDS))
        return 0
    if "--version" in arguments:
        from importlib.metadata import version

        print(version("kgscale"))
        return 0
    command = "train"
    if arguments and "=" not in arguments[0] and not arguments[0].startswith("-"):
        command = arguments.pop(0)
    if command not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"there is no command {command!r}{hint} ({', '.join(COMMANDS)})")
    return _RUN[command](arguments)


def _train(arguments: list[str]) -> int:
    from kgscale.cli import compose

    if arguments[:1] == ["--settings"]:
        return _train_one(compose.from_yaml(Path(arguments[1])))
    multirun = _take(arguments, "-m") or _take(arguments, "--multirun")
    show = _take(arguments, "--cfg")
    if show and _take(arguments, "job") is None:
        raise ConfigError("--cfg shows the settings as: --cfg job")
    if not arguments:
        arguments = ["experiment=demo"]
    if show:
        print(compose.as_yaml(compose.settings(arguments)), end="")
        return 0
    jobs = compose.sweep(arguments) if multirun else [arguments]
    # All are composed first: a mistake in the last should not cost the time of the others.
    configs = [compose.settings(job) for job in jobs]
    return max(_train_one(config) for config in configs)


def _train_one(config: object) -> int:
    from omegaconf import DictConfig
    from rich.console import Console

    from kgscale.cli import compose
    from kgscale.tasks.link_prediction import train

    assert isinstance(config, DictConfig)
    _, code = train(compose.as_dict(config), config=compose.as_yaml(config), console=Console())
    if code:
        _complain("interrupted; the run directory has the best checkpoint and the results so far")
    return code


def _evaluate(arguments: list[str]) -> int:
    from kgscale.cli.answer import evaluate

    return evaluate(arguments)


def _predict(arguments: list[str]) -> int:
    from kgscale.cli.answer import predict

    return predict(arguments)


def _doctor(arguments: list[str]) -> int:
    from kgscale.cli.doctor import doctor

    return doctor(arguments)


def _take(arguments: list[str], flag: str) -> bool | None:
    if flag not in arguments:
        return None
    arguments.remove(flag)
    return True


_RUN: Final[dict[str, Callable[[list[str]], int]]] = {
    "train": _train,
    "evaluate": _evaluate,
    "predict": _predict,
    "doctor": _doctor,
}
