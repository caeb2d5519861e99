"""RDF: statements between resources are triples; labels give names, types perhaps classes."""

from __future__ import annotations

import importlib.util
import re
import tempfile
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from kgscale.data.audit import Audit
from kgscale.data.files import COMPRESSION, DataFile, check_growth, unreadable
from kgscale.data.rdf_literals import Described, RdfLiterals, number_of
from kgscale.data.rdf_xml import as_n_triples
from kgscale.data.source import Facts, Labels, Reading
from kgscale.data.tables import Rows
from kgscale.data.triples import TripleFiles
from kgscale.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pyoxigraph import Quad

INSTALL = "pip install -c constraints.txt -e '.[rdf]'"
FORMATS = {
    ".nt": "N_TRIPLES",
    ".nq": "N_QUADS",
    ".ttl": "TURTLE",
    ".trig": "TRIG",
    ".rdf": "RDF_XML",
    ".owl": "RDF_XML",
    ".xml": "RDF_XML",
}
BY_LINE = (".nt", ".nq")
"""Here a broken statement ends with its line, and the parser goes on."""
TYPE = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type"
LABEL = "http://www.w3.org/2000/01/rdf-schema#label"
CHUNK = 1 << 16
"""Statements handed over at once."""
LARGEST = 32 << 20
"""Letters of them: a prefix may be short in the file and long in every statement."""
TOLD = 200
"""Letters of a broken literal that are listed."""
COUNTING = "(counting statements)"
"""The parser tells no lines of statements."""
MADE_ID = re.compile("[a-f][0-9a-f]{15,31}")
"""A blank node that has no label of its own; the parser draws 128 bits for it, at random."""


class RdfFiles(TripleFiles):
    """N-Triples, N-Quads, Turtle, TriG or RDF/XML by suffix, possibly in ``.gz`` or ``.zst``.

    IRIs are keys as they are, blank nodes ``_:id``, literals (if kept) as N-Triples writes them.
    Named graphs are read as one. A directory holds splits, as of ``TripleFiles``.
    """

    kinds: ClassVar[Sequence[str]] = tuple(FORMATS)
    unit: ClassVar[str] = "statement"

    def __init__(
        self,
        *,
        path: str | Path | None,
        name: str | None = None,
        literals: str = "drop",
        rdf_type: str = "relation",
        language: str | None = None,
        base: str | None = None,
        names: str | Mapping[str, Any] | None = None,
        relation_names: str | Mapping[str, Any] | None = None,
        classes: str | Mapping[str, Any] | None = None,
        types: str | Mapping[str, Any] | None = None,
        labels: str | Mapping[str, Any] | None = None,
        label_relation: str | Sequence[str] | None = None,
        label_split: Sequence[float | int] = (0.6, 0.2, 0.2),
        unknown_label: str = "error",
        rare_label: str = "error",
        features: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]] | None = None,
        split: Sequence[float | int] = (0.9, 0.05, 0.05),
        seed: int = 0,
        max_rejected: float | int = 0.001,
        unseen_relation: str = "error",
    ) -> None:
        super().__init__(
            path=path,
            name=name,
            names=names,
            relation_names=relation_names,
            classes=classes,
            types=types,
            labels=labels,
            label_relation=label_relation,
            label_split=label_split,
            unknown_label=unknown_label,
            rare_label=rare_label,
            features=features,
            split=split,
            seed=seed,
            max_rejected=max_rejected,
            unseen_relation=unseen_relation,
        )
        if literals not in ("drop", "entities", "features"):
            raise ConfigError(f"data.literals is drop, entities or features, got {literals!r}")
        if rdf_type not in ("relation", "class"):
            raise ConfigError(f"data.rdf_type is relation or class, got {rdf_type!r}")
        if importlib.util.find_spec("pyoxigraph") is None:
            raise ConfigError(f"data=rdf needs the package pyoxigraph: {INSTALL}")
        self.literals, self.rdf_type = literals, rdf_type
        self.language, self.base = language, base
        self._about = _Kept()
        self._literals = RdfLiterals(self.path)

    def read(self, audit: Audit, scratch: Path) -> Reading:
        self._literals = RdfLiterals(self.path)
        reading = super().read(audit, scratch)
        if self.literals != "features":
            return reading
        return replace(reading, features=[*reading.features, self._literals])

    def files(self) -> dict[str, DataFile]:
        files = super().files()
        for file in files.values():
            if file.kind not in FORMATS:
                raise ConfigError(
                    f"data.path: {file.path} is none of {', '.join(FORMATS)} "
                    f"(or {' or '.join(COMPRESSION)} of these): rename it by its format, "
                    "or read a table with data=triples"
                )
        return files

    def _settings(self) -> dict[str, Any]:
        mine = [self.literals, self.rdf_type, self.language, self.base]
        return {**super()._settings(), "rdf": mine}

    def _facts(self, audit: Audit) -> Iterator[Facts]:
        self._about, found = _Kept(), 0
        for facts in super()._facts(audit):
            found += len(facts.head)
            if facts.node_labels is not None:
                file = f"{facts.node_labels.file} {COUNTING}"
                facts = replace(facts, node_labels=replace(facts.node_labels, file=file))
            yield facts
        if not found:
            raise DataError(
                f"{self.path} has no statement that joins two resources: give another file, "
                "or keep literals with data.literals=entities"
            )

    def _entities(self, audit: Audit) -> Iterator[Labels]:
        # A generator: what is kept is known when the facts have been read.
        yield from self._about.read()
        yield from super()._entities(audit)

    def _rows(self, file: DataFile, audit: Audit) -> Iterator[Rows]:
        """Head, relation and tail; names and classes are kept for later."""
        sorter, before, made = self._sorter(file), 0, 0
        packed = file.path.stat().st_size
        for number, quad in enumerate(_statements(file, self.base, audit), start=1):
            made += sorter.add(number, quad)
            if number % CHUNK == 0 or made - before > LARGEST:
                check_growth(str(file.path), packed, made)
                before = made
                yield self._flush(sorter, file, audit)
        yield self._flush(sorter, file, audit)

    def _sorter(self, file: DataFile) -> _Sorter:
        return _Sorter(
            scope=f"{file.path.name.partition('.')[0]}/" if self.path.is_dir() else "",
            makes_ids=file.kind not in BY_LINE,
            keep_literals=self.literals == "entities",
            describe=self.literals == "features",
            labels=frozenset(self.withheld or ()),
            language=self.language,
            name=LABEL if self.names is None else None,
            class_=TYPE if self.rdf_type == "class" else None,
        )

    def _flush(self, sorter: _Sorter, file: DataFile, audit: Audit) -> Rows:
        """What has gathered since the last time."""
        triples, line, said, left_out = sorter.take()
        audit.accept(len(triples) + left_out.total())
        for reason, count in sorted(left_out.items()):
            audit.leave_out(reason, count)
        for number, reason, told in sorter.broken:
            audit.reject(f"{file.path.name} {COUNTING}", number, reason, told)
        self._about.add(said)
        self._literals.keep(sorter.described)
        sorter.described, sorter.broken = [], []
        columns = [pa.array([row[at] for row in triples], pa.string()) for at in range(3)]
        return Rows(columns=columns, line=np.array(line, np.int64))


