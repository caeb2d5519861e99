"""Arrays, lists and texts in the ``.pt`` files of OGB, without unpickling anything.

Such a file is a pickle in which the bytes of arrays stand as text. ``torch.load`` reads it too,
with ``weights_only=True`` and numpy's names allowed, but keeps every array three times over. Here
the few instructions that build plain data are followed one by one, nothing is imported or called,
and a large array goes to a file piece by piece.
"""

from __future__ import annotations

import codecs
import errno
import io
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np

from kgscale.data.files import check_readable, unreadable
from kgscale.data.spool import Array
from kgscale.errors import DataError

Value: TypeAlias = Any
"""An array, number, text, or a list or dict of these."""

LARGE = 1 << 20
"""Bytes of a text that goes to a file."""
PIECE = 1 << 22
LEGACY = 0x1950A86A20F9469CFC6C
"""The number with which torch began its files before they were zip archives."""
STORAGE = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "b1",
}
NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
"""What numpy 1 and 2 call the same module."""
NAMES = {
    **{(module, "_reconstruct"): "array" for module in NUMPY},
    **{(module, "scalar"): "scalar" for module in NUMPY},
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "bytes",
    ("__builtin__", "bytes"): "bytes",
    ("collections", "OrderedDict"): "dict",
    ("torch._utils", "_rebuild_tensor_v2"): "tensor",
    **{("torch", name): name for name in STORAGE},
}
"""All that may be named, and what it is called here."""


class _Refused(Exception):
    """What no data file of OGB has."""


@dataclass
class _Name:
    """One of ``NAMES``."""

    word: str


@dataclass
class _Bytes:
    """Of an array, in memory or in a file."""

    size: int
    content: bytes | Path

    def array(self, kind: np.dtype[Any], shape: tuple[int, ...], order: str) -> Array:
        if math.prod(shape) * kind.itemsize != self.size:
            raise _Refused(f"an array of the shape {shape} in {self.size} bytes")
        if isinstance(self.content, bytes):
            return np.frombuffer(self.content, kind).reshape(shape, order=order)  # type: ignore[call-overload, no-any-return]
        return np.memmap(self.content, kind, "r", shape=shape, order=order)  # type: ignore[call-overload, no-any-return]


@dataclass
class _Kind:
    """A dtype under construction."""

    text: str

    @property
    def kind(self) -> np.dtype[Any]:
        try:
            found = np.dtype(self.text)
        except TypeError:
            raise _Refused(f"the dtype {self.text!r}") from None
        if found.kind not in "iufb":
            raise _Refused(f"the dtype {self.text!r}")
        return found


@dataclass
class _Array:
    """An array under construction."""

    value: Array | None = None


@dataclass
class _Storage:
    """Numbers of a tensor, which stand outside of the pickle."""

    key: str
    kind: np.dtype[Any]
    size: int
    value: Array | None = None


@dataclass
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def value(self) -> Array:
        """A copy."""
        kind = self.storage.kind
        last = sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))
        if self.storage.value is None or 0 in self.shape:
            return np.zeros(self.shape, kind)
        if min(self.stride, default=0) < 0 or not 0 <= self.offset <= self.storage.size - last - 1:
            raise _Refused("a tensor beyond its numbers")
        return np.lib.stride_tricks.as_strided(
            self.storage.value[self.offset :],
            self.shape,
            tuple(step * kind.itemsize for step in self.stride),
            writeable=False,
        ).copy()


_MARK = object()


