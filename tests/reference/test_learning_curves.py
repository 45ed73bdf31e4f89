"""Learning curves carried on: fits against a solver, crossings against a walk, and curves that are none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import nnls

from labelwise.errors import ConfigError, DataError
from labelwise.estimating.advice import Ends, Wish, advise
from labelwise.estimating.curves import LearningCurve, Tuned, carry_on
from labelwise.estimating.families import FAMILIES, fitted

LABELS = np.array([50.0, 100, 150, 200, 300, 400])


def curve(loss_B, error: float = 0.01, labels_B=LABELS) -> LearningCurve:
    labels_B = np.asarray(labels_B, dtype=float)
    return LearningCurve(labels_B, 1 - np.asarray(loss_B, dtype=float), np.full(len(labels_B), error))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_fits_are_the_solvers(family):
    rng = np.random.default_rng(0)
    shapes_S = family.shapes(50, 400)
    fall_SB = family.fall(LABELS, shapes_S)
    assert (np.diff(fall_SB, axis=1) <= 0).all()
    weight_B = rng.uniform(0.2, 2, len(LABELS))
    rows = [
        rng.random(6),
        np.sort(rng.random(6)),
        np.sort(rng.random(6))[::-1],
        np.zeros(6),
        np.full(6, 0.3),
        9 / LABELS,
    ]
    floor_DS, height_DS, left_DS = fitted(fall_SB, np.array(rows), weight_B)
    root_B = np.sqrt(weight_B)
    for d, loss_B in enumerate(rows):
        for s in range(len(shapes_S)):
            design = np.stack([root_B, fall_SB[s] * root_B], 1)
            (floor, height), norm = nnls(design, loss_B * root_B)
            assert left_DS[d, s] == pytest.approx(norm**2, abs=1e-9)
            if np.ptp(fall_SB[s]) > 1e-3:
                assert (floor_DS[d, s], height_DS[d, s]) == pytest.approx((floor, height), abs=1e-5)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_each_family_finds_its_own(family):
    shape = family.shapes(50, 400)[len(family.shapes(50, 400)) // 2]
    whole = np.array([*LABELS, 800.0, 1600.0])
    loss = 0.05 + 0.4 * family.fall(whole, np.array([shape]))[0]
    made = carry_on(curve(loss[:6], error=0.002))
    low, high = np.quantile(made.measured(whole[6:]), [0.02, 0.98], axis=0)
    assert (low < 1 - loss[6:]).all()
    assert (1 - loss[6:] < high).all()


def test_intervals_widen_with_the_way_and_with_noise():
    loss = 0.05 + 2 * LABELS**-0.5
    wide = []
    for error in (0.002, 0.05):
        found = advise(curve(loss, error), Wish(100))
        spans = [one.of_all.high - one.of_all.low for one in found.ahead]
        assert [one.labels for one in found.ahead] == [500, 600, 800, 1200]
        assert spans == sorted(spans)
        wide.append(spans[0])
    assert wide[1] > 2 * wide[0]


def test_crossings_are_those_of_a_walk():
    made = carry_on(curve(0.05 + 2 * LABELS**-0.5, error=0.0), draws=60)
    found_D = made.reached(0.88, 3000)
    steps = np.arange(400, 3001, dtype=float)
    values_DL = made.values(steps)
    for draw, found in enumerate(found_D):
        there = np.flatnonzero(values_DL[draw] >= 0.88)
        if len(there):
            assert found == pytest.approx(steps[there[0]], rel=0.02)
        else:
            assert math.isinf(found)


def test_the_order_of_questions_changes_nothing():
    made = carry_on(curve(0.05 + 2 * LABELS**-0.5))
    alone, together = made.values([900.0]), made.values([500.0, 900.0])
    assert np.array_equal(alone[:, 0], together[:, 1])
    again = carry_on(curve(0.05 + 2 * LABELS**-0.5))
    assert np.array_equal(again.measured([500.0]), made.measured([500.0]))


def test_a_loss_and_its_mirror_get_the_same_advice():
    loss = 0.05 + 2 * LABELS**-0.5
    up = advise(curve(loss), Wish(100, target=0.9))
    down = advise(LearningCurve(LABELS, loss, np.full(6, 0.01), 0.0, False), Wish(100, target=0.1))
    for one, other in zip(up.ahead, down.ahead, strict=True):
        assert (one.gain.middle, one.gain.low) == pytest.approx((other.gain.middle, other.gain.low), abs=1e-3)
    assert up.likely == pytest.approx(down.likely)
    assert up.reached.low == pytest.approx(down.reached.low)


@pytest.mark.parametrize(
    "loss",
    [np.zeros(6), np.full(6, 0.3), np.ones(6), [0.5, 0.5, 0.5, 0.5, 0.5, 0.1], [0.5, 0.1, 0.5, 0.1, 0.5, 0.1]],
    ids=["perfect", "flat", "all wrong", "a jump", "to and fro"],
)
@pytest.mark.parametrize("error", [0.0, 0.03])
def test_odd_curves_give_numbers(loss, error):
    found = advise(curve(loss, error), Wish(100, target=0.95))
    for one in found.ahead:
        for ends in (one.gain, one.measured, one.of_all):
            assert ends.low <= ends.middle <= ends.high
            assert math.isfinite(ends.high - ends.low)
        assert one.measured.high <= 1
    assert 0 <= found.likely <= 1


def test_a_perfect_model_stops_and_a_steep_curve_goes_on():
    assert advise(curve(np.zeros(6), 0.002), Wish(100)).stop
    assert advise(curve(np.full(6, 0.3), 0.002), Wish(100, worth=1)).stop
    steep = advise(curve(0.05 + 4 * LABELS**-0.6, 0.005), Wish(100, worth=0.5))
    assert not steep.stop
    assert steep.likely > 0.8
    reached = advise(curve(0.05 + 4 * LABELS**-0.6, 0.005), Wish(100, worth=0.5, target=0.3))
    assert reached.stop
    assert reached.there == 1


def test_targets_beyond_the_horizon_are_not_reached():
    found = advise(curve(0.3 + 2 * LABELS**-0.8, 0.005), Wish(100, target=0.99))
    assert found.reached is not None
    assert math.isinf(found.reached.middle)
    assert found.within is not None
    assert found.within < 0.2
    assert Ends.of(np.array([1.0, 2.0, math.inf])).high == math.inf


def test_what_cannot_be_carried_on_is_said():
    with pytest.raises(DataError, match=r"3 rounds measured on test images.* needs 4: label 1 more"):
        advise(curve([0.3, 0.2, 0.1], labels_B=[50, 100, 150]), Wish(100))
    with pytest.raises(DataError, match=r"made the model worse: from 0.900 with 50 to 0.600 with 400"):
        advise(curve([0.1, 0.15, 0.2, 0.25, 0.3, 0.4]), Wish(100))
    for labels_B in ([50, 50, 100, 150], [0, 50, 100, 150], [100, 50, 150, 200]):
        with pytest.raises(DataError, match="must ascend"):
            curve([0.4, 0.3, 0.2, 0.1], labels_B=labels_B)
    with pytest.raises(DataError, match="no number"):
        curve([0.4, math.nan, 0.2, 0.1, 0.1, 0.1])
    for target in (1.0, 90.0, math.nan):
        with pytest.raises(ConfigError, match="no model is better than 1"):
            advise(curve(2 / LABELS), Wish(100, target=target))
    for wrong in ({"round": 0}, {"round": 5, "worth": -1.0}, {"round": 5, "horizon": 0}):
        with pytest.raises(ConfigError, match="give"):
            Wish(**wrong)


@pytest.mark.heavy
def test_intervals_hold_on_curves_of_the_same_kind():
    rng = np.random.default_rng(0)
    held = []
    for number in range(150):
        loss_L = rng.uniform(0, 0.15) + rng.uniform(0.5, 3) * np.array([*LABELS, 500.0]) ** -rng.uniform(0.3, 0.8)
        loss_L = np.clip(loss_L * (1 + Tuned().luck * rng.standard_normal(7)), 0, 1)
        made = carry_on(curve(loss_L[:6], error=0.005), draws=300, seed=number)
        low, high = np.quantile(made.measured([500.0])[:, 0], [0.1, 0.9])
        held.append(low <= 1 - loss_L[6] <= high)
    assert 0.72 < np.mean(held) < 0.97
