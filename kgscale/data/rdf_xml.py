"""RDF/XML is read by a process of its own, with little memory: a few hundred bytes of entities
within entities can ask for gigabytes.

Run as a program, with the number of the process that started it and perhaps a base, it reads
RDF/XML on its input and writes N-Triples; it needs nothing of kgscale.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, Final, cast

MEMORY: Final = 512 << 20
"""Bytes of address space, the interpreter's included; statements are not kept."""
SECONDS: Final = 10.0
"""Processor time that any file may take; beside it, ``PER_BYTE`` for what was read, which is a
hundred times what statements take: elements within elements take time by the square."""
PER_BYTE: Final = 5e-6
SILENT: Final = 300
"""Seconds without reading or writing after which the process is ended, whatever it waits for."""
END: Final = b"</>"
"""A closing tag that closes nothing. Given after the last byte, it makes the parser tell which
element is still open, of which it says nothing otherwise."""
CUT: Final = "the document ends within an element"
BROKEN, OUT, SLOW = 3, 4, 5
"""Exit codes: the file has a mistake, or asks for more memory or time."""


@contextmanager
def as_n_triples(stream: Any, base: str | None) -> Iterator[tuple[IO[bytes], Any]]:
    """The statements of RDF/XML as N-Triples, and a call that waits for the end of the process.

    The call returns None, or why there are no more: the line, if there is one, and the words.
    """
    command = [sys.executable, __file__, str(os.getpid()), *([base] if base else [])]
    with (
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A parser that runs out of memory must not try to tell how it came to that.
            env={**os.environ, "RUST_BACKTRACE": "0", "RUST_LIB_BACKTRACE": "0"},
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        failure: list[BaseException] = []
        feeder = threading.Thread(
            target=_feed, args=(stream, process.stdin, failure), daemon=True, name="kgscale-rdf"
        )
        feeder.start()

        def ended() -> tuple[int | None, str] | None:
            feeder.join()
            if failure:
                raise failure[0]
            told = process.stderr.read()  # type: ignore[union-attr]
            code = process.wait()
            if code == 0:
                return None
            if code == BROKEN:
                line, words = json.loads(told)
                return line, words
            if code == SLOW:
                words = f"{json.loads(told):,} bytes of its XML take too long"
                return None, f"{words}, perhaps by elements within elements"
            if code == -signal.SIGALRM:
                return None, f"nothing came of its XML for {SILENT} seconds"
            if code > 0 and code != OUT:
                raise RuntimeError(told.decode(errors="replace"))
            size = f"{MEMORY >> 20} MiB"
            return None, f"its XML asks for more than {size}, perhaps by entities within entities"

        try:
            yield process.stdout, ended
        finally:
            process.kill()  # no-op where it has ended
            feeder.join()


def _feed(stream: Any, pipe: IO[bytes], failure: list[BaseException]) -> None:
    try:
        while piece := stream.read(1 << 16):
            pipe.write(piece)
    except BrokenPipeError:
        pass  # it has ended, and says why
    except Exception as error:
        failure.append(error)
    finally:
        with suppress(OSError):
            pipe.close()


class Lines:
    """Hands out lines, so that the last one is where a mistake is.

    Ends the process where a file takes longer than its size explains.
    """

    def __init__(self, stream: Any) -> None:
        self.stream, self.bytes = stream, 0
        self.pieces: Iterator[bytes] = iter(())
        self.line, self._more = 1, False
        """Of the last piece, and whether there is another one after it."""
        self.last = b""
        """The last byte that is no blank."""
        self.ended = self.beyond = False
        """Whether END was handed out after it, and whether more was asked for."""

    def read(self, size: int = -1) -> bytes:
        piece = next(self.pieces, None)
        if piece is None:
            chunk = self._read(size)
            if not chunk:
                return self._end()
            self.last = chunk.rstrip()[-1:] or self.last
            self.pieces = iter(io.BytesIO(chunk))
            piece = next(self.pieces)
        self.line += self._more
        self._more = piece.endswith(b"\n")
        return piece

    def _read(self, size: int) -> bytes:
        signal.alarm(SILENT)
        if time.process_time() > SECONDS + PER_BYTE * self.bytes:
            sys.stdout.flush()
            json.dump(self.bytes, sys.stderr)
            sys.stderr.flush()
            os._exit(SLOW)
        chunk: bytes = self.stream.read(size)
        self.bytes += len(chunk)
        return chunk

    def _end(self) -> bytes:
        """Only after a ``>``, lest END closes a tag that is cut."""
        if self.ended or self.last != b">":
            self.beyond = True
            return b""
        self.ended = True
        return END

    def mistake(self, error: SyntaxError | None) -> str | None:
        """Why a document is none, when the parser has ended with an error or without."""
        if error is None:
            return None if self.last in (b"", b">") else CUT
        words = str(error.msg)
        if not self.ended or self.beyond:
            return words
        element = re.search("expected `</(.+?)>`", words)
        return f"{CUT} ({element[1]})" if element else None


def _end_with_parent() -> None:
    """Be killed when the process that started this one has ended (on Linux)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)  # PR_SET_PDEATHSIG
        if os.getppid() != int(sys.argv[1]):  # it was killed before that
            os._exit(OUT)


def main() -> int:
    """Statements on the output, as they come; an error as JSON on the error output."""
    import resource

    from pyoxigraph import RdfFormat, parse

    _end_with_parent()
    for limit, value in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CORE, 0)):
        with suppress(ValueError, OSError):  # less is allowed already, or the system has none
            resource.setrlimit(limit, (value, value))
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
    base = sys.argv[2] if len(sys.argv) > 2 else None
    write = sys.stdout.write
    stream, broken = Lines(sys.stdin.buffer), None
    try:
        for quad in parse(cast(Any, stream), format=RdfFormat.RDF_XML, base_iri=base):
            write(f"{quad.triple} .\n")
    except SyntaxError as error:
        broken = error
    except MemoryError:
        return OUT
    sys.stdout.flush()
    if (words := stream.mistake(broken)) is None:
        return 0
    json.dump([stream.line, words], sys.stderr)
    return BROKEN


if __name__ == "__main__":
    sys.exit(main())
