"""Checkpoints as safetensors and JSON: nothing in them can run code.

A checkpoint is a directory: ``tensors.safetensors`` holds every tensor of the nested state,
``state.json`` the rest, with a placeholder where a tensor stood.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any, Final

import torch
from lightning_fabric.plugins.io.checkpoint_io import CheckpointIO
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from kgscale.errors import DataError, ResourceError

_TENSORS: Final = "tensors.safetensors"
_STATE: Final = "state.json"


def save_state(state: Any, path: Path) -> None:
    """Write nested dicts, lists, tuples, numbers, strings and tensors, atomically."""
    tensors: dict[str, Tensor] = {}
    skeleton = _encode(state, tensors)
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        temporary.mkdir(parents=True)
        save_file(tensors, temporary / _TENSORS)
        (temporary / _STATE).write_text(json.dumps(skeleton))
        for name in (_TENSORS, _STATE):
            _fsync(temporary / name)
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise ResourceError(f"{path}: the checkpoint could not be written: {error}") from error


def load_state(path: Path) -> Any:
    """Read what :func:`save_state` wrote; a broken file is a DataError."""
    try:
        tensors = load_file(path / _TENSORS)
        skeleton = json.loads((path / _STATE).read_text())
        return _decode(skeleton, tensors)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise DataError(
            f"{path}: not a readable checkpoint ({error}); train again, or name another run"
        ) from error


def _fsync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _encode(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"items": [[_encode(k, tensors), _encode(v, tensors)] for k, v in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_encode(item, tensors) for item in value]}
    if isinstance(value, list):
        return [_encode(item, tensors) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint holds plain values and tensors, not {type(value).__name__}")


def _decode(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "tuple":
        return tuple(_decode(item, tensors) for item in content)
    return {_decode(k, tensors): _decode(v, tensors) for k, v in content}


class SafetensorsIO(CheckpointIO):
    """Lightning's checkpoints through :func:`save_state` and :func:`load_state`."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        save_state(checkpoint, Path(path))

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        state = load_state(Path(path))
        assert isinstance(state, dict)
        if map_location is None:
            return state
        device = torch.device("cpu") if callable(map_location) else map_location
        return _move(state, device)  # type: ignore[no-any-return]

    def remove_checkpoint(self, path: Any) -> None:
        shutil.rmtree(path, ignore_errors=True)


def _move(value: Any, device: Any) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: _move(item, device) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_move(item, device) for item in value)
    return value
