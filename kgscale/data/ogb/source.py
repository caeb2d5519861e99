"""A benchmark of OGB as a data set, read from the folder that its archive leaves."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from kgscale.data.audit import Audit, Tell
from kgscale.data.files import DataFile, stamp
from kgscale.data.ogb.benchmarks import find_benchmark
from kgscale.data.ogb.download import Download
from kgscale.data.ogb.large import Mag240m, Wikikg90mv2
from kgscale.data.ogb.layout import Layout
from kgscale.data.ogb.links import Pairs, RankedPairs, Triples, TypedTriples
from kgscale.data.ogb.nodes import Nodes, PackedNodes, TypedNodes
from kgscale.data.source import Reading
from kgscale.data.splits import SplitRule
from kgscale.errors import DataError

READER = 1
"""Part of the digest: raise it when the same files give another result."""
LAYOUTS: dict[str, type[Layout]] = {
    "triples": Triples,
    "typed_triples": TypedTriples,
    "ranked_pairs": RankedPairs,
    "pairs": Pairs,
    "nodes": Nodes,
    "packed_nodes": PackedNodes,
    "typed_nodes": TypedNodes,
    "mag240m": Mag240m,
    "wikikg90mv2": Wikikg90mv2,
}


class OgbDataSet:
    """A data set of the Open Graph Benchmark (Hu et al. 2020) with its own split."""

    def __init__(
        self,
        *,
        benchmark: str,
        path: str | Path = "dataset",
        names: bool = True,
        download: bool = False,
        url: str | None = None,
    ) -> None:
        self.benchmark = find_benchmark(benchmark)
        self.root = Path(path).expanduser()
        self.name = self.benchmark.name
        self.split = SplitRule()
        self.layout = LAYOUTS[self.benchmark.layout](
            benchmark=self.benchmark, folder=self.root / self.benchmark.folder, names=names
        )

        self.allowed = download
        self.download = Download(url=url or self.benchmark.url, folder=self.layout.folder)

    def wanted(self) -> str | None:
        return self.download.describe() if self._missing else None

    def fetch(self, tell: Tell) -> None:
        if self._missing:
            self.download.run(tell)

    @property
    def _missing(self) -> bool:
        return self.allowed and not self.layout.folder.exists()

    def describe(self) -> str:
        return (
            f"{self.name} of the Open Graph Benchmark (ogb.stanford.edu), release "
            f"{self.benchmark.release}, from {self.layout.folder}; its page tells the license."
        )

    def files(self) -> list[Path]:
        """All files that are read; what is missing is named at once."""
        folder, release = self.layout.folder, self.benchmark.release
        if not folder.is_dir():
            raise DataError(
                f"{folder} does not exist: say data.download=true to fetch {self.download.url}, "
                f"or point data.path at the folder that holds {folder.name}"
            )
        if not (folder / f"RELEASE_v{release}.txt").is_file():
            found = ", ".join(path.name for path in folder.glob("RELEASE*")) or "none"
            raise DataError(
                f"{folder} has no RELEASE_v{release}.txt (found: {found}): it is of another "
                f"release; remove it and say data.download=true"
            )
        for path in self.layout.needed():
            if not path.is_file():
                raise DataError(f"{path} is missing: remove {folder} and say data.download=true")
        return self.layout.files()

    def digest(self) -> str:
        files = {str(path): DataFile(path).digest() for path in self.files()}
        content = {
            str(Path(path).relative_to(self.layout.folder)): digest
            for path, digest in files.items()
        }
        text = json.dumps([self._settings(), content], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()

    def stamp(self) -> tuple[str, float]:
        return stamp(self.files(), self._settings())

    def _settings(self) -> list[Any]:
        return [READER, self.name, self.layout.names]

    def read(self, audit: Audit, scratch: Path) -> Reading:
        self.files()
        return replace(self.layout.read(audit, scratch), benchmark=self.name)
