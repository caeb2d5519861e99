"""Which signals ask the program to end."""

from __future__ import annotations

import os
import signal
import stat
from contextlib import suppress
from typing import Final

_HANGUP: Final = getattr(signal, "SIGHUP", None)
"""Of a terminal that was closed; not every system has one."""


def asking_to_end() -> list[signal.Signals]:
    """Ctrl-C, SIGTERM, and a closed terminal; the last not under ``nohup``, which ignores it."""
    always = [signal.SIGINT, signal.SIGTERM]
    if _HANGUP is None or signal.getsignal(_HANGUP) == signal.SIG_IGN:
        return always
    return [*always, _HANGUP]


def took_the_terminal(number: int) -> None:
    """After a hangup what is written to the terminal fails: let it go nowhere instead."""
    if number != _HANGUP:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        with suppress(OSError):  # it may be closed
            if stat.S_ISCHR(os.fstat(stream).st_mode):
                os.dup2(nowhere, stream)
    os.close(nowhere)
