"""How each decoder scores, in words and signs that need no kgscale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from kgscale.errors import ConfigError
from kgscale.models.decoders import Decoder

Metric = Literal["inner product", "L1 distance", "L2 distance"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Of a decoder, with h, r, t for the vectors of head, relation and tail."""

    score: str
    query: str
    """What candidates are compared with, or what makes it."""


_HALVES: Final = "halves are real and imaginary parts"
RECIPES: Final = {
    "Dot": Recipe("sum_i h_i t_i", "h"),
    "DistMult": Recipe("sum_i h_i r_i t_i", "h * r"),
    "ComplEx": Recipe(
        f"Re(sum_i h_i r_i conj(t_i)), {_HALVES}", "[a c - b d, a d + b c], h = [a, b], r = [c, d]"
    ),
    "TransE": Recipe("-|h + r - t|", "h + r"),
    "RotatE": Recipe(
        f"-sum_i |h_i r_i / |r_i| - t_i|, {_HALVES}; with norm 2 the root of the sum of squares",
        "[a c - b d, a d + b c], h = [a, b], [c, d] = r over the modulus of each of its numbers",
    ),
    "PairRE": Recipe("-|h/|h| * r_H - t/|t| * r_T|, r = [r_H, r_T]", "[h/|h| * r_H, r_T]"),
    "TripleRE": Recipe(
        "-|h/|h| * (r_h + shift) - t/|t| * (r_t + shift) + r_m|, r = [r_h, r_t, r_m]",
        "[h/|h| * (r_h + shift) + r_m, r_t + shift]",
    ),
    "TuckER": Recipe("sum_ijk W_ijk r_i h_j t_k", "by the network query.onnx, which has W"),
    "ConvE": Recipe(
        "q t, q from a convolution over h and r; the last number of t is its bias",
        "by the network query.onnx",
    ),
}


def metric_of(decoder: Decoder) -> Metric | None:
    """By which candidates are near a query in the order of their scores; none, if by none."""
    if decoder.is_product:
        return "inner product"
    norm = getattr(decoder, "norm", None)
    if type(decoder).__name__ == "TransE":
        return "L1 distance" if norm == 1 else "L2 distance"
    return "L2 distance" if type(decoder).__name__ == "RotatE" and norm == 2 else None


def searched_by(decoder: Decoder) -> Metric:
    """The same.

    Raises:
        ConfigError: an index can't answer for it.
    """
    if (metric := metric_of(decoder)) is not None:
        return metric
    name, norm = type(decoder).__name__, getattr(decoder, "norm", None)
    why = (
        "sums the moduli of complex numbers (decoder.norm=2 has an index)"
        if name == "RotatE"
        else "weighs the numbers of a tail anew for each relation"
    )
    raise ConfigError(
        f"an index finds the nearest by inner product or distance, and {name} (norm {norm}) {why}:"
        " leave faiss out of kinds"
    )


def described(decoder: Decoder) -> dict[str, Any]:
    """For ``export.json``."""
    recipe = RECIPES[type(decoder).__name__]
    settings = {
        name: value
        for name in ("norm", "shift")
        if (value := getattr(decoder, name, None)) is not None
    }
    return {
        "name": type(decoder).__name__,
        "score": recipe.score,
        "query": recipe.query,
        "scoring": metric_of(decoder),
        "dim": decoder.dim,
        "relation_dim": decoder.relation_dim,
        **settings,
    }
