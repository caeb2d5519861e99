"""Files that say more about keys: names and classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kgscale.data.audit import Audit
from kgscale.data.files import DataFile
from kgscale.data.tables import Format, read_rows
from kgscale.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFile:
    """Lines of (key, label); a key may have several lines."""

    path: Path
    format: Format = field(default_factory=Format)
    separator: str | None = None
    """Several labels in one field are parted by this."""

    @staticmethod
    def of(setting: str | Path | Mapping[str, Any] | None, name: str) -> LabelFile | None:
        """From a path, or from ``{path, columns, header, delimiter, quote, separator}``."""
        if setting is None:
            return None
        if isinstance(setting, str | Path):
            return LabelFile(path=Path(setting).expanduser())
        options = dict(setting)
        form = Format.of(options)
        for key in fields(Format):
            options.pop(key.name, None)
        path, separator = options.pop("path", None), options.pop("separator", None)
        if path is None or options:
            wrong = f"unknown {sorted(options)}" if options else "no path"
            raise ConfigError(
                f"data.{name} needs path and perhaps columns, header, delimiter, quote, "
                f"separator: {wrong}"
            )
        return LabelFile(path=Path(path).expanduser(), format=form, separator=separator)

    def digest(self) -> str:
        return DataFile(self.path).digest()

    @property
    def paths(self) -> list[Path]:
        return [self.path]

    def settings(self) -> list[Any]:
        return [asdict(self.format), self.separator, DataFile(self.path).kind]

    def read(self, audit: Audit) -> Iterator[tuple[pa.Array, pa.Array]]:
        """Keys and labels, one label per row."""
        for rows in read_rows(DataFile(self.path), self.format, audit, width=2):
            key, label = rows.columns
            if self.separator is not None:
                parts = pc.split_pattern(label, self.separator)
                key = key.take(pc.list_parent_indices(parts))
                label = pc.list_flatten(parts)
                present = pc.not_equal(label, "")
                key, label = key.filter(present), label.filter(present)
            yield key, label
