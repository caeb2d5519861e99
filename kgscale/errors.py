"""Errors that a user can act on; each class carries the exit code of the command line.

Exit codes: 0 done, 2 a user's setting, 3 data, 4 out of resources, 129/130/143 interrupted.
"""

from __future__ import annotations

import signal


class KgscaleError(Exception):
    """A failure with one clear sentence: what, where, which value, and the remedy."""

    exit_code = 1


class ConfigError(KgscaleError):
    """A setting that cannot work."""

    exit_code = 2


class ScoreError(ConfigError):
    """NaN among the scores: training has diverged, which a setting cures."""


class DataError(KgscaleError):
    """Input that cannot be read or makes no sense; names file, line and value."""

    exit_code = 3


class ResourceError(KgscaleError):
    """Not enough memory, disk space or permission."""

    exit_code = 4


def printable(text: str) -> str:
    """Control characters as escapes: a name from a file must not steer the terminal."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def is_name(text: str) -> bool:
    """Whether a file can be called so: in UTF-8, without a zero."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def out_of_memory(error: BaseException) -> bool:
    """Whether this is how numpy, torch or a driver says that memory has run out."""
    names = {kind.__name__ for kind in type(error).__mro__}
    told = isinstance(error, RuntimeError) and "allocate memory" in str(error)
    return told or bool(names & {"MemoryError", "OutOfMemoryError"})


class Interrupted(BaseException):
    """A signal asked the program to end; no ``except Exception`` on the way swallows it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number