@dataclass
class _Machine:
    """Follows the instructions of one pickle."""

    stream: io.BufferedReader
    scratch: Path
    storages: dict[str, _Storage] = field(default_factory=dict)
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self) -> Any:
        """The value of the pickle, of which arrays are still under construction."""
        while (code := self.take(1)) != b".":
            step = self.steps.get(code)
            if step is None:
                raise _Refused(f"the instruction {code!r}")
            step(self)
        return self.stack.pop()

    def take(self, size: int) -> bytes:
        found = self.stream.read(size)
        if len(found) < size:
            raise _Refused("no end")
        return found

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        return self.stream.readline(1 << 10).decode().rstrip("\n")

    def marked(self) -> list[Any]:
        """What was put on the stack since the last mark."""
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
        found = self.stack[at + 1 :]
        del self.stack[at:]
        return found

    def text(self) -> None:
        size = self.number("<I")
        if size < LARGE:
            self.stack.append(self.take(size).decode("utf-8", "surrogatepass"))
            return
        path = self.scratch / f"{len(list(self.scratch.iterdir()))}.raw"
        decoder = codecs.getincrementaldecoder("utf-8")("surrogatepass")
        with path.open("wb") as file:
            while size:
                piece = self.take(min(size, PIECE))
                size -= len(piece)
                file.write(decoder.decode(piece, final=not size).encode("latin-1"))
        self.stack.append(_Bytes(path.stat().st_size, path))

    def name(self) -> None:
        full = (self.line(), self.line())
        if full not in NAMES:
            raise _Refused(".".join(full))
        self.stack.append(_Name(NAMES[full]))

    def long(self) -> None:
        self.stack.append(int.from_bytes(self.take(self.number("<B")), "little", signed=True))

    def tuple_of(self, size: int) -> None:
        found = tuple(self.stack[len(self.stack) - size :])
        del self.stack[len(self.stack) - size :]
        self.stack.append(found)

    def reduce(self) -> None:
        given = self.stack.pop()
        name = self.stack.pop()
        if not isinstance(name, _Name):
            raise _Refused(f"a call of {name!r}")
        self.stack.append(_made(name.word, given))

    def build(self) -> None:
        state = self.stack.pop()
        match self.stack[-1], state:
            case _Kind() as kind, (int(), "<" | ">" | "|" | "=" as order, *_):
                kind.text = order.replace("=", "<") + kind.text
            case _Array() as array, (int(), tuple(shape), _Kind() as kind, fortran, content):
                order = "F" if fortran else "C"
                array.value = _content(content).array(kind.kind, shape, order)
            case other, _:
                raise _Refused(f"the state of a {type(other).__name__}")

    def persistent(self) -> None:
        match self.stack.pop():
            case ("storage", _Name(word), str(key), str(), int(size), *_) if word in STORAGE:
                new = _Storage(key, np.dtype(STORAGE[word]), size)
                self.stack.append(self.storages.setdefault(key, new))
            case other:
                raise _Refused(f"a reference to {other!r}")

    def set_items(self) -> None:
        items = self.marked()
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def set_item(self) -> None:
        value = self.stack.pop()
        key = self.stack.pop()
        self.stack[-1][key] = value

    def append(self) -> None:
        value = self.stack.pop()
        self.stack[-1].append(value)

    def extend(self) -> None:
        items = self.marked()
        self.stack[-1].extend(items)

    def put(self, value: object) -> None:
        self.stack.append(value)

    def remember(self, form: str) -> None:
        self.memo[self.number(form)] = self.stack[-1]

    def recall(self, form: str) -> None:
        self.stack.append(self.memo[self.number(form)])

    steps: ClassVar[dict[bytes, Callable[[_Machine], object]]] = {
        b"\x80": lambda m: m.take(1),
        b"}": lambda m: m.put({}),
        b"]": lambda m: m.put([]),
        b")": lambda m: m.put(()),
        b"(": lambda m: m.put(_MARK),
        b"N": lambda m: m.put(None),
        b"\x88": lambda m: m.put(True),
        b"\x89": lambda m: m.put(False),
        b"K": lambda m: m.put(m.number("<B")),
        b"M": lambda m: m.put(m.number("<H")),
        b"J": lambda m: m.put(m.number("<i")),
        b"\x8a": long,
        b"G": lambda m: m.put(m.number(">d")),
        b"X": text,
        b"c": name,
        b"q": lambda m: m.remember("<B"),
        b"r": lambda m: m.remember("<I"),
        b"h": lambda m: m.recall("<B"),
        b"j": lambda m: m.recall("<I"),
        b"t": lambda m: m.put(tuple(m.marked())),
        b"\x85": lambda m: m.tuple_of(1),
        b"\x86": lambda m: m.tuple_of(2),
        b"\x87": lambda m: m.tuple_of(3),
        b"R": reduce,
        b"b": build,
        b"Q": persistent,
        b"s": set_item,
        b"u": set_items,
        b"a": append,
        b"e": extend,
    }


