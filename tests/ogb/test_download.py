"""Against a server on the loopback address, with everything that goes wrong on the way."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import stat
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kgscale.data.ogb import download as module
from kgscale.data.ogb.download import Download
from kgscale.data.ogb.source import OgbDataSet
from kgscale.errors import ConfigError, DataError, ResourceError
from kgscale.graph.store import prepare
from tests.ogb.miniature import write


@dataclass
class Server:
    """Sends one file, as badly as it is told to."""

    content: bytes = b""
    tag: str | None = '"1"'
    cut: list[int] = field(default_factory=list)
    """For each answer, after how many bytes the connection ends; afterwards none is cut."""
    said: int | None = None
    """A wrong length."""
    tells: bool = True
    """Whether it says a length."""
    code: int = 200
    ranges: list[str | None] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(module, "PAUSE", 0)
    monkeypatch.setattr(module, "PIECE", 512)
    shared = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            shared.ranges.append(asked)
            if shared.code != 200:
                self.send_error(shared.code)
                return
            start = 0
            if asked and shared.tag and self.headers.get("If-Range") == shared.tag:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if not shared.said and start and start >= len(shared.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(shared.content)}")
                self.end_headers()
                return
            body = shared.content[start:]
            self.send_response(206 if start else 200)
            if shared.tag:
                self.send_header("ETag", shared.tag)
            if shared.tells:
                self.send_header("Content-Length", str(shared.said or len(body)))
            self.end_headers()
            self.wfile.write(body[: shared.cut.pop(0)] if shared.cut else body)

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        shared.url = f"http://127.0.0.1:{running.server_address[1]}/data.zip"
        yield shared
        running.shutdown()


def archive(files: dict[str, bytes], *, links: tuple[str, ...] = ()) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as target:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            if name in links:
                entry.external_attr = (stat.S_IFLNK | 0o777) << 16
            target.writestr(entry, content)
    return packed.getvalue()


FILES = {"any-name/raw/a.txt": b"first" * 400, "any-name/b.txt": b"second"}


def fetched(server: Server, folder: Path) -> Download:
    return Download(url=server.url, folder=folder / "dataset" / "ogbl_x")


def assert_complete(asked: Download, server: Server) -> None:
    assert (asked.folder / "raw" / "a.txt").read_bytes() == FILES["any-name/raw/a.txt"]
    record = json.loads((asked.folder / "download.json").read_text())
    digest = hashlib.sha256(server.content).hexdigest()
    assert record == {"url": server.url, "bytes": len(server.content), "sha256": digest}
    assert [path.name for path in asked.folder.parent.iterdir()] == ["ogbl_x"]


def test_a_folder_appears(server: Server, tmp_path: Path) -> None:
    server.content = archive(FILES)
    asked, told = fetched(server, tmp_path), list[str]()
    assert asked.describe() == f"downloading {server.url}: 2.24 KB"
    asked.run(told.append)
    assert_complete(asked, server)
    assert told[0] == "downloading 512 bytes of 2.24 KB"
    assert told[-1] == "unpacking any-name/b.txt"


def test_a_cut_connection_is_taken_up_again(server: Server, tmp_path: Path) -> None:
    server.content, server.cut = archive(FILES), [1000, 0, 600]
    asked = fetched(server, tmp_path)
    asked.run()
    assert_complete(asked, server)
    assert server.ranges == [None, "bytes=1000-", "bytes=1000-", "bytes=1600-"]


def test_what_came_without_a_length_is_not_fetched_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where unpacking was stopped."""

    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    server.content, server.tells = archive(FILES), False
    asked = fetched(server, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Download, "_unpack", interrupted)
        with pytest.raises(KeyboardInterrupt):
            asked.run()
    asked.run()
    assert_complete(asked, server)
    assert server.ranges == [None]


@pytest.mark.parametrize("extra", [b"", b"more than there is"])
def test_a_part_after_which_nothing_comes(extra: bytes, server: Server, tmp_path: Path) -> None:
    """It is the whole file, or none of it."""
    server.content = archive(FILES)
    asked = fetched(server, tmp_path)
    asked.archive.parent.mkdir(parents=True)
    asked.archive.write_bytes(server.content + extra)
    asked.archive.with_suffix(".json").write_text(json.dumps({"identity": server.tag}))
    asked.run()
    assert_complete(asked, server)
    assert server.ranges == [f"bytes={len(server.content + extra)}-", None][: 1 + bool(extra)]


def test_a_file_that_changed_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    server.content, server.cut = b"x" * 3000, [1000] + [0] * 5
    asked = fetched(server, tmp_path)
    with pytest.raises(DataError, match=r"ended after 1,000 bytes.*it goes on from there"):
        asked.run()
    assert asked.archive.read_bytes() == b"x" * 1000
    server.content, server.tag = archive(FILES), '"2"'
    asked.run()
    assert_complete(asked, server)


def test_a_server_that_cannot_go_on(server: Server, tmp_path: Path) -> None:
    server.content, server.tag, server.cut = archive(FILES), None, [1000]
    asked = fetched(server, tmp_path)
    asked.run()
    assert_complete(asked, server)
    assert server.ranges == [None, None]


