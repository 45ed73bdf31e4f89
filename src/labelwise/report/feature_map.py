"""Maps of test images as the last model of each strategy sees them, with its errors and what was picked.

Dimension key: N points, E errors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse

from labelwise.drawing.colours import COLOURS_LIGHT
from labelwise.report.confusion import class_name
from labelwise.report.curves import COLOURS_DARK, Look, legend_of, panels, png, short
from labelwise.report.statistics import FloatArray

#: kinds of error that get an ellipse, and how many errors make one
MOST_ELLIPSES, FEWEST_ERRORS = 3, 5
#: classes that get a colour of their own
MOST_COLOURS = 10
_MORE_LIGHT, _MORE_DARK = ("#8A8F98", "#6B8E23"), ("#A5ACB8", "#B5D36B")
#: half axes of an ellipse in standard deviations, and what a line of errors is widened by
_DEVIATIONS, _NARROWEST = 2.0, 0.012


@dataclass(frozen=True, slots=True)
class Ring:
    """An ellipse around errors of one kind.

    Args:
        centre: (x, y), the median of the errors.
        width: of the first axis, 4 standard deviations.
        height: of the second.
        angle: degrees from the x axis to the first axis, against the clock.
        text: true class → what it is taken for.
    """

    centre: tuple[float, float]
    width: float
    height: float
    angle: float
    text: str


def rings(points: Sequence[Sequence[float]], names: Sequence[str]) -> list[Ring]:
    """Ellipses around the commonest kinds of error, from the covariance of the half nearest to their median.

    Args:
        points: rows [x, y, true class, predicted class, picked].
        names: of the classes.
    """
    wrong = [row for row in points if row[2] != row[3] and not row[4]]
    kinds = Counter((int(row[2]), int(row[3])) for row in wrong)
    found = []
    for (true, predicted), count in sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))[:MOST_ELLIPSES]:
        if count < FEWEST_ERRORS:
            break
        places_E2 = np.array([row[:2] for row in wrong if (row[2], row[3]) == (true, predicted)])
        centre = np.median(places_E2, axis=0)
        away_E = np.linalg.norm(places_E2 - centre, axis=1)
        near = places_E2[away_E <= max(np.median(away_E), 1e-9)]
        values, axes = np.linalg.eigh(np.cov(near.T) + _NARROWEST**2 * np.eye(2))
        spread = 2 * _DEVIATIONS * np.sqrt(values)
        text = f"{class_name(names[true])} → {class_name(names[predicted])}"
        angle = float(np.degrees(np.arctan2(axes[1, 1], axes[0, 1])))
        found.append(Ring((float(centre[0]), float(centre[1])), float(spread[1]), float(spread[0]), angle, text))
    return found


def map_picture(maps: Mapping[str, Sequence[Sequence[float]]], names: Sequence[str], *, look: Look) -> bytes:
    """One panel a model: colour is the true class, large crosses are errors, rings are picks, ellipses crowds. PNG.

    Args:
        maps: name of the model -> rows [x, y, true class, predicted class, picked].
        names: of the classes, by index.
        look: width and colours; the height follows.
    """
    across = 1 if look.narrow else 2 if len(maps) > 3 else len(maps)
    side = (look.width - 0.2 - 0.2 * (across - 1)) / across
    figure, axes = panels(len(maps), across, (side, min(0.86 * side, 5.0)), look, left=0.1, foot=0.1, legend=True)
    for (name, points), panel in zip(maps.items(), axes, strict=True):
        _draw(panel, np.array(points, dtype=np.float64), look)
        taken: list[tuple[float, float]] = []
        for ring in rings(points, names):
            _ring(panel, ring, look, taken, side=side)
        panel.set_title(short(name), color=look.ink, fontsize=10, pad=5)
        panel.set(xticks=[], yticks=[], xlim=(-0.04, 1.04), ylim=(-0.04, 1.04))
        for spine in panel.spines.values():
            spine.set_color(look.grid)
    _explain(axes[0], names, look)
    legend_of(figure, axes[0], look)
    return png(figure, look)


def class_colours(classes: int, look: Look) -> list[str]:
    """A colour for each of up to ten classes; one for all where there are more."""
    many = (*COLOURS_DARK, *_MORE_DARK) if look.dark else (*COLOURS_LIGHT, *_MORE_LIGHT)
    return list(many[:classes]) if classes <= MOST_COLOURS else [many[0]] * classes


def _draw(panel: Axes, points_N5: FloatArray, look: Look) -> None:
    classes = points_N5[:, 2].astype(int)
    colours = np.array(class_colours(int(points_N5[:, 2:4].max()) + 1, look))
    picked_N = points_N5[:, 4] > 0
    wrong_N = (points_N5[:, 2] != points_N5[:, 3]) & ~picked_N
    right_N = ~picked_N & ~wrong_N
    x, y = points_N5[:, 0], points_N5[:, 1]
    panel.scatter(x[right_N], y[right_N], s=3, c=colours[classes[right_N]], alpha=0.65, lw=0, zorder=1)
    panel.scatter(x[picked_N], y[picked_N], s=17, facecolors="none", edgecolors=look.soft, lw=0.7, zorder=2)
    panel.scatter(x[wrong_N], y[wrong_N], s=20, c=colours[classes[wrong_N]], marker="X", lw=0.4, ec=look.page, zorder=3)


def _ring(panel: Axes, ring: Ring, look: Look, taken: list[tuple[float, float]], *, side: float) -> None:
    """An ellipse with its name above or below it, out of the way of the names in ``taken``; ``side`` in inches."""
    panel.add_patch(
        Ellipse(ring.centre, ring.width, ring.height, angle=ring.angle, fill=False, ec=look.ink, ls=(0, (4, 2)), lw=1.1)
    )
    turn = np.radians(ring.angle)
    reach = 0.5 * float(np.hypot(ring.width * np.sin(turn), ring.height * np.cos(turn)))
    above = ring.centre[1] + reach < 0.9
    half = min(0.5, 0.028 * len(ring.text) / side)  # of a letter, in inches
    x = min(max(ring.centre[0], half), 1 - half)
    y = ring.centre[1] + (reach + 0.03 if above else -reach - 0.03)
    while any(abs(x - other[0]) < 0.4 and abs(y - other[1]) < 0.055 for other in taken):
        y += 0.02 if above else -0.02
    taken.append((x, y))
    box = {"boxstyle": "round,pad=0.15", "fc": look.page, "ec": "none", "alpha": 0.8}
    panel.text(x, y, ring.text, ha="center", va="center", fontsize=7.5, color=look.ink, bbox=box, zorder=4)


def _explain(panel: Axes, names: Sequence[str], look: Look) -> None:
    """What the legend says."""
    if len(names) <= MOST_COLOURS:
        for name, colour in zip(names, class_colours(len(names), look), strict=True):
            panel.scatter([], [], s=22, color=colour, lw=0, label=class_name(name))
    panel.scatter([], [], s=24, color=look.ink, marker="X", lw=0, label="wrong")
    panel.scatter([], [], s=20, facecolors="none", edgecolors=look.soft, lw=0.8, label="picked")