def _made(word: str, given: object) -> Any:
    """What a call of one of ``NAMES`` gives."""
    match word, given:
        case "bytes", (str() | _Bytes() as text, "latin1"):
            return text if isinstance(text, _Bytes) else text.encode("latin-1")
        case "bytes", ():
            return b""
        case "dtype", (str(text), *_):
            return _Kind(text)
        case "array", (_Name("ndarray"), *_):
            return _Array()
        case "scalar", (_Kind() as kind, content):
            return _content(content).array(kind.kind, (), "C").item()
        case "tensor", (_Storage() as storage, int(offset), tuple(shape), tuple(stride), *_):
            return _Tensor(storage, offset, shape, stride)
        case "dict", ():
            return {}
        case _:
            raise _Refused(f"a call of {word}")


def _content(content: object) -> _Bytes:
    if isinstance(content, bytes):
        return _Bytes(len(content), content)
    if isinstance(content, str) and not content:  # how protocol 2 writes no bytes
        return _Bytes(0, b"")
    if not isinstance(content, _Bytes):
        raise _Refused(f"numbers in a {type(content).__name__}")
    return content


def _finished(value: Any, done: dict[int, Value] | None = None) -> Value:
    """With arrays in the place of what stood for them.

    Args:
        done: lists and dicts that have been met: one that is in many places is one, else lists of
            twice the same list would grow without end.
    """
    done = {} if done is None else done
    if isinstance(value, dict | list):
        if id(value) not in done:
            done[id(value)] = None
            if isinstance(value, dict):
                found: Value = {key: _finished(inner, done) for key, inner in value.items()}
            else:
                found = [_finished(inner, done) for inner in value]
            done[id(value)] = found
        if done[id(value)] is None:
            raise _Refused(f"a {type(value).__name__} within itself")
        return done[id(value)]
    if isinstance(value, _Array | _Tensor):
        return value.value
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise _Refused(f"a {type(value).__name__}")


def read_torch_file(path: Path, scratch: Path) -> Value:
    """What is in a ``.pt`` file; ``scratch`` is to be made, and holds its large arrays.

    Raises:
        DataError: the file is damaged, or has anything but plain numbers and texts.
    """
    check_readable(path)
    scratch.mkdir(parents=True)
    with _refused(path):
        if zipfile.is_zipfile(path):
            return _from_zip(path, scratch)
        with path.open("rb") as stream:
            return _from_legacy(stream, scratch)


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    try:
        yield
    except _Refused as error:
        raise DataError(
            f"{path} has {error}, which is no plain data: it is damaged or not a file of OGB; "
            "download it again"
        ) from None
    except (IndexError, KeyError, ValueError, TypeError, AttributeError, struct.error) as error:
        raise DataError(
            f"{path} is damaged ({type(error).__name__}: {error}): download it again"
        ) from error
    except (EOFError, OverflowError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        # RuntimeError: a damaged archive may claim a password, or a packing that nobody knows.
        raise unreadable(path, error) from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # which a part that begins before the file is answered by
            raise
        raise unreadable(path, error) from error


def _from_zip(path: Path, scratch: Path) -> Value:
    with zipfile.ZipFile(path) as archive:
        if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
            raise _Refused("compressed parts")  # a few bytes of which may be any number
        (member,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        with archive.open(member) as packed:
            machine = _Machine(io.BufferedReader(packed, PIECE), scratch)  # type: ignore[arg-type]
            value = machine.run()
        for storage in machine.storages.values():
            content = archive.read(f"{member.removesuffix('data.pkl')}data/{storage.key}")
            storage.value = np.frombuffer(content, storage.kind, storage.size)
    return _finished(value)


def _from_legacy(stream: io.BufferedReader, scratch: Path) -> Value:
    """A number, a version, facts about the machine, the value, and the keys of its storages."""
    if _Machine(stream, scratch).run() != LEGACY:
        raise _Refused("no head of a file of torch")
    for _ in ("version", "machine"):
        _Machine(stream, scratch).run()
    machine = _Machine(stream, scratch)
    value = machine.run()
    for key in _Machine(stream, scratch).run():
        storage = machine.storages[key]
        (size,) = struct.unpack("<q", stream.read(8))
        if size != storage.size:
            raise _Refused(f"{size} numbers where there are {storage.size}")
        content = stream.read(size * storage.kind.itemsize)
        storage.value = np.frombuffer(content, storage.kind, size)
    return _finished(value)
