"""The settings of a run outside the groups that name a class, checked when made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Literal

from kgscale.errors import ConfigError
from kgscale.graph.anchors import AnchorSettings
from kgscale.metrics.calibration import Method
from kgscale.models.encoders.base import Activation
from kgscale.models.inputs import Learned
from kgscale.tasks.components import GROUPS
from kgscale.tasks.questions import QuestionSettings
from kgscale.tasks.schema import (
    MIB,
    at_least,
    check_arguments,
    from_settings,
    mebibytes,
    share,
)
from kgscale.training.fit import TrainerSettings, size_bytes

Task = Literal[
    "link_prediction",
    "node_classification",
    "node_regression",
    "path_reasoning",
    "friend_recommendation",
    "query_answering",
    "recommendation",
]
LINK_TASKS: Final = (
    "link_prediction",
    "query_answering",
    "recommendation",
    "friend_recommendation",
)
"""Those that train entities' vectors by asking for links."""
NODE_TASKS: Final = ("node_classification", "node_regression")
"""Those that ask for the labels of entities."""
GROUPS_OF: Final[dict[str, tuple[str, ...]]] = {
    "link_prediction": ("encoder", "decoder", "loss"),
    "node_classification": ("encoder", "classifier"),
    "node_regression": ("encoder", "classifier"),
    "path_reasoning": ("reasoner",),
    "query_answering": ("encoder", "decoder", "loss"),
    "recommendation": ("encoder", "decoder", "loss"),
    "friend_recommendation": ("encoder", "decoder", "loss"),
}
"""What not all tasks have."""


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """``task`` in ``conf/``, as are those below; see there for what each means.

    All but the name are defaults to which the settings of encoders and strategies refer.
    """

    name: Task = "link_prediction"
    dim: int = 128
    num_layers: int = 1
    dropout: float = 0.0
    residual: bool = True
    activation: Activation = "tanh"
    fanout: Sequence[int] = (8,)
    relation: str = "interacts"
    users: str = "user"
    items: str = "item"
    popularity: float = 0.0
    cuts: Sequence[int] = (10, 20)
    hits: Sequence[int] = (20, 50, 100)
    strangers: int = 20000
    shared: float | Literal["auto"] = "auto"
    logarithm: bool = False
    coverage: float = 0.9

    def __post_init__(self) -> None:
        for name, cuts in (("cuts", self.cuts), ("hits", self.hits)):
            if not cuts or list(cuts) != sorted({*cuts}) or cuts[0] < 1:
                raise ConfigError(f"task.{name} needs ascending positive ints, got {list(cuts)}")
        at_least("task.strangers", self.strangers, 1)
        if self.shared != "auto" and not 0 <= self.shared < math.inf:
            raise ConfigError(
                f"task.shared needs auto or a number of at least 0, got {self.shared}"
            )
        if not 0 < self.coverage < 1:
            raise ConfigError(f"task.coverage is between 0 and 1, got {self.coverage}")
        if self.popularity < 0:
            raise ConfigError(
                f"task.popularity needs a number of at least 0, got {self.popularity}"
            )


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    root: str | None = None
    verify: Literal["fast", "full"] = "fast"
    memory: str = "1GB"

    def __post_init__(self) -> None:
        size_bytes("store.memory", self.memory)


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    test: bool = False
    validate_on: int | None = None
    measure_on: int | None = None
    official: bool = True
    choose: Literal["own", "official"] = "own"
    rest: str | None = None
    blend: float = 0.0
    calibrate: Method = "auto"
    memory: int = 256
    questions: Mapping[str, Any] = field(default_factory=lambda: asdict(QuestionSettings()))
    """Of :class:`QuestionSettings`."""

    def __post_init__(self) -> None:
        from_settings("evaluation.questions", QuestionSettings, self.questions)
        mebibytes("evaluation.memory", self.memory)
        if self.blend and self.rest is None:
            raise ConfigError("evaluation.blend is a weight of evaluation.rest: name a run there")
        for name in ("validate_on", "measure_on"):
            if (number := getattr(self, name)) is not None:
                at_least(f"evaluation.{name}", number, 1)


@dataclass(frozen=True, kw_only=True)
class TokenSettings(AnchorSettings):
    """Which anchors describe entities, and how long the vectors of these are."""

    width: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("inputs.anchors.width", self.width, 1)


