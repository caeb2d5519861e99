"""Made graphs of any size whose truth is known: what the best possible model would reach."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kgscale.data.academic import Academic
from kgscale.data.audit import Audit
from kgscale.data.links import read_links
from kgscale.data.planted_rules import PlantedRules
from kgscale.data.source import Reading
from kgscale.data.splits import LabelRule, SplitRule, three
from kgscale.errors import ConfigError

READER = 1
"""Part of the digest: raise it when the same settings give another graph."""
MOST = 1 << 40


class SyntheticGraph:
    """``academic``: papers whose topics are to be told; ``rules``: triples that follow from others.

    Made chunk by chunk; every triple is a function of the settings and its place.
    """

    def __init__(
        self,
        *,
        kind: str = "academic",
        edges: int = 100_000,
        classes: int = 16,
        homophily: float = 0.6,
        label_noise: float = 0.1,
        features: int = 64,
        signal: float = 1.75,
        noise: float = 0.05,
        label_split: Sequence[float | int] = (0.6, 0.2, 0.2),
        split: Sequence[float | int] = (0.9, 0.05, 0.05),
        seed: int = 0,
    ) -> None:
        if kind not in ("academic", "rules"):
            raise ConfigError(f"data.kind is academic or rules, got {kind!r}")
        _check("edges", edges, 1, MOST)
        _check("classes", classes, 2, 10_000)
        _check("features", features, 0, 10_000)
        _check("homophily", homophily, 0, 1)
        _check("label_noise", label_noise, 0, 1)
        _check("signal", signal, 0, 100)
        _check("noise", noise, 0, 0.5)
        self.name = f"synthetic-{kind}"
        self.split = SplitRule(ratio=three(split, "split"), seed=seed)
        self.label_rule = LabelRule(ratio=three(label_split, "label_split"), seed=seed)
        self.graph: Academic | PlantedRules
        if kind == "rules":
            self.graph = PlantedRules(edges=edges, noise=noise, split=self.split.ratio, seed=seed)
        else:
            self.graph = Academic(
                edges=edges,
                classes=classes,
                homophily=homophily,
                label_noise=label_noise,
                features=features,
                signal=signal,
                seed=seed,
            )

    @property
    def ceiling(self) -> float:
        """What knowing the planted truth gives: accuracy for ``academic``, MRR for ``rules``."""
        return self.graph.ceiling

    def describe(self) -> str:
        made = f"A made graph ({self.name}, seed {self.split.seed}) under the terms of kgscale: "
        if isinstance(self.graph, Academic):
            return made + (
                f"papers with planted topics; the expected accuracy of whoever knows them is "
                f"{self.ceiling:.4f}."
            )
        return made + (
            f"facts and what follows from them; {self.ceiling:.1%} of the held-out triples are "
            "expected to follow from train, the others are noise."
        )

    def digest(self) -> str:
        text = json.dumps(self._settings(), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()

    def stamp(self) -> tuple[str, float]:
        return self.digest(), 0.0

    def _settings(self) -> list[Any]:
        """Those that matter for the kind."""
        more = asdict(self.label_rule) if isinstance(self.graph, Academic) else None
        return [READER, self.name, asdict(self.graph), asdict(self.split), more]

    def read(self, audit: Audit, scratch: Path) -> Reading:
        audit.note(f"planted truth: nothing can be expected to exceed {self.ceiling:.6f}")
        facts, entities = read_links(self.graph.links(), audit), self.graph.entities()
        if isinstance(self.graph, PlantedRules):
            return Reading(facts=facts, entities=entities)
        return Reading(
            facts=facts,
            entities=entities,
            node_labels=self.graph.node_labels(),
            label_rule=self.label_rule,
            features=self.graph.feature_rows(),
        )


def _check(name: str, value: float | int, least: int | float, most: int | float) -> None:
    if not least <= value <= most:
        raise ConfigError(f"data.{name} needs a number from {least:,} to {most:,}, got {value:,}")
