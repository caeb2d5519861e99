"""One contract for all decoders."""

from __future__ import annotations

import pytest
import torch

from kgscale.errors import ConfigError
from kgscale.models.decoders import ComplEx, Decoder
from kgscale.models.registry import DECODERS

DECODER = [kind(dim=6) for kind in DECODERS.values()]
each = pytest.mark.parametrize("decoder", DECODER, ids=lambda decoder: type(decoder).__name__)


@each
def test_batched_scores_equal_one_by_one(decoder: Decoder) -> None:
    head, relation, tail = torch.randn(3, 4, 6).unbind()
    single = [decoder(*triple) for triple in zip(head, relation, tail, strict=True)]
    torch.testing.assert_close(decoder(head, relation, tail), torch.stack(single))


@each
def test_one_to_all_scores_equal_one_by_one(decoder: Decoder) -> None:
    head, relation = torch.randn(2, 4, 6).unbind()
    candidate = torch.randn(7, 6)
    all_at_once = decoder.compare(decoder.query(head, relation), candidate)
    pairs = torch.broadcast_tensors(head[:, None], relation[:, None], candidate[None])
    torch.testing.assert_close(all_at_once, decoder(*pairs))


@each
def test_symmetry_is_as_declared(decoder: Decoder) -> None:
    head, relation, tail = torch.randn(3, 4, 6).unbind()
    same = torch.allclose(decoder(head, relation, tail), decoder(tail, relation, head))
    assert same == decoder.symmetric


def test_complex_by_hand() -> None:
    # (1 + 2i)(3 + i) conj(1 - i) = (1 + 7i)(1 + i) = -6 + 8i
    score = ComplEx(dim=2)(
        torch.tensor([1.0, 2.0]), torch.tensor([3.0, 1.0]), torch.tensor([1.0, -1.0])
    )
    assert score.item() == -6.0


def test_complex_needs_an_even_dimension() -> None:
    with pytest.raises(ConfigError, match=r"even encoder\.dim, got 5"):
        ComplEx(dim=5)
