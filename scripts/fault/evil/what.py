"""What a file or a setting of somebody who means harm is tried with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fault.child import SMALL

MARK = "mark"
"""What a payload that runs leaves behind."""
HUGE = 10**15


@dataclass(frozen=True)
class Evil:
    """What the program is started with, and what its refusal names."""

    name: str
    arguments: list[str]
    named: str
    harmless: bool = False
    """Whether it may be taken, too: a number that is another number."""


def train(folder: Path, *overrides: str) -> list[str]:
    places = (f"root={folder / 'runs'}", f"store.root={folder / 'stores'}")
    return ["train", *places, *SMALL, "trainer.max_epochs=1", *overrides]


Corpus = Callable[[Path, str], Iterator[Evil]]
"""Made in a folder, with the address of a server that sends the folder's files."""
