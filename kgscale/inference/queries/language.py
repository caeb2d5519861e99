"""A small language for questions: ``?d : has_phenotype(?d, 'Seizure') and gene_of(?g, ?d)``.

    question  = variable ":" either
    either    = both { "or" both }
    both      = part { "and" part }
    part      = "not" part | "(" either ")" | name "(" term "," term ")"
    term      = variable | name

A name is a key or a name of the graph; one with other characters than letters, digits and ``_-./``
stands in quotes. Variables but the one that is asked for mean: there is one, so that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import torch

from kgscale.errors import ConfigError
from kgscale.graph.reciprocal import inverse
from kgscale.inference.queries.formula import Anchor, Anything, Both, Either, Hop, Node, Without

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<variable>\?\w+)
      | (?P<quoted>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
      | (?P<word>[\w\-./]+)
      | (?P<sign>[:(),])
    )""",
    re.VERBOSE,
)
_WORDS: Final = ("and", "or", "not")
DEEPEST: Final = 50
"""Parentheses and negations within each other."""


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    """variable, name, a sign, one of ``_WORDS``, or "end"."""
    text: str
    column: int


@dataclass(frozen=True, slots=True)
class Link:
    """``relation(head, tail)``."""

    relation: Token
    ends: tuple[Token, Token]

    @property
    def column(self) -> int:
        return self.relation.column

    def variables(self) -> set[str]:
        return {end.text for end in self.ends if end.kind == "variable"}


@dataclass(frozen=True, slots=True)
class Group:
    """Parts joined by "and" or "or", or one after "not"."""

    word: str
    parts: tuple[Part, ...]
    column: int

    def variables(self) -> set[str]:
        return set().union(*(part.variables() for part in self.parts))


Part: TypeAlias = Link | Group


@dataclass(frozen=True, slots=True)
class Question:
    """A text that was understood, its names not looked up yet."""

    variable: Token
    part: Part

    def names(self) -> tuple[list[str], list[str]]:
        """All entities and relations in it, as they are written."""
        links = list(_links(self.part))
        ends = [end.text for link in links for end in link.ends if end.kind == "name"]
        return ends, [link.relation.text for link in links]


def _links(part: Part) -> Iterator[Link]:
    if isinstance(part, Link):
        yield part
        return
    for one in part.parts:
        yield from _links(one)


def parse(text: str) -> Question:
    """Understand a question.

    Raises:
        ConfigError: by column, what was expected there.
    """
    return _Parser(_tokens(text)).question()


def _tokens(text: str) -> list[Token]:
    found, at = [], 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            if text[at] in "'\"":
                raise _wrong(at + 1, "the quote that begins here has no end")
            raise _wrong(
                at + 1,
                f"{text[at]!r} begins nothing: a name with other characters than letters, digits"
                " and _-./ stands in quotes",
            )
        kind, at = str(match.lastgroup), match.end()
        said = match[kind]
        column = match.start(kind) + 1
        if kind == "quoted":
            kind, said = "name", re.sub(r"\\(.)", r"\1", said[1:-1])
        elif kind == "word":
            kind = said.lower() if said.lower() in _WORDS else "name"
        elif kind == "sign":
            kind = said
        found.append(Token(kind, said, column))
    return [*found, Token("end", "the end", len(text) + 1)]


def _wrong(column: int, said: str) -> ConfigError:
    return ConfigError(f"question, column {column}: {said}")


@dataclass
class _Parser:
    tokens: Sequence[Token]
    at: int = field(default=0, init=False)
    depth: int = field(default=0, init=False)

    @property
    def next(self) -> Token:
        return self.tokens[self.at]

    def take(self, kind: str, expected: str) -> Token:
        token = self.next
        if token.kind != kind:
            told = token.text if token.kind == "end" else repr(token.text)
            raise _wrong(token.column, f"expected {expected}, found {told}")
        self.at += 1
        return token

    def question(self) -> Question:
        variable = self.take("variable", "the variable that is asked for, like ?x")
        self.take(":", "':' after the variable")
        part = self.either()
        self.take("end", "'and', 'or' or the end")
        if variable.text not in part.variables():
            raise _wrong(variable.column, f"{variable.text} does not occur in what follows")
        return Question(variable, part)

    def either(self) -> Part:
        return self._joined("or", self.both)

    def both(self) -> Part:
        return self._joined("and", self.part)

    def _joined(self, word: str, one: Callable[[], Part]) -> Part:
        column = self.next.column
        parts = [one()]
        while self.next.kind == word:
            self.at += 1
            parts.append(one())
        return parts[0] if len(parts) == 1 else Group(word, tuple(parts), column)

    def part(self) -> Part:
        token = self.next
        self.depth += 1
        if self.depth > DEEPEST:
            raise _wrong(token.column, f"more than {DEEPEST} parentheses within each other")
        try:
            if token.kind == "not":
                self.at += 1
                return Group("not", (self.part(),), token.column)
            if token.kind == "(":
                self.at += 1
                inner = self.either()
                self.take(")", "')'")
                return inner
            return self.link()
        finally:
            self.depth -= 1

    def link(self) -> Link:
        relation = self.take("name", "a relation, as in knows(?x, 'Ann'), 'not' or '('")
        self.take("(", f"'(' after the relation {relation.text!r}")
        head = self.term()
        self.take(",", "',' between head and tail")
        tail = self.term()
        self.take(")", "')' after the tail")
        return Link(relation, (head, tail))

    def term(self) -> Token:
        expected = "an entity or a variable like ?x"
        return self.take("variable" if self.next.kind == "variable" else "name", expected)


