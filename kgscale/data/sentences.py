"""Texts as numbers by a model of the package ``sentence-transformers`` (extra ``text``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kgscale.errors import ConfigError

PREFIX = "sentence-transformers/"
INSTALL = "pip install -c constraints.txt -e '.[text]'"


@dataclass(slots=True)
class SentenceEncoder:
    """A row of length 1 for each text, zeros for none; loaded when it is first asked.

    Args:
        name: ``sentence-transformers/MODEL``, the model one of that publisher, of another as
            ``sentence-transformers/PUBLISHER/MODEL``, or the path of a folder.
        download: whether the model may be fetched where the cache lacks it.
    """

    name: str
    download: bool = False
    _model: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.name.startswith(PREFIX) or self.name == PREFIX:
            raise ConfigError(
                f"data.features: encoder is {PREFIX}MODEL, or null for hashed n-grams, "
                f"got {self.name!r}"
            )

    def width(self) -> int:
        # The method that tells it has two names, by version.
        return len(self._encoded(["width"])[0])

    def encode(self, texts: Sequence[str | None]) -> NDArray[np.float32]:
        rows = np.zeros((len(texts), self.width()), np.float32)
        said = [at for at, text in enumerate(texts) if text]
        if said:
            rows[said] = self._encoded([texts[at] for at in said])
        return rows

    def _encoded(self, texts: Sequence[Any]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self._loaded().encode(
            list(texts), convert_to_numpy=True, normalize_embeddings=True, show_progress_bar=False
        )
        return found

    def _loaded(self) -> Any:
        if self._model is None:
            try:
                from sentence_transformers import SentenceTransformer
            except ImportError as error:
                raise ConfigError(
                    f"data.features: encoder {self.name!r} needs the package "
                    f"sentence-transformers: {INSTALL}"
                ) from error
            try:
                # No code and no pickle of a stranger's: weights as safetensors, or none.
                self._model = SentenceTransformer(
                    self.name.removeprefix(PREFIX),
                    device="cpu",
                    trust_remote_code=False,
                    local_files_only=not self.download,
                    model_kwargs={"use_safetensors": True},
                )
            except (OSError, ValueError) as error:
                reason = str(error).partition("\n")[0]
                hint = "" if self.download else ", or let it be fetched with download: true"
                raise ConfigError(
                    f"data.features: encoder {self.name!r} can't be loaded ({reason}): give a model"
                    f" that is in the cache, as safetensors{hint}"
                ) from error
        return self._model