def _statements(file: DataFile, base: str | None, audit: Audit) -> Iterator[Quad]:
    """All statements; broken ones are counted where the parser can go on."""
    from pyoxigraph import RdfFormat, parse

    form = getattr(RdfFormat, FORMATS[file.kind])
    with file.open() as stream:
        given: Any = _Ending(stream)
        try:
            found = parse(given, format=form, base_iri=base)
        except ValueError as error:
            raise ConfigError(f"data.base is no IRI: {base!r} ({error})") from error
        if form == RdfFormat.RDF_XML:
            yield from _from_xml(file, stream, base, audit)
            return
        # The parser may stumble several times over a line.
        broken = None
        while True:
            try:
                yield next(found)
            except StopIteration:
                if broken is not None and broken == given.unended:
                    words = "the last line is broken and has no end, as if the file were cut"
                    raise DataError(f"{file.path} line {broken}: {words}: correct it") from None
                return
            except SyntaxError as error:
                if error.lineno is None or error.lineno != broken:
                    _broken(file, error.lineno, error.msg, audit)
                broken = error.lineno
            except MemoryError as error:  # the parser's own limit of a line
                raise DataError(f"{file.path}: a line of more than 16 MiB: correct it") from error
            except (OSError, EOFError, pa.ArrowException) as error:
                raise unreadable(file.path, error) from error


class _Ending:
    """Knows how a file ends."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._newlines, self._last = stream, 0, b"\n"

    def read(self, size: int = -1) -> bytes:
        piece: bytes = self._stream.read(size)
        self._newlines += piece.count(b"\n")
        self._last = piece or self._last
        return piece

    @property
    def unended(self) -> int | None:
        """The last line, where no newline follows it."""
        return None if self._last.endswith(b"\n") else self._newlines + 1


def _from_xml(file: DataFile, stream: Any, base: str | None, audit: Audit) -> Iterator[Quad]:
    """Read by a process that can't ask for much memory."""
    from pyoxigraph import RdfFormat, parse

    with as_n_triples(stream, base) as (lines, ended):
        try:
            yield from parse(lines, format=RdfFormat.N_TRIPLES)
        except MemoryError as error:  # the parser's own limit of a line
            words = "a text of more than 16 MiB, perhaps by entities within entities"
            raise DataError(f"{file.path}: {words}: correct it") from error
        except SyntaxError:
            while lines.read(1 << 16):  # half a line is the last of a process that was stopped
                pass
        try:
            why = ended()
        except (OSError, EOFError, pa.ArrowException) as error:
            raise unreadable(file.path, error) from error
    if why is not None:
        line, words = why
        _broken(file, line, words, audit)


