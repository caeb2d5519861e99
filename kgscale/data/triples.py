"""Your own triples: a file to be split, or a directory with its splits; labels and features."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kgscale.data.audit import Audit
from kgscale.data.feature_files import DescribingFile, feature_files
from kgscale.data.files import KINDS, DataFile, clean, split_files, stamp, stem
from kgscale.data.labels import LabelFile
from kgscale.data.node_labels import NodeLabelFiles
from kgscale.data.source import Facts, Labels, NodeLabelRows, Reading
from kgscale.data.splits import LabelRule, SplitRule, three
from kgscale.data.tables import Column, Format, Rows, read_rows
from kgscale.data.withheld import Withheld
from kgscale.errors import ConfigError, DataError

Lines: TypeAlias = NDArray[np.int64]
READER = 2
"""Part of the digest: raise it when the same input gives another result."""


class TripleFiles:
    """Triples from TSV, CSV or Parquet, possibly in ``.gz`` or ``.zst``.

    A directory holds ``train`` and perhaps ``valid`` and ``test``; what is missing is made from
    ``train``. Lines are taken literally: see ``kgscale.data.scan``.
    """

    kinds: ClassVar[Sequence[str]] = KINDS
    """Suffixes of files of triples."""
    unit: ClassVar[str] = "line"
    """What the numbers of triples count."""

    def __init__(
        self,
        *,
        path: str | Path | None,
        name: str | None = None,
        prefix: str = "",
        inductive: Mapping[str, Any] | None = None,
        columns: Sequence[Column] | None = None,
        relation: str | None = None,
        undirected: bool = False,
        header: bool | None = None,
        delimiter: str | None = None,
        quote: str | None = None,
        names: str | Mapping[str, Any] | None = None,
        relation_names: str | Mapping[str, Any] | None = None,
        classes: str | Mapping[str, Any] | None = None,
        types: str | Mapping[str, Any] | None = None,
        labels: str | Mapping[str, Any] | None = None,
        label_relation: str | Sequence[str] | None = None,
        label_split: Sequence[float | int] = (0.6, 0.2, 0.2),
        unknown_label: str = "error",
        rare_label: str = "error",
        label_numbers: bool = False,
        features: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]] | None = None,
        split: Sequence[float | int] = (0.9, 0.05, 0.05),
        seed: int = 0,
        max_rejected: float | int = 0.001,
        unseen_relation: str = "error",
    ) -> None:
        if path is None:
            raise ConfigError("data.path is not set: give a file of triples or a directory")
        if not 0 <= max_rejected <= 1:
            raise ConfigError(f"data.max_rejected is a share from 0 to 1, got {max_rejected}")
        self.path, self.prefix = Path(path).expanduser(), prefix
        self.name = clean(name or prefix + stem(self.path, self.kinds), "triples")
        self.format = Format(
            columns=None if columns is None else tuple(columns),
            header=header,
            delimiter=delimiter,
            quote=quote,
        )
        self.relation, self.undirected = relation, undirected
        self.split = SplitRule(ratio=three(split, "split"), seed=seed)
        self.names = LabelFile.of(names, "names")
        self.relation_names = LabelFile.of(relation_names, "relation_names")
        self.classes = LabelFile.of(classes, "classes")
        self.types = LabelFile.of(types, "types")
        self.labels = NodeLabelFiles.of(labels)
        self.features = feature_files(features)
        self.withheld = [label_relation] if isinstance(label_relation, str) else label_relation
        self.label_rule = LabelRule(
            ratio=three(label_split, "label_split"),
            seed=seed,
            drop_unknown=_drop(unknown_label, "unknown_label"),
            drop_rare=_drop(rare_label, "rare_label"),
            entities=self.labels is None and not label_numbers,
            numbers=label_numbers,
        )
        self.max_rejected = max_rejected
        self.drop_unseen = _drop(unseen_relation, "unseen_relation")
        self.known_relations: pa.Array = pa.array([], pa.string())
        """What train has besides the files' own: those of a store that they are added to."""
        self.inductive: TripleFiles | None = None
        if inductive is not None:
            self.inductive = self._other(inductive)

    def _other(self, given: Mapping[str, Any]) -> TripleFiles:
        """Another graph with the same relations, read as this one but for what is ``given``."""
        known = ("path", "prefix", "name", "names")
        for name in sorted(given.keys() - set(known)):
            raise ConfigError(
                f"there is no setting data.inductive.{name}; it has {', '.join(known)}"
            )
        return TripleFiles(
            **{"path": self.path, **given},
            columns=self.format.columns,
            header=self.format.header,
            delimiter=self.format.delimiter,
            quote=self.format.quote,
            relation=self.relation,
            undirected=self.undirected,
            split=self.split.ratio,
            seed=self.split.seed,
            max_rejected=self.max_rejected,
            unseen_relation="drop" if self.drop_unseen else "error",
        )

    def describe(self) -> str:
        return f"Your own triples from {self.path}; their terms of use are yours to know."

    def files(self) -> dict[str, DataFile]:
        """The file of each split; ``open`` is one still to be divided."""
        return split_files(self.path, prefix=self.prefix, kinds=self.kinds)

    def digest(self) -> str:
        files = {split: file.digest() for split, file in self.files().items()}
        labels = {name: file.digest() for name, file in self._more_files().items()}
        text = json.dumps([self._settings(), files, labels], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()

    def stamp(self) -> tuple[str, float]:
        paths = [file.path for file in self.files().values()]
        paths += [path for file in self._more_files().values() for path in file.paths]
        return stamp(paths, self._settings())

    def _settings(self) -> dict[str, Any]:
        """What is not set is not mentioned: the digest of a source without it stays the same."""
        more: dict[str, Any] = {}
        if self.relation is not None:
            more["relation"] = self.relation
        if self.undirected:
            more["undirected"] = True
        if self._has_labels:
            more["label_rule"] = asdict(self.label_rule)
            if not self.label_rule.numbers:
                del more["label_rule"]["numbers"]
        if self.withheld:
            more["label_relation"] = list(self.withheld)
        return {
            "reader": READER,
            "format": asdict(self.format),
            "kinds": {split: file.kind for split, file in self.files().items()},
            "labels": {name: file.settings() for name, file in self._more_files().items()},
            "split": asdict(self.split),
            "max_rejected": self.max_rejected,
            "drop_unseen": self.drop_unseen,
            **more,
        }

    @property
    def _has_labels(self) -> bool:
        return self.labels is not None or bool(self.withheld)

    def _more_files(self) -> dict[str, LabelFile | DescribingFile]:
        """The files beside the triples, by the setting that names them."""
        files = {
            "names": self.names,
            "relation_names": self.relation_names,
            "classes": self.classes,
            "types": self.types,
        }
        return {
            **{name: file for name, file in files.items() if file is not None},
            **(self.labels.parts() if self.labels else {}),
            **{f"features/{at}": file for at, file in enumerate(self.features)},
        }

    def read(self, audit: Audit, scratch: Path) -> Reading:
        return Reading(
            facts=self._facts(audit),
            entities=self._entities(audit),
            relations=self._labels(self.relation_names, audit, "name"),
            node_labels=self._node_labels(audit),
            label_rule=self.label_rule if self._has_labels else None,
            features=self.features,
            undirected=self.undirected,
        )

    def _facts(self, audit: Audit) -> Iterator[Facts]:
        known = self.known_relations
        withheld = Withheld(self.withheld or (), audit, labels=self.labels is None)
        files = self.files()
        for split, file in files.items():
            before = audit.lines
            for rows in self._rows(file, audit):
                facts, line = withheld.take(_facts_of(split, rows), rows.line, file)
                if self.undirected:
                    facts, line = _one_way(facts, line, audit)
                if len(files) > 1 and split in ("train", "open"):
                    known = pc.unique(pa.chunked_array([known, pc.unique(facts.relation)]))
                elif len(files) > 1:
                    facts = self._check_relations(facts, line, known, file, audit)
                yield facts
            if audit.lines == before:
                raise DataError(f"{file.path} is empty: it needs a triple a line")
            few = self.relation is None and audit.rejected["too few columns"] and not audit.accepted
            hint = "say what a file of (head, tail) means with data.relation=NAME, " if few else ""
            audit.check(self.max_rejected, hint=hint)
        withheld.check(self.path)

    def _rows(self, file: DataFile, audit: Audit) -> Iterator[Rows]:
        """Head, relation and tail."""
        if self.relation is None:
            yield from read_rows(file, self.format, audit, width=3)
            return
        constant = pa.scalar(self.relation, pa.string())
        for rows in read_rows(file, self.format, audit, width=2):
            head, tail = rows.columns
            yield replace(rows, columns=[head, pa.repeat(constant, len(head)), tail])

    def _check_relations(
        self, facts: Facts, line: Lines, known: pa.Array, file: DataFile, audit: Audit
    ) -> Facts:
        seen = pc.is_in(facts.relation, value_set=known)
        unseen = np.flatnonzero(~np.asarray(seen))
        if not len(unseen):
            return facts
        if not self.drop_unseen:
            at = int(unseen[0])
            raise DataError(
                f"{file.path} {self.unit} {line[at]}: relation {facts.relation[at].as_py()!r} "
                f"is not in train ({len(unseen):,} such {self.unit}s or more): correct it, "
                f"or leave these {self.unit}s out with data.unseen_relation=drop"
            )
        for at in unseen.tolist():
            text = "\t".join(c[at].as_py() for c in (facts.head, facts.relation, facts.tail))
            audit.drop(file.path.name, int(line[at]), "relation unseen in train", text)
        audit.accept(-len(unseen))
        return facts.filter(seen)

    def _entities(self, audit: Audit) -> Iterator[Labels]:
        yield from self._labels(self.names, audit, "name")
        yield from self._labels(self.classes, audit, "class_")
        yield from self._labels(self.types, audit, "type")

    def _node_labels(self, audit: Audit) -> Iterator[NodeLabelRows]:
        if self.labels is not None:
            yield from self.labels.read(audit)
            audit.check(self.max_rejected)

    def _labels(self, file: LabelFile | None, audit: Audit, kind: str) -> Iterator[Labels]:
        if file is None:
            return
        for key, value in file.read(audit):
            yield Labels(key=key, **{kind: value})
        audit.check(self.max_rejected)


def _one_way(facts: Facts, line: Lines, audit: Audit) -> tuple[Facts, Lines]:
    """The end whose key comes first becomes the head, so that a pair is one triple whichever way
    it was written; nobody is joined to itself."""
    swapped = pc.greater(facts.head, facts.tail)
    head, tail = facts.head, facts.tail
    facts = replace(
        facts, head=pc.if_else(swapped, tail, head), tail=pc.if_else(swapped, head, tail)
    )
    others = pc.not_equal(head, tail)
    alone = len(line) - int(pc.sum(others).as_py() or 0)
    if alone:
        audit.leave_out("joined to itself", alone)
        facts, line = facts.filter(others), line[np.asarray(others)]
    return facts, line


def _facts_of(split: str, rows: Rows) -> Facts:
    head, relation, tail = rows.columns
    return Facts(split=split, head=head, relation=relation, tail=tail)


def _drop(word: str, name: str) -> bool:
    if word not in ("error", "drop"):
        raise ConfigError(f"data.{name} is error or drop, got {word!r}")
    return word == "drop"