Find = Callable[[str], int]


@dataclass(frozen=True)
class Compiler:
    """Makes trees of questions.

    Args:
        entity, relation: numbers of names.
    """

    entity: Find
    relation: Find
    num_relations: int

    def __call__(self, question: Question) -> Node:
        """The tree of a question, rooted at what is asked for.

        Raises:
            ConfigError: it is no tree, or asks for what something is not, alone.
        """
        return self.about(question.part, question.variable.text)

    def about(self, part: Part, root: str) -> Node:
        """What is said of ``root``, all other variables being ones that exist."""
        if isinstance(part, Group) and part.word == "or":
            for one in part.parts:
                if root not in one.variables():
                    raise _wrong(one.column, f"each side of 'or' has to say something of {root}")
            return Either(tuple(self.about(one, root) for one in part.parts))
        said = list(_conjuncts(part))
        return _Tree(self, said).node(root)

    def hop(self, link: Link, source: Node, *, backwards: bool, variable: str = "") -> Hop:
        relation = self.named(self.relation, link.relation)
        if backwards:
            relation = inverse(relation, num_relations=self.num_relations)
        return Hop(torch.tensor([relation]), source, variable)

    def anchor(self, token: Token) -> Anchor:
        return Anchor(torch.tensor([self.named(self.entity, token)]))

    def named(self, find: Find, token: Token) -> int:
        try:
            return find(token.text)
        except ConfigError as error:
            raise _wrong(token.column, str(error)) from error


def _conjuncts(part: Part) -> Iterator[Part]:
    """Parts that all have to hold; "not not" is nothing."""
    if isinstance(part, Group) and part.word == "and":
        for one in part.parts:
            yield from _conjuncts(one)
    elif isinstance(part, Group) and part.word == "not" and _is_not(part.parts[0]):
        inner = part.parts[0]
        assert isinstance(inner, Group)
        yield from _conjuncts(inner.parts[0])
    else:
        yield part


def _is_not(part: Part) -> bool:
    return isinstance(part, Group) and part.word == "not"


class _Tree:
    """Parts that all have to hold, hung up at one of their variables."""

    def __init__(self, compiler: Compiler, parts: list[Part]) -> None:
        self.compiler, self.parts, self.left = compiler, parts, list(parts)
        self.seen: set[str] = set()

    def node(self, root: str) -> Node:
        found = self._at(root)
        if self.left:
            part = self.left[0]
            names = " and ".join(sorted(part.variables())) or "no variable"
            raise _wrong(part.column, f"this is about {names}, which nothing joins with {root}")
        return found

    def _at(self, variable: str) -> Node:
        self.seen.add(variable)
        mine = [part for part in self.left if variable in part.variables()]
        self.left = [part for part in self.left if variable not in part.variables()]
        found = [self._part(part, variable) for part in mine]
        wanted = [one for one in found if not isinstance(one, Without)]
        if not found:
            return Anything()
        if not wanted:
            raise _wrong(
                mine[0].column,
                f"this only tells what {variable} is not; say beside it what it is",
            )
        return found[0] if len(found) == 1 else Both(tuple(found))

    def _part(self, part: Part, variable: str) -> Node:
        if isinstance(part, Link):
            return self._link(part, variable)
        others = set().union(*(one.variables() for one in self.parts if one is not part))
        if shared := (part.variables() & others) - {variable}:
            raise _wrong(
                part.column,
                f"{', '.join(sorted(shared))} occurs inside and outside of this {part.word!r},"
                f" beside {variable}; only one variable may",
            )
        if part.word == "not":
            return Without(self.compiler.about(part.parts[0], variable))
        return self.compiler.about(part, variable)

    def _link(self, link: Link, variable: str) -> Hop:
        head, tail = link.ends
        backwards = head.kind == "variable" and head.text == variable
        other = tail if backwards else head
        if other.kind == "name":
            return self.compiler.hop(link, self.compiler.anchor(other), backwards=backwards)
        if other.text in self.seen:
            said = (
                f"{variable} is joined with itself"
                if other.text == variable
                else f"{variable} and {other.text} are joined in a circle"
            )
            raise _wrong(link.column, f"{said}, and only trees can be answered")
        source = self._at(other.text)
        return self.compiler.hop(link, source, backwards=backwards, variable=other.text)
