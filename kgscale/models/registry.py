"""Models by name: the only classes that a saved model or a setting can name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from kgscale.durable import check_manifest, whole_directory, write_manifest
from kgscale.errors import ConfigError, DataError, ResourceError
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
from kgscale.models.encoders import (
    HGT,
    RGAT,
    RGCN,
    CompGCN,
    EmbeddingOnly,
    LightGCN,
    PyGConvolution,
    RelationalSAGE,
)
from kgscale.models.encoders.base import Encoder
from kgscale.models.encoders.precomputed import NARS, SIGN, MapEncoder, SeHGNN
from kgscale.models.heads import ClassificationHead
from kgscale.models.inputs import EntityInput
from kgscale.models.link import LinkModel
from kgscale.models.node import NodeModel
from kgscale.models.reasoners import PathReasoner

ENCODERS: Final = {
    kind.__name__: kind
    for kind in (
        EmbeddingOnly,
        RGCN,
        CompGCN,
        RelationalSAGE,
        RGAT,
        HGT,
        LightGCN,
        PyGConvolution,
        SIGN,
        NARS,
        SeHGNN,
    )
}
DECODERS: Final = {
    kind.__name__: kind
    for kind in (DistMult, Dot, ComplEx, TransE, RotatE, PairRE, TripleRE, TuckER, ConvE)
}
REASONERS: Final = {kind.__name__: kind for kind in (PathReasoner,)}
_WEIGHTS: Final = "model.safetensors"
_SPEC: Final = "model.json"
CARD: Final = "README.md"
"""Beside these: for people, who may edit it. No hash of it is kept, and nothing reads it."""
_SCHEMA: Final = 2
_UNREADABLE: Final = (
    OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError,
    OverflowError, RuntimeError,
)  # fmt: skip
"""What is raised by a file or a specification that is none of ours."""
_MOST: Final = 1000
"""Types of entities of a model read from a file: each is made before sizes can be compared."""

Model = LinkModel | NodeModel | PathReasoner


def build_model(spec: dict[str, Any], *, seed: int) -> Model:
    """A fresh model from its specification: a :class:`NodeModel` if that has a ``head``, a
    reasoner if it has a ``reasoner``.

    Args:
        spec: ``num_entities``, ``num_relations``, for ``encoder`` and ``decoder`` a ``name`` from
            the tables above beside the constructor's own settings, and the settings of ``head``
            and ``inputs``. Without ``types``, entities are of one type that has no features.
        seed: of the initial vectors and weights.
    """
    generator = torch.Generator().manual_seed(seed)
    if "reasoner" in spec:
        settings = dict(spec["reasoner"])
        reasoner = REASONERS[settings.pop("name")](
            **settings, num_relations=spec["num_relations"], generator=generator
        )
        if spec.get("ways"):
            size = 2 * spec["num_relations"]
            reasoner.ways = torch.ones(size, size, dtype=torch.int32)
        return reasoner
    encoder_settings = dict(spec["encoder"])
    encoder = ENCODERS[encoder_settings.pop("name")](
        **encoder_settings, num_relations=spec["num_relations"], generator=generator
    )
    last: Decoder | ClassificationHead
    if "head" in spec:
        last = ClassificationHead(**spec["head"], dim=encoder.dim, generator=generator)
    else:
        decoder_settings = dict(spec["decoder"])
        last = DECODERS[decoder_settings.pop("name")](
            **decoder_settings,
            dim=encoder.dim,
            num_relations=spec["num_relations"],
            generator=generator,
        )
    inputs = EntityInput(
        **_input_settings(spec, encoder),
        dim=encoder.dim,
        scale=encoder_settings.get("scale", 0.1),
        generator=generator,
    )
    if isinstance(last, ClassificationHead):
        return NodeModel(inputs=inputs, encoder=encoder, head=last)
    return LinkModel(inputs=inputs, encoder=encoder, decoder=last)


def _input_settings(spec: Mapping[str, Any], encoder: Encoder) -> dict[str, Any]:
    types = spec.get("types") or [{"start": 0, "stop": spec["num_entities"], "features": 0}]
    settings = dict(spec.get("inputs", {}))
    if isinstance(encoder, MapEncoder):
        # Features reach it in its maps; learned vectors come on top, if it adds to them.
        types = [{**kind, "features": 0} for kind in types]
        _check_inputs(settings, adds=encoder.gain is not None)
        if encoder.gain is None:
            settings.update(learned="none", ignored=True)
    if settings.get("learned") == "anchors":
        anchors = {name: value for name, value in settings["anchors"].items() if name != "seed"}
        settings["anchors"] = {**anchors, "num_relations": spec["num_relations"]}
    return {"types": types, **settings}


def _check_inputs(settings: Mapping[str, Any], *, adds: bool) -> None:
    """Refuse what would change nothing where features come in maps."""
    for name, remedy in (
        ("dropout", "encoder.input_dropout"),
        ("normalize", "strategy.normalize_rows"),
    ):
        if settings.get(name):
            raise ConfigError(
                f"inputs.{name}={settings[name]} changes nothing here, since the encoder reads"
                f" features in precomputed maps: set {remedy} instead"
            )
    if settings.get("learned") == "anchors":
        raise ConfigError(
            "inputs.learned=anchors describes entities to encoders of messages, and this one reads"
            " precomputed maps: use strategy=neighbor with encoder=embedding or another"
        )
    if settings.get("learned") == "all" and not adds:
        raise ConfigError(
            "inputs.learned=all changes nothing here, since the encoder adds nothing to learned"
            " vectors: set encoder.residual=true, or leave inputs.learned out"
        )


def save_model(model: nn.Module, spec: dict[str, Any], directory: Path) -> None:
    """Write ``model.safetensors`` and ``model.json``; the directory appears when both are whole,
    in the place of an earlier one."""
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    try:
        with whole_directory(directory, replace=True) as (content, _):
            save_file(state, content / _WEIGHTS)
            (content / _SPEC).write_text(json.dumps(spec, indent=2) + "\n", encoding="utf-8")
            write_manifest(content, {"kind": "model", "schema": _SCHEMA})
    except SafetensorError as error:
        raise ResourceError(f"{directory}: the model can't be written ({error})") from error


def load_model(directory: Path) -> tuple[Model, dict[str, Any]]:
    """Rebuild what :func:`save_model` wrote, and its specification.

    Nothing but numbers and names of classes in tables is read from it, and no vector is made before
    the sizes in both files have been found to agree.
    """
    try:
        told = check_manifest(directory, beside=(CARD,))
        if (told["kind"], told["schema"]) != ("model", _SCHEMA):
            raise ValueError(f"{told['kind']} of schema {told['schema']}, not a model of {_SCHEMA}")
        spec = json.loads((directory / _SPEC).read_text(encoding="utf-8"))
        if not isinstance(spec, dict):
            raise TypeError(f"{_SPEC} holds a {type(spec).__name__}")
        _check_sizes(spec, directory / _WEIGHTS)
        weights = load_file(directory / _WEIGHTS)
        _check_finite(weights)
        model = build_model(spec, seed=0)
        model.load_state_dict(weights)
    except (*_UNREADABLE, ConfigError, SafetensorError) as error:
        words = str(error).partition("\n")[0] or type(error).__name__
        raise DataError(
            f"{directory}: no readable model ({words}); name a finished run with run=DIR"
        ) from error
    return model.eval(), spec


def _check_sizes(spec: dict[str, Any], weights: Path) -> None:
    """Compare shapes and kinds of numbers, on a device that holds none."""
    if len(spec.get("types") or ()) > _MOST:
        raise ValueError(f"it says it has {len(spec['types']):,} types of entities")
    with torch.device("meta"):
        made = build_model(spec, seed=0).state_dict()
    wanted = {name: (list(t.shape), _KINDS[t.dtype]) for name, t in made.items()}
    with safe_open(weights, "pt") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        found = {name: (one.get_shape(), one.get_dtype()) for name, one in slices.items()}
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name) != wanted.get(name):
            raise ValueError(
                f"{name} is {_told(found.get(name))} in {_WEIGHTS} and {_told(wanted.get(name))} in"
                f" {_SPEC}"
            )


_KINDS: Final = {torch.float32: "F32", torch.int32: "I32", torch.int64: "I64", torch.bool: "BOOL"}
"""Numbers of a model, as safetensors calls them."""


def _told(part: tuple[list[int], str] | None) -> str:
    return "missing" if part is None else f"{part[1]} {part[0]}"


def _check_finite(weights: Mapping[str, torch.Tensor]) -> None:
    for name, value in weights.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ValueError(f"{name} is not finite: its training has diverged")
