"""Node labels by key become pairs of ids with a split: checked, divided, the same for any order.

A made split is drawn by a hash of the key and the seed. Each entity belongs to the stratum of its
rarest label. Of each label the entity with the largest draw stays in training; of the others in a
stratum those with the smallest draws are held out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from kgscale.data.database import Database
from kgscale.data.source import NodeLabelRows
from kgscale.data.splits import NO_SPLIT, OPEN, SPLITS, TEST, TRAIN, VALID, LabelRule
from kgscale.errors import DataError

ROW = pa.schema(
    [
        ("key", pa.string()),
        ("label", pa.string()),
        ("split", pa.uint8()),
        ("file", pa.uint8()),
        ("line", pa.int64()),
    ]
)
FILE = 1 << 40
"""More than the lines of any file: a place is ``file * FILE + line``."""


@dataclass(kw_only=True)
class LeftOut:
    """Labels that are not used, with a reason each: counted, and told in the manifest."""

    unknown_keys: int = 0
    in_no_split: int = 0
    rare_labels: int = 0


@dataclass
class NodeLabelTable:
    """All labels of a source; ``resolve`` once, when the entities of the database have ids."""

    database: Database
    names: list[str] = field(default_factory=list)
    """Of the labels, in the order of their ids."""
    left_out: LeftOut = field(default_factory=LeftOut)
    files: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.database.run(
            """CREATE TABLE label_row
            (key VARCHAR, label VARCHAR, split UTINYINT, file UTINYINT, line BIGINT)"""
        )

    def add(self, rows: NodeLabelRows) -> None:
        if rows.file not in self.files:
            self.files.append(rows.file)
        file = np.full(len(rows.line), self.files.index(rows.file), np.uint8)
        columns = [rows.key, rows.label, *map(pa.array, (rows.split, file, rows.line))]
        self.database.insert("label_row", pa.table(columns, schema=ROW))

    def resolve(self, rule: LabelRule) -> None:
        """Check, number and divide all labels; afterwards they can be read as ``rows``."""
        self._refuse_unknown(drop=rule.drop_unknown)
        self._refuse_two_splits()
        self.left_out.in_no_split = self._count(
            f"SELECT count(DISTINCT key) FROM label_row SEMI JOIN entity USING (key) "
            f"WHERE split = {NO_SPLIT}"
        )
        self.database.run(
            f"""CREATE TABLE named AS SELECT DISTINCT entity.rowid AS id, label, split
            FROM label_row JOIN entity USING (key) WHERE split <> {NO_SPLIT}"""
        )
        given = {code for (code,) in self.database.run("SELECT DISTINCT split FROM named")}
        if rule.numbers:
            self._refuse_other_than_numbers()
        elif OPEN in given:
            self._refuse_rare(drop=rule.drop_rare)
        self._number(numbers=rule.numbers)
        if OPEN in given:
            self._divide(OPEN, (rule.ratio[VALID], rule.ratio[TEST]), rule)
        else:
            self._complete(given, rule)

    @property
    def size(self) -> int:
        """Pairs of an entity and a label."""
        return self._count("SELECT count(label_id) FROM numbered")

    def rows(self) -> Iterator[pa.RecordBatch]:
        """Entity, label (null: none of them) and split, in the order of ids."""
        yield from self.database.stream(
            "SELECT id, label_id, split FROM numbered ORDER BY id, label_id"
        )

    def own_entities(self) -> Iterator[pa.RecordBatch]:
        """Pairs of an entity and the entity whose key is its label, where there is one."""
        yield from self.database.stream(
            """SELECT named.id AS id, entity.rowid AS label_entity
            FROM named JOIN entity ON named.label = entity.key"""
        )

    def _refuse_unknown(self, *, drop: bool) -> None:
        unknown = "FROM label_row ANTI JOIN entity USING (key)"
        count = self._count(f"SELECT count(DISTINCT key) {unknown}")
        if drop:
            self.left_out.unknown_keys = count
            return
        first = f"SELECT file, line, key {unknown} ORDER BY file, line, key LIMIT 1"
        for file, line, key in self.database.run(first):
            more = f", and so are {count - 1:,} other labelled keys" if count > 1 else ""
            raise DataError(
                f"{self.files[file]} line {line}: {key!r} is in no triple{more}: correct it, or "
                "leave out such labels with data.unknown_label=drop"
            )

    def _refuse_two_splits(self) -> None:
        torn = "SELECT key FROM label_row GROUP BY key HAVING min(split) < max(split)"
        found = self.database.run(
            f"""SELECT key, split, min(file * {FILE} + line) AS place FROM label_row
            WHERE key = (SELECT min(key) FROM ({torn}))
            GROUP BY key, split ORDER BY place LIMIT 2"""
        )
        if not found:
            return
        count = self._count(f"SELECT count(*) FROM ({torn})")
        words = (*SPLITS, "an open split", "no split")
        (key, first, place), (_, second, other) = found
        raise DataError(
            f"{self._at(other)}: {key!r} is in {words[second]}, but in {words[first]} at "
            f"{self._at(place)} ({count:,} such keys): give each key one split"
        )

    def _at(self, place: int) -> str:
        file, line = divmod(place, FILE)
        return f"{self.files[file]} line {line}"

    def _refuse_rare(self, *, drop: bool) -> None:
        rare = "SELECT label FROM named GROUP BY label HAVING count(label) = 1"
        count = self._count(f"SELECT count(*) FROM ({rare})")
        if drop:
            self.left_out.rare_labels = count
            self.database.run(f"DELETE FROM named WHERE label IN ({rare})")
            return
        first = f"""SELECT label, min(file * {FILE} + line) FROM label_row
            JOIN entity USING (key) WHERE label IN ({rare}) AND split <> {NO_SPLIT}
            GROUP BY label ORDER BY label LIMIT 1"""
        for label, place in self.database.run(first):
            more = f" (and so do {count - 1:,} other labels)" if count > 1 else ""
            raise DataError(
                f"{self._at(place)}: the label {label!r} has a single entity{more}, which cannot "
                "be both learned and asked: give it more, leave such labels out with "
                "data.rare_label=drop, or give the split in data.labels"
            )

    def _refuse_other_than_numbers(self) -> None:
        value = "try_cast(label AS DOUBLE)"
        other = f"label IS NOT NULL AND ({value} IS NULL OR NOT isfinite({value}))"
        found = self.database.run(
            f"""SELECT file, line, label FROM label_row JOIN entity USING (key)
            WHERE split <> {NO_SPLIT} AND {other} ORDER BY file, line LIMIT 1"""
        )
        for file, line, label in found:
            raise DataError(
                f"{self.files[file]} line {line}: {label!r} is no finite number, as"
                " data.label_numbers has labels: correct it, or leave the line out"
            )
        several = self.database.run(
            f"""SELECT key, min(file * {FILE} + line), max(file * {FILE} + line) AS place
            FROM label_row JOIN entity USING (key) WHERE split <> {NO_SPLIT} AND label IS NOT NULL
            GROUP BY key HAVING count(DISTINCT label) > 1 ORDER BY place LIMIT 1"""
        )
        for key, first, place in several:
            raise DataError(
                f"{self._at(place)}: {key!r} has another number at {self._at(first)}: an entity has"
                " one; keep the right one"
            )

    def _number(self, *, numbers: bool) -> None:
        """Labels in the order of their values if all are (whole) numbers, or of their bytes."""
        named = self.database.run("SELECT DISTINCT label FROM named WHERE label IS NOT NULL")
        names = [name for (name,) in named]
        if not names:
            where = ", ".join(self.files) or "data.labels"
            raise DataError(
                f"{where}: no label is left to learn ({self._reasons()}): give lines of key and "
                "label for entities of the graph"
            )
        if len(names) == 1:
            raise DataError(
                f"{', '.join(self.files)}: every labelled entity is {names[0]!r}, so that there is"
                " nothing to tell apart: give a second label, or negatives a label of their own"
            )
        whole = all(re.fullmatch(r"0|-?[1-9][0-9]{0,17}", name) for name in names)
        if numbers:
            self.names = sorted(names, key=lambda name: (float(name), name))
        else:
            self.names = sorted(names, key=int) if whole else sorted(names, key=str.encode)
        ids = pa.array(range(len(names)), pa.int32())
        table = pa.table({"label": pa.array(self.names, pa.string()), "label_id": ids})
        with self.database.view("label_name", table):
            self.database.run(
                """CREATE TABLE numbered AS SELECT id, label_id, split
                FROM named LEFT JOIN label_name USING (label)"""
            )

    def _reasons(self) -> str:
        out = self.left_out
        return (
            f"{out.unknown_keys:,} keys in no triple, {out.in_no_split:,} in no split, "
            f"{out.rare_labels:,} labels of a single entity"
        )

    def _complete(self, given: set[int], rule: LabelRule) -> None:
        """What a given split lacks is made from its training part."""
        if TRAIN not in given:
            raise DataError(
                f"{', '.join(self.files)}: no entity of the graph has a label in train: "
                "there is nothing to learn from"
            )
        shares = [0 if code in given else rule.ratio[code] for code in (VALID, TEST)]
        if any(shares):
            self._divide(TRAIN, (shares[0], shares[1]), rule)

    def _divide(self, pool: int, shares: tuple[float | int, float | int], rule: LabelRule) -> None:
        """Hold out shares for valid and test of the entities whose split is ``pool``.

        Of numbers none needs an entity in training, and all are one stratum.
        """
        size, seed = len(self.names), rule.seed
        stratum = "0" if rule.numbers else f"min(entities * {size} + label_id) % {size}"
        kept = "WHERE false" if rule.numbers else ""
        self.database.run(
            f"""CREATE TABLE drawn AS
            WITH pool AS (SELECT id, label_id FROM numbered WHERE split = {pool}),
            frequency AS (SELECT label_id, count(*) AS entities FROM pool GROUP BY label_id)
            SELECT id, {stratum} AS stratum,
                any_value(md5_number_lower('{seed} ' || key)) AS draw
            FROM pool JOIN frequency USING (label_id) JOIN entity ON entity.rowid = pool.id
            GROUP BY id"""
        )
        # A draw has 64 bits: that two entities share one is no case to care for.
        self.database.run(
            f"""CREATE TABLE placed AS
            WITH kept AS (
                SELECT DISTINCT arg_max(id, draw) AS id FROM drawn JOIN numbered USING (id)
                {kept} GROUP BY label_id
            ),
            free AS (SELECT id, stratum, draw, id NOT IN (SELECT id FROM kept) AS free FROM drawn),
            ranked AS (
                SELECT id, free, row_number() OVER (
                    PARTITION BY stratum ORDER BY free DESC, draw, id
                ) AS place, count(*) OVER (PARTITION BY stratum) AS size FROM free
            )
            SELECT id, CASE
                WHEN NOT free THEN {TRAIN}
                WHEN place <= floor(size * {shares[0]!r}::DOUBLE + 0.5) THEN {VALID}
                WHEN place <= floor(size * {shares[0]!r}::DOUBLE + 0.5)
                    + floor(size * {shares[1]!r}::DOUBLE + 0.5) THEN {TEST}
                ELSE {TRAIN} END AS split FROM ranked"""
        )
        self._check_held(shares)
        self.database.run(
            """CREATE TABLE divided AS
            SELECT id, label_id, coalesce(placed.split, numbered.split) AS split
            FROM numbered LEFT JOIN placed USING (id)"""
        )
        for table in ("drawn", "placed", "numbered"):
            self.database.run(f"DROP TABLE {table}")
        self.database.run("ALTER TABLE divided RENAME TO numbered")

    def _check_held(self, shares: tuple[float | int, float | int]) -> None:
        for code, share in zip((VALID, TEST), shares, strict=True):
            if share and not self._count(f"SELECT count(*) FROM placed WHERE split = {code}"):
                total = self._count("SELECT count(*) FROM placed")
                raise DataError(
                    f"{self.files[0]}: {total:,} labelled entities are too few to hold out "
                    f"{share:.0%} for {SPLITS[code]} and keep each of {len(self.names):,} labels "
                    "in training: give more, other shares in data.label_split, or the split in "
                    "data.labels"
                )

    def _count(self, query: str) -> int:
        return int(self.database.run(query)[0][0])
