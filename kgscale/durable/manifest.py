"""What a directory holds, as it was written: sizes, hashes, versions."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

MANIFEST: Final = "manifest.json"
_DIGEST: Final = "digest"
BLOCK: Final = 64 << 20
_LARGEST: Final = 64 << 20
"""Bytes of a manifest: a larger one is none of ours."""

Entry = dict[str, Any]


def block_hashes(path: Path) -> list[str]:
    found = []
    with path.open("rb", buffering=0) as file:
        while block := _block(file):
            found.append(block)
    return found


def _block(file: Any) -> str | None:
    known, left = hashlib.blake2b(digest_size=16), BLOCK
    while left and (part := file.read(min(left, 1 << 20))):
        known.update(part)
        left -= len(part)
    return None if left == BLOCK else known.hexdigest()


def file_hash(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=32).hexdigest()


def hash_files(directory: Path, names: Iterable[str], *, threads: int = 2) -> dict[str, Entry]:
    """Size and block hashes of each file."""
    names = list(names)

    def entry(name: str) -> Entry:
        path = directory / name
        return {"bytes": path.stat().st_size, "blocks": block_hashes(path)}

    with ThreadPoolExecutor(threads) as pool:
        return dict(zip(names, pool.map(entry, names), strict=True))


def first_difference(found: Entry, expected: Entry) -> str:
    """In words, where a file differs from what was written."""
    if found["bytes"] != expected["bytes"]:
        return f"it has {found['bytes']:,} bytes instead of {expected['bytes']:,}"
    pairs = zip(found["blocks"], expected["blocks"], strict=True)
    block = next(number for number, (is_, was) in enumerate(pairs) if is_ != was)
    return f"block {block} of {BLOCK >> 20} MiB differs from what was written"


def write_manifest(directory: Path, about: Mapping[str, Any]) -> None:
    """Describe all files that are there: the last one to be written."""
    names = sorted(_files(directory))
    content = {
        **about,
        "files": hash_files(directory, names),
        "versions": {name: version(name) for name in ("kgscale", "torch", "safetensors")},
    }
    (directory / MANIFEST).write_bytes(sealed(content).encode())


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        OSError: it can't be read, or is a pipe or a device, which might never end.
        ValueError: it is no text.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no file, but a pipe, a device or a directory", str(path))
    return path.read_text(encoding="utf-8")


def read_manifest(directory: Path) -> dict[str, Any]:
    """What :func:`write_manifest` wrote.

    Raises:
        ValueError: it is missing, or not as it was written.
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise ValueError(f"it has no {MANIFEST}")
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"{MANIFEST} is too large")
    content = unsealed(path)
    files = content.get("files")
    if not isinstance(files, dict) or not all(_is_entry(entry) for entry in files.values()):
        raise ValueError(f"{MANIFEST} does not tell what files there are")
    return content


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("bytes"), int)
        and isinstance(entry.get("blocks"), list)
    )


def check_manifest(directory: Path, *, beside: Collection[str] = ()) -> dict[str, Any]:
    """The manifest, after comparing every byte of the directory with it; sizes first.

    Args:
        beside: what may be there too, and is not looked at.

    Raises:
        ValueError: what is there is not what was written.
    """
    content = read_manifest(directory)
    files: dict[str, Entry] = content["files"]
    there = {name: file for name, file in _files(directory).items() if name not in beside}
    del there[MANIFEST]
    for name in sorted(files.keys() ^ there.keys()):
        raise ValueError(f"{name} is {'missing' if name in files else 'not part of it'}")
    for name, file in there.items():
        if file.is_symlink() or not file.is_file():
            raise ValueError(f"{name} is no plain file")
        if file.stat().st_size != files[name]["bytes"]:
            found = {"bytes": file.stat().st_size}
            raise ValueError(f"{name}: {first_difference(found, files[name])}")
    for name, found in hash_files(directory, files).items():
        if found != files[name]:
            raise ValueError(f"{name}: {first_difference(found, files[name])}")
    return content


def _files(directory: Path) -> dict[str, Path]:
    """All that is there, in directories within it too, by its path from there."""
    return {
        file.relative_to(directory).as_posix(): file
        for file in directory.rglob("*")
        if file.is_symlink() or not file.is_dir()
    }


def sealed(content: Mapping[str, Any]) -> str:
    """JSON with a digest of itself: there is only one way to write it."""
    text = json.dumps(content, sort_keys=True)
    digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return json.dumps({**content, _DIGEST: digest}, sort_keys=True, indent=1) + "\n"


def unsealed(path: Path) -> dict[str, Any]:
    """What :func:`sealed` made a text of.

    Raises:
        ValueError: the file is not that text.
    """
    text = path.read_bytes().decode()  # to the byte: reading text takes any line end for another
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} has no object in it")
    digest = content.pop(_DIGEST, None)
    if digest is None or sealed(content) != text:
        raise ValueError(f"{path.name} has changed since it was written")
    return content
