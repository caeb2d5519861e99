"""Rows of papers and years become facts, each in the period in which it came out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from kgscale.data.audit import Audit
from kgscale.data.database import Database
from kgscale.data.files import DataFile
from kgscale.data.source import Facts, Labels, NodeLabelRows, Role
from kgscale.data.splits import NO_SPLIT, SPLITS
from kgscale.data.tables import read_rows
from kgscale.errors import DataError

if TYPE_CHECKING:
    from kgscale.data.papers import Papers

COAUTHOR: Final = "coauthor"
PAPER, AUTHOR = "paper", "author"
SHARES: Final = (0.5, 0.8, 0.9)
"""Of the papers, that the periods end with where nobody says when."""
LATEST: Final = 1e12
"""No year is as late, even if years are seconds."""


@dataclass(frozen=True, slots=True)
class Periods:
    """The years with which the first three end."""

    known: float
    train: float
    valid: float

    def split(self, year: str) -> str:
        """SQL: the split of what is asked of a year; of the first period, nothing."""
        return (
            f"CASE WHEN {year} <= {self.known} THEN 'known' WHEN {year} <= {self.train}"
            f" THEN 'train' WHEN {year} <= {self.valid} THEN 'valid' ELSE 'test' END"
        )


class PaperRows:
    """One pass: everything goes through tables that may be on disk."""

    def __init__(self, source: Papers, audit: Audit, database: Database) -> None:
        self.source, self.audit, self.database = source, audit, database
        self._types: dict[str, list[str]] = {}
        self._labels: list[tuple[pa.Array, pa.Array, pa.Array]] = []

    def facts(self) -> Iterator[Facts]:
        with self.database:
            self._read()
            self._find_papers()
            periods = self.source.until or self._periods()
            self._check(periods)
            self._date(periods)
            if self.source.ask == "coauthor":
                self._pair_authors(periods)
            self._check_asked()
            query = "SELECT head, relation, tail, split, role FROM told WHERE "
            for split, role in self._kinds():
                where = f"split = '{split}' AND role = '{role}'"
                for batch in self.database.stream(query + where):
                    head, relation, tail, *_ = batch.columns
                    yield Facts(split=split, head=head, relation=relation, tail=tail, role=role)
            self._remember(periods)

    def _kinds(self) -> list[tuple[str, Role]]:
        return self.database.run("SELECT DISTINCT split, role FROM told ORDER BY ALL")

    def entities(self) -> Iterator[Labels]:
        """Consumed after the facts."""
        source = self.source
        if source.made is not None:
            yield from source.made.entities()
        elif source.types is None:
            for kind, keys in self._types.items():
                key = pa.array(keys, pa.string())
                yield Labels(key=key, type=pa.repeat(pa.scalar(kind), len(key)))
        for file, field in ((source.types, "type"), (source.names, "name")):
            if file is not None:
                for key, label in file.read(self.audit):
                    yield Labels(key=key, **{field: label})
                self.audit.check(source.max_rejected)

    def labels(self) -> Iterator[NodeLabelRows]:
        """Consumed after the facts: the topics of papers, in the split of their years."""
        codes = {split: code for code, split in enumerate(SPLITS)}
        file = "the made graph" if self.source.file is None else str(self.source.file.path)
        for key, label, split in self._labels:
            code = [codes.get(one, NO_SPLIT) for one in split.to_pylist()]
            rows = pa.array(code, pa.uint8()).to_numpy(zero_copy_only=False)
            line = pa.array(range(1, len(code) + 1), pa.int64()).to_numpy()
            yield NodeLabelRows(key=key, label=label, split=rows, file=file, line=line)

    def _read(self) -> None:
        run, insert, source = self.database.run, self.database.insert, self.source
        run("CREATE TABLE fact (head VARCHAR, relation VARCHAR, tail VARCHAR)")
        run("CREATE TABLE given (paper VARCHAR, year VARCHAR)")
        if source.made is not None:
            for links in source.made.links():
                for facts in links.chunks():
                    self.audit.accept(len(facts.head))
                    columns = {"head": facts.head, "relation": facts.relation, "tail": facts.tail}
                    insert("fact", pa.table(columns))
            papers = source.made.nodes[PAPER]
            for index in papers.chunks():
                year = pa.array(source.made.year(index)).cast(pa.string())
                insert("given", pa.table({"paper": papers.keys(index), "year": year}))
        else:
            assert source.file is not None
            assert source.years is not None
            file = DataFile(source.file.path)
            for rows in read_rows(file, source.file.format, self.audit, width=3):
                insert("fact", pa.table(dict(zip("hrt", rows.columns, strict=True))))
            for paper, year in source.years.read(self.audit):
                insert("given", pa.table({"paper": paper, "year": year}))
            self.audit.check(source.max_rejected)
        wrong = run(
            f"SELECT paper, year FROM given WHERE NOT coalesce(abs(TRY_CAST(year AS DOUBLE)) <"
            f" {LATEST}, false) ORDER BY ALL LIMIT 1"
        )
        if wrong:
            (paper, year), file_ = wrong[0], source.years and source.years.path
            raise DataError(
                f"{file_}: the year {year!r:.100} of {paper!r:.100} is no number, or none that a"
                " year can have: correct it"
            )
        run(
            "CREATE TABLE year AS SELECT paper, min(CAST(year AS DOUBLE)) AS year FROM given"
            " GROUP BY paper"
        )
        self._check_relations()

    def _check_relations(self) -> None:
        """Those that a question is about must occur."""
        source = self.source
        needed = {"citation": ("cites",), "coauthor": ("writes",), "topic": ("topic",)}[source.ask]
        there = {name for (name,) in self.database.run("SELECT DISTINCT relation FROM fact")}
        if not there:
            raise DataError(
                f"{self._where} is empty: it needs a head, a relation and a tail a line"
            )
        if source.ask == "coauthor" and COAUTHOR in there:
            raise DataError(
                f"{self._where}: {COAUTHOR!r} is the relation that is made of who writes what; call"
                " yours otherwise, or leave it out"
            )
        for setting in needed:
            name = getattr(source, setting)
            if name not in there:
                raise DataError(
                    f"{self._where}: there is no relation {name!r}: name yours with data.{setting},"
                    f" one of {', '.join(map(repr, sorted(there)[:10]))}"
                )

    @property
    def _where(self) -> str:
        return "the made graph" if self.source.file is None else str(self.source.file.path)

    def _find_papers(self) -> None:
        """What is one, and the years of these alone."""
        run, source = self.database.run, self.source
        cites, writes, topic = map(_text, (source.cites, source.writes, source.topic))
        run(
            f"""CREATE TABLE paper AS
                SELECT tail AS paper FROM fact WHERE relation IN ({writes}, {cites})
                UNION SELECT head FROM fact WHERE relation IN ({cites}, {topic})"""
        )
        run("DELETE FROM year WHERE paper NOT IN (SELECT paper FROM paper)")
        if not run("SELECT count(*) FROM year")[0][0]:
            (papers,) = run("SELECT list(paper) FROM (FROM paper ORDER BY ALL LIMIT 3)")[0]
            years = source.years and source.years.path
            raise DataError(
                f"{years} has the year of no paper of {self._where}, which calls them"
                f" {', '.join(map('{!r:.50}'.format, papers))}: data.years needs the same keys"
            )

    def _check_asked(self) -> None:
        """There must be something to learn from."""
        if self.source.ask == "topic":
            return
        count = dict(self.database.run("SELECT role, count(*) FROM told GROUP BY role"))
        if not count.get("asked"):
            more = " or more data.most_authors" if self.source.ask == "coauthor" else ""
            raise DataError(
                f"{self._where}: nothing of {self.source.ask} is new in the period that training"
                f" asks about: set data.until to other years{more}"
            )

    def _periods(self) -> Periods:
        shares = list(SHARES)
        (found,) = self.database.run(f"SELECT quantile_disc(year, {shares}) FROM year")[0]
        return Periods(*found)

    def _check(self, periods: Periods) -> None:
        (last,) = self.database.run("SELECT max(year) FROM year")[0]
        if last is None or not periods.known < periods.train < periods.valid < last:
            raise DataError(
                f"{self._where}: papers until {periods.known:g}, {periods.train:g} and"
                f" {periods.valid:g}, the last of {last or 0:g}, leave a period without any: set"
                " data.until to three years"
            )
        known = "" if self.source.ask == "topic" else f" until {periods.known:g} are known,"
        self.audit.note(
            f"papers{known} until {periods.train:g} asked in training, until {periods.valid:g} in"
            " validation, later ones in test"
        )

    def _date(self, periods: Periods) -> None:
        """What is told, to whom, and what is asked."""
        run, source = self.database.run, self.source
        cites, topic = map(_text, (source.cites, source.topic))
        none = "(SELECT paper FROM paper EXCEPT SELECT paper FROM year)"
        lost = f"head IN {none} OR tail IN {none}"
        (count,) = run(f"SELECT count(*) FROM fact WHERE {lost}")[0]
        if count:
            self.audit.leave_out("triple about a paper without a year", count)
            run(f"DELETE FROM fact WHERE {lost}")
        run(
            """CREATE TABLE dated AS SELECT DISTINCT head, relation, tail,
                greatest(coalesce(h.year, '-infinity'), coalesce(t.year, '-infinity')) AS year,
                coalesce(h.year, '-infinity') >= coalesce(t.year, '-infinity') AS of_head
                FROM fact LEFT JOIN year h ON head = h.paper LEFT JOIN year t ON tail = t.paper"""
        )
        run("DROP TABLE fact")
        asked = {"citation": f"relation = {cites}", "coauthor": "false", "topic": "false"}
        is_asked = asked[source.ask]
        horizon = periods.train if source.ask == "topic" else periods.known
        withheld = f"relation <> {topic}" if self._topics_are_facts else "true"
        # Who writes with whom in the future would be told by the papers of the future.
        later = "false" if source.ask == "coauthor" else "true"
        run(
            f"""CREATE TABLE told AS SELECT head, relation, tail, split, role FROM (
                SELECT *, CASE WHEN year <= {horizon} THEN 'train' WHEN {is_asked}
                THEN {periods.split("year")} WHEN {later} THEN 'train' END AS split,
                CASE WHEN year <= {horizon} THEN 'both' WHEN {is_asked} THEN
                CASE WHEN {periods.split("year")} = 'train' THEN 'asked' ELSE 'both' END
                WHEN of_head THEN 'head' ELSE 'tail' END AS role
                FROM dated WHERE {withheld}) WHERE split IS NOT NULL"""
        )

    @property
    def _topics_are_facts(self) -> bool:
        """A made graph has labels of its own."""
        return self.source.ask == "topic" and self.source.made is None

    def _pair_authors(self, periods: Periods) -> None:
        """Who has written with whom, by the year of the first paper; one way alone."""
        run, source = self.database.run, self.source
        writes = f"relation = {_text(source.writes)}"
        run(
            f"""CREATE TABLE team AS SELECT tail AS paper, head AS author, year FROM dated
                WHERE {writes} AND tail IN (SELECT tail FROM dated WHERE {writes} GROUP BY tail
                HAVING count(*) <= {source.most_authors})"""
        )
        run(
            """CREATE TABLE pair AS SELECT a.author AS head, b.author AS tail, min(a.year) AS year
                FROM team a JOIN team b ON a.paper = b.paper AND a.author < b.author GROUP BY ALL"""
        )
        known = f"(SELECT author FROM team WHERE year <= {periods.known})"
        new = f"year > {periods.known} AND (head NOT IN {known} OR tail NOT IN {known})"
        (count,) = run(f"SELECT count(*) FROM pair WHERE {new}")[0]
        if count:
            self.audit.note(f"{count:,} pairs with an author who is new are not asked for")
            run(f"DELETE FROM pair WHERE {new}")
        split = periods.split("year")
        run(
            f"""INSERT INTO told SELECT head, '{COAUTHOR}', tail,
                CASE {split} WHEN 'known' THEN 'train' ELSE {split} END,
                CASE {split} WHEN 'train' THEN 'asked' ELSE 'both' END FROM pair"""
        )

    def _remember(self, periods: Periods) -> None:
        """What is asked for when the tables are gone."""
        run, source = self.database.run, self.source
        if source.made is None:
            writes = f"relation = {_text(source.writes)}"
            for kind, query in (
                (PAPER, "SELECT paper FROM paper"),
                (AUTHOR, f"SELECT head FROM dated WHERE {writes} EXCEPT SELECT paper FROM paper"),
            ):
                self._types[kind] = [key for (key,) in run(query)]
        if source.ask != "topic":
            return
        # Of what training knows, papers until the end of its period are asked.
        period = periods.split("year")
        split = f"CASE {period} WHEN 'known' THEN 'train' ELSE {period} END"
        if source.made is None:
            about = f"dated WHERE relation = {_text(source.topic)}"
            query = f"SELECT head AS paper, tail AS label, {split} AS split FROM {about}"
            self._labels = [tuple(batch.columns) for batch in self.database.stream(query)]
            return
        papers = source.made.nodes[PAPER]
        for index in papers.chunks():
            label = pa.array(source.made.label(index)).cast(pa.string())
            year = source.made.year(index)
            names = ["train" if y <= periods.train else "valid" if y <= periods.valid else "test"
                     for y in year.tolist()]  # fmt: skip
            self._labels.append((papers.keys(index), label, pa.array(names, pa.string())))


def _text(value: str) -> str:
    """As a constant of SQL."""
    return "'" + value.replace("'", "''") + "'"
