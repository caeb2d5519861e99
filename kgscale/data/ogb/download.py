"""Fetching an archive: whole or not at all, and where it was cut it goes on."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import http.client
import json
import shutil
import stat
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from kgscale.data.audit import Tell, silent
from kgscale.data.files import check_growth
from kgscale.errors import ConfigError, DataError, ResourceError

PIECE = 1 << 20
TIMEOUT = 60
"""Seconds without a byte."""
ATTEMPTS = 5
"""In a row that bring nothing."""
RECORD = "download.json"
"""In the data set's folder: whence it came, its size and checksum."""
JUNK = "__MACOSX"
PAUSE = 1.0
"""Seconds before the second attempt; then more."""
_NO_ARCHIVE = (errno.EINVAL, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG)
"""What a system answers to the places and names of a damaged archive."""
Lost = (ConnectionError, TimeoutError, urllib.error.URLError, http.client.HTTPException)
"""What a connection that ends too early raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """An archive on a server that is to become a folder."""

    url: str
    folder: Path
    """Whatever the archive calls its only folder."""

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme not in ("http", "https"):
            raise ConfigError(f"data.url needs an address that begins with http, got {self.url!r}")

    @property
    def archive(self) -> Path:
        """As far as it has come."""
        return self.folder.parent / f".{self.folder.name}.zip.part"

    @property
    def _about(self) -> Path:
        """Of which file on the server it is a part."""
        return self.archive.with_suffix(".json")

    def describe(self) -> str:
        """Address and size, if the server tells."""
        try:
            with self._answer(0) as answer:
                total = _length(answer)
        except Lost:
            total = None
        come = f", of which {_told(self._have())} have come before" if self._have() else ""
        return f"downloading {self.url}: {_told(total)}{come}"

    def run(self, tell: Tell = silent) -> None:
        """Fetch, unpack, and put the folder in its place.

        Raises:
            DataError: what the server sends is no archive of one folder; or it ends too early,
                and what has come is kept.
            ResourceError: no space.
        """
        with _disk(self.folder.parent), self._alone():
            if self.folder.exists():  # another process was first
                return
            self._fetch(tell)
            tell("computing the checksum")
            with self.archive.open("rb") as file:
                checksum = hashlib.file_digest(file, "sha256").hexdigest()
            record = {"url": self.url, "bytes": self._have(), "sha256": checksum}
            self._unpack(record, tell)
            self.archive.unlink()
            self._about.unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time; the system lets go of what a killed one held."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        path = self.archive.with_suffix(".lock")
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
            path.unlink(missing_ok=True)

    def _fetch(self, tell: Tell) -> None:
        failed = 0
        while True:
            before, reason = self._have(), ""
            try:
                if self._go_on(before, tell):
                    return
            except urllib.error.HTTPError as refusal:
                if refusal.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and before:
                    if _whole(refusal) == before:
                        return
                    self.archive.unlink()  # it is no part of what the server has now
                    continue
                raise DataError(
                    f"{self.url}: the server answers {refusal.code} ({refusal.reason}): try again"
                    " later, or name a mirror with data.url"
                ) from None
            except Lost as lost:
                reason = f" ({lost})"
            failed = failed + 1 if self._have() <= before else 0
            if failed == ATTEMPTS:
                raise DataError(
                    f"{self.url}: the connection ended after {self._have():,} bytes{reason}: run"
                    " the same command again, it goes on from there"
                )
            time.sleep(PAUSE * failed)

    def _have(self) -> int:
        return self.archive.stat().st_size if self.archive.is_file() else 0

    def _go_on(self, start: int, tell: Tell) -> bool:
        """Fetch what is missing; whether that is all."""
        about = self._saved()
        if start and start == about.get("bytes"):
            return True
        with self._answer(start, about.get("identity")) as answer:
            resumed = answer.status == http.client.PARTIAL_CONTENT
            start = start if resumed else 0
            total = _length(answer, start)
            about = {"identity": _identity(answer), "bytes": total}
            self._about.write_text(json.dumps(about), encoding="utf-8")
            if total is not None:
                self._check_space(total - start)
            with self.archive.open("ab" if resumed else "wb") as file:
                while piece := answer.read(PIECE):
                    file.write(piece)
                    tell(f"downloading {_told(file.tell())} of {_told(total)}")
                if total is None:  # then the end is all that is told
                    about["bytes"] = file.tell()
                    self._about.write_text(json.dumps(about), encoding="utf-8")
                return bool(file.tell() == about["bytes"])

    def _saved(self) -> dict[str, Any]:
        """What was told about the file of which there is a part."""
        try:
            found = json.loads(self._about.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    @contextmanager
    def _answer(self, start: int, identity: str | None = None) -> Iterator[Any]:
        request = urllib.request.Request(self.url, headers={"User-Agent": "kgscale"})
        if start and identity:
            request.add_header("Range", f"bytes={start}-")
            # Only if the server still has the same file: else it sends the whole of the new one.
            request.add_header("If-Range", identity)
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            yield answer

    def _check_space(self, missing: int) -> None:
        free = shutil.disk_usage(self.archive.parent).free
        if missing > free:
            raise ResourceError(
                f"{self.url}: {_told(missing)} are still to come, and {self.archive.parent} has"
                f" {_told(free)} of free space: make room or choose another data.path"
            )

    def _unpack(self, record: dict[str, Any], tell: Tell) -> None:
        target = self.folder.parent / f".{self.folder.name}.unpacked"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        try:
            top = self._extract(target, tell)
            text = json.dumps(record, indent=1, sort_keys=True)
            (target / top / RECORD).write_text(text + "\n", encoding="utf-8")
            (target / top).rename(self.folder)
        finally:
            shutil.rmtree(target, ignore_errors=True)

    def _extract(self, target: Path, tell: Tell) -> str:
        """The name of the archive's only folder."""
        try:
            with zipfile.ZipFile(self.archive) as packed:
                members = [m for m in packed.infolist() if PurePosixPath(m.filename).parts]
                members = [m for m in members if PurePosixPath(m.filename).parts[0] != JUNK]
                top = self._only_folder(members)
                size = sum(member.file_size for member in members)
                try:
                    check_growth(self.url, self._have(), size)
                except DataError:
                    self.archive.unlink()
                    raise
                self._check_space(size)
                for member in members:
                    tell(f"unpacking {member.filename}")
                    packed.extract(member, target)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
            raise self._damaged(error) from error
        except OSError as error:
            if error.errno is not None and error.errno not in _NO_ARCHIVE:
                raise
            raise self._damaged(error) from error
        return top

    def _damaged(self, error: Exception) -> DataError:
        self.archive.unlink()
        return DataError(
            f"{self.url} sent a damaged archive ({error}); it is removed: run the same command"
            " again"
        )

    def _only_folder(self, members: list[zipfile.ZipInfo]) -> str:
        tops = set()
        for member in members:
            path = PurePosixPath(member.filename)
            linked = stat.S_ISLNK(member.external_attr >> 16)
            if path.is_absolute() or ".." in path.parts or "\\" in member.filename or linked:
                self.archive.unlink()
                raise DataError(
                    f"{self.url}: the archive has {member.filename!r}, which leads out of its"
                    " folder; nothing of it is unpacked: get it from ogb.stanford.edu"
                )
            tops.add(path.parts[0])
        files = [member.filename for member in members if _is_loose(member)]
        if len(tops) != 1 or files:
            self.archive.unlink()
            first = ", ".join(map(repr, sorted(tops)[:3]))
            if files:
                raise DataError(
                    f"{self.url}: the archive has {files[0]!r} in no folder, and a data set is"
                    " one folder: get it from ogb.stanford.edu"
                )
            raise DataError(
                f"{self.url}: the archive has {len(tops)} folders ({first}),"
                " and a data set is one: get it from ogb.stanford.edu"
            )
        return tops.pop()


