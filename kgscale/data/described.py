"""What describes entities, as it was read: the parts of a file, side by side.

It becomes features when it is known which entities may be learned from: see ``Part.fit``. What a
fit was is kept, and newcomers are described by it: see ``Part.again``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from kgscale.data.fits import FileFit, Fit, Kind, Use

Rows = NDArray[np.int64]


@runtime_checkable
class Fitted(Protocol):
    """Features that are taken a few rows at a time."""

    @property
    def fit(self) -> Fit:
        """What a store keeps of them; its ``dim`` may be 0."""
        ...

    def take(self, rows: Rows) -> NDArray[np.float32]: ...


@runtime_checkable
class Part(Protocol):
    """Some columns of a file."""

    @property
    def uses(self) -> Iterator[Use]: ...

    def fit(self, rows: Rows, known: Rows) -> Fitted:
        """Those of a type of entities.

        Args:
            rows: of all its entities, in their order.
            known: those of them that may be learned from: no entity of valid or test.
        """
        ...

    def again(self, fit: Fit) -> Fitted | None:
        """As a fit has it; nothing if that is of other columns."""
        ...

    def strange(self, fit: Fit | None, rows: Rows) -> list[str]:
        """What these rows have that the fit gives no column."""
        ...

    def forget(self) -> None:
        """Give back the memory of what was read."""
        ...


@dataclass(frozen=True, slots=True)
class Described:
    """All parts of a file, whose rows are numbered alike."""

    size: int
    parts: Sequence[Part]
    kind: Kind = "columns"

    def __len__(self) -> int:
        return self.size

    @property
    def uses(self) -> list[Use]:
        return [use for part in self.parts for use in part.uses]

    def fit(self, rows: Rows, known: Rows) -> SideBySide:
        return SideBySide([part.fit(rows, known) for part in self.parts])

    def suits(self, kept: FileFit, *, loosely: bool = False) -> bool:
        """Whether it is of the same columns, for the same uses, in whatever order.

        Literals have whichever attributes they have: of them the texts are to be made alike; or,
        ``loosely``, one of both may lack texts.
        """
        mine, theirs = set(self.uses), {use for part in kept.parts for use in part.uses}
        if self.kind == "literals":
            mine, theirs = ({use for use in some if use[0] == "text"} for some in (mine, theirs))
            loosely = loosely and not (mine and theirs)
        else:
            loosely = False
        return kept.kind == self.kind and (mine == theirs or loosely)

    def again(self, kept: FileFit, rows: Rows) -> tuple[SideBySide, list[str]]:
        """Each part as it is kept, and what these rows have that is given no column."""
        found: list[Fitted] = [Absent(fit) for fit in kept.parts]
        strange = []
        for part in self.parts:
            mine: Fit | None = None
            for at, fit in enumerate(kept.parts):
                if (fitted := part.again(fit)) is not None:
                    found[at], mine = fitted, fit
            strange += part.strange(mine, rows)
        return SideBySide(found), strange

    def forget(self) -> None:
        for part in self.parts:
            part.forget()


@dataclass(frozen=True, slots=True)
class SideBySide:
    """One row of several."""

    parts: Sequence[Fitted]

    @property
    def fits(self) -> tuple[Fit, ...]:
        return tuple(part.fit for part in self.parts)

    @property
    def dim(self) -> int:
        return sum(fit.dim for fit in self.fits)

    def take(self, rows: Rows) -> NDArray[np.float32]:
        return np.concatenate([part.take(rows) for part in self.parts], axis=1)


@dataclass(frozen=True, slots=True)
class Absent:
    """What newcomers are said nothing of: zeros, as of each entity without it."""

    fit: Fit

    def take(self, rows: Rows) -> NDArray[np.float32]:
        return np.zeros((len(rows), self.fit.dim), np.float32)
