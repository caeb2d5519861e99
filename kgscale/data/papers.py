"""Papers with their years: what is published later is asked of what was known before.

Papers appear in four periods, parted by three years ``until``. The first is what is known: all its
facts carry messages. What comes in the second is asked in training, in the third for validation, in
the fourth for test. Nothing that anybody sees is from their future: an entity of the first period
sees facts of that period alone, and a later paper its own facts besides (who wrote it, what it is
about), which came out with it and of which nobody else hears. For topics the first two periods are
one: papers to train on hear of each other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal, get_args

from kgscale.data.academic import Academic
from kgscale.data.audit import Audit
from kgscale.data.database import Database
from kgscale.data.feature_files import feature_files
from kgscale.data.files import DataFile, clean, stamp, stem
from kgscale.data.interactions import TableFile
from kgscale.data.labels import LabelFile
from kgscale.data.paper_rows import LATEST, PaperRows, Periods
from kgscale.data.source import Reading
from kgscale.data.splits import LabelRule, SplitRule
from kgscale.errors import ConfigError

READER: Final = 1
"""Part of the digest: raise it when the same input gives another result."""
MEMORY: Final = "1GB"
"""Beyond it, rows go to disk."""
Ask = Literal["topic", "coauthor", "citation"]
YEARS: Final = 20
"""Of the made graph."""


class Papers:
    """A graph of papers, authors and what they are about, in the form of MAG; made where there is
    no ``path``.

    ``ask``: ``citation``, what a new paper cites; ``coauthor``, who will write a paper together for
    the first time, from what both did before; ``topic``, what a new paper is about.
    """

    def __init__(
        self,
        *,
        ask: Ask = "citation",
        path: str | Path | None = None,
        years: str | Mapping[str, Any] | None = None,
        name: str | None = None,
        until: Sequence[float | int] | None = None,
        writes: str = "writes",
        cites: str = "cites",
        topic: str = "has_topic",
        most_authors: int = 50,
        names: str | Mapping[str, Any] | None = None,
        types: str | Mapping[str, Any] | None = None,
        features: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]] | None = None,
        edges: int = 100_000,
        seed: int = 0,
        max_rejected: float | int = 0.001,
    ) -> None:
        if ask not in get_args(Ask):
            raise ConfigError(f"data.ask is one of {', '.join(get_args(Ask))}; got {ask!r}")
        if path is not None and years is None:
            raise ConfigError("data.years is not set: give a file of papers and their years")
        if until is not None and not _are_years(until):
            raise ConfigError(
                f"data.until needs three years, one after the other, got {list(until)}"
            )
        if len({writes, cites, topic}) < 3:
            raise ConfigError(
                f"data.writes, data.cites and data.topic are three relations, got {writes!r},"
                f" {cites!r} and {topic!r}"
            )
        if most_authors < 2:
            raise ConfigError(f"data.most_authors needs an int of at least 2, got {most_authors}")
        if not 0 <= max_rejected <= 1:
            raise ConfigError(f"data.max_rejected is a share from 0 to 1, got {max_rejected}")
        self.ask, self.most_authors, self.max_rejected = ask, most_authors, max_rejected
        self.until = None if until is None else Periods(*map(float, until))
        self.writes, self.cites, self.topic = writes, cites, topic
        self.file, self.years = TableFile.of(path, "path"), LabelFile.of(years, "years")
        self.names, self.types = LabelFile.of(names, "names"), LabelFile.of(types, "types")
        self.features = feature_files(features)
        self.made: Academic | None = None
        if self.file is None:
            self.made = Academic(
                edges=edges,
                classes=16,
                homophily=0.6,
                label_noise=0.1,
                features=64,
                signal=1.75,
                seed=seed,
                years=YEARS,
            )
        base = "made-papers" if self.file is None else stem(self.file.path)
        self.name = clean(f"{name or base}-{ask}", "papers")
        self.split = SplitRule(seed=seed)

    def describe(self) -> str:
        if self.file is not None:
            return f"Your own papers from {self.file.path}; their terms of use are yours to know."
        return f"A made graph of papers (seed {self.split.seed}) under the terms of kgscale."

    def _files(self) -> dict[str, LabelFile | TableFile]:
        files = {"path": self.file, "years": self.years, "names": self.names, "types": self.types}
        return {name: file for name, file in files.items() if file is not None}

    def digest(self) -> str:
        files = {name: DataFile(file.path).digest() for name, file in self._files().items()}
        features = [file.digest() for file in self.features]
        text = json.dumps([self._settings(), files, features], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()

    def stamp(self) -> tuple[str, float]:
        paths = [file.path for file in self._files().values()]
        paths += [path for file in self.features for path in file.paths]
        return stamp(paths, self._settings())

    def _settings(self) -> dict[str, Any]:
        return {
            "reader": READER,
            "ask": self.ask,
            "until": None if self.until is None else asdict(self.until),
            "relations": [self.writes, self.cites, self.topic],
            "most_authors": self.most_authors,
            "formats": {
                name: [asdict(file.format), DataFile(file.path).kind]
                for name, file in self._files().items()
            },
            "features": [file.settings() for file in self.features],
            "made": None if self.made is None else asdict(self.made),
            "max_rejected": self.max_rejected,
        }

    def read(self, audit: Audit, scratch: Path) -> Reading:
        rows = PaperRows(self, audit, Database(scratch / "papers", threads=1, memory=MEMORY))
        made = [] if self.made is None else self.made.feature_rows()
        return Reading(
            facts=rows.facts(),
            entities=rows.entities(),
            node_labels=rows.labels(),
            label_rule=LabelRule(drop_unknown=True, drop_rare=True)
            if self.ask == "topic"
            else None,
            features=[*made, *self.features],
            roles=True,
        )


def _are_years(until: Sequence[float | int]) -> bool:
    within = all(abs(year) < LATEST for year in until)  # NaN is not
    return len(until) == 3 and within and until[0] < until[1] < until[2]
