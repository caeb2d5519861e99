"""What a step of link prediction adds to its loss."""

from __future__ import annotations

import pytest
import torch

from kgscale.batch import LinkQueries, SubgraphBatch
from kgscale.training.link import LinkPrediction
from tests.training import toys


def asked() -> tuple[SubgraphBatch, LinkQueries]:
    batch = toys.strategy(num_layers=0).batch(0, 0, rank=0, world_size=1)
    assert isinstance(batch.query, LinkQueries)
    return batch, batch.query


def loss(
    batch: SubgraphBatch, decoder: str, **weights: float
) -> tuple[torch.Tensor, LinkPrediction]:
    module = toys.module("EmbeddingOnly", decoder=decoder, **weights)
    return module.loss_of(batch)[0].detach(), module


@pytest.mark.parametrize("decoder", ["ComplEx", "DistMult"])
def test_penalties_are_means_over_asked_triples(decoder: str) -> None:
    """The cubes of all moduli (Lacroix et al. 2018), and the squares, one triple at a time."""
    batch, query = asked()
    plain, module = loss(batch, decoder)
    entity, relation = (part.detach().double() for part in module.model.encode(batch))
    cubes = squares = 0.0
    for row, answer in zip(query.answer_query.tolist(), query.answer.tolist(), strict=True):
        for vector in (entity[query.head[row]], relation[query.relation[row]], entity[answer]):
            if decoder == "ComplEx":
                real, imaginary = vector.chunk(2)
                cubes += float(torch.complex(real, imaginary).abs().pow(3).sum())
            else:
                cubes += float(vector.abs().pow(3).sum())
            squares += float(vector.square().sum())
    number = len(query.answer)
    assert float(loss(batch, decoder, n3=0.7)[0] - plain) == pytest.approx(
        0.7 * cubes / number, rel=1e-3
    )
    assert float(loss(batch, decoder, l2=0.7)[0] - plain) == pytest.approx(
        0.7 * squares / number, rel=1e-3
    )


@pytest.mark.parametrize("decoder", ["ComplEx", "DistMult", "TuckER"])
def test_the_relation_is_asked_of_head_and_tail(decoder: str) -> None:
    """``-log softmax`` over all relations, reciprocal ones too, a triple at a time, by plain scores
    (Chen et al. 2021, equation 4)."""
    batch, query = asked()
    plain, module = loss(batch, decoder)
    entity, relation = (part.detach() for part in module.model.encode(batch))
    decode, expected = module.model.decoder, 0.0
    with torch.no_grad():
        for row, answer in zip(query.answer_query.tolist(), query.answer.tolist(), strict=True):
            head, tail = entity[query.head[row]][None], entity[answer][None]
            scores = [decode(head, one[None], tail) for one in relation]
            logs = torch.cat(scores).flatten().log_softmax(0)
            expected -= float(logs[query.relation[row]])
    found = float(loss(batch, decoder, relation=0.7)[0] - plain)
    assert found == pytest.approx(0.7 * expected / len(query.answer), rel=1e-3)
