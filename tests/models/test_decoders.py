"""One contract for all decoders."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from kgscale.errors import ConfigError
from kgscale.models.decoders import (
    ComplEx,
    ConvE,
    Decoder,
    DistMult,
    Dot,
    PairRE,
    RotatE,
    TransE,
    TripleRE,
    TuckER,
)
from kgscale.models.decoders import distance as distance_module
from kgscale.models.registry import DECODERS

RELATIONS = 3
DISTANCES = (TransE, RotatE, PairRE, TripleRE)


def made(kind: type[Decoder], **settings: Any) -> Decoder:
    generator = torch.Generator().manual_seed(0)
    if kind is ConvE:
        settings |= {"height": 2, "kernel": 2, "channels": 5}
    return kind(dim=6, num_relations=RELATIONS, generator=generator, **settings).eval()


DECODER = [made(kind) for kind in DECODERS.values()] + [made(kind, norm=2) for kind in DISTANCES]
each = pytest.mark.parametrize(
    "decoder",
    DECODER,
    ids=lambda decoder: type(decoder).__name__ + str(getattr(decoder, "norm", "")),
)


def triples(decoder: Decoder, number: int) -> tuple[Tensor, Tensor, Tensor]:
    head, tail = torch.randn(2, number, decoder.dim).unbind()
    return head, torch.randn(number, decoder.relation_dim), tail


@each
def test_batched_scores_equal_one_by_one(decoder: Decoder) -> None:
    asked = triples(decoder, 4)
    single = [decoder(*triple) for triple in zip(*asked, strict=True)]
    torch.testing.assert_close(decoder(*asked), torch.stack(single))


@each
@pytest.mark.parametrize("entries", [1, 1 << 22])
def test_one_to_all_scores_equal_one_by_one_with_gradients(
    decoder: Decoder, entries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distance_module, "ENTRIES", entries)
    head, relation, _ = triples(decoder, 4)
    given = (head, relation, torch.randn(7, decoder.dim))
    for part in given:
        part.requires_grad_()
    query = decoder.query(head, relation)
    all_at_once = decoder.compare(query, given[2])
    one_by_one = torch.stack(
        [decoder(head, relation, tail.expand_as(head)) for tail in given[2]], dim=1
    )
    torch.testing.assert_close(all_at_once, one_by_one, atol=1e-4, rtol=1e-4)
    weight = torch.randn_like(one_by_one)
    for one, other in zip(
        torch.autograd.grad((all_at_once * weight).sum(), given, allow_unused=True),
        torch.autograd.grad((one_by_one * weight).sum(), given, allow_unused=True),
        strict=True,
    ):
        assert (one is None) == (other is None)
        if one is None:
            assert isinstance(decoder, Dot)  # whatever the relation
            continue
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


@each
def test_own_candidates_are_scored_as_one_by_one(decoder: Decoder) -> None:
    head, relation, _ = triples(decoder, 4)
    own = torch.randn(4, 3, decoder.dim)
    found = decoder.compare_own(decoder.query(head, relation), own)
    expected = torch.stack([decoder(head, relation, tail) for tail in own.unbind(1)], dim=1)
    torch.testing.assert_close(found, expected)


@each
def test_symmetry_is_as_declared(decoder: Decoder) -> None:
    head, relation, tail = triples(decoder, 4)
    same = torch.allclose(decoder(head, relation, tail), decoder(tail, relation, head))
    assert same == decoder.symmetric


@each
def test_product_and_pair_are_what_they_say(decoder: Decoder) -> None:
    head, relation, tail = triples(decoder, 4)
    expected = decoder(head, relation, tail)
    if decoder.is_product:
        torch.testing.assert_close((decoder.query(head, relation) * tail).sum(1), expected)
    pair = decoder.pair(head, tail)
    if pair is not None:
        torch.testing.assert_close((pair * relation).sum(1), expected)
    assert (pair is not None) == (type(decoder) in (DistMult, ComplEx, TuckER))


@each
def test_relations_have_the_encoders_vector_first(decoder: Decoder) -> None:
    given = torch.randn(2 * RELATIONS, decoder.dim)
    vectors = decoder.relations(given)
    assert vectors.shape == (2 * RELATIONS, decoder.relation_dim)
    assert torch.equal(vectors[:, : decoder.dim], given)


@each
def test_a_zero_is_no_place_without_a_gradient(decoder: Decoder) -> None:
    head, relation, tail = (
        torch.zeros(2, width, requires_grad=True)
        for width in (decoder.dim, decoder.relation_dim, decoder.dim)
    )
    found = torch.autograd.grad(
        decoder.compare(decoder.query(head, relation), tail).sum(), (head, tail)
    )
    assert all(part.isfinite().all() for part in found)


def score(decoder: Decoder, *triple: list[float]) -> float:
    return decoder(*map(torch.tensor, triple)).item()  # type: ignore[no-any-return]


def test_complex_by_hand() -> None:
    # (1 + 2i)(3 + i) conj(1 - i) = (1 + 7i)(1 + i) = -6 + 8i
    assert score(ComplEx(dim=2), [1.0, 2.0], [3.0, 1.0], [1.0, -1.0]) == -6.0


def test_transe_by_hand() -> None:
    # |(1, 2) + (1, 0) - (5, -2)| = |(-3, 4)|
    triple = [1.0, 2.0], [1.0, 0.0], [5.0, -2.0]
    assert score(TransE(dim=2, norm=1), *triple) == -7.0
    assert score(TransE(dim=2, norm=2), *triple) == -5.0


def test_rotate_by_hand() -> None:
    # 2i has the angle of 90 degrees: (3 + 4i) i = -4 + 3i, and 1 + 3i is 5 away from it
    assert score(RotatE(dim=2), [3.0, 4.0], [0.0, 2.0], [1.0, 3.0]) == pytest.approx(-5.0)


def test_pairre_by_hand() -> None:
    # h = (.6, .8), t = (1, 0): (.6 * 5, .8 * 5) - (1 * 1, 0 * 9) = (2, 4)
    triple = [3.0, 4.0], [5.0, 5.0, 1.0, 9.0], [2.0, 0.0]
    assert score(PairRE(dim=2), *triple) == pytest.approx(-6.0)
    assert score(PairRE(dim=2, norm=2), *triple) == pytest.approx(-math.sqrt(20))


def test_triplere_by_hand() -> None:
    # as above with 1 added to both scales: (.6 * 6, .8 * 6) - (1 * 2, 0) + (.4, .2) = (2, 5)
    triple = [3.0, 4.0], [5.0, 5.0, 1.0, 9.0, 0.4, 0.2], [2.0, 0.0]
    assert score(TripleRE(dim=2), *triple) == pytest.approx(-7.0)
    assert score(TripleRE(dim=2, shift=0.0), *triple) == pytest.approx(-(2.4 + 4.2))


def test_tucker_by_hand() -> None:
    decoder = TuckER(dim=2)
    with torch.no_grad():
        decoder.core.zero_()
        decoder.core[1, 0, 1] = 2.0
    # 2 r_1 h_0 t_1
    assert score(decoder, [3.0, 9.0], [9.0, 5.0], [9.0, 7.0]) == 2 * 5 * 3 * 7


def test_conve_has_a_bias_in_the_last_number() -> None:
    decoder = made(ConvE)
    head, relation, tail = triples(decoder, 4)
    raised = tail + torch.nn.functional.one_hot(torch.tensor(5), 6)
    difference = decoder(head, relation, raised) - decoder(head, relation, tail)
    torch.testing.assert_close(difference, torch.ones(4))


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (ComplEx, {"dim": 5}, r"even encoder\.dim, got 5"),
        (RotatE, {"dim": 5}, r"even encoder\.dim, got 5"),
        (TransE, {"dim": 5, "norm": 3}, r"decoder\.norm is 1 or 2, got 3"),
        (ConvE, {"dim": 6, "height": 4}, r"positive divisor of encoder\.dim=6, got 4"),
        (ConvE, {"dim": 6, "height": 2, "kernel": 4}, "picture of 4 by 3"),
        (ConvE, {"dim": 6, "height": 2, "hidden_dropout": 1.0}, r"hidden_dropout needs a share"),
        (DistMult, {"dim": 6, "dropout": -0.5}, r"decoder\.dropout needs a share"),
    ],
)
def test_settings_that_make_no_sense(
    kind: type[Decoder], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(**settings)
