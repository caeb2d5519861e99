"""Damage to the bytes of a file."""

from __future__ import annotations

from random import Random

TOKENS = (
    b"\n", b"\r\n", b"\r", b"\t", b",", b'"', b"'", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xc3",
    b"-1", b"0", b"NaN", b"inf", b"1e999", b"9" * 40, b"18446744073709551616", b"2147483648",
    b"null", b"true", b"{", b"}", b"[", b"]", b"<", b">", b"&", b"!", b"&a", b"*a",
    b"${oc.env:HOME}", b"os.system", b"../../x", b"PK\x03\x04", b"\x80\x04",
    b"\x7f\xff\xff\xff\xff\xff\xff\xff",
)  # fmt: skip
MOST = 1 << 17
"""Bytes of what comes out: more finds nothing more, and takes long."""


def mutated(content: bytes, draw: Random) -> bytes:
    """One to four changes: of a byte, a bit, a range, a word, or the end."""
    found = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        _change(found, draw)
    return bytes(found[:MOST])


def _change(found: bytearray, draw: Random) -> None:
    at = draw.randint(0, len(found))
    end = min(len(found), at + draw.choice((1, 1, 2, 4, 8, 64, 1024)))
    kind = draw.randrange(8)
    if kind == 0 and at < len(found):
        found[at] ^= 1 << draw.randrange(8)
    elif kind == 1 and at < len(found):
        found[at] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
    elif kind == 2:
        del found[at:end]
    elif kind == 3:
        found[at:at] = draw.randbytes(draw.choice((1, 2, 8, 64)))
    elif kind == 4:
        found[at:at] = found[at:end] * draw.choice((1, 2, 50))
    elif kind == 5:
        found[at:end] = draw.choice(TOKENS)
    elif kind == 6:
        other = draw.randint(0, len(found))
        found[other:other] = found[at:end]
    elif draw.random() < 0.3:
        del found[at:]
    else:
        found[at:at] = draw.choice(TOKENS)
