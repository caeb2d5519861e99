"""Write a graph of 10,000 lines: who lives where, works for whom, speaks what and knows whom.

    python examples/people.py people.tsv

Everything follows from where people work, but for a tenth that is as chance has it; and where a
tenth of them live isn't told, so that there is something to find out.
"""

from __future__ import annotations

import random
import sys
from itertools import product
from pathlib import Path

GIVEN = (
    "Ada Ben Cleo Dana Emil Fay Gus Hana Ivo June Karl Lea Max Nora Otto Pia Quin Rosa Sam Tilda"
)
FAMILY = (
    "Adler Blake Costa Dorn Eder Falk Gray Hoff Ito Jansen Kurz Lang Moor Novak Olsen Pohl Quast"
    " Rask Sato Thorn Ulm Voss Weiss Xu Young Zorn Amsel Brook Crane Dale Ernst Finch Groom Hazel"
    " Irwin Jude Klee Lund Marsh Neri Oak Pratt Rhys Stone Tamm Ural Vale Wren Yates Zola Arden"
    " Birch Cole Dean Elm Fox Glen Hart Ives Joyce Kent Lowe Mill Nash"
)
TOWNS = "Arles Bonn Cork Delft Evora Faro Ghent Hull Izmir Jena Kiel Lille Malmo Nice Oulu Porto"
LANGUAGES = "French German English Dutch Portuguese"


def people(lines: int = 10_000, *, seed: int = 0) -> list[tuple[str, str, str]]:
    """So many different triples, in random order."""
    draw = random.Random(seed)
    towns, languages = TOWNS.split(), LANGUAGES.split()
    persons = [f"{given} {family}" for given, family in product(GIVEN.split(), FAMILY.split())]
    firms = [f"{family} & Co" for family in FAMILY.split()]
    seat = {firm: draw.choice(towns) for firm in firms}
    spoken = {town: draw.choice(languages) for town in towns}
    employer = {person: draw.choice(firms) for person in persons}
    staff = {firm: [p for p in persons if employer[p] == firm] for firm in firms}
    found = {(firm, "seated_in", town): None for firm, town in seat.items()}
    found |= {(town, "speaks", language): None for town, language in spoken.items()}
    for person, firm in employer.items():
        town = seat[firm] if draw.random() < 0.9 else draw.choice(towns)
        language = spoken[town] if draw.random() < 0.9 else draw.choice(languages)
        found[person, "works_for", firm] = None
        if draw.random() < 0.9:
            found[person, "lives_in", town] = None
        found[person, "speaks", language] = None
    while len(found) < lines:
        person = draw.choice(persons)
        other = draw.choice(staff[employer[person]] if draw.random() < 0.9 else persons)
        if other != person:
            found[person, "knows", other] = None
    triples = list(found)[:lines]
    draw.shuffle(triples)
    return triples


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} FILE.tsv")
    text = "".join("\t".join(triple) + "\n" for triple in people())
    Path(sys.argv[1]).write_text(text, encoding="utf-8")
