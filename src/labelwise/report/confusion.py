"""Confusion matrices side by side: which class is taken for which, by the last model of each strategy.

Dimension key: C classes, K classes shown, Q columns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from labelwise.errors import visible
from labelwise.report import wording
from labelwise.report.curves import Look, panels, png, short
from labelwise.report.statistics import FloatArray

#: more classes than this, and only the hardest are drawn
MOST_CLASSES = 12
OTHER = "other"


def class_name(name: str) -> str:
    """A class as a picture has room for it."""
    return short(wording.middle(visible(name), 12))


@dataclass(frozen=True, slots=True)
class Confusion:
    """Matrices of several models over the same classes.

    Args:
        shares: name of the model -> (K, Q) share of a true class (row) that is taken for a class (column); rows add up
            to 1, or are NaN where no test image is of that class.
        rows: names of the K true classes.
        columns: names of the Q predicted classes: the same, and "other" where classes are left out.
        classes: C, how many there are.
    """

    shares: Mapping[str, FloatArray]
    rows: Sequence[str]
    columns: Sequence[str]
    classes: int

    @property
    def left_out(self) -> bool:
        """Whether classes are left out."""
        return len(self.rows) < self.classes


def confusion_of(counts: Mapping[str, Sequence[Sequence[int]]], names: Sequence[str]) -> Confusion:
    """Shares from counts; of more than 12 classes those with the lowest recall, on average over the models.

    Args:
        counts: name of the model -> rows [true class, predicted class, images]; rows that say the same add up.
        names: of the classes, by index.

    Example:
        >>> found = confusion_of({"margin": [[0, 0, 3], [0, 1, 1], [1, 1, 2]]}, ["cat", "dog"])
        >>> found.shares["margin"].tolist()
        [[0.75, 0.25], [0.0, 1.0]]
    """
    full = {name: _shares(rows, len(names)) for name, rows in counts.items()}
    if len(names) <= MOST_CLASSES:
        return Confusion(full, names, names, len(names))
    recall_C = np.array([[matrix[c, c] for c in range(len(names))] for matrix in full.values()])
    there_C = np.isfinite(recall_C).any(0)
    mean_C = np.where(there_C, np.nanmean(np.where(there_C, recall_C, 0.0), axis=0), np.inf)
    worst = sorted(np.argsort(mean_C, kind="stable")[:MOST_CLASSES].tolist())
    rest = [c for c in range(len(names)) if c not in worst]
    part = {
        name: np.column_stack([matrix[np.ix_(worst, worst)], matrix[np.ix_(worst, rest)].sum(1)])
        for name, matrix in full.items()
    }
    chosen = [names[c] for c in worst]
    return Confusion(part, chosen, [*chosen, OTHER], len(names))


def _shares(rows: Sequence[Sequence[int]], classes: int) -> FloatArray:
    counted = np.zeros((classes, classes))
    for true, predicted, images in rows:
        counted[true, predicted] += images
    total = counted.sum(1, keepdims=True)
    shares: FloatArray = np.divide(counted, total, out=np.full_like(counted, np.nan), where=total > 0)
    return shares


def confusion_picture(confusion: Confusion, *, look: Look) -> bytes:
    """One panel a model: rows are true classes, columns what they are taken for, whole percentages in the cells. PNG.

    Args:
        confusion: the matrices.
        look: width and colours; the height follows.
    """
    names = list(confusion.shares)
    longest = max(len(class_name(name)) for name in [*confusion.rows, *confusion.columns])
    margin = 0.3 + 0.075 * longest
    turn = 90 if longest > 2 else 0
    across = 1 if look.narrow else min(3, len(names))
    side = min(3.4 if len(names) > 1 else 4.6, (look.width - margin - 0.15 - 0.28 * (across - 1)) / across)
    figure, axes = panels(
        len(names), across, (side, side * len(confusion.rows) / len(confusion.columns)), look, left=margin, foot=margin
    )
    for number, (name, panel) in enumerate(zip(names, axes, strict=True)):
        _draw(panel, confusion, name, look, side)
        first, last = number % across == 0, number + across >= len(names)
        panel.set_yticks(range(len(confusion.rows)), [class_name(c) for c in confusion.rows] if first else [])
        panel.set_xticks(
            range(len(confusion.columns)), [class_name(c) for c in confusion.columns] if last else [], rotation=turn
        )
        if first:
            panel.set_ylabel("true class", color=look.soft, fontsize=8.5)
        if last:
            panel.set_xlabel("taken for", color=look.soft, fontsize=8.5)
    return png(figure, look)


def _draw(panel: Axes, confusion: Confusion, name: str, look: Look, side: float) -> None:
    matrix = confusion.shares[name]
    # on a square-root scale, or errors would be as pale as the page
    panel.imshow(np.sqrt(np.nan_to_num(matrix)), cmap=_hue(look), vmin=0, vmax=1, aspect="auto")
    size = min(9.5, 0.42 * 72 * side / len(confusion.columns))
    for row in range(matrix.shape[0]):
        for column in range(matrix.shape[1]):
            share = float(matrix[row, column])
            text = "" if not math.isfinite(share) or share < 0.005 else f"{100 * share:.0f}"
            ink = look.page if share > 0.3 else look.ink
            panel.text(column, row, text, ha="center", va="center", fontsize=size, color=ink)
    panel.set_title(short(name), color=look.ink, fontsize=10, pad=5)
    panel.tick_params(length=0, labelsize=8, labelcolor=look.ink, pad=2)
    for spine in panel.spines.values():
        spine.set_color(look.grid)


def _hue(look: Look) -> LinearSegmentedColormap:
    """From the page to one blue."""
    steps = [look.page, "#2C6187", "#7CC4F2"] if look.dark else [look.page, "#8FBFDD", "#00507D"]
    return LinearSegmentedColormap.from_list("share", steps)