def _broken(file: DataFile, line: int | None, words: str, audit: Audit) -> None:
    """The parser's words tell line and column."""
    words = " ".join(words.split())
    if file.kind in BY_LINE and line is not None:
        audit.reject(file.path.name, line, "syntax error", words)
        return
    hint = ", or give relative IRIs a start with data.base" if "scheme" in words else ""
    place = "" if line is None else f" line {line}"
    raise DataError(f"{file.path}{place}: {words}: correct it{hint}")


@dataclass(slots=True, kw_only=True)
class _Sorter:
    """Tells facts from names, classes, and what is left out."""

    scope: str
    """Before the labels of blank nodes, if there are several files."""
    makes_ids: bool
    """Whether a blank node can be without a label."""
    keep_literals: bool
    describe: bool
    """Whether literals describe their subjects."""
    labels: frozenset[str]
    """Relations whose tails are node labels: literals too, by their text."""
    language: str | None
    name: str | None
    """The relation that gives names."""
    class_: str | None
    triples: list[tuple[str, str, str]] = field(default_factory=list)
    line: list[int] = field(default_factory=list)
    said: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    described: list[Described] = field(default_factory=list)
    broken: list[tuple[int, str, str]] = field(default_factory=list)
    """Statements that nothing can be made of: their numbers, why, and what they say."""
    left_out: Counter[str] = field(default_factory=Counter)
    made: dict[str, str] = field(default_factory=dict)
    """Random labels of blank nodes, numbered as they come."""

    def add(self, number: int, quad: Quad) -> int:
        """Returns the letters of its parts."""
        # The parser copies a part each time that it is asked for one.
        subject: Any = quad.subject
        target: Any = quad.object
        predicate, kind = quad.predicate.value, type(target).__name__
        if kind == "Triple" or type(subject).__name__ == "Triple":
            self.left_out["statement about a statement"] += 1
            return len(predicate)
        head, value = self._key(subject), target.value
        if kind == "Literal":
            self._add_literal(number, head, predicate, target, value)
        elif predicate == self.class_:
            self.said.append((head, None, self._key(target)))
            self.left_out["rdf:type, which gives classes"] += 1
        else:
            self._add_triple(number, head, predicate, self._key(target))
        return len(head) + len(predicate) + len(value)

    def _add_literal(
        self, number: int, head: str, predicate: str, literal: Any, value: str
    ) -> None:
        if predicate in self.labels:
            self._add_triple(number, head, predicate, value)
        elif predicate == self.name:
            if self.language is None or literal.language in (None, self.language.lower()):
                self.said.append((head, value, None))
            self.left_out["rdfs:label, which gives names"] += 1
        elif self.keep_literals:
            self._add_triple(number, head, predicate, str(literal))
        elif self.describe:
            self._describe(number, head, predicate, literal, value)
        else:
            self.left_out[f"literal of {predicate}"] += 1

    def _describe(self, number: int, head: str, predicate: str, literal: Any, value: str) -> None:
        try:
            found = number_of(value, literal.datatype.value)
        except ValueError as error:
            told = "\t".join([head, predicate, str(literal)[:TOLD]])
            self.broken.append((number, str(error), told))
            return
        self.described.append((head, predicate, found, value if found is None else None))
        self.left_out["literal, which describes an entity"] += 1

    def _add_triple(self, number: int, head: str, predicate: str, tail: str) -> None:
        self.triples.append((head, predicate, tail))
        self.line.append(number)

    def _key(self, node: Any) -> str:
        value: str = node.value
        if type(node).__name__ != "BlankNode":
            return value
        if self.makes_ids and MADE_ID.fullmatch(value):
            # No label can hold a "#": these keys are nobody else's.
            value = self.made.setdefault(value, f"#{len(self.made) + 1}")
        return f"_:{self.scope}{value}"

    def take(self) -> tuple[list[tuple[str, str, str]], list[int], list[Any], Counter[str]]:
        taken = self.triples, self.line, self.said, self.left_out
        self.triples, self.line, self.said, self.left_out = [], [], [], Counter()
        return taken


class _Kept:
    """Names and classes, in a temporary file until the facts are read."""

    schema = pa.schema([(name, pa.string()) for name in ("key", "name", "class")])

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as this)
        self._writer = pa.ipc.new_stream(self._file, self.schema)
        weakref.finalize(self, self._file.close)

    def add(self, rows: list[tuple[str, str | None, str | None]]) -> None:
        if rows:
            columns = [pa.array([row[at] for row in rows], pa.string()) for at in range(3)]
            self._writer.write_batch(pa.record_batch(columns, schema=self.schema))

    def read(self) -> Iterator[Labels]:
        self._writer.close()
        self._file.seek(0)
        for batch in pa.ipc.open_stream(self._file):
            key, name, class_ = batch.columns
            yield Labels(key=key, name=name, class_=class_)
