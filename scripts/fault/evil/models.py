"""Models and states of somebody else, with manifests that fit."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from fault.evil.pickles import payloads
from fault.evil.what import HUGE, MARK, Evil
from fault.files import zipped
from fault.readers import finished
from kgscale.durable import MANIFEST, read_manifest, sealed, write_manifest
from kgscale.training.checkpoints import load_state, save_state

Places = list[tuple[Path, list[str]]]
"""A run's files or folders, and what reads them."""


def models(folder: Path, url: str) -> Iterator[Evil]:
    """In the place of a model's or a state's files, with a manifest that fits; and lies in them."""
    run = folder / "run"
    shutil.copytree(finished(), run)
    state = next((run / "checkpoints").glob("step-*"))
    predict = ["predict", f"run={run}", "relation=r0", "head=1"]
    readers: Places = [(run / "model", predict), (state, _resume(run))]
    yield from _other_files(
        [
            (place / name, command)
            for place, command in readers
            for name in ("model.json", "model.safetensors", "state.json", "tensors.safetensors")
            if (place / name).exists()
        ],
        folder / MARK,
    )
    yield from _manifests(readers)
    yield from _results(run, ["leaderboard", f"runs={run}", f"output={folder / 'form'}"])
    yield from _specs(run, predict)
    yield from _weights(run, predict)


def _resume(run: Path) -> list[str]:
    return [f"resume={run}", "trainer.max_epochs=2"]


def _other_files(places: Places, mark: Path) -> Iterator[Evil]:
    for file, command in places:
        good, shown = file.read_bytes(), file.parent.name
        contents = {f"{name} as": payload for name, payload in payloads(mark).items()}
        contents["a model of torch as"] = zipped({"archive/data.pkl": payloads(mark)["reduce"]})
        for text in (b"[1]", b'"x"', b"7", b"null", b"{}", b"[" * 100_000):
            contents[f"{text[:9]!r} as"] = text
        if file.suffix == ".safetensors":
            contents |= {f"{name} in": content for name, content in false_tensors().items()}
        for name, content in contents.items():
            reseal(file, content)
            yield Evil(f"{name} {file.name}", command, shown)
        reseal(file, good)


def _manifests(readers: Places) -> Iterator[Evil]:
    for place, command in readers:
        told, good = read_manifest(place), (place / MANIFEST).read_bytes()
        for value in ([], {"x": 1}, {"x": {"bytes": "1"}}, None, 7):
            (place / MANIFEST).write_text(sealed({**told, "files": value}))
            yield Evil(f"files {value} in a manifest", command, place.name)
        (place / MANIFEST).write_bytes(good)


def _results(run: Path, form: list[str]) -> Iterator[Evil]:
    results = run / "results.json"
    good = results.read_bytes()
    for content in (b"[" * 200_000, b"[]", b"{}", b'{"status": 7, "metrics": []}'):
        results.write_bytes(content)
        yield Evil(f"{content[:9]!r} as results", form, results.name)
    results.write_bytes(good)


def _specs(run: Path, predict: list[str]) -> Iterator[Evil]:
    spec = run / "model" / "model.json"
    good = spec.read_bytes()
    for name, change in SPECS.items():
        told = json.loads(good)
        change(told)
        reseal(spec, json.dumps(told).encode())
        yield Evil(f"a model with {name}", predict, run.name)
    reseal(spec, good)


def _weights(run: Path, predict: list[str]) -> Iterator[Evil]:
    weights = run / "model" / "model.safetensors"
    kept = load_file(weights)
    first = max(kept, key=lambda name: kept[name].numel())
    for name, value in {
        "a number that is none": torch.full_like(kept[first], torch.nan),
        "long numbers": kept[first].double(),
        "whole numbers": kept[first].to(torch.int8),
    }.items():
        reseal(weights, save({**kept, first: value}))
        yield Evil(f"weights with {name}", predict, first)


