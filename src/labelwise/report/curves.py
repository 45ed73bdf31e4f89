"""Learning curves and class balance as pictures, for pages in light and dark and for README files.

Drawn on Agg through matplotlib's object API: no global state, no display, safe in threads. Colours are of Okabe and
Ito (told apart with any colour vision); every strategy also has its own marker. Names stand at the right end of the
curves, spread so that they never touch, or below the plot where it is narrow.

Dimension key: R seeds, B budgets.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from labelwise.campaign.records import write_whole
from labelwise.drawing.colours import COLOURS_LIGHT
from labelwise.errors import visible
from labelwise.report import wording
from labelwise.report.judged import judged
from labelwise.report.statistics import FloatArray, interval
from labelwise.report.summary import Summary, costs_of, picks_by_class

COLOURS_DARK = ("#4DA9E8", "#FF8A4C", "#2CC79B", "#E39AC6", "#EDB23E", "#8FD0F5", "#C8A582", "#A79DF2")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)))
FAINT_SEEDS = 5
FAINT_STRATEGIES = 6
LABEL_LENGTH = 26
FULL = "all labels"


@dataclass(frozen=True, slots=True)
class Look:
    """Colours and size of one rendering.

    Args:
        dark: for a dark page.
        width: inches, at ``dpi``.
        height: inches, without the legend below a narrow plot.
        dpi: pixels per inch.
        transparent: no background, so that the page shows through.
    """

    dark: bool = False
    width: float = 9.6
    height: float = 4.8
    dpi: int = 150
    transparent: bool = False

    @property
    def ink(self) -> str:
        """Colour of text."""
        return "#D9DEE7" if self.dark else "#1F2733"

    @property
    def soft(self) -> str:
        """Colour of axes and the headroom line."""
        return "#8B95A5" if self.dark else "#687385"

    @property
    def grid(self) -> str:
        """Colour of grid lines."""
        return "#2B323D" if self.dark else "#E6E9EE"

    @property
    def page(self) -> str:
        """Colour of the background."""
        return "#161A20" if self.dark else "#FFFFFF"

    @property
    def narrow(self) -> bool:
        """Whether names go below the plot."""
        return self.width < 6

    def style(self, index: int, *, baseline: bool) -> dict[str, Any]:
        """Colour, marker and dashes of a strategy: grey and dashed for the baseline."""
        if baseline:
            return {"color": self.soft, "marker": "o", "linestyle": (0, (4, 2))}
        colours = COLOURS_DARK if self.dark else COLOURS_LIGHT
        return {
            "color": colours[index % len(colours)],
            "marker": MARKERS[(index + 1) % len(MARKERS)],
            "linestyle": DASHES[(index // len(colours)) % len(DASHES)],
        }


def learning_curves(summary: Summary, *, look: Look = Look(), log_x: bool = False) -> bytes:
    """The primary metric over labels: mean, 95 % t interval over seeds, single seeds faint, headroom line. PNG.

    Args:
        summary: of the study.
        look: size and colours.
        log_x: label counts on a log2 axis.
    """
    x = {name: np.broadcast_to(summary.curves.labels_B, v.shape) for name, v in summary.curves.values.items()}
    return _curves(summary, x, "labels", look=look, log_x=log_x)


def cost_curves(summary: Summary, unit: str, *, look: Look = Look(), log_x: bool = False) -> bytes:
    """The primary metric over cumulated cost in another unit, mean cost over seeds per round. PNG.

    Args:
        summary: of the study.
        unit: one of ``summary.costs_of``.
        look: size and colours.
        log_x: cost on a log2 axis.
    """
    return _curves(summary, costs_of(summary.study, summary.curves)[unit], unit, look=look, log_x=log_x)


def class_balance(summary: Summary, *, look: Look = Look(), limit: int = 24) -> bytes:
    """Share of each class in the picks of each strategy, against its share of the pool. PNG.

    Args:
        summary: of the study.
        look: size and colours; the height follows the number of classes.
        limit: with more classes, those whose shares differ most from the pool.
    """
    shares, pool = balance_shares(summary)
    names = list(shares)
    classes = list(dict.fromkeys([*pool, *(c for s in shares.values() for c in s)]))
    if len(classes) > limit:
        spread = {c: max(abs(s.get(c, 0) - pool.get(c, 0)) for s in shares.values()) for c in classes}
        kept = set(sorted(classes, key=lambda c: -spread[c])[:limit])
        classes = [c for c in classes if c in kept]
    figure, axes = _figure(Look(look.dark, look.width, 0.9 + 0.27 * max(len(classes), 3), look.dpi, look.transparent))
    order = order_of(summary)
    rows = np.arange(len(classes))[::-1]
    offsets = np.linspace(0.24, -0.24, len(names)) if len(names) > 1 else np.zeros(1)
    for name, offset in zip(names, offsets, strict=True):
        style = look.style(order[name], baseline=name == summary.baseline)
        points = [100 * shares[name].get(c, 0) for c in classes]
        axes.plot(points, rows + offset, style["marker"], color=style["color"], ms=5, label=short(name))
    if pool:
        at = [100 * pool.get(c, 0) for c in classes]
        axes.plot(at, rows, "|", color=look.ink, ms=13, mew=1.6, label="pool", zorder=1)
    axes.set_yticks(rows, [short(c) for c in classes])
    axes.set_ylim(-0.6, len(classes) - 0.4)
    axes.set_xlim(left=0)
    axes.set_xlabel("share of picks, %", color=look.ink)
    dress(axes, look)
    _legend_below(figure, axes, look)
    return png(figure, look)


def balance_shares(summary: Summary) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """(strategy -> class -> share of its picks, class -> share of the pool); shares add up to 1."""
    shares = {n: _share(counts) for n, counts in picks_by_class(summary.study).items()}
    counted = summary.study.pool.get("class_counts")
    pool = {str(c): float(n) for c, n in counted.items()} if isinstance(counted, Mapping) else {}
    return shares, _share(pool)


def write_curves(
    summary: Summary, folder: str | os.PathLike[str], *, look: Look = Look(), log_x: bool = False
) -> list[Path]:
    """Write ``curves.png``, a ``curves-UNIT.png`` per other cost unit, and ``class-balance.png`` if classes are known.

    With a judge also ``curves-judged.png``: the same picks, every row trained by the judge.

    Returns:
        The files written.
    """
    target = Path(folder)
    pictures = {"curves": learning_curves(summary, look=look, log_x=log_x)}
    if (by_judge := judged(summary)) is not None:
        pictures["curves-judged"] = learning_curves(by_judge.summary, look=look, log_x=log_x)
    for unit in costs_of(summary.study, summary.curves):
        pictures[f"curves-{_file_name(unit)}"] = cost_curves(summary, unit, look=look, log_x=log_x)
    if picks_by_class(summary.study):
        pictures["class-balance"] = class_balance(summary, look=look)
    return [write_whole(target / f"{name}.png", data) for name, data in pictures.items()]


def single_curve(
    labels: Sequence[float],
    values: Mapping[str, Sequence[float]],
    *,
    y_label: str,
    bands: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    look: Look = Look(),
) -> bytes:
    """Lines of one real project over its labels, with no comparison. PNG.

    Args:
        labels: label count of each fit.
        values: name of the metric -> one value per fit; NaN where not measured.
        y_label: what the axis is called.
        bands: name of the metric -> both ends of an interval for each fit; NaN where there is none.
        look: size and colours.
    """
    figure, axes = _figure(look)
    ends = []
    alone = len(values) == 1
    for i, (name, line) in enumerate(values.items()):
        y = np.asarray(line, dtype=np.float64)
        style = look.style(i, baseline=False)
        axes.plot(labels, y, lw=2, ms=6, label=None if alone else short(name), **style)
        if bands and name in bands:
            low, high = np.asarray(bands[name], dtype=np.float64).T
            axes.vlines(labels, low, high, color=style["color"], alpha=0.35, lw=5)
        ends.append((float(np.asarray(labels)[np.isfinite(y)][-1]), float(y[np.isfinite(y)][-1]), name, style["color"]))
    _x_axis(axes, np.asarray(labels, dtype=np.float64), log_x=False, look=look)
    axes.set_xlabel("labels", color=look.ink)
    axes.set_ylabel(wording.metric_name(y_label), color=look.ink)
    dress(axes, look)
    _name_lines(figure, axes, [] if alone else ends, look)
    return png(figure, look)


def _curves(summary: Summary, x: Mapping[str, FloatArray], unit: str, *, look: Look, log_x: bool) -> bytes:
    figure, axes = _figure(look)
    ends, shown = [], [np.zeros(0)]
    order = order_of(summary)
    names = sorted(summary.curves.values, key=lambda n: n != summary.baseline)  # the baseline lies below the others
    for name in names:
        values_RB = summary.curves.values[name]
        style = look.style(order[name], baseline=name == summary.baseline)
        end = _strategy(axes, x[name], values_RB, style, label=short(name), faint=len(names) <= FAINT_STRATEGIES)
        shown.append(values_RB[np.isfinite(values_RB)])
        if end is not None:
            ends.append((*end, name, style["color"]))
    if summary.full is not None and summary.full.n:
        axes.axhline(summary.full.mean, color=look.soft, lw=1.2, ls=(0, (1, 2)), zorder=1)
        if np.isfinite(summary.full.low):
            axes.axhspan(summary.full.low, summary.full.high, color=look.soft, alpha=0.10, lw=0, zorder=0)
        ends.append((np.nan, summary.full.mean, FULL, look.soft))
        shown.append(np.array([summary.full.mean]))
    _y_limits(axes, np.concatenate(shown))
    ticks = np.concatenate([v[np.isfinite(v)] for v in x.values()]) if unit == "labels" and x else None
    _x_axis(axes, np.unique(ticks) if ticks is not None else None, log_x=log_x, look=look)
    axes.set_xlabel("labels" if unit == "labels" else f"cost in {unit}", color=look.ink)
    axes.set_ylabel(wording.metric_name(summary.study.primary), color=look.ink)
    if not ends:
        axes.text(0.5, 0.5, "no round finished yet", color=look.soft, transform=axes.transAxes, ha="center")
    dress(axes, look)
    _name_lines(figure, axes, ends, look)
    return png(figure, look)


def _strategy(
    axes: Axes, x_RB: FloatArray, values_RB: FloatArray, style: Mapping[str, Any], *, label: str, faint: bool
) -> tuple[float, float] | None:
    """Draw one strategy; returns where its mean curve ends."""
    intervals = [interval(column) for column in values_RB.T]
    mean_B = np.array([i.mean for i in intervals])
    x_B = np.array(
        [interval(np.where(np.isfinite(v), c, np.nan)).mean for c, v in zip(x_RB.T, values_RB.T, strict=True)]
    )
    has = np.isfinite(mean_B) & np.isfinite(x_B)
    if not has.any():
        return None
    if faint and 1 < len(values_RB) <= FAINT_SEEDS:
        for x_row, row in zip(x_RB, values_RB, strict=True):
            axes.plot(x_row, row, color=style["color"], lw=0.8, alpha=0.35, zorder=2)
    low_B, high_B = np.array([i.low for i in intervals]), np.array([i.high for i in intervals])
    banded = has & np.isfinite(low_B)
    if banded.any():
        axes.fill_between(
            x_B[banded],
            low_B[banded],
            high_B[banded],
            color=style["color"],
            alpha=0.13 if faint else 0.06,
            lw=0,
            zorder=1,
        )
    axes.plot(x_B[has], mean_B[has], lw=2, ms=5.5, mew=0, label=label, zorder=3, **style)
    return float(x_B[has][-1]), float(mean_B[has][-1])


def _figure(look: Look) -> tuple[Figure, Axes]:
    figure = Figure(
        figsize=(look.width, look.height), dpi=look.dpi, facecolor="none" if look.transparent else look.page
    )
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_facecolor("none")
    return figure, axes


def dress(axes: Axes, look: Look) -> None:
    """Axes, ticks and grid in the colours of a page."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(look.soft)
        axes.spines[side].set_linewidth(0.8)
    axes.tick_params(colors=look.ink, which="both", length=3, width=0.8, color=look.soft, labelsize=9.5)
    axes.grid(True, which="major", color=look.grid, lw=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.label.set_fontsize(10.5)
    axes.yaxis.label.set_fontsize(10.5)


def _y_limits(axes: Axes, shown: FloatArray) -> None:
    """From the values themselves: the band of two seeds can be ten times as wide as all there is to see."""
    if shown.size:
        low, high = float(shown.min()), float(shown.max())
        room = 0.06 * (high - low) or 0.05 * max(abs(high), 1e-3)
        axes.set_ylim(low - room, high + room)


def _x_axis(axes: Axes, ticks: FloatArray | None, *, log_x: bool, look: Look) -> None:
    log_x = log_x and not (ticks is not None and ticks.size and ticks[0] <= 0)  # no logarithm of a start at 0
    if log_x:
        axes.set_xscale("log", base=2)
    if ticks is not None and ticks.size:
        along = np.log2(ticks) if log_x else ticks
        inches = look.width - (1.0 if look.narrow else 2.2)
        apart = (0.085 * len(f"{ticks[-1]:,.0f}") + 0.14) / inches * float(along[-1] - along[0])
        kept: list[int] = []
        for i in range(ticks.size):  # the label counts themselves, as many as can be read
            if not kept or along[i] - along[kept[-1]] >= apart:
                kept.append(i)
        axes.xaxis.set_major_locator(FixedLocator(ticks[kept].tolist()))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}" if v >= 10 or v == int(v) else f"{v:g}"))