def _is_loose(member: zipfile.ZipInfo) -> bool:
    """A file beside the folder."""
    return not member.is_dir() and len(PurePosixPath(member.filename).parts) == 1


def _whole(refusal: urllib.error.HTTPError) -> int | None:
    """The bytes of a file of which a part was asked for that it has not."""
    _, _, total = str(refusal.headers.get("Content-Range")).partition("*/")
    return int(total) if total.isdigit() else None


def _length(answer: Any, start: int = 0) -> int | None:
    """Bytes of the whole file, of which what is before ``start`` isn't sent."""
    told = answer.headers.get("Content-Length")
    return None if told is None else start + int(told)


def _identity(answer: Any) -> str | None:
    """What tells this file from a later one under the same address."""
    tag = answer.headers.get("ETag")
    if tag and not tag.startswith("W/"):
        return str(tag)
    changed: str | None = answer.headers.get("Last-Modified")
    return changed


def _told(size: int | None) -> str:
    if size is None:
        return "an unknown number of bytes"
    unit = next((unit for unit in (1e9, 1e6, 1e3) if size >= unit), 1)
    word = {1e9: "GB", 1e6: "MB", 1e3: "KB", 1: "bytes"}[unit]
    return f"{size / unit:.3g} {word}"


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResourceError(
            f"cannot write below {folder} ({reason}): free disk space or choose another data.path"
        ) from error
