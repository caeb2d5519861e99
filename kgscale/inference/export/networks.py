"""Decoders and heads as ONNX, for any number of rows at once."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from kgscale.errors import ConfigError
from kgscale.inference.numbers import NumberScale
from kgscale.losses import number_and_scale
from kgscale.models.decoders import Decoder
from kgscale.models.heads import ClassificationHead

SAMPLE: Final = {"batch": 3, "candidates": 5}
"""Rows of what a network is traced with: of each kind another number, and none is 1."""


class TripleScores(nn.Module):
    """Scores of triples, one by one."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, head: Tensor, relation: Tensor, tail: Tensor) -> Tensor:
        score: Tensor = self.decoder(head, relation, tail)
        return score


class CandidateScores(TripleScores):
    """Scores of every question against every candidate."""

    def forward(self, head: Tensor, relation: Tensor, candidate: Tensor) -> Tensor:
        decoder: Any = self.decoder
        query = decoder.query(head, relation)
        if decoder.by_products:
            found: Tensor = decoder.compare(query, candidate)
        else:
            # In one step: how many fit into memory is the runtime's business.
            found = -decoder.length(decoder.difference(query[:, None], candidate[None]))
        return found


class QueryVectors(nn.Module):
    """What an index of candidates is searched with."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, head: Tensor, relation: Tensor) -> Tensor:
        query: Tensor = self.decoder.query(head, relation)
        return query


class Classes(nn.Module):
    """Scores of classes from the vectors of entities, as ``predict`` tells them."""

    def __init__(self, head: ClassificationHead, *, multi: bool) -> None:
        super().__init__()
        self.head, self.multi = head, multi

    def forward(self, entity: Tensor) -> Tensor:
        logits: Tensor = self.head(entity)
        return logits.sigmoid() if self.multi else logits.softmax(dim=1)


class Estimates(nn.Module):
    """Numbers from the vectors of entities, and where their intervals begin and end.

    Args:
        factor: of an interval; infinite ones without it.
    """

    def __init__(self, head: ClassificationHead, scale: NumberScale, factor: float | None) -> None:
        super().__init__()
        self.head, self.scale = head, scale
        self.factor = torch.inf if factor is None else factor

    def forward(self, entity: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, deviation = number_and_scale(self.head(entity))
        mean, reach = mean.double(), self.factor * deviation.double()
        given = self.scale.given
        return given(mean).float(), given(mean - reach).float(), given(mean + reach).float()


@dataclass(frozen=True, slots=True)
class Network:
    """What is written, and what goes in and comes out."""

    module: nn.Module
    inputs: Mapping[str, tuple[str, int]]
    """Of each its axis of rows, and the length of its vectors."""
    outputs: tuple[str, ...]

    def described(self) -> dict[str, Any]:
        return {
            "inputs": {name: list(shape) for name, shape in self.inputs.items()},
            "outputs": list(self.outputs),
        }


def networks_of(decoder: Decoder) -> dict[str, Network]:
    """By the names of their files."""
    question = {"head": ("batch", decoder.dim), "relation": ("batch", decoder.relation_dim)}
    scores, candidates = TripleScores(decoder), CandidateScores(decoder)
    return {
        "triples": Network(scores, {**question, "tail": ("batch", decoder.dim)}, ("score",)),
        "candidates": Network(
            candidates, {**question, "candidate": ("candidates", decoder.dim)}, ("score",)
        ),
        "query": Network(QueryVectors(decoder), question, ("query",)),
    }


def check_onnx() -> None:
    """Before any work.

    Raises:
        ConfigError: what writes ONNX is missing.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "networks need ONNX: pip install -c constraints.txt 'kgscale[onnx]', or leave onnx out"
            " of kinds"
        ) from error


def write_network(file: Path, network: Network) -> None:
    """One file, weights included."""
    given = tuple(torch.ones(SAMPLE[axis], width) for axis, width in network.inputs.values())
    axes = {name: {0: torch.export.Dim(axis)} for name, (axis, _) in network.inputs.items()}
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            network.module.cpu().eval(),
            given,
            dynamo=True,
            input_names=list(network.inputs),
            output_names=list(network.outputs),
            dynamic_shapes=tuple(axes.values()),
            verbose=False,
        )
        assert program is not None
        program.save(str(file), external_data=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Torch tells its own deprecations, and what of torchvision is missing."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)