def _name_lines(figure: Figure, axes: Axes, ends: Sequence[tuple[float, float, str, str]], look: Look) -> None:
    """Names at the right end of the curves, or below where the plot is narrow or they would not fit."""
    size = 9.5
    step = 1.45 * size / 72  # inches from name to name
    top, bottom, left = 0.12, 0.54, 0.78
    room = look.height - top - bottom
    if look.narrow or not ends or len(ends) * step > room:
        _legend_below(figure, axes, look, full=next((e for e in ends if e[2] == FULL), None))
        return
    texts = [axes.text(0, 0, short(e[2]), color=e[3], fontsize=size, va="center", ha="left") for e in ends]
    with _no_font_warnings():
        widest = max(t.get_window_extent().width for t in texts) / look.dpi
    inches = look.width - left - widest - 0.45
    figure.subplots_adjust(
        left=left / look.width,
        right=(left + inches) / look.width,
        top=1 - top / look.height,
        bottom=bottom / look.height,
    )
    low, high = axes.get_ylim()
    heights = [(e[1] - low) / (high - low) for e in ends]
    placed = spread(np.array(heights) * room, step, room) / room
    for text, end, y, at in zip(texts, ends, heights, placed.tolist(), strict=True):
        text.set(transform=axes.transAxes, position=(1 + 0.30 / inches, at))
        path = [1 + reach / inches for reach in (0.03, 0.16, 0.26)]
        axes.plot(path, [y, at, at], transform=axes.transAxes, color=end[3], lw=0.9, alpha=0.8, clip_on=False)


