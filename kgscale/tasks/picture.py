"""An explanation as a picture: a lane for each reason, and what the score loses without it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from kgscale.durable import whole_file
from kgscale.tasks.explanation import Explanation

WIDTH: Final = 24
"""Letters of a name; longer ones are cut."""
LANE: Final = 0.62
"""Inches."""
FEW: Final = 12
"""Reasons that are drawn."""


def draw(explanation: Explanation, file: Path) -> None:
    """Of at most ``FEW`` reasons, the strongest at the top."""
    # Late, since importing it takes a second.
    from matplotlib.figure import Figure

    reasons, lanes = explanation.reasons[:FEW], explanation.names[:FEW]
    height = 1.2 + LANE * max(1, len(reasons))
    figure = Figure(figsize=(12, height), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[4, 1], sharey=True)
    longest = max((len(names) for names in lanes), default=1)
    for row, (reason, names) in enumerate(zip(reasons, lanes, strict=True)):
        steps = reason.way.steps
        entities = [steps[0].source, *(step.target for step in steps)]
        _lane(left, row, names, [entity in explanation.about for entity in entities])
    left.set_xlim(-0.6, max(longest - 1, 2) + 0.6)
    left.set_ylim(max(1, len(reasons)) - 0.4, -0.6)
    left.axis("off")
    left.set_title(f"Why {plain(explanation.asked, 3 * WIDTH)}?", loc="left")
    losses = [reason.loss for reason in reasons]
    colors = ["C0" if loss >= 0 else "C3" for loss in losses]
    right.barh(range(len(losses)), losses, color=colors, height=0.45)
    right.axvline(0, color="0.3", linewidth=0.8)
    right.set_title(f"loss of the score {explanation.score:.3g}", fontsize=10)
    right.tick_params(left=False)
    right.spines[["top", "right", "left"]].set_visible(False)
    with whole_file(file) as temporary:
        figure.savefig(temporary, dpi=150, format="png")


def _lane(panel: Any, row: int, names: Sequence[str], about: Sequence[bool]) -> None:
    """Entities in boxes, those that are asked ``about`` in blue; relations on the lines."""
    panel.plot([0, len(names) - 1], [row, row], color="0.6", linewidth=1, zorder=1)
    for at, name in enumerate(names):
        entity = at % 2 == 0
        asked = entity and about[at // 2]
        look = {"boxstyle": "round,pad=0.35", "edgecolor": "0.5" if entity else "none"}
        look["facecolor"] = "#dbe8f6" if asked else "#f4f4f4" if entity else "white"
        style = "normal" if entity else "italic"
        panel.text(
            at,
            row,
            plain(name, WIDTH),
            ha="center",
            va="center",
            fontsize=8,
            fontstyle=style,
            bbox=look,
            zorder=2,
        )


def plain(text: str, width: int) -> str:
    """Cut, on one line, and without the signs of mathematics."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    short = line if len(line) <= width else line[: width - 1] + "…"
    return short.replace("$", r"\$")