@dataclass(frozen=True, kw_only=True)
class InputSettings:
    """What is checked by :class:`EntityInput`."""

    learned: Learned = "missing"
    dropout: float = 0.0
    normalize: bool = False
    anchors: Mapping[str, Any] = field(default_factory=lambda: asdict(TokenSettings()))
    """Of :class:`TokenSettings`."""

    def __post_init__(self) -> None:
        from_settings("inputs.anchors", TokenSettings, self.anchors)

    def arguments(self) -> dict[str, Any]:
        """For :class:`EntityInput`; what isn't used isn't mentioned."""
        found = asdict(self)
        anchors = from_settings("inputs.anchors", TokenSettings, found.pop("anchors"))
        return {**found, "anchors": asdict(anchors)} if self.learned == "anchors" else found


@dataclass(frozen=True, kw_only=True)
class PredictionSettings:
    count: int = 10
    per_relation: int = 2
    pairs: int = 4096
    abstain: float = 0.0
    widest: float | None = None

    def __post_init__(self) -> None:
        share("predictions.abstain", self.abstain)
        at_least("predictions.count", self.count, 0)
        at_least("predictions.per_relation", self.per_relation, 1)
        at_least("predictions.pairs", self.pairs, 1)


@dataclass(frozen=True, kw_only=True)
class PenaltySettings:
    """The part of ``loss`` that is the same for every loss."""

    n3: float = 0.0
    l2: float = 0.0
    relation: float = 0.0

    def __post_init__(self) -> None:
        for name, weight in asdict(self).items():
            if weight < 0:
                raise ConfigError(f"loss.{name} needs a number that isn't negative, got {weight}")


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """All of a run's settings; the groups that name a class stay as they are written."""

    task: TaskSettings
    store: StoreSettings
    inputs: InputSettings
    evaluation: EvaluationSettings
    predictions: PredictionSettings
    trainer: TrainerSettings
    seed: int
    root: str
    groups: Mapping[str, Any]
    given: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """All of them as they came."""

    def __post_init__(self) -> None:
        at_least("seed", self.seed, 0)
        paths, nodes = self.task.name == "path_reasoning", self.task.name in NODE_TASKS
        for name, given, unused in (
            ("rest", self.evaluation.rest, not paths),
            ("validate_on", self.evaluation.validate_on, nodes),
        ):
            if given is not None and unused:
                raise ConfigError(f"evaluation.{name} changes nothing with task={self.task.name}")
        if self.predictions.abstain and self.task.name == "node_regression":
            raise ConfigError(
                "predictions.abstain compares probabilities, and numbers have intervals: set"
                " predictions.widest"
            )
        if self.predictions.widest is not None and self.task.name != "node_regression":
            raise ConfigError(
                f"predictions.widest is of task=node_regression, and this is task={self.task.name}"
            )
        if self.predictions.abstain and self.evaluation.calibrate == "none":
            raise ConfigError(
                "predictions.abstain compares probabilities, and evaluation.calibrate=none fits"
                " none: leave one of them out"
            )
        if not self.root:
            raise ConfigError("root is empty: name the directory where run directories go")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> RunSettings:
        """From the composed settings.

        Raises:
            ConfigError: a key that is missing, unknown, or of the wrong type.
        """
        task = from_settings("task", TaskSettings, settings.get("task"))
        groups = _groups(task.name, settings)
        known = {field.name for field in fields(cls)} - {"groups", "given"} | set(groups)
        for key in sorted(settings.keys() ^ known):
            raise ConfigError(f"{key} is not set" if key in known else f"no setting {key}")
        own = check_arguments("", cls, {name: settings[name] for name in ("seed", "root")})
        return cls(
            task=task,
            store=from_settings("store", StoreSettings, settings["store"]),
            inputs=from_settings("inputs", InputSettings, settings["inputs"]),
            evaluation=from_settings("evaluation", EvaluationSettings, settings["evaluation"]),
            predictions=from_settings("predictions", PredictionSettings, settings["predictions"]),
            trainer=from_settings("trainer", TrainerSettings, settings["trainer"]),
            **own,
            groups={name: settings[name] for name in groups},
            given=settings,
        )

    def with_group(self, name: str, settings: Mapping[str, Any]) -> RunSettings:
        """The same with other settings in one group."""
        return replace(self, groups={**self.groups, name: settings})

    @property
    def memory(self) -> int:
        """Bytes for scores."""
        return self.evaluation.memory * MIB

    @property
    def run_root(self) -> Path:
        return Path(self.root).expanduser()


def _groups(task: str, settings: Mapping[str, Any]) -> list[str]:
    """The groups of a task; one that belongs to others would change nothing."""
    foreign = {group for own in GROUPS_OF.values() for group in own} - set(GROUPS_OF[task])
    for group in sorted(foreign & settings.keys()):
        others = " or ".join(other for other, own in GROUPS_OF.items() if group in own)
        raise ConfigError(f"{group} is a setting of task={others}, and this is task={task}")
    return [group for group in GROUPS if group not in foreign]
