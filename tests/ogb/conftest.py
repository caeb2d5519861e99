"""OGB's own loaders, kept from the network and from asking questions."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import NoReturn

import pytest


@pytest.fixture
def ogb(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The package ``ogb``; skips where it isn't installed.

    While it is imported it starts a thread that asks PyPI for a newer version, unless the package
    ``outdated`` is missing: so here it is.
    """

    def refuse(*args: object, **kwargs: object) -> NoReturn:
        raise AssertionError(f"OGB's loader asks or fetches something: {args}")

    monkeypatch.setattr("builtins.input", refuse)
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setitem(sys.modules, "outdated", None)
    package: ModuleType = pytest.importorskip(
        "ogb", reason="needs OGB's own loaders: pip install ogb"
    )
    for part in ("linkproppred", "lsc", "nodeproppred"):
        pytest.importorskip(f"ogb.{part}")
    return package
