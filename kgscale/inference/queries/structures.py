"""The fourteen forms of questions that benchmarks ask (Ren & Leskovec 2020, figure 2)."""

from __future__ import annotations

from functools import cache
from typing import Final

from kgscale.inference.queries.formula import Node
from kgscale.inference.queries.language import Compiler, parse

STRUCTURES: Final = {
    "1p": "?x : r1(a, ?x)",
    "2p": "?x : r1(a, ?v) and r2(?v, ?x)",
    "3p": "?x : r1(a, ?u) and r2(?u, ?v) and r3(?v, ?x)",
    "2i": "?x : r1(a, ?x) and r2(b, ?x)",
    "3i": "?x : r1(a, ?x) and r2(b, ?x) and r3(c, ?x)",
    "ip": "?x : r1(a, ?v) and r2(b, ?v) and r3(?v, ?x)",
    "pi": "?x : r1(a, ?v) and r2(?v, ?x) and r3(b, ?x)",
    "2u": "?x : r1(a, ?x) or r2(b, ?x)",
    "up": "?x : (r1(a, ?v) or r2(b, ?v)) and r3(?v, ?x)",
    "2in": "?x : r1(a, ?x) and not r2(b, ?x)",
    "3in": "?x : r1(a, ?x) and r2(b, ?x) and not r3(c, ?x)",
    "inp": "?x : r1(a, ?v) and not r2(b, ?v) and r3(?v, ?x)",
    "pin": "?x : r1(a, ?v) and r2(?v, ?x) and not r3(b, ?x)",
    "pni": "?x : r3(b, ?x) and not (r1(a, ?v) and r2(?v, ?x))",
}
"""Written as questions, each relation and entity by a letter of its own."""
POSITIVE: Final = ("1p", "2p", "3p", "2i", "3i", "ip", "pi", "2u", "up")
"""Those without "not", over which results are averaged."""
NEGATIVE: Final = tuple(name for name in STRUCTURES if name not in POSITIVE)


@cache
def templates() -> dict[str, Node]:
    """A tree of each structure, its leaves to be filled."""
    compiler = Compiler(entity=lambda _: 0, relation=lambda _: 0, num_relations=1)
    return {name: compiler(parse(text)) for name, text in STRUCTURES.items()}