def states(folder: Path, url: str) -> Iterator[Evil]:
    """A state in which one part is another thing, and best checkpoints that lack theirs."""
    run = folder / "run"
    state = load_state(next((finished() / "checkpoints").glob("step-*")))
    for path in paths(state):
        for value in LIES:
            if changed(run, "step-*", partial(put, path=path, value=value)):
                told = f"a state whose {'.'.join(map(str, path))} is {value!r}"
                yield Evil(told, _resume(run), "step-", harmless=True)
    for name, change in {
        "no metrics": lambda state: {**state, "metrics": None},
        "no weights": lambda state: {key: state[key] for key in state if key != "state_dict"},
        "other weights": lambda state: {**state, "state_dict": {"x": torch.ones(1)}},
        "a list": lambda state: [state],
    }.items():
        changed(run, "best-*", change)
        (run / "results.json").unlink()
        yield Evil(f"a best checkpoint with {name}", [f"resume={run}"], "best-")


def changed(run: Path, file: str, change: Callable[[Any], Any]) -> bool:
    """A fresh run with another state; False where no state can be written so."""
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(finished(), run)
    place = next((run / "checkpoints").glob(file))
    state = load_state(place)
    try:
        save_state(change(state), place)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


LIES = (None, "x", -1, 10**30, 1.5, [], {}, float("nan"), True)


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """To all parts of a state; of long lists to the first ones."""
    if path:
        yield path
    if "settings" in path[:-1]:
        return  # all of them are compared in one way
    if isinstance(value, dict):
        for key, part in value.items():
            yield from paths(part, (*path, key))
    elif isinstance(value, list):
        for at, part in enumerate(value[:2]):
            yield from paths(part, (*path, at))


def put(state: Any, *, path: tuple[Any, ...], value: Any) -> Any:
    place = state
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return state


def reseal(file: Path, content: bytes) -> None:
    """As somebody would write it who changes the manifest too."""
    told = read_manifest(file.parent)
    file.write_bytes(content)
    (file.parent / MANIFEST).unlink()
    write_manifest(file.parent, {"kind": told["kind"], "schema": told["schema"]})


def false_tensors() -> dict[str, bytes]:
    def tensors(header: Any, size: int | None = None) -> bytes:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(text) if size is None else size) + text + bytes(64)

    def one(**changed: Any) -> dict[str, Any]:
        return {"x": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16], **changed}}

    return {
        "a header of 2^60 bytes": tensors({}, 1 << 60),
        "a header of 2^64 - 1 bytes": tensors({}, (1 << 64) - 1),
        "a tensor of 10^15 numbers": tensors(one(shape=[HUGE])),
        "a tensor beyond the file": tensors(one(shape=[HUGE], data_offsets=[0, 4 * HUGE])),
        "sizes whose product is small again": tensors(one(shape=[1 << 32, 1 << 32])),
        "an end before the beginning": tensors(one(data_offsets=[16, 0])),
        "a negative size": tensors(one(shape=[-4])),
        "lists within lists": tensors(b"[" * 100_000 + b"]" * 100_000),
    }


def _set(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(told: dict[str, Any]) -> None:
        for key in path[:-1]:
            told = told[key]
        told[path[-1]] = value

    return change


SPECS = {
    "a class of another package": _set("encoder", "name", value="os.system"),
    "a name of the class's own": _set("decoder", "name", value="__class__"),
    "a target": _set("encoder", "_target_", value="os.system"),
    "10^15 entities": lambda told: told["types"][-1].update(stop=HUGE),
    "10^15 numbers a vector": _set("encoder", "dim", value=HUGE),
    "a list for a name": _set("encoder", "name", value=["os", "system"]),
    "no encoder": _set("encoder", value=None),
    "10^8 classes": lambda told: told.update(head={"num_classes": 10**8}),
    "a reasoner of 20,000 numbers": lambda told: told.update(
        reasoner={"name": "PathReasoner", "dim": 20_000}
    ),
    "10^9 features": lambda told: told["types"][0].update(features=10**9),
    "100,000 types": lambda told: told.update(
        types=[{"start": n, "stop": n + 1, "features": 1} for n in range(100_000)]
    ),
    "10^30 relations": _set("num_relations", value=10**30),
    "10^5 layers": _set("encoder", "num_layers", value=10**5),
    "a store that is a list": _set("store", value=[1]),
    "a store with a NUL": _set("store", value="/a\0b"),
    "no store": lambda told: told.pop("store"),
    "no fingerprint": lambda told: told.pop("fingerprint"),
    "fewer entities than its graph": lambda told: told["types"][-1].update(
        start=1, stop=told["types"][-1]["stop"] + 1
    ),
}