def test_what_has_come_whole_is_not_fetched_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped while it was unpacked."""

    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    server.content = archive(FILES)
    asked = fetched(server, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extract", stop)
        with pytest.raises(KeyboardInterrupt):
            asked.run()
    assert not asked.folder.exists()
    asked.run()
    assert_complete(asked, server)
    assert server.ranges == [None]


def test_two_at_once_fetch_it_once(server: Server, tmp_path: Path) -> None:
    server.content = archive({**FILES, "any-name/large": b"x" * 200_000})
    asked, failed = fetched(server, tmp_path), list[BaseException]()

    def run() -> None:
        try:
            asked.run()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert server.ranges == [None]
    assert_complete(asked, server)


@pytest.mark.parametrize("said", [2000, 4000])
def test_a_wrong_length(server: Server, tmp_path: Path, said: int) -> None:
    """Too short: what comes is no archive. Too long: what is missing never comes."""
    server.content, server.said = archive(FILES), said
    asked = fetched(server, tmp_path)
    with pytest.raises(DataError, match="damaged archive" if said == 2000 else "ended after"):
        asked.run()
    assert not asked.folder.exists()


def test_a_truncated_archive(server: Server, tmp_path: Path) -> None:
    server.content = archive(FILES)[:-30]
    asked = fetched(server, tmp_path)
    with pytest.raises(DataError, match=r"damaged archive .*; it is removed"):
        asked.run()
    assert not asked.folder.exists()
    assert not asked.archive.exists()


def test_a_damaged_member(server: Server, tmp_path: Path) -> None:
    server.content = archive(FILES).replace(b"firstfirst", b"firstfirts", 1)
    asked = fetched(server, tmp_path)
    with pytest.raises(DataError, match=r"damaged archive .*CRC"):
        asked.run()
    assert [path.name for path in asked.folder.parent.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize(
    "name", ["../out.txt", "any-name/../../out.txt", "/tmp/out.txt", "any-name\\..\\..\\out.txt"]
)
def test_a_path_that_leads_out(server: Server, tmp_path: Path, name: str) -> None:
    server.content = archive({**FILES, name: b"evil"})
    asked = fetched(server, tmp_path)
    with pytest.raises(DataError, match="leads out of its folder; nothing of it is unpacked"):
        asked.run()
    assert not asked.folder.exists()
    assert not list(tmp_path.rglob("out.txt"))


def test_a_link_in_the_archive(server: Server, tmp_path: Path) -> None:
    server.content = archive({**FILES, "any-name/l": b"/etc"}, links=("any-name/l",))
    with pytest.raises(DataError, match="'any-name/l', which leads out of its folder"):
        fetched(server, tmp_path).run()


def test_several_folders(server: Server, tmp_path: Path) -> None:
    server.content = archive({**FILES, "other/c.txt": b"", "__MACOSX/x": b""})
    with pytest.raises(DataError, match=r"has 2 folders \('any-name', 'other'\)"):
        fetched(server, tmp_path).run()


def test_no_folder(server: Server, tmp_path: Path) -> None:
    server.content = archive({"data.csv": b"1,2"})
    with pytest.raises(DataError, match=r"has 'data\.csv' in no folder"):
        fetched(server, tmp_path).run()


def test_no_such_file(server: Server, tmp_path: Path) -> None:
    server.code = 404
    with pytest.raises(DataError, match=r"answers 404 \(Not Found\).*data\.url"):
        fetched(server, tmp_path).run()


def test_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0)
    asked = Download(url="http://127.0.0.1:9/x.zip", folder=tmp_path / "x")
    assert asked.describe() == "downloading http://127.0.0.1:9/x.zip: an unknown number of bytes"
    with pytest.raises(DataError, match=r"ended after 0 bytes .*refused"):
        asked.run()


def test_no_space(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.content = archive(FILES)
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(ResourceError, match="has 100 bytes of free space"):
        fetched(server, tmp_path).run()


def test_other_addresses_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="begins with http"):
        Download(url="file:///etc/passwd", folder=tmp_path / "x")


def test_from_the_server_to_the_store(server: Server, tmp_path: Path) -> None:
    """Never without permission."""
    folder = write("ogbl-ddi", tmp_path / "made").folder
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as target:
        for path in sorted(folder.rglob("*")):
            target.write(path, Path("ddi") / path.relative_to(folder))
    server.content = packed.getvalue()
    settings = {"benchmark": "ogbl-ddi", "path": tmp_path / "dataset", "url": server.url}
    closed = OgbDataSet(**settings)
    assert closed.wanted() is None
    with pytest.raises(DataError, match=r"ogbl_ddi does not exist: say data\.download=true"):
        prepare(closed, tmp_path / "stores")
    assert server.ranges == []
    source = OgbDataSet(**settings, download=True)
    assert (source.wanted() or "").startswith(f"downloading {server.url}: ")
    store = prepare(source, tmp_path / "stores", threads=1)
    assert store.num_entities == 60
    assert source.wanted() is None
    assert prepare(closed, tmp_path / "stores").fingerprint == store.fingerprint
