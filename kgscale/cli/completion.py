"""Completion for shells: the commands, the groups and their options, and every setting.

Neither torch nor Hydra is imported, so that a key press is answered at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from kgscale.cli.conf import conf_directory, groups
from kgscale.errors import ConfigError

FLAGS: Final = ("--help", "--version", "--cfg", "--multirun", "--quiet", "--json")
SCRIPTS: Final = {
    "bash": """\
_kgscale() {
    local line=${COMP_LINE:0:COMP_POINT} IFS=$'\\n'
    local word=${line##* }
    COMPREPLY=($("$1" --complete "$line"))
    # To bash, what follows = is a word of its own.
    [[ $word == *=* ]] && COMPREPLY=("${COMPREPLY[@]#"${word%%=*}="}")
    [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -o bashdefault -o default -F _kgscale kgscale
""",
    "zsh": """\
#compdef kgscale
_kgscale() {
    local -a found
    found=("${(@f)$("$words[1]" --complete "$LBUFFER")}")
    compadd -Q -S '' -- ${found:#}
    _files
}
compdef _kgscale kgscale
""",
    "fish": """\
complete -c kgscale -a '(kgscale --complete (commandline -cp | string collect))'
""",
}


def script(shell: str) -> str:
    """What a shell reads once to complete words from then on.

    Raises:
        ConfigError: a shell that there is no script for.
    """
    if shell not in SCRIPTS:
        raise ConfigError(f"--completion is for {', '.join(SCRIPTS)}, got {shell!r}")
    return SCRIPTS[shell]


def completions(line: str, commands: Iterable[str]) -> list[str]:
    """What the last word of a command line may become."""
    *before, word = line.split(" ")
    before = [text for text in before[1:] if text]
    command = before[0] if before and before[0] in commands else "train"
    key, equals, _ = word.partition("=")
    offered = groups()
    if equals:
        found = [f"{key}={option}" for option in offered.get(key, ())]
    elif word.startswith("-"):
        found = list(FLAGS)
    else:
        found = [] if before else list(commands)
        found += [f"{name}=" for name in _settings(command, before, offered)]
    return sorted({text for text in found if text.startswith(word)})


def _settings(
    command: str, before: Sequence[str], offered: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    """The groups, and the keys of the options that are chosen, as dotted names."""
    root = conf_directory()
    name = command if (root / f"{command}.yaml").is_file() else "config"
    chosen, own = _read(root / f"{name}.yaml")
    yield from _keys(own)
    if not chosen:
        return
    yield from offered
    asked = dict(text.split("=", 1) for text in before if text.count("=") == 1)
    for group in ("task", "experiment"):  # these choose others
        option = asked.get(group, chosen.get(group))
        if option in offered[group]:
            chosen |= _read(root / group / f"{option}.yaml")[0]
    for group, option in {**chosen, **asked}.items():
        if option in offered.get(group, ()):
            file = root / group / f"{option}.yaml"
            everywhere = "@package _global_" in file.read_text(encoding="utf-8")
            yield from _keys(_read(file)[1], "" if everywhere else f"{group}.")


def _read(file: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """The option of each group that a file of settings begins with, and its own settings."""
    content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    chosen: dict[str, str] = {}
    for entry in content.pop("defaults", []):
        if entry == "config":
            base, own = _read(file.parent / "config.yaml")
            chosen, content = {**base, **chosen}, {**own, **content}
        elif isinstance(entry, dict):
            for name, option in entry.items():
                chosen[name.removeprefix("optional ").removeprefix("override /")] = option
    return chosen, content


def _keys(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _keys(value, f"{prefix}{name}.")
        elif not str(name).startswith("_"):
            yield f"{prefix}{name}"
