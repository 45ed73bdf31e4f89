"""How many labels more: what the next round brings, when a target is reached, and whether to stop.

Dimension key: B rounds, D draws, L label counts asked about.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from labelwise.errors import ConfigError, DataError
from labelwise.estimating.curves import FEWEST, CarriedOn, LearningCurve, carry_on

#: coverage of every interval here
LEVEL = 0.8
#: a round that is worth its labels with a smaller chance than this is not worth them
UNLIKELY = 0.2
#: rounds ahead that are told, as multiples of the next
AHEAD = (1, 2, 4, 8)
#: label counts of the curve that is drawn
DRAWN = 60


@dataclass(frozen=True)
class Wish:
    """What somebody wants of more labels.

    Args:
        round: labels of the next round.
        worth: what a round has to bring to be worth it, in points: hundredths of the metric.
        target: value of the metric to reach; None asks for none.
        horizon: most labels that there could be.

    Raises:
        ConfigError: a number that makes no sense.
    """

    round: int
    worth: float = 0.5
    target: float | None = None
    horizon: int = 10_000

    def __post_init__(self) -> None:
        if self.round < 1:
            raise ConfigError(f"a round of {self.round} labels was asked about: give 1 or more")
        if not (math.isfinite(self.worth) and self.worth >= 0):
            raise ConfigError(f"--worth is {self.worth:g} points: give 0 or more")
        if self.horizon < 1:
            raise ConfigError(f"--horizon is {self.horizon} labels: give 1 or more")


@dataclass(frozen=True)
class Ends:
    """A median with both ends of its 80 % interval; infinite where it lies beyond the horizon."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, draws_D: np.ndarray) -> Ends:
        """From draws."""
        # not interpolated: halfway to infinity is infinity
        ends = np.quantile(draws_D, (0.5, (1 - LEVEL) / 2, (1 + LEVEL) / 2), method="inverted_cdf")
        return cls(*(float(end) for end in ends))


@dataclass(frozen=True)
class Ahead:
    """The metric with more labels.

    Args:
        labels: so many in all.
        more: than there are now.
        gain: what will be measured on the same test images, above what was measured last.
        measured: what will be measured there.
        of_all: the metric on all images like the test images.
    """

    labels: int
    more: int
    gain: Ends
    measured: Ends
    of_all: Ends


@dataclass(frozen=True)
class Advice:
    """All of it, in numbers.

    Args:
        wish: what was asked.
        curve: as measured.
        ahead: the next rounds, each twice as far as the one before, within the horizon.
        likely: chance that the next round brings what is worth it, the noise of measuring it left aside.
        reached: labels in all at which the target is reached on the test images; None without one.
        within: chance that this is within the horizon; None without a target.
        there: chance that the target is reached already; None without one.
        families: how far each is believed.
        line: label counts -> the median of the curves and both ends of what will be measured, for a picture.
    """

    wish: Wish
    curve: LearningCurve
    ahead: tuple[Ahead, ...]
    likely: float
    reached: Ends | None
    within: float | None
    there: float | None
    families: Mapping[str, float] = field(default_factory=dict)
    line: Mapping[float, Ends] = field(default_factory=dict)

    @property
    def stop(self) -> bool:
        """Whether the next round is unlikely to bring what is worth it, or the target is all but surely reached."""
        return self.likely < UNLIKELY or (self.there is not None and self.there >= 1 - UNLIKELY)


def advise(curve: LearningCurve, wish: Wish, *, draws: int = 1000, seed: int = 0) -> Advice:
    """Carries a curve on and says what follows.

    Args:
        curve: as measured.
        wish: what is asked.
        draws: refits behind the intervals.
        seed: of these.

    Raises:
        DataError: too few rounds, or a curve that falls; says what to do.
        ConfigError: a target that no model can have.

    Cost: some 50 ms.

    Example:
        >>> labels = np.array([100.0, 200, 300, 400, 500])
        >>> curve = LearningCurve(labels, 1 - labels**-0.4, np.full(5, 0.005))
        >>> found = advise(curve, Wish(100, worth=0.5, target=0.95))
        >>> 0 < found.ahead[0].gain.middle < 0.02, found.reached is not None and found.reached.middle > 500
        (True, True)
    """
    if len(curve.labels_B) < FEWEST:
        rounds = f"{len(curve.labels_B)} round{'s' * (len(curve.labels_B) != 1)} measured on test images"
        raise DataError(
            f"{rounds}, and a learning curve that can be carried on needs {FEWEST}: label "
            f"{FEWEST - len(curve.labels_B)} more, smaller ones if need be, with a fit after each"
        )
    if curve.falls():
        first, last = curve.values_B[0], curve.values_B[-1]
        raise DataError(
            f"more labels made the model worse: from {first:.3f} with {curve.labels_B[0]:,.0f} to {last:.3f} with "
            f"{curve.labels_B[-1]:,.0f}, and such a curve cannot be carried on: train longer, look for wrong labels"
        )
    _refuse_impossible(curve, wish)
    made = carry_on(curve, draws=draws, seed=seed)
    now, last = int(curve.labels_B[-1]), float(curve.values_B[-1])
    more = [k * wish.round for k in AHEAD if now + k * wish.round <= wish.horizon or k == 1]
    measured_DL, of_all_DL = made.measured([now + m for m in more]), made.of_all([now + m for m in more])
    way = curve.way
    ahead = tuple(
        Ahead(
            now + m, m, Ends.of(way * (measured_DL[:, k] - last)), Ends.of(measured_DL[:, k]), Ends.of(of_all_DL[:, k])
        )
        for k, m in enumerate(more)
    )
    two_DL = made.values([now, now + wish.round])
    likely = float((way * (two_DL[:, 1] - two_DL[:, 0]) >= wish.worth / 100).mean())
    reached = within = there = None
    if wish.target is not None:
        reached_D = made.reached(wish.target, max(wish.horizon, now))
        reached, within = Ends.of(reached_D), float(np.isfinite(reached_D).mean())
        there = float((reached_D <= now).mean())
    return Advice(wish, curve, ahead, likely, reached, within, there, made.weights, _line(made, wish, reached))


def _line(made: CarriedOn, wish: Wish, reached: Ends | None) -> dict[float, Ends]:
    """The curve as it is drawn: as far again as it has come, and on to where the target is reached."""
    first, now = (float(made.curve.labels_B[place]) for place in (0, -1))
    wanted = reached.middle * 1.1 if reached is not None and math.isfinite(reached.middle) else 0.0
    end = min(max(2 * now, now + 4 * wish.round, min(wanted, 6 * now)), max(float(wish.horizon), now + wish.round))
    counts = np.linspace(first, end, DRAWN)
    middle_L, bands = np.median(made.values(counts), axis=0), [Ends.of(column) for column in made.measured(counts).T]
    return {
        float(n): replace(band, middle=float(middle)) for n, middle, band in zip(counts, middle_L, bands, strict=True)
    }


def _refuse_impossible(curve: LearningCurve, wish: Wish) -> None:
    if wish.target is None:
        return
    beyond = wish.target >= curve.best if curve.higher_is_better else wish.target <= curve.best
    if beyond or not math.isfinite(wish.target):
        raise ConfigError(
            f"--target is {wish.target:g}, and no model is better than {curve.best:g}: give less, as 0.9 for 90 %"
        )
