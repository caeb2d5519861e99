"""What the documentation says is there: a page for every command, files behind links, settings."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml

from kgscale.cli import compose
from kgscale.cli.conf import conf_directory, groups
from kgscale.cli.main import COMMANDS
from kgscale.errors import ConfigError
from tests.scripts import script

CLONE = Path(__file__).resolve().parents[1]
DOCS = CLONE / "docs"
OTHERS = ("README.md", "CONTRIBUTING.md", "examples/README.md")
PAGES = sorted([*(CLONE / page for page in OTHERS), *DOCS.rglob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
STARTS = (("python", "-m", "kgscale"), ("kgscale",))
FLAGS = ("--help", "--version", "--completion")
"""What is told without any settings."""
FOR_SCRIPTS = ("--quiet", "--json", "-m", "--multirun")


def name(page: Path) -> str:
    return str(page.relative_to(CLONE))


def commands() -> list[str]:
    """Every command of the program that stands in a block of a page, once."""
    blocks = (block for page in PAGES for block in FENCE.findall(page.read_text(encoding="utf-8")))
    lines = (line for block in blocks for line in block.splitlines())
    return sorted({line for line in lines if called(line)})


def called(line: str) -> list[str]:
    """Words behind the program's name; none if it isn't called."""
    try:
        words = shlex.split(line.removesuffix(")").partition("=$(")[2] or line, comments=True)
    except ValueError:  # no command, but an output that has a quote in it
        return []
    for start in STARTS:
        if tuple(words[: len(start)]) == start and "[command]" not in words:
            return words[len(start) :]
    return []


def nav(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            yield from nav(value) if isinstance(value, list) else [value]


def test_every_page_is_in_the_menu_and_every_command_has_one() -> None:
    # Python's own tags would be refused: there are none.
    config = yaml.safe_load((CLONE / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = list(nav(config["nav"]))
    assert len(listed) == len(set(listed))
    # docs/hooks.py lists the decisions.
    there = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    assert set(listed) == {page for page in there if not page.startswith("decisions/")}
    assert {page for page in listed if page.startswith("commands/")} == {
        "commands/index.md",
        *(f"commands/{command}.md" for command in COMMANDS),
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_of_a_command_has_its_settings(command: str) -> None:
    text = (DOCS / "commands" / f"{command}.md").read_text(encoding="utf-8")
    file = "config" if command == "train" else command
    assert f'--8<-- "conf/{file}.yaml"' in text
    assert text.startswith(f"# {command}\n")
    assert "**Writes**" in text
    assert "**Exit codes**" in text
    assert f"({command}.md)" in (DOCS / "commands" / "index.md").read_text(encoding="utf-8")


def test_the_page_of_settings_has_every_option() -> None:
    text = (DOCS / "settings.md").read_text(encoding="utf-8")
    there = {
        f"{group}/{option}"
        for group, options in groups().items()
        for option in options
        if group != "experiment"
    }
    shown = set(re.findall(r'--8<-- "conf/(\w+/\w+)\.yaml"', text))
    # Those of OGB differ in nothing but what data they are of.
    assert {option for option in there - shown if "OGB" not in first_line(option)} == set()
    assert shown <= there


def first_line(option: str) -> str:
    return (conf_directory() / f"{option}.yaml").read_text(encoding="utf-8").splitlines()[0]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in LINK.findall(text):
        target, _, anchor = unquote(link).partition("#")
        if "://" in target:
            continue
        file = page if not target else page.parent / target
        assert file.exists(), f"{link}: nothing there"
        # A site knows nothing of what lies beside its pages.
        assert page.parent not in (DOCS, *DOCS.rglob("*")) or DOCS in file.resolve().parents, link
        if anchor:
            assert anchor in anchors(file), f"{link}: no such heading"


def anchors(page: Path) -> set[str]:
    """Headings as links name them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        re.sub(r"[^\w\s-]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


@pytest.mark.slow
@pytest.mark.parametrize("line", commands())
def test_commands_compose(line: str) -> None:
    """``…`` stands for a part of a path; nothing is read or run."""
    several = not {"-m", "--multirun"}.isdisjoint(called(line))
    words = [word.replace("…", "DIR") for word in called(line) if word not in FOR_SCRIPTS]
    if words[:1] and words[0] in FLAGS:
        return
    if words[-2:] == ["--cfg", "job"]:
        words = words[:-2]
    command = words.pop(0) if words and words[0] in COMMANDS else "train"
    words = [f"question={word}" if word.startswith("?") else word for word in words]
    words = [word for word in words if word != "DIR" and not word.startswith("resume=")]
    # The first and the last combination, which have every option that the others have.
    combinations = compose.sweep(words) if several else [words]
    for one in (combinations[0], combinations[-1])[: len(combinations)]:
        assert compose.settings(one, name="config" if command == "train" else command)


def test_a_command_that_does_not_compose_would_be_told() -> None:
    assert called('run=$(kgscale data=triples data.path="my own.tsv" --quiet)') == [
        "data=triples",
        "data.path=my own.tsv",
        "--quiet",
    ]
    with pytest.raises(ConfigError):
        test_commands_compose("python -m kgscale predict run=… heed=Ann")


def test_blocks_that_readme_and_pages_share_are_there() -> None:
    readme = (CLONE / "README.md").read_text(encoding="utf-8")
    for page in DOCS.rglob("*.md"):
        for part in re.findall(r'--8<-- "README\.md:([\w-]+)"', page.read_text(encoding="utf-8")):
            block = readme.partition(f"[start:{part}] -->")[2].partition(f"[end:{part}]")[0]
            # A link that leads somewhere from the README would lead nowhere from a page.
            assert block.count("|") > 10, part
            assert not LINK.findall(block), part


def test_the_picture_is_drawn_from_results(tmp_path: Path) -> None:
    picture = script("picture")
    for panel in picture.PANELS:
        found = picture.points(CLONE / "results" / f"{panel}.csv")
        assert {"neighbor", "cluster", "precomputed", "full_batch"} <= found.keys()
    mebibytes, mean, deviation = picture.points(CLONE / "results" / "fb15k237-strategies.csv")[
        "neighbor"
    ]
    # As the README's table has it.
    assert (round(mebibytes), round(mean, 4), round(deviation, 4)) == (56, 0.3213, 0.0012)
    picture.main(tmp_path / "deep" / "picture.png")
    assert (tmp_path / "deep" / "picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_site_is_built_without_warnings(tmp_path: Path) -> None:
    """And loads nothing from elsewhere."""
    pytest.importorskip("mkdocs")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=CLONE,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    assert (tmp_path / "commands" / "predict" / "index.html").is_file()
    reference = (tmp_path / "api" / "index.html").read_text(encoding="utf-8")
    assert 'id="kgscale.sampling.pyg.PyGNeighborSampler"' in reference
    loaded = re.compile(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"?(?:https?:)?//")
    for page in tmp_path.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not loaded.search(text), page
        assert "--8&lt;--" not in text, page
