"""The account of an ingest: every input line is accepted or rejected with a reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from kgscale.errors import DataError

SHOWN = 20
"""Rejected lines listed in the manifest; all of them are in ``rejected.tsv``."""


Tell = Callable[[str], object]
"""Hears in words how far the work is."""


def silent(text: str) -> None:
    """Tells nobody."""


class Audit:
    """Counts accepted and rejected lines; ``path`` receives the rejected ones in full."""

    def __init__(self, path: Path | None = None, *, tell: Tell = silent) -> None:
        self.accepted = 0
        self.rejected: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.first: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.tell = tell
        self._path = path
        self._file: TextIO | None = None

    @property
    def lines(self) -> int:
        return self.accepted + self.num_rejected + sum(self.dropped.values())

    @property
    def num_rejected(self) -> int:
        return sum(self.rejected.values())

    def accept(self, count: int) -> None:
        self.accepted += count
        self.tell(f"reading the graph: {self.accepted:,} triples")

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def reject(self, file: str, line: int, reason: str, value: str) -> None:
        """A line that cannot be used; too many of them stop the run."""
        self.rejected[reason] += 1
        self._record(file, line, reason, value)

    def drop(self, file: str, line: int, reason: str, value: str) -> None:
        """A line left out because a setting asks for it; it never stops the run."""
        self.dropped[reason] += 1
        self._record(file, line, reason, value)

    def leave_out(self, reason: str, count: int) -> None:
        """The same for whole classes of lines, too many to list: they are only counted."""
        self.accept(-count)
        self.dropped[reason] += count

    def _record(self, file: str, line: int, reason: str, value: str) -> None:
        if len(self.first) < SHOWN:
            self.first.append({"file": file, "line": line, "reason": reason, "value": value})
        if self._path is None:
            return
        if self._file is None:
            self._file = self._path.open("w", encoding="utf-8", newline="\n")
            self._file.write("file\tline\treason\tvalue\n")
        # repr keeps one rejected line on one line, whatever it contains.
        self._file.write(f"{file}\t{line}\t{reason}\t{value!r}\n")

    def check(
        self, share: float | int, *, hint: str = "", setting: str = "data.max_rejected"
    ) -> None:
        """Stop when more than ``share`` of the lines (but more than ten) were rejected.

        ``hint`` is one more remedy, ``setting`` is what has the share.
        """
        allowed = max(share * self.lines, 10 if share else 0)
        if self.num_rejected <= allowed and (self.accepted or not self.num_rejected):
            return
        first = self.first[0]
        raise DataError(
            f"{first['file']} line {first['line']}: {first['reason']}: {first['value']!r}; "
            f"{self.num_rejected:,} of {self.lines:,} lines cannot be used: "
            f"correct them, {hint}or allow them with {setting} (now {share:g} of the lines)"
        )

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def summary(self) -> dict[str, Any]:
        return {
            "lines": self.lines,
            "accepted": self.accepted,
            "rejected": dict(sorted(self.rejected.items())),
            "dropped": dict(sorted(self.dropped.items())),
            "first": self.first,
            "notes": self.notes,
        }
