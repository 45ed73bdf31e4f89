"""How many labels more, in words and as a picture: one place, so that terminal and page agree."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from labelwise.drawing.colours import COLOURS_LIGHT
from labelwise.estimating.advice import LEVEL, Advice, Ends
from labelwise.report import wording
from labelwise.report.curves import COLOURS_DARK, Look, dress, legend_of, panels, png

#: what intervals are worth, as it stands below each table
MEASURED = (
    f"Intervals are of {LEVEL:.0%}: families of curves refitted to noisy copies of the rounds. How often they hold was "
    "measured on simulated campaigns (docs/advice.md); where the data or the training change, they do not."
)


@dataclass(frozen=True)
class Told:
    """Advice on one project.

    Args:
        metric: its name.
        images: test images behind the values.
        advice: in numbers.
        notes: what people should know of the rounds.
    """

    metric: str
    images: int
    advice: Advice
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        """What it comes to, one sentence a line, the most wanted first."""
        advice, curve = self.advice, self.advice.curve
        name, now = wording.metric_name(self.metric), float(curve.values_B[-1])
        rounds = wording.count(len(curve.labels_B), "round")
        first = (
            f"{name} {wording.value(now)} with {curve.labels_B[-1]:,.0f} labels, on "
            f"{wording.count(self.images, 'test image')}, after {rounds}"
        )
        step = advice.ahead[0]
        gain = f"the next {step.more:,} labels bring {points(step.gain)} points"
        return [first, gain, *self._target(), self._verdict()]

    def _target(self) -> list[str]:
        """When the target is reached."""
        advice = self.advice
        wish, reached, within, there = advice.wish, advice.reached, advice.within, advice.there
        if wish.target is None or reached is None or within is None or there is None:
            return []
        now, target = advice.curve.labels_B[-1], wording.value(wish.target)
        if there >= 0.5:
            return [f"{target} is reached already, with a chance of {wording.percent(there)}"]
        if math.isinf(reached.low):
            chance = f"by then it is with a chance of {wording.percent(within)}" if within >= 0.005 else "hardly ever"
            return [f"{target} is not reached within {wish.horizon:,} labels ({chance})"]
        low = f"{labels(reached.low)}" if reached.low > now else f"the {now:,.0f} there are"
        high = f"{labels(reached.high)}" if math.isfinite(reached.high) else f"not within {wish.horizon:,}"
        if math.isinf(reached.middle):
            even = f"within {wish.horizon:,} labels it is with a chance of {wording.percent(within)}"
            return [f"{target} is rather not reached: at {low} labels at the earliest, {even}"]
        return [f"{target} is reached at {labels(reached.middle)} labels ({low} to {high})"]

    def _verdict(self) -> str:
        advice = self.advice
        step, worth = advice.ahead[0].more, f"{advice.wish.worth:g} points"
        chance = f"{step:,} labels bring {worth} or more with a chance of {wording.percent(advice.likely)}"
        if advice.there is not None and advice.there >= 0.8:
            return f"stop: the target is reached; {chance}"
        return f"{'stop' if advice.stop else 'go on'}: {chance}"

    @property
    def table(self) -> tuple[list[str], list[list[str]]]:
        """Heads and rows: the metric with more labels."""
        rows = [
            [
                f"{one.labels:,}",
                f"+{one.more:,}",
                wording.value(one.measured.middle),
                _between(one.measured),
                _between(one.of_all),
            ]
            for one in self.advice.ahead
        ]
        name = wording.metric_name(self.metric)
        return ["labels", "more", name, "on these test images", "on all images like them"], rows


def points(gain: Ends) -> str:
    """A gain in hundredths with its interval.

    Example:
        >>> points(Ends(0.0084, 0.001, 0.0162))
        '0.8 (0.1 to 1.6)'
    """
    middle, low, high = (f"{100 * end + 0.0:.1f}".replace("-0.0", "0.0") for end in (gain.middle, gain.low, gain.high))
    return f"{middle} ({low} to {high})"


def labels(count: float) -> str:
    """A number of labels as exactly as it is known: two digits.

    Example:
        >>> labels(1234.0), labels(87.0), labels(14567.0)
        ('1,200', '87', '15,000')
    """
    if count < 100:
        return f"{math.ceil(count):,}"
    digits = 10 ** (math.floor(math.log10(count)) - 1)
    return f"{round(count / digits) * digits:,}"


def _between(ends: Ends) -> str:
    return f"{wording.value(ends.low)} to {wording.value(ends.high)}"


def forecast_curve(told: Told, look: Look) -> bytes:
    """The rounds so far and the curve carried on, with its 80 % band. PNG.

    Args:
        told: of a project.
        look: size and colours.
    """
    advice, curve = told.advice, told.advice.curve
    colour = (COLOURS_DARK if look.dark else COLOURS_LIGHT)[0]
    left, right = 0.85, 0.2
    size = (look.width - left - right, look.height - 1.2)
    figure, (axes,) = panels(1, 1, size, look, left=left, foot=0.55, legend=True)
    counts = np.array(list(advice.line))
    middle, low, high = (np.array([getattr(e, end) for e in advice.line.values()]) for end in ("middle", "low", "high"))
    axes.fill_between(counts, low, high, color=colour, alpha=0.18, lw=0, label="what 8 of 10 rounds will measure")
    axes.plot(counts, middle, color=colour, lw=1.6, label="the curve, carried on")
    axes.errorbar(
        curve.labels_B, curve.values_B, yerr=1.96 * curve.error_B, fmt="o", ms=5, color=look.ink, elinewidth=1,
        label="measured, 95 %",
    )  # fmt: skip
    if advice.wish.target is not None:
        axes.axhline(advice.wish.target, color=look.soft, lw=1.2, ls=(0, (4, 2)), label="target")
    shown = np.concatenate([curve.values_B, low, high])
    axes.set_ylim(float(shown.min()) - 0.02, min(float(shown.max()) + 0.02, 1.005))
    axes.set_xlabel("labels", color=look.ink)
    axes.set_ylabel(wording.metric_name(told.metric), color=look.ink)
    dress(axes, look)
    legend_of(figure, axes, look)
    return png(figure, look)
