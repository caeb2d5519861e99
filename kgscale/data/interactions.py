"""Who likes what: users and items, perhaps with ratings, times, and facts about the items."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa

from kgscale.data.audit import Audit
from kgscale.data.database import Database
from kgscale.data.files import DataFile, clean, split_files, stamp, stem
from kgscale.data.labels import LabelFile
from kgscale.data.source import Facts, Labels, Reading
from kgscale.data.splits import SPLITS, Shares, SplitRule, three
from kgscale.data.tables import Column, Format, count_columns, read_rows
from kgscale.errors import ConfigError, DataError

READER = 1
"""Part of the digest: raise it when the same input gives another result."""
USER, ITEM, INTERACTS = "user", "item", "interacts"
"""Storage types, and the relation between them."""
MEMORY: Final = "1GB"
"""Beyond it, rows go to disk."""
SplitBy = Literal["ratio", "leave_one_out", "time"]
_TYPES: Final = {"user": "VARCHAR", "item": "VARCHAR", "rating": "VARCHAR", "time": "VARCHAR"}
_TIME: Final = "coalesce(TRY_CAST(time AS DOUBLE), epoch(TRY_CAST(time AS TIMESTAMP)))"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFile:
    """A table beside the interactions."""

    path: Path
    format: Format

    @staticmethod
    def of(setting: str | Path | Mapping[str, Any] | None, name: str) -> TableFile | None:
        """From a path, or from ``{path, columns, header, delimiter, quote}``."""
        known = {"path", *(field.name for field in fields(Format))}
        if isinstance(setting, Mapping) and setting.keys() - known:
            wrong = min(setting.keys() - known)
            raise ConfigError(f"there is no setting data.{name}.{wrong}")
        found = LabelFile.of(setting, name)
        return None if found is None else TableFile(path=found.path, format=found.format)


class Interactions:
    """Interactions from TSV, CSV or Parquet, possibly in ``.gz`` or ``.zst``.

    Users become entities ``user:KEY``, items ``item:KEY``; a fact about an item is about that
    entity, and what else facts speak of has their keys. Repeated interactions of a user with an
    item count once, the last of them where there are times.
    """

    def __init__(
        self,
        *,
        path: str | Path | None,
        name: str | None = None,
        columns: Sequence[Column] | None = None,
        rating: Column | None = None,
        time: Column | None = None,
        header: bool | None = None,
        delimiter: str | None = None,
        quote: str | None = None,
        min_rating: float | int | None = None,
        split_by: SplitBy = "ratio",
        split: Sequence[float | int] = (0.7, 0.1, 0.2),
        seed: int = 0,
        facts: str | Mapping[str, Any] | None = None,
        links: str | Mapping[str, Any] | None = None,
        user_names: str | Mapping[str, Any] | None = None,
        item_names: str | Mapping[str, Any] | None = None,
        max_rejected: float | int = 0.001,
    ) -> None:
        if path is None:
            raise ConfigError("data.path is not set: give a file of users and items")
        if columns is not None and len(columns) != 2:
            raise ConfigError(f"data.columns needs those of user and item, got {list(columns)}")
        if columns is None and (rating is not None or time is not None):
            raise ConfigError("data.rating and data.time need data.columns=[USER,ITEM] beside them")
        if links is not None and facts is None:
            raise ConfigError("data.links says what data.facts call the items: set both")
        if not 0 <= max_rejected <= 1:
            raise ConfigError(f"data.max_rejected is a share from 0 to 1, got {max_rejected}")
        self.path = Path(path).expanduser()
        self.name = clean(name or stem(self.path), "interactions")
        self.columns = None if columns is None else (*columns, rating, time)
        self.format = Format(
            columns=None if columns is None else (*columns, *_given(rating), *_given(time)),
            header=header,
            delimiter=delimiter,
            quote=quote,
        )
        self.min_rating, self.split_by = min_rating, split_by
        self.shares: Shares = three(split, "split")
        self.split = SplitRule(ratio=self.shares, seed=seed)
        self.facts, self.links = TableFile.of(facts, "facts"), LabelFile.of(links, "links")
        self.user_names = LabelFile.of(user_names, "user_names")
        self.item_names = LabelFile.of(item_names, "item_names")
        self.max_rejected = max_rejected

    def describe(self) -> str:
        return f"Your own interactions from {self.path}; their terms of use are yours to know."

    def files(self) -> dict[str, DataFile]:
        """The file of each split; ``open`` is one still to be divided."""
        return split_files(self.path)

    def digest(self) -> str:
        files = {split: file.digest() for split, file in self.files().items()}
        more = {name: DataFile(file.path).digest() for name, file in self._more_files().items()}
        text = json.dumps([self._settings(), files, more], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()

    def stamp(self) -> tuple[str, float]:
        paths = [file.path for file in self.files().values()]
        paths += [file.path for file in self._more_files().values()]
        return stamp(paths, self._settings())

    def _more_files(self) -> dict[str, LabelFile | TableFile]:
        files = {
            "facts": self.facts,
            "links": self.links,
            "user_names": self.user_names,
            "item_names": self.item_names,
        }
        return {name: file for name, file in files.items() if file is not None}

    def _settings(self) -> dict[str, Any]:
        return {
            "reader": READER,
            "columns": None if self.columns is None else list(self.columns),
            "format": asdict(self.format),
            "kinds": {split: file.kind for split, file in self.files().items()},
            "more": {
                name: [asdict(file.format), DataFile(file.path).kind]
                for name, file in self._more_files().items()
            },
            "min_rating": self.min_rating,
            "split_by": self.split_by,
            "split": asdict(self.split),
            "max_rejected": self.max_rejected,
        }

    def read(self, audit: Audit, scratch: Path) -> Reading:
        rows = _Rows(self, audit, Database(scratch / "interactions", threads=1, memory=MEMORY))
        return Reading(facts=rows.facts(), entities=rows.entities())


class _Rows:
    """One pass: everything goes through tables that may be on disk."""

    def __init__(self, source: Interactions, audit: Audit, database: Database) -> None:
        self.source, self.audit, self.database = source, audit, database

    def facts(self) -> Iterator[Facts]:
        with self.database:
            self._read_interactions()
            self._divide()
            for split in SPLITS:
                query = f"""SELECT '{USER}:' || "user", '{ITEM}:' || item FROM divided
                    WHERE split = '{split}'"""
                for batch in self.database.stream(query):
                    head, tail = batch.columns
                    relation = pa.array([INTERACTS] * len(head), pa.string())
                    yield Facts(split=split, head=head, relation=relation, tail=tail)
            if self.source.facts is not None:
                self._read_facts(self.source.facts)
                for batch in self.database.stream("SELECT * FROM about"):
                    head, relation, tail = batch.columns
                    yield Facts(split="train", head=head, relation=relation, tail=tail)
            self._keys = {
                kind: self.database.run(f"SELECT list({column}) FROM {table}")[0][0]
                for kind, column, table in (
                    (USER, '"user"', '(SELECT DISTINCT "user" FROM divided)'),
                    (ITEM, "item", "(SELECT DISTINCT item FROM items)"),
                )
            }

    def entities(self) -> Iterator[Labels]:
        """Consumed after the facts: which keys are users, which items, and what they are called."""
        for kind, keys in self._keys.items():
            yield Labels(
                key=pa.array([f"{kind}:{key}" for key in keys], pa.string()),
                type=pa.array([kind] * len(keys), pa.string()),
            )
        for kind, file in ((USER, self.source.user_names), (ITEM, self.source.item_names)):
            if file is None:
                continue
            for key, name in file.read(self.audit):
                own = pa.array([f"{kind}:{text}" for text in key.to_pylist()], pa.string())
                yield Labels(key=own, name=name)
            self.audit.check(self.source.max_rejected)

    def _read_interactions(self) -> None:
        run = self.database.run
        columns = ", ".join(f'"{name}" {kind}' for name, kind in _TYPES.items())
        run(f"CREATE TABLE given ({columns}, line BIGINT, split VARCHAR, file VARCHAR)")
        for split, file in self.source.files().items():
            before = self.audit.lines
            self._read_file(split, file)
            if self.audit.lines == before:
                raise DataError(f"{file.path} is empty: it needs a user and an item a line")
            self._refuse_values(file)
            self.audit.check(self.source.max_rejected)

    def _read_file(self, split: str, file: DataFile) -> None:
        names, width = self._columns(file)
        for rows in read_rows(file, self.source.format, self.audit, width=width):
            found = dict(zip(names, rows.columns, strict=True))
            count = len(rows.line)
            nothing = pa.nulls(count, pa.string())
            table = {name: found.get(name, nothing) for name in _TYPES}
            more = {"split": pa.array([split] * count, pa.string())}
            more["file"] = pa.array([file.path.name] * count, pa.string())
            self.database.insert("given", pa.table({**table, "line": pa.array(rows.line), **more}))

    def _columns(self, file: DataFile) -> tuple[list[str], int]:
        given = self.source.columns
        if given is not None:
            names = [n for n, column in zip(_TYPES, given, strict=True) if column is not None]
            return names, len(names)
        with file.open() as stream:
            if not stream.read(1):
                raise DataError(f"{file.path} is empty: it needs a user and an item a line")
        width = count_columns(file, self.source.format)
        if not 2 <= width <= len(_TYPES):
            raise DataError(
                f"{file.path} has {width} columns, and user, item, rating and time are four: say"
                " which are which with data.columns=[USER,ITEM], data.rating and data.time"
            )
        return list(_TYPES)[:width], width

    def _refuse_values(self, file: DataFile) -> None:
        """Ratings and times that are none."""
        for name, value in (("rating", "TRY_CAST(rating AS DOUBLE)"), ("time", _TIME)):
            wrong = f"{name} IS NOT NULL AND ({value} IS NULL OR NOT isfinite({value}))"
            query = f"SELECT line, {name} FROM given WHERE {wrong} ORDER BY line"
            count = 0
            for batch in self.database.stream(query):
                lines, texts = (column.to_pylist() for column in batch.columns)
                for line, text in zip(lines, texts, strict=True):
                    self.audit.reject(file.path.name, line, f"a {name} that is none", text)
                count += len(batch)
            self.audit.accept(-count)
            self.database.run(f"DELETE FROM given WHERE {wrong}")

    def _divide(self) -> None:
        """Each pair once, in the split where it came last; then the open ones by the rule."""
        run, source = self.database.run, self.source
        times = run("SELECT count(time) FROM given")[0][0]
        if source.split_by == "time" and not times and "open" in source.files():
            raise ConfigError(
                f"data.split_by=time needs times, and {source.path} has none: name their column"
                " with data.time, or set data.split_by=ratio"
            )
        if source.split_by == "leave_one_out" and not times:
            self.audit.note("no times: one item of each user is for test, and one for valid, drawn")
        run(
            f"""CREATE TABLE once AS SELECT "user", item, max_by(split, place) AS split,
                max(coalesce({_TIME}, 0)) AS time,
                max_by(TRY_CAST(rating AS DOUBLE), place) AS rating, count(*) AS copies
                FROM (SELECT *, (coalesce({_TIME}, 0), line) AS place FROM given)
                GROUP BY "user", item"""
        )
        copies = run("SELECT coalesce(sum(copies - 1), 0) FROM once")[0][0]
        if copies:
            self.audit.note(f"{int(copies):,} repeated interactions count once, the last of them")
        if source.min_rating is not None:
            if not run("SELECT count(rating) FROM once")[0][0]:
                raise ConfigError(
                    f"data.min_rating={source.min_rating:g} needs ratings, and {source.path} has"
                    " none: name their column with data.rating, or leave it out"
                )
            below = f"rating < {float(source.min_rating)!r}"
            self._leave_out(below, "rating below data.min_rating")
        order, part, held = self._rule()
        whole = "ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING"
        run(
            f"""CREATE TABLE divided AS SELECT "user", item,
                CASE WHEN split <> 'open' THEN split {held} ELSE 'train' END AS split FROM
                (SELECT *, row_number() OVER ({part} ORDER BY {order}) AS nth,
                 count(*) OVER ({part} ORDER BY {order} {whole}) AS size FROM once)"""
        )
        run("DROP TABLE given")
        run("DROP TABLE once")
        run("CREATE TABLE items AS SELECT DISTINCT item FROM divided")
        if not run("SELECT count(*) FROM divided WHERE split = 'train'")[0][0]:
            raise DataError(f"{source.path} leaves nothing to train on: give more interactions")

    def _rule(self) -> tuple[str, str, str]:
        """In which order interactions are held out, whose, and which of them."""
        source = self.source
        # By a hash that is the same on every machine.
        draw = f"""md5(concat_ws(chr(31), '{source.split.seed}', "user", item))"""
        if source.split_by == "leave_one_out":
            held = "WHEN size < 3 THEN 'train' WHEN nth = 1 THEN 'test' WHEN nth = 2 THEN 'valid'"
            return f"time DESC, {draw}", 'PARTITION BY split, "user"', held
        _, valid, test = (f"floor(size * {float(share)!r} + 1e-9)" for share in source.shares)
        held = f"WHEN nth <= {test} THEN 'test' WHEN nth <= {test} + {valid} THEN 'valid'"
        if source.split_by == "time":
            return f"time DESC, {draw}", "PARTITION BY split", held
        return draw, 'PARTITION BY split, "user"', held

    def _leave_out(self, condition: str, reason: str) -> None:
        (count,) = self.database.run(f"SELECT count(*) FROM once WHERE {condition}")[0]
        if count:
            self.database.run(f"DELETE FROM once WHERE {condition}")
            self.audit.leave_out(reason, count)

    def _read_facts(self, file: TableFile) -> None:
        """Facts with items by their own keys: one of several items is about each of them."""
        run, source = self.database.run, self.source
        run("CREATE TABLE facts (head VARCHAR, relation VARCHAR, tail VARCHAR)")
        for rows in read_rows(DataFile(file.path), file.format, self.audit, width=3):
            self.database.insert("facts", pa.table(dict(zip("hrt", rows.columns, strict=True))))
        run("CREATE TABLE links (item VARCHAR, entity VARCHAR)")
        if source.links is None:
            run("INSERT INTO links SELECT item, item FROM items")
        else:
            for item, entity in source.links.read(self.audit):
                self.database.insert("links", pa.table({"item": item, "entity": entity}))
        self.audit.check(source.max_rejected)
        self._check_relation(file)
        run(
            f"""CREATE TABLE about AS SELECT coalesce('{ITEM}:' || h.item, head) AS head, relation,
                coalesce('{ITEM}:' || t.item, tail) AS tail FROM facts
                LEFT JOIN links h ON facts.head = h.entity
                LEFT JOIN links t ON facts.tail = t.entity"""
        )
        run("INSERT INTO items SELECT item FROM links WHERE entity IN (SELECT head FROM facts)")
        run("INSERT INTO items SELECT item FROM links WHERE entity IN (SELECT tail FROM facts)")
        found = f"starts_with(head, '{ITEM}:') OR starts_with(tail, '{ITEM}:')"
        if not run(f"SELECT count(*) FROM about WHERE {found}")[0][0]:
            raise DataError(
                f"{file.path} has no fact about any item: say what it calls them with data.links"
            )

    def _check_relation(self, file: TableFile) -> None:
        query = f"SELECT count(*) FROM facts WHERE relation = '{INTERACTS}'"
        if self.database.run(query)[0][0]:
            raise DataError(
                f"{file.path}: the relation {INTERACTS!r} is that between users and items; call it"
                " otherwise there"
            )


def _given(column: Column | None) -> Sequence[Column]:
    return () if column is None else (column,)