def spread(wanted: FloatArray, gap: float, room: float) -> FloatArray:
    """Positions nearest to ``wanted`` (least squares) that keep their order, are ``gap`` apart and inside [0, room].

    Example:
        >>> spread(np.array([1.0, 1.1, 5.0]), 0.5, 6.0).tolist()
        [0.8, 1.3, 5.0]
    """
    order = np.argsort(wanted, kind="stable")
    level = wanted[order] - gap * np.arange(wanted.size)
    blocks: list[list[float]] = []  # pool adjacent violators: (mean, size)
    for value in level.tolist():
        blocks.append([value, 1.0])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, size = blocks.pop()
            last = blocks[-1]
            last[0], last[1] = (last[0] * last[1] + mean * size) / (last[1] + size), last[1] + size
    flat = np.concatenate([np.full(int(size), mean) for mean, size in blocks]) if blocks else np.zeros(0)
    flat = np.clip(flat, 0, max(room - gap * (wanted.size - 1), 0))
    out = np.empty_like(wanted)
    out[order] = np.round(flat + gap * np.arange(wanted.size), 9)
    return out


def _legend_below(figure: Figure, axes: Axes, look: Look, full: tuple[float, float, str, str] | None = None) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if full is not None:
        handles.append(axes.plot([], [], color=full[3], lw=1.2, ls=(0, (1, 2)))[0])
        labels.append(full[2])
    left, top, bottom = 0.72, 0.12, 0.58
    if labels:
        legend_height = _legend(figure, handles, labels, look)
        figure.set_figheight(figure.get_figheight() + legend_height)
        bottom += legend_height
    tick_width = max((len(t.get_text()) for t in axes.get_yticklabels()), default=0) * 0.078 + 0.25
    height = figure.get_figheight()
    figure.subplots_adjust(
        left=max(left, min(tick_width, 0.4 * look.width)) / look.width,
        right=1 - 0.2 / look.width,
        top=1 - top / height,
        bottom=bottom / height,
    )


