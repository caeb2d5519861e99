"""Numbers and texts that are said of entities as triples: a column for each attribute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kgscale.data.columns import FLOAT, VECTOR, TextEncoder, as_numbers, sound, strict_rows
from kgscale.data.database import Database
from kgscale.data.described import Described, Part
from kgscale.data.files import DataFile
from kgscale.data.matrices import DenseMatrix
from kgscale.data.parts import NumberPart, VectorPart
from kgscale.data.spool import PIECE, mapped
from kgscale.data.tables import Format
from kgscale.errors import ConfigError, DataError

MEMORY = "256MB"
LITERAL = pa.schema(
    [
        ("key", pa.string()),
        ("attribute", pa.string()),
        ("number", pa.float64()),
        ("text", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiteralFile:
    """Lines of (entity, attribute, value); an entity may have several of one attribute."""

    path: Path
    format: Format = field(default_factory=Format)
    text: tuple[str, ...] = ()
    """Attributes whose values are texts; all others are numbers."""
    least: int = 1
    """Entities that an attribute of numbers must have, to get a column."""
    encoder: TextEncoder
    told: tuple[str | int, ...] = ()
    """The settings of the encoder."""
    type: str | None = None
    """The storage type that all keys must have."""

    def __post_init__(self) -> None:
        if self.least < 1:
            raise ConfigError(f"data.features: least needs at least 1 entity, got {self.least}")

    def digest(self) -> str:
        return DataFile(self.path).digest()

    def settings(self) -> list[Any]:
        form = asdict(self.format)
        kind = DataFile(self.path).kind
        return ["literals", kind, form, self.text, self.least, list(self.told), self.type]

    @property
    def paths(self) -> list[Path]:
        return [self.path]

    def open(self, scratch: Path, add: Callable[[pa.Array], None]) -> Described:
        """The columns; ``add`` gets the keys of rows, in order. Copies go to ``scratch``."""
        scratch.mkdir()
        with LiteralTable(scratch) as table:
            for chunk in self._read():
                table.insert(chunk)
            return table.columns(
                self.path,
                add,
                least=self.least,
                encoder=self.encoder,
                text=tuple(sorted(self.text)),
                told=self.told,
            )

    def _read(self) -> Iterator[pa.Table]:
        texts = pa.array(self.text, pa.string())
        file = DataFile(self.path)
        for key, (attribute, value), line in strict_rows(file, self.format, width=3):
            is_text = pc.is_in(attribute, value_set=texts)
            number = as_numbers(value)
            assert number is not None
            wrong = np.flatnonzero(~np.asarray(is_text) & ~sound(number))
            if len(wrong):
                at = int(wrong[0])
                raise DataError(
                    f"{self.path} line {line[at]}: {value[at].as_py()!r} is no finite number: "
                    f"correct it, or say that {attribute[at].as_py()!r} has texts with text: […]"
                )
            nothing = pa.nulls(len(value), pa.string())
            columns = [key, attribute, pa.array(number), pc.if_else(is_text, value, nothing)]
            yield pa.table(columns, schema=LITERAL)


class LiteralTable:
    """Literals on disk, which become a row for each entity that has any."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._database = Database(scratch / "literals", threads=1, memory=MEMORY)
        self._database.run(
            "CREATE TABLE literal (key VARCHAR, attribute VARCHAR, number DOUBLE, text VARCHAR)"
        )

    def insert(self, chunk: pa.Table) -> None:
        """Rows of ``LITERAL``: a number where the text is null."""
        self._database.insert("literal", chunk)

    def columns(
        self,
        path: Path,
        add: Callable[[pa.Array], None],
        *,
        least: int,
        encoder: TextEncoder,
        told: tuple[str | int, ...],
        text: tuple[str, ...] = (),
    ) -> Described:
        """Numbers by attribute, in the order of their bytes (of several the median); then all
        texts of an entity as one vector, in the order of attributes and bytes.

        Args:
            told: the settings of the encoder.
            text: the attributes that have texts, if they are named.
        """
        run = self._database.run
        run("CREATE TABLE owner AS SELECT DISTINCT key FROM literal ORDER BY key")
        rows = 0
        for batch in self._database.stream("SELECT key FROM owner ORDER BY rowid"):
            add(batch["key"])
            rows += len(batch)
        if not rows:
            raise DataError(f"{path} has no literal: give entity, attribute and value of some")
        run(
            f"""CREATE TABLE attribute AS SELECT attribute FROM literal WHERE text IS NULL
            GROUP BY attribute HAVING count(DISTINCT key) >= {least} ORDER BY attribute"""
        )
        found = run("SELECT attribute FROM attribute ORDER BY rowid")
        attributes = tuple(attribute for (attribute,) in found)
        ((texts,),) = run("SELECT count(text) FROM literal")
        parts: list[Part] = []
        if attributes:
            numbers = DenseMatrix(path, self._numbers(rows, len(attributes)))
            parts.append(NumberPart(numbers, attributes))
        if texts:
            parts.append(VectorPart(DenseMatrix(path, self._texts(rows, encoder)), text, told))
        if not parts:
            raise DataError(
                f"{path}: no attribute has {least:,} entities: lower least in data.features"
            )
        return Described(rows, parts, "literals")

    def _numbers(self, rows: int, attributes: int) -> NDArray[np.float64]:
        flat = mapped(self._scratch / "numbers.raw", FLOAT, rows * attributes)
        for start in range(0, len(flat), PIECE):
            flat[start : start + PIECE] = np.nan
        found = self._database.stream(
            f"""SELECT owner.rowid * {attributes} + attribute.rowid AS place,
                median(number) AS number
            FROM literal JOIN owner USING (key) JOIN attribute USING (attribute)
            WHERE text IS NULL GROUP BY place"""
        )
        for batch in found:
            flat[batch["place"].to_numpy()] = batch["number"].to_numpy()
        return flat.reshape(rows, attributes)

    def _texts(self, rows: int, encoder: TextEncoder) -> NDArray[np.float32]:
        width = encoder.width()
        vectors = mapped(self._scratch / "texts.raw", VECTOR, rows * width).reshape(rows, width)
        found = self._database.stream(
            """SELECT owner.rowid AS row, string_agg(text, chr(10) ORDER BY attribute, text) AS text
            FROM literal JOIN owner USING (key) WHERE text IS NOT NULL GROUP BY row"""
        )
        for batch in found:
            vectors[batch["row"].to_numpy()] = encoder.encode(batch["text"].to_pylist())
        return vectors

    def __enter__(self) -> LiteralTable:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._database.__exit__(kind, error, trace)
