"""RDF that grows, looks elsewhere, or never ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fault.evil.what import Evil, train


def rdf(folder: Path, url: str) -> Iterator[Evil]:
    """Entities within entities, files that are not theirs to read, and depth."""
    secret = folder / "secret.txt"
    secret.write_text("http://secret/\n")
    head = '<?xml version="1.0"?>\n<!DOCTYPE rdf:RDF ['
    space = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:x="http://x/"'

    def text(entities: str, inner: str) -> str:
        return f"{head}{entities}]>\n<rdf:RDF {space}>{inner}</rdf:RDF>\n"

    def fact(value: str) -> str:
        return f'<rdf:Description rdf:about="http://x/a"><x:r>{value}</x:r></rdf:Description>'

    tens = ['<!ENTITY a0 "xxxxxxxxxx">'] + [
        f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12)
    ]
    for name, content in {
        "laughs.xml": text("".join(tens), fact("&a11;")),
        "quadratic.xml": text(f'<!ENTITY a "{"x" * 100_000}">', fact("&a;" * 100_000)),
        "itself.xml": text('<!ENTITY a "&b;"><!ENTITY b "&a;">', fact("&a;")),
        "parameters.xml": text("<!ENTITY % a \"<!ENTITY b SYSTEM 'x'>\">%a;%a", fact("&b;")),
        "deep.xml": text("", "<x:r>" * 100_000),
        "undefined.xml": text("", fact("&nowhere;")),
        "deep.ttl": "<http://x/a> <http://x/r> " + "[ <http://x/r> " * 50_000,
        "lists.ttl": "<http://x/a> <http://x/r> " + "( " * 50_000,
        "formulas.ttl": "{ " * 50_000,
        "no_text.ttl": "\0\1\2",
        "binary.xml": "\x7fELF",
        "half.trig": "<http://x/g> { <http://x/a> <http://x/r>",
        "prefix.ttl": f"@prefix x: <http://x/{'x' * 200_000}> .\n" + "x:a x:r x:b .\n" * 20_000,
        "long.xml": text("", fact("x" * 100_000_000)),
    }.items():
        path = folder / name
        path.write_text(content)
        yield Evil(name, train(folder, "data=rdf", f"data.path={path}"), name)
    for name, entity in {
        "file.xml": f'<!ENTITY a SYSTEM "file://{secret}">',
        "web.xml": f'<!ENTITY a SYSTEM "{url}/secret.txt">',
    }.items():
        path = folder / name
        path.write_text(text(entity, fact("&a;")))
        yield Evil(
            name, train(folder, "data=rdf", "data.literals=entities", f"data.path={path}"), name
        )
