"""A model of sentence-transformers: asked for as it should be, and missed in one sentence."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from kgscale.data.sentences import SentenceEncoder
from kgscale.errors import ConfigError


class FakeModel:
    """Stands for ``SentenceTransformer``: a text is its length and one."""

    made: list[tuple[str, dict[str, Any]]]

    def __init__(self, name: str, **options: Any) -> None:
        if name == "unknown":
            raise OSError("unknown is not in the cache\nand more")
        self.made.append((name, options))

    def encode(self, texts: list[str], **options: Any) -> np.ndarray:
        assert options["normalize_embeddings"]
        return np.array([[len(text), 1] for text in texts], np.float32)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeModel]:
    module = ModuleType("sentence_transformers")
    FakeModel.made = []
    module.SentenceTransformer = FakeModel  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    return FakeModel


def test_texts_are_encoded_and_none_is_zeros(fake: type[FakeModel]) -> None:
    encoder = SentenceEncoder("sentence-transformers/some-model")
    assert not fake.made
    found = encoder.encode(["abc", None, "", "a"])
    np.testing.assert_array_equal(found, [[3, 1], [0, 0], [0, 0], [1, 1]])
    ((name, options),) = fake.made
    assert name == "some-model"
    assert options["local_files_only"]
    assert not options["trust_remote_code"]
    assert options["model_kwargs"] == {"use_safetensors": True}


def test_nothing_is_fetched_unless_it_is_asked_for(fake: type[FakeModel]) -> None:
    assert SentenceEncoder("sentence-transformers/intfloat/e5-small", download=True).width() == 2
    assert fake.made[0][0] == "intfloat/e5-small"
    assert not fake.made[0][1]["local_files_only"]


def test_what_is_missing_is_said(fake: type[FakeModel], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"not in the cache.*download: true"):
        SentenceEncoder("sentence-transformers/unknown").encode(["a"])
    with pytest.raises(ConfigError, match="encoder is sentence-transformers/MODEL"):
        SentenceEncoder("word2vec")
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ConfigError, match=r"needs the package.*\[text\]"):
        SentenceEncoder("sentence-transformers/some-model").encode(["a"])
