"""What other programs make of exported vectors is what the decoder makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kgscale.errors import ConfigError
from kgscale.inference.export.index import check_faiss, write_index
from kgscale.inference.export.networks import (
    Classes,
    Estimates,
    Network,
    networks_of,
    write_network,
)
from kgscale.inference.export.recipes import RECIPES, described, metric_of
from kgscale.inference.numbers import NumberScale
from kgscale.models.decoders import Decoder
from kgscale.models.heads import ClassificationHead
from kgscale.models.registry import DECODERS
from tests.models.test_decoders import DECODER

faiss = pytest.importorskip("faiss")
onnxruntime = pytest.importorskip("onnxruntime")
QUICK = {("TransE", 1)}
"""The others, some seconds each, are in the slow tests."""


def named(decoder: Decoder) -> tuple[str, int | None]:
    return type(decoder).__name__, getattr(decoder, "norm", None)


def vectors(decoder: Decoder, rows: int, candidates: int) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(rows)
    widths = {"head": decoder.dim, "relation": decoder.relation_dim, "tail": decoder.dim}
    found = {name: torch.randn(rows, width, generator=draw) for name, width in widths.items()}
    return {**found, "candidate": torch.randn(candidates, decoder.dim, generator=draw)}


def test_every_decoder_has_a_recipe() -> None:
    assert RECIPES.keys() == DECODERS.keys()


@pytest.mark.parametrize("decoder", DECODER, ids=named)
@pytest.mark.parametrize("start", [0, 7])
def test_an_index_ranks_as_the_decoder(decoder: Decoder, start: int, tmp_path: Path) -> None:
    """All candidates in the order of their scores, by their rows; or a reason why not."""
    if metric_of(decoder) is None:
        with pytest.raises(ConfigError, match="leave faiss out"):
            check_faiss(decoder)
        return
    check_faiss(decoder)
    given = vectors(decoder, 4, 30)
    write_index(tmp_path / "index", decoder, given["candidate"], range(start, 30))
    with torch.no_grad():
        query = decoder.query(given["head"], given["relation"])
        scores = decoder.compare(query, given["candidate"][start:])
    value, row = faiss.read_index(str(tmp_path / "index")).search(query.numpy(), 30 - start)
    best, order = scores.sort(dim=1, descending=True)
    np.testing.assert_array_equal(row - start, order.numpy())
    if described(decoder)["scoring"] == "inner product":
        np.testing.assert_allclose(value, best.numpy(), rtol=1e-4, atol=1e-5)


def run_network(file: Path, given: dict[str, Tensor]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(str(file))
    asked = {one.name: given[one.name].numpy() for one in session.get_inputs()}
    found: list[np.ndarray] = session.run(None, asked)
    assert asked.keys() == given.keys()
    return found


def check(module: nn.Module, network: Network, inputs: list[dict[str, Tensor]], file: Path) -> None:
    write_network(file, network)
    for given in inputs:
        with torch.no_grad():
            expected = module(*given.values())
        expected = expected if isinstance(expected, tuple) else (expected,)
        for one, other in zip(run_network(file, given), expected, strict=True):
            np.testing.assert_allclose(one, other.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "decoder",
    [
        pytest.param(one, marks=() if named(one) in QUICK else pytest.mark.slow, id=str(named(one)))
        for one in DECODER
    ],
)
def test_decoders_in_onnx(decoder: Decoder, tmp_path: Path) -> None:
    """Of any number of rows and candidates, one of either too."""
    for name, network in networks_of(decoder).items():
        inputs = [
            {key: all_of[key] for key in network.inputs}
            for all_of in (vectors(decoder, 1, 1), vectors(decoder, 9, 4), vectors(decoder, 6, 13))
        ]
        check(network.module, network, inputs, tmp_path / f"{name}.onnx")


def heads(kind: str) -> tuple[nn.Module, tuple[str, ...]]:
    head = ClassificationHead(
        dim=6, num_classes=2 if kind == "numbers" else 5, hidden=4, dropout=0.5,
        generator=torch.Generator().manual_seed(0),
    ).eval()  # fmt: skip
    if kind == "numbers":
        scale = NumberScale(mean=2.0, deviation=3.0, logarithm=True)
        return Estimates(head, scale, 1.5), ("value", "low", "high")
    return Classes(head, multi=kind == "several classes"), ("score",)


@pytest.mark.parametrize("kind", ["classes", "several classes", "numbers"])
def test_heads_in_onnx(kind: str, tmp_path: Path) -> None:
    module, outputs = heads(kind)
    network = Network(module, {"entity": ("batch", 6)}, outputs)
    inputs: list[dict[str, Any]] = [{"entity": torch.randn(rows, 6)} for rows in (1, 8)]
    check(module, network, inputs, tmp_path / "head.onnx")