def _legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str], look: Look) -> float:
    """A legend at the bottom edge with as many columns as fit; returns its height in inches."""
    for columns in range(len(labels), 0, -1):
        legend = figure.legend(
            handles, labels, loc="lower center", ncols=columns, frameon=False, fontsize=9.5, labelcolor=look.ink,
            handlelength=1.9, columnspacing=1.1, borderaxespad=0.1, labelspacing=0.35,
        )  # fmt: skip
        with _no_font_warnings():
            extent = legend.get_window_extent()
        if columns == 1 or extent.width <= (look.width - 0.1) * look.dpi:
            break
        legend.remove()
    return float(extent.height / look.dpi)


def order_of(summary: Summary) -> dict[str, int]:
    """Strategy -> index of its colour; the baseline takes none."""
    rivals = [n for n in summary.curves.values if n != summary.baseline]
    order = {n: i for i, n in enumerate(rivals)}
    if summary.baseline is not None:
        order[summary.baseline] = len(rivals)
    return order


def _share(counts: Mapping[str, float]) -> dict[str, float]:
    total = sum(counts.values())
    return {c: n / total for c, n in counts.items()} if total > 0 else {}


def panels(
    count: int, across: int, size: tuple[float, float], look: Look, *, left: float, foot: float, legend: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure of equal panels, row by row from the top left, each with a title above it.

    Args:
        count: number of panels.
        across: panels in a row.
        size: width and height of a panel in inches.
        look: width and colours; the height follows.
        left: room for names at the left edge, inches.
        foot: room for names below the last row, inches.
        legend: whether a legend will stand below; ``legend_of`` makes room for it.
    """
    title, gap = 0.3, 0.28 if not legend else 0.2
    down = -(-count // across)
    height = down * (size[1] + title) + (down - 1) * gap + foot + 0.05
    figure = Figure(figsize=(look.width, height), dpi=look.dpi, facecolor="none" if look.transparent else look.page)
    FigureCanvasAgg(figure)
    axes = []
    for number in range(count):
        row, column = divmod(number, across)
        x, top = left + column * (size[0] + gap), title + row * (size[1] + title + gap)
        box = (x / look.width, 1 - (top + size[1]) / height, size[0] / look.width, size[1] / height)
        axes.append(figure.add_axes(box))
        axes[-1].set_facecolor("none")
    return figure, axes


def legend_of(figure: Figure, axes: Axes, look: Look) -> None:
    """Puts a legend below the panels: the figure grows by its height, the panels stay as large as they are."""
    handles, labels = axes.get_legend_handles_labels()
    before = figure.get_figheight()
    after = before + _legend(figure, handles, labels, look)
    figure.set_figheight(after)
    for panel in figure.axes:
        box = panel.get_position()
        panel.set_position((box.x0, 1 - (1 - box.y0) * before / after, box.width, box.height * before / after))


def short(name: str) -> str:
    """A name that matplotlib takes literally (``$`` starts a formula, ``_`` hides a legend entry), cut to length."""
    text = visible(name)
    text = text if len(text) <= LABEL_LENGTH else text[: LABEL_LENGTH - 1] + "…"
    return text.replace("\\", "/").replace("$", r"\$") if not text.startswith("_") else " " + text.replace("$", r"\$")


def _file_name(unit: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in unit)


def png(figure: Figure, look: Look) -> bytes:
    """The finished picture."""
    out = io.BytesIO()
    with _no_font_warnings():
        figure.savefig(out, format="png", dpi=look.dpi, transparent=look.transparent, metadata={"Software": None})
    return out.getvalue()


@contextlib.contextmanager
def _no_font_warnings() -> Iterator[None]:
    """A glyph that the font lacks is drawn as a box: no reason to fail a report."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield
