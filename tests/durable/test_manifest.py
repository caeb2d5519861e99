"""A directory is what was written, to the byte, or it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from kgscale.durable import MANIFEST, check_manifest, read_manifest, write_manifest


@pytest.fixture
def written(tmp_path: Path) -> Path:
    (tmp_path / "a").write_bytes(bytes(range(100)))
    (tmp_path / "b").write_text("text")
    write_manifest(tmp_path, {"kind": "example", "schema": 1})
    return tmp_path


def test_what_is_whole_is_told(written: Path) -> None:
    told = check_manifest(written)
    assert (told["kind"], told["schema"]) == ("example", 1)
    assert told["versions"].keys() == {"kgscale", "torch", "safetensors"}


def test_every_changed_byte_is_noticed(written: Path) -> None:
    for file in sorted(written.iterdir()):
        whole = file.read_bytes()
        for at in range(len(whole)):
            for bit in (1, 32):
                file.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
                with pytest.raises(ValueError, match=r"[^ ]"):
                    check_manifest(written)
        for other in (whole[:-1], whole + b"\n", b""):
            file.write_bytes(other)
            with pytest.raises(ValueError, match=r"[^ ]"):
                check_manifest(written)
        file.write_bytes(whole)
    check_manifest(written)


def test_another_line_end_is_a_change(written: Path) -> None:
    """As text, both would read the same."""
    whole = (written / MANIFEST).read_bytes()
    for end in (b"\r", b"\r\n"):
        (written / MANIFEST).write_bytes(whole.replace(b"\n", end))
        with pytest.raises(ValueError, match="has changed"):
            check_manifest(written)


def test_files_that_come_and_go(written: Path) -> None:
    (written / "c").write_text("")
    with pytest.raises(ValueError, match="c is not part of it"):
        check_manifest(written)
    (written / "c").unlink()
    (written / "b").rename(written.parent / "b")
    with pytest.raises(ValueError, match="b is missing"):
        check_manifest(written)
    (written / "b").symlink_to(written.parent / "b")
    with pytest.raises(ValueError, match="b is no plain file"):
        check_manifest(written)
    (written / MANIFEST).unlink()
    with pytest.raises(ValueError, match=f"no {MANIFEST}"):
        check_manifest(written)


def test_what_may_lie_beside_is_not_looked_at(written: Path) -> None:
    (written / "README.md").write_text("for people")
    with pytest.raises(ValueError, match=r"README\.md is not part of it"):
        check_manifest(written)
    assert check_manifest(written, beside=("README.md",)) == read_manifest(written)
    (written / "README.md").unlink()
    check_manifest(written, beside=("README.md",))
