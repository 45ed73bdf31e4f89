"""Risks from images drawn with unequal chances, against the paper's equations and every sequence of draws there is."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from labelwise.errors import DataError
from labelwise.estimating.sampled import FLOOR, draw, estimate, weights
from labelwise.report.statistics import wilson

#: what is expected of each image, and what is true: doubt that is right, wrong, missing, all in one place, or equal
POOLS = {
    "doubt that is right": ([0.9, 0.1, 0.8, 0.05, 0.3], [1, 0, 1, 0, 0]),
    "doubt that is wrong": ([0.0, 0.9, 0.0, 0.9, 0.9], [1, 0, 1, 0, 0]),
    "no doubt at all": ([0.0, 0.0, 0.0, 0.0, 0.0], [1, 1, 0, 0, 0]),
    "all doubt in one place": ([0.0, 0.0, 1.0, 0.0, 0.0], [0.2, 3.0, 0.1, 7.0, 0.0]),
    "equal doubt": ([0.5] * 5, [0.3, 0.1, 4.0, 0.0, 2.0]),
    "nothing is wrong": ([0.9, 0.1, 0.8, 0.05, 0.3], [0] * 5),
    "all is wrong": ([0.9, 0.1, 0.8, 0.05, 0.3], [1] * 5),
}


def chances(expected: list[float], sequence: tuple[int, ...], floor: float) -> list[float]:
    """Of each draw of a sequence, by the sentence of the docstring."""
    found = []
    for place, row in enumerate(sequence):
        left = [i for i in range(len(expected)) if i not in sequence[:place]]
        total = sum(math.sqrt(expected[i]) for i in left)
        even = 1 / len(left)
        found.append(even if total == 0 else floor * even + (1 - floor) * math.sqrt(expected[row]) / total)
    return found


def paper(losses: list[float], chance: list[float], among: int) -> float:
    """R_LURE as the mean of unbiased terms a_m with weights c_m, before it is put into one weight for each draw."""
    count = len(losses)
    total = 0.0
    for m in range(1, count + 1):
        weight = 1 / (among * chance[m - 1])
        term = weight * losses[m - 1] + sum(losses[: m - 1]) / among
        total += among * (among - count) / ((among - m) * (among - m + 1)) * term
    return total / count


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("count", [1, 2, 4, 5])
@pytest.mark.parametrize("floor", [0.05, 0.3, 1.0])
def test_over_all_sequences_the_estimate_is_the_risk(name, count, floor):
    expected, loss = POOLS[name]
    mean, mean_weight, everything = 0.0, 0.0, 0.0
    for sequence in itertools.permutations(range(5), count):
        chance = chances(expected, sequence, floor)
        probability = math.prod(chance)
        weight_M = weights(np.array(chance), 5)
        losses = [float(loss[row]) for row in sequence]
        value = estimate(np.array(losses), weight_M, 5).value
        if count < 5:
            assert value == pytest.approx(paper(losses, chance, 5))
        mean += probability * value
        mean_weight += probability * float(weight_M.mean())
        everything += probability
    assert everything == pytest.approx(1)
    assert mean_weight == pytest.approx(1)
    assert mean == pytest.approx(sum(loss) / 5)


@pytest.mark.parametrize("name", POOLS)
def test_draws_have_the_chances_they_tell(name):
    expected, _ = POOLS[name]
    rng = np.random.default_rng(0)
    seen: dict[tuple[int, ...], int] = {}
    for _ in range(4000):
        found = draw(np.array(expected, dtype=float), 2, rng)
        sequence = tuple(found.rows_M.tolist())
        assert found.chance_M == pytest.approx(chances(expected, sequence, FLOOR))
        seen[sequence] = seen.get(sequence, 0) + 1
    for sequence in itertools.permutations(range(5), 2):
        wanted = math.prod(chances(expected, sequence, FLOOR))
        assert abs(seen.get(sequence, 0) / 4000 - wanted) < 5 * math.sqrt(wanted / 4000)


def test_the_whole_pool_leaves_nothing_open():
    rng = np.random.default_rng(1)
    loss_N = rng.random(40)
    found = draw(rng.random(40) ** 3, 40, rng)
    assert sorted(found.rows_M.tolist()) == list(range(40))
    weight_M = weights(found.chance_M, 40)
    assert weight_M == pytest.approx(np.ones(40))
    one = estimate(loss_N[found.rows_M], weight_M, 40)
    assert (one.value, one.low, one.high) == pytest.approx((loss_N.mean(),) * 3)


@pytest.mark.parametrize(("right", "tested"), [(0, 10), (7, 10), (10, 10), (42, 50)])
def test_with_equal_chances_the_interval_is_wilsons(right, tested):
    wrong_M = np.array([0.0] * right + [1.0] * (tested - right))
    one = estimate(wrong_M, np.ones(tested), math.inf)
    assert (1 - one.high, 1 - one.low) == pytest.approx(wilson(right / tested, tested), abs=1e-9)


@pytest.mark.heavy
@pytest.mark.parametrize("trust", ["well", "badly"])
def test_intervals_hold_and_errors_are_smaller_where_doubt_can_be_trusted(trust):
    rng = np.random.default_rng(2)
    chance_N = rng.beta(0.2, 2, 2000)
    wrong_N = (rng.random(2000) < chance_N).astype(float)
    told_N = chance_N if trust == "well" else rng.permutation(chance_N)
    off: dict[float, list[float]] = {FLOOR: [], 1.0: []}
    held: dict[float, int] = {FLOOR: 0, 1.0: 0}
    for floor, errors in off.items():
        for _ in range(800):
            found = draw(told_N, 50, rng, floor=floor)
            one = estimate(wrong_N[found.rows_M], weights(found.chance_M, 2000), 2000)
            errors.append(one.value - wrong_N.mean())
            held[floor] += one.low <= wrong_N.mean() <= one.high
    assert abs(np.mean(off[FLOOR])) < 4 * np.std(off[FLOOR]) / math.sqrt(800)
    assert held[FLOOR] / 800 > (0.92 if trust == "well" else 0.9)
    ratio = np.std(off[FLOOR]) / np.std(off[1.0])
    assert ratio < 0.85 if trust == "well" else ratio < 1.5


def test_what_cannot_be_is_refused():
    rng = np.random.default_rng(0)
    for expected in ([0.5, math.nan], [0.5, -0.1]):
        with pytest.raises(DataError, match="negative or no number"):
            draw(np.array(expected), 1, rng)
    for count in (0, 3):
        with pytest.raises(DataError, match="draw 1 to 2"):
            draw(np.array([0.5, 0.5]), count, rng)
    for chance, among in (([0.5, 0.5], 1), ([0.0], 5), ([1.5], 5), ([math.nan], 5)):
        with pytest.raises(DataError, match="cannot be weighed"):
            weights(np.array(chance), among)
    with pytest.raises(DataError, match="give one of each"):
        estimate(np.array([]), np.array([]), 5)
    assert math.isnan(estimate(np.array([0.3]), np.ones(1), 5).low), "one loss says nothing of the spread"
