"""Where the settings' folder is, and what it offers; needs no Hydra, so that help is quick."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def conf_directory() -> Path:
    """``conf/`` inside an installed wheel, or beside the package in a clone."""
    inside = _PACKAGE / "conf"
    return inside if inside.is_dir() else _PACKAGE.parent / "conf"


def groups() -> dict[str, dict[str, str]]:
    """Options of every group with the line that describes each."""
    found = {}
    for folder in sorted(path for path in conf_directory().iterdir() if path.is_dir()):
        found[folder.name] = {
            str(file.relative_to(folder).with_suffix("")): _first_comment(file)
            for file in sorted(folder.rglob("*.yaml"))
        }
    return found


def _first_comment(file: Path) -> str:
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("# ") and "@package" not in line:
            return line[2:]
    return ""


def help_text(commands: dict[str, str]) -> str:
    lines = ["usage: python -m kgscale [command] [group=option] [key=value] …", "", "commands:"]
    lines += [f"  {name:<10} {text}" for name, text in commands.items()]
    lines += ["", "groups and their options (python -m kgscale --cfg job shows every setting):"]
    for group, options in groups().items():
        lines.append(f"  {group}")
        lines += [f"    {name:<12} {text}" for name, text in options.items()]
    lines += [
        "",
        "resume=latest or resume=DIR goes on with a run that was cut short, at that very step",
        "flags: -m (one run per combination of comma-separated values), --cfg job, --help,"
        " --version,",
        "  --quiet (nothing but the path of what came of it), --json (that, and all it holds, on a"
        " line),",
        "  --completion bash|zsh|fish (to be read by the shell)",
        "exit codes: 0 done, 2 a setting, 3 data, 4 out of resources, 129/130/143 interrupted",
    ]
    return "\n".join(lines)
