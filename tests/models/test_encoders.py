"""One contract for all encoders, and each layer against a loop over its edges."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kgscale.batch import Block
from kgscale.errors import DataError
from kgscale.inference.embed import embed_graph, row_blocks
from kgscale.losses import BCELoss, MarginLoss, SoftmaxLoss
from kgscale.models.encoders import RGCN, CompGCN
from kgscale.models.registry import DECODERS, ENCODERS, build_model, load_model, save_model
from kgscale.sampling.neighbor import NeighborStrategy
from tests.graphs import adjacency, random_triples

ENTITIES, RELATIONS, DIM = 20, 3, 8
GRAPH = adjacency(
    random_triples(80, num_entities=ENTITIES, num_relations=RELATIONS),
    num_entities=ENTITIES,
    num_relations=RELATIONS,
)
LOSSES = (SoftmaxLoss(), BCELoss(smoothing=0.1), MarginLoss())


def spec(encoder: str, decoder: str = "DistMult", **settings: Any) -> dict[str, Any]:
    return {
        "num_entities": ENTITIES,
        "num_relations": RELATIONS,
        "encoder": {"name": encoder, "dim": DIM, **settings},
        "decoder": {"name": decoder},
    }


def full_block() -> Block:
    (block,) = row_blocks(GRAPH, torch.device("cpu"))
    return block


def edges() -> list[tuple[int, int, int]]:
    block = full_block()
    target = torch.arange(ENTITIES).repeat_interleave(block.indptr.long().diff())
    columns = (target.tolist(), block.relation.tolist(), block.source.tolist())
    return list(zip(*columns, strict=True))


@pytest.mark.parametrize("compose", ["multiply", "subtract", "rotate"])
def test_compgcn_layer_equals_a_loop_over_edges(compose: str) -> None:
    layer = CompGCN(num_relations=RELATIONS, dim=DIM, compose=compose, dropout=0.0)  # type: ignore[arg-type]
    torch.nn.init.ones_(layer.update[0].gain)
    x, relation = torch.randn(ENTITIES, DIM), torch.randn(2 * RELATIONS, DIM)
    message = torch.zeros(ENTITIES, 2, DIM)
    degree = full_block().indptr.diff()
    for target, kind, source in edges():
        a, r = x[source], relation[kind]
        if compose == "multiply":
            value = a * r
        elif compose == "subtract":
            value = a - r
        else:
            half = DIM // 2
            product = torch.complex(a[:half], a[half:]) * torch.complex(r[:half], r[half:])
            value = torch.cat([product.real, product.imag])
        message[target, kind // RELATIONS] += value / degree[target]
    mixed = message.flatten(1) @ layer.direction[0] + x @ layer.loop[0]
    expected = x + layer.update[0].gain * torch.tanh(layer.update[0].norm(mixed))
    torch.testing.assert_close(layer.layer(0, x, relation, full_block()), expected)


@pytest.mark.parametrize("normalize", ["degree", "relation"])
def test_rgcn_layer_equals_a_matrix_per_relation(normalize: str) -> None:
    layer = RGCN(num_relations=RELATIONS, dim=DIM, num_bases=2, normalize=normalize, dropout=0.0)  # type: ignore[arg-type]
    torch.nn.init.ones_(layer.update[0].gain)
    x = torch.randn(ENTITIES, DIM)
    matrix = torch.einsum("rb,bij->rij", layer.coefficient[0], layer.basis[0])
    found = edges()
    message = torch.zeros(ENTITIES, DIM)
    for target, kind, source in found:
        alike = [e for e in found if e[0] == target and (normalize == "degree" or e[1] == kind)]
        message[target] += x[source] @ matrix[kind] / len(alike)
    mixed = message + x @ layer.loop[0]
    expected = x + layer.update[0].gain * torch.tanh(layer.update[0].norm(mixed))
    actual = layer.layer(0, x, layer.relation, full_block())
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("encoder", [name for name in ENCODERS if name != "EmbeddingOnly"])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_full_fanout_equals_full_graph_inference(encoder: str, num_layers: int) -> None:
    model = build_model(spec(encoder, num_layers=num_layers), seed=1).eval()
    for update in model.encoder.update:
        torch.nn.init.ones_(update.gain)
    strategy = NeighborStrategy(
        graph=GRAPH, num_layers=num_layers, fanout=[-1] * num_layers, batch_size=1
    )
    batch = strategy.batch(0, 0, rank=0, world_size=1)
    # The batch hides what it asks; the full graph must hide the same to be comparable.
    hidden = set(range(len(GRAPH.triple))) - set(batch.triple.tolist())
    vectors = embed_graph(model, without(hidden), memory=1 << 20)
    entity, relation = model.encode(batch)
    torch.testing.assert_close(entity, vectors.entity[batch.entity_id[: batch.hop_size[0]]])
    torch.testing.assert_close(relation, vectors.relation)


def without(hidden: set[int]) -> Any:
    from dataclasses import replace

    keep = torch.tensor([int(triple) not in hidden for triple in GRAPH.triple])
    row = torch.arange(ENTITIES).repeat_interleave(GRAPH.indptr.long().diff())[keep]
    indptr = torch.zeros(ENTITIES + 1, dtype=torch.int64)
    indptr[1:] = torch.bincount(row, minlength=ENTITIES).cumsum(0)
    return replace(
        GRAPH,
        indptr=indptr,
        source=GRAPH.source[keep],
        relation=GRAPH.relation[keep],
        triple=GRAPH.triple[keep],
    )


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("decoder", list(DECODERS))
@pytest.mark.parametrize("encoder", list(ENCODERS))
def test_every_combination_runs_forward_and_backward(
    encoder: str, decoder: str, loss: Any, device: str
) -> None:
    model = build_model(spec(encoder, decoder), seed=0).to(device)
    layers = model.encoder.num_layers
    strategy = NeighborStrategy(
        graph=GRAPH, num_layers=layers, fanout=[2] * layers, batch_size=8, candidates=5
    )
    batch = strategy.batch(0, 0, rank=0, world_size=1).to(device)
    entity, relation = model.encode(batch)
    value = loss(
        model.question(entity, relation, batch.query),
        entity[: batch.query.num_candidates],
        batch.query,
        compare=model.compare,
        # The fused softmax reads its row bounds back, which has no meaning on meta tensors.
        product=torch.float32 if device == "cpu" else None,
    )
    value.backward()
    for name, parameter in model.named_parameters():
        if name == "encoder.relation" or "entity" in name or "basis" in name:
            assert parameter.grad is not None
            assert parameter.grad.device.type == device


@pytest.mark.parametrize("encoder", ["CompGCN", "RGCN"])
def test_a_residual_encoder_starts_as_the_embedding_only_model(encoder: str) -> None:
    model = build_model(spec(encoder), seed=0).eval()
    vectors = embed_graph(model, GRAPH, memory=1 << 20)
    assert torch.equal(vectors.entity, model.entity.weight)
    assert torch.equal(vectors.relation, model.encoder.relation)


def test_a_saved_model_is_rebuilt_exactly(tmp_path: Any) -> None:
    model = build_model(spec("CompGCN", "ComplEx"), seed=3)
    save_model(model, spec("CompGCN", "ComplEx"), tmp_path / "model")
    loaded, found = load_model(tmp_path / "model")
    assert found == spec("CompGCN", "ComplEx")
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


def test_a_damaged_model_is_refused(tmp_path: Any) -> None:
    save_model(build_model(spec("CompGCN"), seed=3), spec("CompGCN"), tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-40] ^= 1
    weights.write_bytes(content)
    with pytest.raises(DataError, match="has changed since it was written"):
        load_model(tmp_path / "model")
