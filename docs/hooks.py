"""What mkdocs is told beside mkdocs.yml: every record in ``decisions`` is a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def on_config(config: Any) -> Any:
    """Fill in the section "Decisions", whose pages are named by their headings."""
    folder = Path(config["docs_dir"])
    pages = [str(page.relative_to(folder)) for page in sorted(folder.glob("decisions/*.md"))]
    for section in config["nav"]:
        if "Decisions" in section:
            section["Decisions"] = pages
    return config
