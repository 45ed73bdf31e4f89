"""How trainings went: each named part of their loss over the training, as small curves side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from labelwise.campaign.records import RoundRecord, RunRecord
from labelwise.report.curves import Look, dress, legend_of, png, short
from labelwise.report.renderings import picture

#: name of a part -> (share of the training, mean) at some places
Lines = Mapping[str, Sequence[Sequence[float]]]
#: parts and trainings that are drawn
MOST_PARTS, MOST_TRAININGS = 12, 8
#: inches: a panel's height, the room for numbers at its left, for a title above it, and below all
_HEIGHT, _LEFT, _TITLE, _FOOT = 1.15, 0.62, 0.28, 0.42


def shown_trainings(found: Mapping[str, Lines], styles: Mapping[str, int], baseline: str | None) -> Any:
    """A picture of the parts, and a caption; None where no training has several.

    Args:
        found: name of a training ("" for the only one) -> its parts.
        styles: name -> number of its colour.
        baseline: the name that is drawn in grey.
    """
    drawn = {name: lines for name, lines in found.items() if lines}
    if not drawn:
        return None
    parts = list(dict.fromkeys(part for lines in drawn.values() for part in lines))
    kept = dict(list(drawn.items())[:MOST_TRAININGS])
    text = "Means of the named parts of the loss over the training, each on an axis of its own. What begins with "
    text += "'told' is watched and not learnt. A gap means that the phase in between does not have the part."
    for shown, there, noun in ((MOST_PARTS, len(parts), "parts"), (MOST_TRAININGS, len(drawn), "rows")):
        text += f" Shown: {shown} of {there} {noun}." if there > shown else ""

    def draw(look: Look) -> bytes:
        looks = {name: look.style(styles.get(name, 0), baseline=name == baseline) for name in kept}
        return parts_picture(kept, parts[:MOST_PARTS], looks, look)

    return {"picture": picture(draw, f"Parts of the loss: {', '.join(parts[:MOST_PARTS])}"), "caption": text}


def parts_picture(
    found: Mapping[str, Lines], parts: Sequence[str], looks: Mapping[str, Mapping[str, Any]], look: Look
) -> bytes:
    """A panel for each part, a line in it for each training that has the part. PNG.

    Args:
        found: name of a training -> its parts.
        parts: in the order of the panels.
        looks: name -> how its line is drawn.
        look: size and colours.
    """
    across = min(len(parts), 1 if look.width < 3 else 2 if look.narrow else 4)
    down = -(-len(parts) // across)
    height = down * (_HEIGHT + _TITLE) + (down - 1) * 0.2 + _FOOT
    figure = Figure(figsize=(look.width, height), dpi=look.dpi, facecolor="none" if look.transparent else look.page)
    FigureCanvasAgg(figure)
    width = look.width / across - _LEFT - 0.12
    for number, part in enumerate(parts):
        row, column = divmod(number, across)
        top = _TITLE + row * (_HEIGHT + _TITLE + 0.2)
        x, y = column * look.width / across + _LEFT, height - top - _HEIGHT
        axes = figure.add_axes((x / look.width, y / height, width / look.width, _HEIGHT / height))
        axes.set_facecolor("none")
        for name, lines in found.items():
            # every training has a line in every panel, so that one legend says all
            where, values = _with_gaps(lines.get(part, ()))
            style = {key: value for key, value in looks[name].items() if key != "marker"}
            axes.plot(where, values, lw=1.5, label=short(name) if name else None, **style)
        axes.set_title(short(part), fontsize=9.5, color=look.ink, loc="left", pad=3)
        axes.set_xlim(0, 1)
        dress(axes, look)
        axes.yaxis.set_major_locator(MaxNLocator(3))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.tick_params(labelsize=8)
        axes.set_xticks([0, 0.5, 1], ["0", "half", "all"] if number >= len(parts) - across else ["", "", ""])
    if any(found):
        legend_of(figure, figure.axes[0], look)
    return png(figure, look)


def _with_gaps(line: Sequence[Sequence[float]]) -> tuple[list[float], list[float]]:
    """Places and values, broken where the places lie three times as far apart as they mostly do."""
    if not line:
        return [], []
    where = [point[0] for point in line]
    steps = np.diff(where)
    usual = float(np.median(steps)) if len(steps) else 0.0
    found: list[tuple[float, float]] = []
    for number, (x, y, *_) in enumerate(line):
        if number and steps[number - 1] > 3 * usual:
            found.append((math.nan, math.nan))
        found.append((x, y))
    return [x for x, _ in found], [y for _, y in found]


def last_parts(rounds: Sequence[RoundRecord]) -> Lines:
    """Those of the last round that has some."""
    return next((record.parts for record in reversed(rounds) if record.parts), {})


def by_row(runs: Sequence[RunRecord]) -> dict[str, Lines]:
    """Strategy -> the parts of the last training of its first seed."""
    found: dict[str, Lines] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        if run.strategy not in found and (parts := last_parts(run.rounds)):
            found[run.strategy] = parts
    return found
