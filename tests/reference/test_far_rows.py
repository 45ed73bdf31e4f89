"""One row far from all others must not make the others look alike: covers and clusters against loops in float64."""

from __future__ import annotations

import numpy as np
import pytest

from labelwise.selection.balls import prob_cover
from labelwise.selection.clustering import kmeans
from labelwise.selection.cover import cover_radius, k_center

FAR = (1e6, 1e9, 1e12)


def rows_with_one_far(far):
    """200 unit-normal rows and one far away, in the middle of the matrix."""
    rows = np.random.default_rng(0).normal(size=(201, 8)).astype(np.float32)
    rows[100] = far
    return rows


def all_distances(rows):
    return np.linalg.norm(rows[:, None].astype(np.float64) - rows[None].astype(np.float64), axis=2)


@pytest.mark.parametrize("far", FAR)
def test_k_center_sees_the_others(far):
    rows = rows_with_one_far(far)
    distances = all_distances(rows)
    picks, found = k_center(rows, 20, rng=np.random.default_rng(0))
    exact = rows.astype(np.float64)
    first = int(np.linalg.norm(exact - exact.mean(0), axis=1).argmin())
    assert picks[:2].tolist() == [first, 100]
    nearest, expected = np.minimum(distances[first], distances[100]), []
    for _ in range(18):
        expected.append(nearest.max())
        nearest = np.minimum(nearest, distances[int(nearest.argmax())])
    np.testing.assert_allclose(found[2:], expected, rtol=1e-5)
    assert cover_radius(rows, picks) == pytest.approx(distances[:, picks.numpy()].min(1).max(), rel=1e-5)


@pytest.mark.parametrize("far", FAR)
def test_prob_cover_counts_what_lies_in_its_balls(far):
    rows = rows_with_one_far(far)
    near = all_distances(rows) <= 2.0
    picks, counts = prob_cover(rows, 10, radius=2.0, rng=np.random.default_rng(0))
    covered = np.zeros(len(rows), dtype=bool)
    for pick, count in zip(picks.tolist(), counts.tolist(), strict=True):
        gains = (near & ~covered).sum(1)
        assert count == gains[pick] == gains.max()
        covered |= near[pick]


@pytest.mark.parametrize("far", FAR)
def test_k_means_gives_the_far_row_a_cluster_and_the_others_the_rest(far):
    found = kmeans(rows_with_one_far(far), 8, rng=np.random.default_rng(0))
    assert sorted(np.bincount(found.assignment_N, minlength=8))[:2] > [1, 5]
    assert float(found.distance2_N.sum()) < 1.03 * 994.1  # of the 200 alone in seven, best of ten by scikit-learn
