"""Files and settings of somebody who means harm: each is refused in one line, and nothing runs.

Passed: the exit code is that of bad input or of a bad setting, the one line names what is refused,
no payload has left its mark, and no more than ``SECONDS`` and ``MEMORY`` were needed.
"""

from __future__ import annotations

import http.server
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fault.child import start
from fault.evil import files, models, pickles, rdf, settings
from fault.evil.what import MARK, Corpus, Evil
from fault.row import Row

SECONDS = 30.0
MEMORY = 2 << 30
REFUSED = (2, 3)
CORPORA: dict[str, Corpus] = {
    "pickles": pickles.pickles,
    "models and states": models.models,
    "states with a changed part": models.states,
    "archives": files.archives,
    "tables": files.tables,
    "settings": settings.settings_of_others,
    "RDF files": rdf.rdf,
}


def refused(tries: int) -> list[Row]:
    """All of them, however many tries are asked for."""
    rows = []
    for kind, corpus in CORPORA.items():
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "inner"
            folder.mkdir()
            with server(folder) as url:
                found = [is_refused(one, folder) for one in corpus(folder, url)]
        words = kind if "with" in kind else f"{kind} that mean harm"
        rows.append(Row(words, len(found), sum(found), "nothing"))
        print(rows[-1], flush=True)
    return rows


def is_refused(one: Evil, folder: Path) -> bool:
    error, before = folder / "error", outside(folder)
    begin = time.monotonic()
    child = start(one.arguments, error)
    code, memory = waited(child, begin + 2 * SECONDS)
    seconds, told = time.monotonic() - begin, error.read_text(errors="replace")
    lines = [line for line in told.splitlines() if line.startswith("kgscale: ")]
    taken = one.harmless and code == 0
    wrong = [
        *([] if code in REFUSED or taken else [f"exit code {code}"]),
        *([] if taken or _is_one(lines, one) else [f"it says {told[-500:]!r}"]),
        *(["a traceback"] if "Traceback" in told else []),
        *(["its payload ran"] if (folder / MARK).exists() else []),
        *([] if outside(folder) == before else ["a file outside"]),
        *([] if seconds <= SECONDS else [f"{seconds:.0f} seconds"]),
        *([] if memory <= MEMORY else [f"{memory / 1e9:.1f} GB"]),
    ]
    if wrong:
        print(f"{one.name}: {'; '.join(wrong)}", flush=True)
    return not wrong


def _is_one(lines: list[str], one: Evil) -> bool:
    """One line, with the name; of a number that is another, also that training has diverged."""
    diverged = one.harmless and "diverged" in lines[0] if lines else False
    return len(lines) == 1 and (one.named in lines[0] or diverged)


def outside(folder: Path) -> set[str]:
    """What lies beside the folder: an archive that leads out of it would leave something."""
    return {str(path) for place in (folder.parent, Path("/")) for path in place.iterdir()}


def waited(child: int, deadline: float) -> tuple[int, int]:
    """Exit code, and bytes at the peak."""
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Sends the files of a folder, on the loopback address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *given: object) -> None:
            super().__init__(*given, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *given: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
