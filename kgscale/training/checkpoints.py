"""Checkpoints as safetensors and JSON: nothing in them can run code.

A checkpoint is a directory: ``tensors.safetensors`` holds every tensor of the nested state,
``state.json`` the rest, with a placeholder where a tensor stood; ``manifest.json`` their hashes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from lightning_fabric.plugins.io.checkpoint_io import CheckpointIO
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from kgscale.durable import check_manifest, remove_directory, whole_directory, write_manifest
from kgscale.errors import DataError, ResourceError

_TENSORS: Final = "tensors.safetensors"
_STATE: Final = "state.json"
SCHEMA: Final = 2
SUFFIX: Final = ".ckpt"
"""Of a checkpoint's directory."""
BEST: Final = "best-"
"""How the names of those begin that validation chose."""


def save_state(state: Any, path: Path) -> None:
    """Write nested dicts, lists, tuples, numbers, strings and tensors, atomically."""
    tensors: dict[str, Tensor] = {}
    skeleton = _encode(state, tensors)
    try:
        with whole_directory(path, replace=True) as (content, _):
            save_file(_unshared(tensors), content / _TENSORS)
            (content / _STATE).write_text(json.dumps(skeleton), encoding="utf-8")
            write_manifest(content, {"kind": "checkpoint", "schema": SCHEMA})
    except SafetensorError as error:
        raise ResourceError(f"{path}: the checkpoint could not be written ({error})") from error


def load_state(path: Path) -> Any:
    """Read what :func:`save_state` wrote; a file that has changed since is a DataError."""
    try:
        told = check_manifest(path)
        if (told["kind"], told["schema"]) != ("checkpoint", SCHEMA):
            raise ValueError(f"{told['kind']} of schema {told['schema']}, not {SCHEMA}")
        skeleton = json.loads((path / _STATE).read_text(encoding="utf-8"))
        return _decode(skeleton, load_file(path / _TENSORS))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        raise DataError(
            f"{path}: not a readable checkpoint ({error}); train again, or name another run"
        ) from error


def _unshared(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies where several share memory, which the format refuses."""
    seen: set[int] = set()
    found = {}
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage().data_ptr()
        found[name] = tensor.clone() if storage in seen else tensor
        seen.add(storage)
    return found


def _encode(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous()
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
    """Lightning's checkpoints through :func:`save_state` and :func:`load_state`.

    Args:
        folder: of the run's checkpoints. Nothing elsewhere is ever removed, whatever a state that
            came from somebody else calls its best one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.restored: dict[str, Any] | None = None
        """What a checkpoint that a Trainer begins with has in it, read already."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        save_state(checkpoint, Path(path))

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        state, self.restored = self.restored, None
        if state is None:
            state = load_state(Path(path))
        assert isinstance(state, dict)
        if map_location is None:
            return state
        device = torch.device("cpu") if callable(map_location) else map_location
        return _move(state, device)  # type: ignore[no-any-return]

    def remove_checkpoint(self, path: Any) -> None:
        """Only :meth:`sweep` removes it: what is on disk may name it until then."""

    def sweep(self, callbacks: Mapping[str, Any]) -> None:
        """Remove the checkpoints in the folder that no callback's state names (one that a process
        left when it was killed, too)."""
        kept = {
            Path(path).name
            for state in callbacks.values()
            for path in (*state.get("best_k_models", ()), state.get("best_model_path"))
            if path
        }
        if self.folder.is_symlink():
            return
        for place in self.folder.glob(f"{BEST}*{SUFFIX}"):
            if place.name not in kept:
                remove_directory(place)


def _move(value: Any, device: Any) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: _move(item, device) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_move(item, device) for item in value)
    return value
