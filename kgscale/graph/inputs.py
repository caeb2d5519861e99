"""Remember what an input hashed to, so that it is read once and not at every start."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path

from kgscale.data.source import Source
from kgscale.durable import write_text
from kgscale.errors import ResourceError

FILE = "inputs.json"
SETTLED = 2.0
"""Seconds after which a file that changes again surely gets another modification time."""


def digest_of(source: Source, root: Path) -> str:
    """The source's digest; from the record if its files and settings are as they were."""
    stamp, changed = source.stamp()
    record = _load(root / FILE)
    if stamp in record:
        return record[stamp]
    started = time.time()
    digest = source.digest()
    if started - changed > SETTLED and source.stamp()[0] == stamp:
        _save(root / FILE, {**record, stamp: digest})
    return digest


def _load(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _save(path: Path, record: dict[str, str]) -> None:
    """Only a convenience: where it cannot be written the input is hashed again next time."""
    with suppress(ResourceError, OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(record, indent=1))
