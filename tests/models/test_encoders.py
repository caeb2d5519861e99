"""One contract for all encoders, and each layer against a loop over its edges."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from kgscale.batch import Block, SubgraphBatch
from kgscale.errors import ConfigError, DataError
from kgscale.inference.embed import Embedder, row_blocks
from kgscale.losses import BCELoss, BPRLoss, MarginLoss, SoftmaxLoss
from kgscale.models.encoders import (
    HGT,
    RGAT,
    RGCN,
    CompGCN,
    Encoder,
    LightGCN,
    RelationalSAGE,
)
from kgscale.models.encoders.precomputed import MapEncoder
from kgscale.models.registry import DECODERS, ENCODERS, build_model, load_model, save_model
from kgscale.sampling.neighbor import NeighborStrategy
from tests.graphs import adjacency, random_triples

ENTITIES, RELATIONS, DIM = 20, 3, 8
GRAPH = adjacency(
    random_triples(80, num_entities=ENTITIES, num_relations=RELATIONS),
    num_entities=ENTITIES,
    num_relations=RELATIONS,
)
LOSSES = (SoftmaxLoss(), BCELoss(smoothing=0.1), MarginLoss(), BPRLoss())
CONF = Path(__file__).parents[2] / "conf" / "encoder"
OVER_EDGES = [name for name, kind in ENCODERS.items() if not issubclass(kind, MapEncoder)]
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in OVER_EDGES if name != "EmbeddingOnly"},
    "RGCN by relation": ("RGCN", {"normalize": "relation"}),
    "RelationalSAGE of matrices": ("RelationalSAGE", {"num_bases": None}),
    "RGAT within relations": ("RGAT", {"within": "relation", "heads": 2}),
    "HGT of matrices": ("HGT", {"relation_map": "matrix", "heads": 2}),
    "GATv2Conv": ("PyGConvolution", {"conv": "GATv2Conv", "arguments": {"edge_dim": DIM}}),
    "AGNNConv": ("PyGConvolution", {"conv": "AGNNConv"}),
    "RGCNConv": ("PyGConvolution", {"conv": "RGCNConv", "arguments": {"num_bases": 2}}),
}
"""Every encoder, and settings that take another way through it."""
each = pytest.mark.parametrize("name", VARIANTS)


def spec(encoder: str, decoder: str = "DistMult", **settings: Any) -> dict[str, Any]:
    return {
        "num_entities": ENTITIES,
        "num_relations": RELATIONS,
        "encoder": {"name": encoder, "dim": DIM, **settings},
        "decoder": {"name": decoder, **({"height": 2} if decoder == "ConvE" else {})},
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


def variant(name: str, **settings: Any) -> Encoder:
    """An encoder of some variant that changes its input from the start, in evaluation mode."""
    encoder, own = VARIANTS[name]
    takes = inspect.signature(ENCODERS[encoder]).parameters
    settings = {key: value for key, value in settings.items() if key in takes}
    model = build_model(spec(encoder, **own, **settings), seed=1).eval()
    for update in getattr(model.encoder, "update", ()):
        if update.gain is not None:
            torch.nn.init.ones_(update.gain)
    for parameter in model.encoder.parameters():
        # Where relations start alike, a mistake about them would go unseen.
        parameter.data += 0.3 * torch.randn(
            parameter.shape, generator=torch.Generator().manual_seed(2)
        )
    return model.encoder


@each
@pytest.mark.parametrize("num_layers", [1, 2])
def test_full_fanout_equals_full_graph_inference(name: str, num_layers: int) -> None:
    encoder, own = VARIANTS[name]
    model = build_model(spec(encoder, **own, num_layers=num_layers), seed=1).eval()
    model.encoder = variant(name, num_layers=num_layers)
    strategy = NeighborStrategy(
        graph=GRAPH, num_layers=num_layers, fanout=[-1] * num_layers, batch_size=1
    )
    batch = strategy.batch(0, 0, rank=0, world_size=1)
    # The batch hides what it asks; the full graph must hide the same to be comparable.
    rest = without(set(range(len(GRAPH.triple))) - set(batch.triple.tolist()))
    vectors = Embedder(model=model, graph=rest, memory=1 << 20).every
    entity, relation = model.encode(with_degree(batch, rest))
    torch.testing.assert_close(
        entity, vectors.entity[batch.entity_id[: batch.hop_size[0]]], rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(relation, vectors.relation)


def with_degree(batch: SubgraphBatch, graph: Any) -> SubgraphBatch:
    return replace(batch, degree=graph.indptr.diff()[batch.entity_id])


@each
@pytest.mark.parametrize("residual", [True, False])
def test_rows_in_any_blocks_equal_all_rows_at_once(name: str, residual: bool) -> None:
    """Blocks that start anywhere, and hold fewer edges than there are inputs or more."""
    encoder, x, whole = variant(name, residual=residual), torch.randn(ENTITIES, DIM), full_block()
    expected = encoder.layer(0, x, encoder.relation, whole)
    assert expected.isfinite().all()
    for first, last in ((0, 2), (2, 3), (3, 15), (15, 20)):
        bounds = whole.indptr[first : last + 1]
        held = slice(int(bounds[0]), int(bounds[-1]))
        block = replace(
            whole,
            indptr=bounds - bounds[0],
            source=whole.source[held],
            relation=whole.relation[held],
            start=first,
        )
        found = encoder.layer(0, x, encoder.relation, block)
        torch.testing.assert_close(found, expected[first:last], rtol=1e-4, atol=1e-5)


@each
def test_the_order_of_edges_within_a_row_changes_nothing(name: str) -> None:
    encoder, x, block = variant(name), torch.randn(ENTITIES, DIM), full_block()
    target = torch.arange(ENTITIES).repeat_interleave(block.indptr.long().diff())
    order = (target + torch.rand(len(target)).double()).argsort()
    assert torch.equal(target[order], target)
    mixed = replace(block, source=block.source[order], relation=block.relation[order])
    torch.testing.assert_close(
        encoder.layer(0, x, encoder.relation, mixed),
        encoder.layer(0, x, encoder.relation, block),
        rtol=1e-4,
        atol=1e-5,
    )


@each
@pytest.mark.parametrize("residual", [True, False])
def test_rows_without_edges_have_finite_vectors_and_gradients(name: str, residual: bool) -> None:
    encoder, x = variant(name, residual=residual), torch.randn(5, DIM, requires_grad=True)
    for indptr in ([0, 0, 2, 2], [0, 0, 0, 0]):
        edges = torch.arange(indptr[-1])
        degree = torch.tensor([0, 2, 0, 1, 3])
        block = Block(indptr=torch.tensor(indptr), source=edges, relation=edges, degree=degree)
        out = encoder.layer(0, x, encoder.relation, block)
        (gradient,) = torch.autograd.grad(out.square().sum(), x)
        assert out.isfinite().all()
        assert gradient.isfinite().all()


@each
def test_relations_matter_where_the_encoder_knows_them(name: str) -> None:
    encoder, x, block = variant(name), torch.randn(ENTITIES, DIM), full_block()
    other = replace(block, relation=(block.relation + 1) % (2 * RELATIONS))
    same = torch.allclose(
        encoder.layer(0, x, encoder.relation, block), encoder.layer(0, x, encoder.relation, other)
    )
    assert same == (name in ("PyGConvolution", "AGNNConv"))


@pytest.mark.parametrize("num_bases", [2, None])
def test_sage_layer_is_a_mean_over_relations_of_means(num_bases: int | None) -> None:
    layer = RelationalSAGE(num_relations=RELATIONS, dim=DIM, num_bases=num_bases, residual=False)
    x = torch.randn(ENTITIES, DIM)
    matrix = layer.basis[0]
    if layer.coefficient is not None:
        matrix = torch.einsum("rb,bij->rij", layer.coefficient[0], matrix)
    mixed = x @ layer.loop[0]
    for i in range(ENTITIES):
        mine = [edge for edge in edges() if edge[0] == i]
        kinds = {kind for _, kind, _ in mine}
        means = [x[[j for _, k, j in mine if k == kind]].mean(0) @ matrix[kind] for kind in kinds]
        mixed[i] += sum(means) / len(kinds) if means else 0
    layer.eval()
    actual = layer.layer(0, x, layer.relation, full_block())
    torch.testing.assert_close(actual, torch.tanh(layer.update[0].norm(mixed)))


@pytest.mark.parametrize("within", ["target", "relation"])
def test_rgat_layer_equals_a_loop_over_edges(within: str) -> None:
    layer = variant("RGAT", residual=False, within=within, heads=2)
    assert isinstance(layer, RGAT)
    x, mixed = torch.randn(ENTITIES, DIM), torch.zeros(ENTITIES, 2, DIM // 2)
    value = x @ layer.map[0]
    part = value.view(ENTITIES, 2, -1)
    for i in range(ENTITIES):
        mine = [edge for edge in edges() if edge[0] == i]
        groups = (
            [mine]
            if within == "target"
            else [[edge for edge in mine if edge[1] == kind] for kind in {edge[1] for edge in mine}]
        )
        for group in filter(None, groups):
            logits = torch.stack(
                [
                    (part[j] * layer.to_source[0]).sum(1)
                    + (part[i] * layer.to_target[0]).sum(1)
                    + layer.bias[0][k]
                    for _, k, j in group
                ]
            )
            share = torch.where(logits > 0, logits, 0.2 * logits).softmax(0)
            message = torch.stack([(value[j] * layer.scale[0][k]).view(2, -1) for _, k, j in group])
            mixed[i] += (share[:, :, None] * message).sum(0)
    expected = torch.tanh(layer.update[0].norm(mixed.flatten(1) + x @ layer.loop[0]))
    actual = layer.layer(0, x, layer.relation, full_block())
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("relation_map", ["diagonal", "matrix"])
def test_hgt_layer_equals_a_loop_over_edges(relation_map: str) -> None:
    layer = variant("HGT", residual=False, relation_map=relation_map, heads=2)
    assert isinstance(layer, HGT)
    width = DIM // 2
    x, mixed = torch.randn(ENTITIES, DIM), torch.zeros(ENTITIES, 2, width)
    asked, key, value = (
        (x @ m[0]).view(ENTITIES, 2, -1) for m in (layer.query, layer.key, layer.value)
    )

    def matrices(parameter: torch.Tensor) -> torch.Tensor:
        if relation_map == "matrix":
            return parameter.view(2 * RELATIONS, 2, width, width)
        return parameter.view(2 * RELATIONS, 2, width).diag_embed()

    attention, message = matrices(layer.attention[0]), matrices(layer.message[0])
    for i in range(ENTITIES):
        mine = [(k, j) for target, k, j in edges() if target == i]
        for h in range(2 if mine else 0):
            logits = [key[j, h] @ attention[k, h] @ asked[i, h] / width**0.5 for k, j in mine]
            sent = torch.stack([value[j, h] @ message[k, h] for k, j in mine])
            mixed[i, h] = torch.stack(logits).softmax(0) @ sent
    mixed = mixed.flatten(1) @ layer.out[0] + x @ layer.loop[0]
    actual = layer.layer(0, x, layer.relation, full_block())
    expected = torch.tanh(layer.update[0].norm(mixed))
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gates", [True, False])
def test_lightgcn_layer_is_half_of_own_and_symmetric_sum(gates: bool) -> None:
    layer = LightGCN(num_relations=RELATIONS, dim=DIM, num_layers=2, gates=gates)
    factor = torch.ones(2 * RELATIONS)
    if layer.gate is not None:
        torch.nn.init.normal_(layer.gate)
        factor = layer.gate[1]
    x, message = torch.randn(ENTITIES, DIM), torch.zeros(ENTITIES, DIM)
    degree = full_block().indptr.diff().double()
    for target, kind, source in edges():
        message[target] += factor[kind] * x[source] / (degree[target] * degree[source]).sqrt()
    found = layer.layer(1, x, layer.relation, full_block())
    torch.testing.assert_close(found, ((x + message) / 2).float())


def test_sampled_edges_of_lightgcn_stand_for_all() -> None:
    """The mean over samples of one edge each is the layer of the whole graph."""
    layer = LightGCN(num_relations=RELATIONS, dim=DIM, num_layers=1, gates=False)
    x, whole = torch.randn(ENTITIES, DIM), full_block()
    at = int(whole.indptr.diff().argmax())
    first, last = whole.indptr[at : at + 2].tolist()
    degree = whole.indptr.diff()
    found = []
    for edge in range(first, last):
        # Row 0 is the target: the others follow.
        order = torch.cat([torch.tensor([at]), torch.arange(ENTITIES)])
        source = whole.source[edge : edge + 1] + 1
        block = Block(
            indptr=torch.tensor([0, 1]),
            source=source,
            relation=whole.relation[edge : edge + 1],
            degree=degree[order],
        )
        found.append(layer.layer(0, x[order], layer.relation, block))
    expected = layer.layer(0, x, layer.relation, whole)[at : at + 1]
    torch.testing.assert_close(torch.stack(found).mean(0), expected, rtol=1e-4, atol=1e-5)


def test_settings_that_cannot_work_are_refused() -> None:
    for encoder, settings, message in (
        ("RelationalSAGE", {"num_bases": 0}, "positive int or null, got 0"),
        ("RGAT", {"heads": 3}, r"divisor of encoder\.dim=8, got 3"),
        ("HGT", {"heads": 0}, "got 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            build_model(spec(encoder, **settings), seed=0)
    for encoder, settings, message in (
        ("RelationalSAGE", {"num_bases": None}, r"num_bases=null .* set encoder\.num_bases=8"),
        ("HGT", {"relation_map": "matrix"}, r"set encoder\.relation_map=diagonal"),
    ):
        with pytest.raises(ConfigError, match=message):
            build_model({**spec(encoder, **settings), "num_relations": 100}, seed=0)


def test_every_encoder_has_a_file_that_mirrors_its_constructor() -> None:
    found = {}
    for file in CONF.glob("*.yaml"):
        settings: Any = OmegaConf.to_container(OmegaConf.load(file))
        name = settings.pop("_target_")
        found[name] = list(settings)
    given = ("num_relations", "maps", "generator")
    assert found == {
        f"{kind.__module__}.{kind.__qualname__}": [
            name for name in inspect.signature(kind).parameters if name not in given
        ]
        for kind in ENCODERS.values()
    }


def without(hidden: set[int]) -> Any:
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
@pytest.mark.parametrize("encoder", OVER_EDGES)
def test_every_combination_runs_forward_and_backward(
    encoder: str, decoder: str, loss: Any, device: str
) -> None:
    model = build_model(spec(encoder, decoder), seed=0).to(device)
    layers = model.encoder.num_layers
    strategy = NeighborStrategy(
        graph=GRAPH, num_layers=layers, fanout=[2] * layers, batch_size=8, candidates=5
    )
    batch = with_degree(strategy.batch(0, 0, rank=0, world_size=1), GRAPH).to(device)
    entity, relation = model.encode(batch)
    value = loss(
        model.question(entity, relation, batch.query),
        entity[: batch.query.num_candidates],
        batch.query,
        compare=model.compare,
        # The fused softmax reads its row bounds back, which has no meaning on meta tensors.
        product=torch.float32 if device == "cpu" and model.decoder.is_product else None,
    )
    value.backward()
    for name, parameter in model.named_parameters():
        if name == "encoder.relation" and decoder == "Dot":
            continue  # it asks of one relation, whose vector is nothing to it
        if name == "encoder.relation" or "entity" in name or "basis" in name:
            assert parameter.grad is not None
            assert parameter.grad.device.type == device


@pytest.mark.parametrize(
    "encoder", [name for name in OVER_EDGES if name not in ("EmbeddingOnly", "LightGCN")]
)
def test_a_residual_encoder_starts_as_the_embedding_only_model(encoder: str) -> None:
    model = build_model(spec(encoder), seed=0).eval()
    vectors = Embedder(model=model, graph=GRAPH, memory=1 << 20).every
    assert torch.equal(vectors.entity, model.inputs.table.weight)
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
    with pytest.raises(DataError, match="differs from what was written"):
        load_model(tmp_path / "model")


@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [*((name, "ComplEx") for name in OVER_EDGES), *(("EmbeddingOnly", name) for name in DECODERS)],
)
def test_every_model_is_loaded_as_it_was_saved(encoder: str, decoder: str, tmp_path: Any) -> None:
    model = build_model(spec(encoder, decoder), seed=3)
    save_model(model, spec(encoder, decoder), tmp_path / "model")
    loaded, _ = load_model(tmp_path / "model")
    kept = loaded.state_dict()
    assert all(torch.equal(kept[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x * torch.nan, "is not finite"),
        (lambda x: x.double(), "is F64"),
        (lambda x: x[:1], r"is F32 \[1, "),
    ],
)
def test_weights_that_are_no_weights(change: Any, words: str, tmp_path: Any) -> None:
    model = build_model(spec("CompGCN"), seed=3)
    kept = model.state_dict()
    name, value = next(iter(kept.items()))
    model.state_dict = lambda **_: {**kept, name: change(value)}
    save_model(model, spec("CompGCN"), tmp_path / "model")
    with pytest.raises(DataError, match=words):
        load_model(tmp_path / "model")


@pytest.mark.parametrize(
    "change",
    [
        {"types": [{"start": n, "stop": n + 1, "features": 1} for n in range(2000)]},
        {"types": [{"start": 0, "stop": 4, "features": 10**9}]},
        {"head": {"num_classes": 10**12}},
        {"reasoner": {"name": "PathReasoner", "dim": 10**7}},
        {"num_relations": 10**30},
    ],
)
def test_no_vector_is_made_of_a_lie(change: Any, tmp_path: Any) -> None:
    lie = {**spec("CompGCN"), **change}
    save_model(build_model(spec("CompGCN"), seed=3), lie, tmp_path / "model")
    with pytest.raises(DataError, match="no readable model"):
        load_model(tmp_path / "model")
