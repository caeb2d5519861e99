"""Query answering: questions of several hops, by a model that was trained to predict links."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kgscale.tasks import show
from kgscale.tasks.directory import write_json
from kgscale.tasks.link_prediction import LinkTraining
from kgscale.tasks.questions import DRAWN, QuestionSettings, measure_questions
from kgscale.tasks.schema import from_settings


class QueryTraining(LinkTraining):
    """Trains as for link prediction, and then answers questions that need several links."""

    def measure(self, metrics: dict[str, Any]) -> None:
        super().measure(metrics)
        given = self.settings.evaluation.questions
        asked = from_settings("evaluation.questions", QuestionSettings, given)
        metrics["questions"] = {}
        for split in self.measured_splits:
            # The answers of a file need links of one split.
            here = asked if split == self.measured_splits[-1] else replace(asked, file=DRAWN)
            with show.busy(self.console, f"answering questions of {split}") as tell:
                found = measure_questions(
                    self.predictor,
                    split,
                    here,
                    memory=self.settings.memory,
                    seed=self.settings.seed,
                    tell=tell,
                )
            write_json(self.directory / f"questions-{split}.json", found)
            metrics["questions"][split] = found

    def tell(self, results: Mapping[str, Any]) -> None:
        super().tell(results)
        for split, found in results["metrics"].get("questions", {}).items():
            self.console.print(show.questions(split, found["all"]))
            show.sentence(self.console, show.hardness(found))
