"""Greedy k-center against the plain loop in float64, on kind and unkind rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labelwise.errors import ConfigError, DataError
from labelwise.selection import cover, space


def generator(seed=0):
    return np.random.default_rng(seed)


def k_center(rows, k, seed=0, **options):
    return cover.k_center(rows, k, rng=generator(seed), **options)


def distances_to(rows, place):
    return np.sqrt(((rows - rows[place]) ** 2).sum(1))


def plain_greedy(rows, k, centres, candidates):
    """The loop of the paper; the first of equals."""
    nearest = np.full(len(rows), np.inf)
    for centre in centres:
        nearest = np.minimum(nearest, distances_to(rows, centre))
    free, picks, found = set(candidates), [], []
    for _ in range(k):
        pick = max(sorted(free), key=lambda place: nearest[place])
        picks.append(pick)
        found.append(nearest[pick])
        free.remove(pick)
        nearest = np.minimum(nearest, distances_to(rows, pick))
    return picks, found


def assert_greedy(rows, k, picks, found, labelled=(), candidates=None):
    """Each pick is the farthest candidate of its moment, up to rounding, and its distance is the true one."""
    rows = np.asarray(rows, dtype=np.float64)
    picks, found = picks.tolist(), found.double().numpy()
    candidates = sorted(set(range(len(rows))) - set(labelled)) if candidates is None else list(candidates)
    assert len(picks) == len(set(picks)) == len(found) == k
    assert set(picks) <= set(candidates)
    assert (np.diff(found) <= 0).all()
    scale = np.sqrt(((rows - rows.mean(0)) ** 2).sum(1)).max()
    nearest = np.full(len(rows), np.inf)
    for centre in labelled:
        nearest = np.minimum(nearest, distances_to(rows, centre))
    free = np.zeros(len(rows), dtype=bool)
    free[candidates] = True
    for turn, pick in enumerate(picks):
        farthest = nearest[free].max()
        # What is nearer than rounding can tell counts as a duplicate, see ``space``.
        if np.isfinite(farthest) and farthest > 2e-3 * scale:
            # An error of 4e-6 in squared distances, in units of the squared scale.
            assert farthest - nearest[pick] <= 4e-6 * scale**2 / farthest
            assert found[turn] == pytest.approx(nearest[pick], rel=1e-3, abs=1e-5 * scale)
        elif np.isfinite(farthest):
            assert found[turn] <= 3e-3 * scale
        free[pick] = False
        nearest = np.minimum(nearest, distances_to(rows, pick))


def clustered(count, width, groups=12, spread=0.2, seed=0):
    rng = generator(seed)
    return rng.normal(size=(groups, width))[rng.integers(0, groups, count)] + spread * rng.normal(size=(count, width))


CASES = {
    "normal": lambda: generator(1).normal(size=(300, 16)),
    "clusters": lambda: clustered(400, 24),
    "unit rows behind a ReLU": lambda: (lambda r: r / np.linalg.norm(r, axis=1, keepdims=True))(
        np.maximum(clustered(300, 32), 0) + 1e-3
    ),
    "offset of a thousand": lambda: clustered(300, 64) + 1000.0,
    "dynamic range": lambda: clustered(300, 8) * np.exp2(generator(2).integers(-3, 4, (300, 1))),
    "grid (ties)": lambda: np.stack(np.meshgrid(np.arange(12.0), np.arange(12.0)), -1).reshape(-1, 2),
    "one feature": lambda: generator(3).permutation(200)[:, None].astype(float),
    "every row twice": lambda: np.repeat(clustered(120, 16), 2, axis=0),
    "zero rows": lambda: np.concatenate([np.zeros((50, 8)), clustered(50, 8)]),
    "two places": lambda: np.repeat([[0.0, 1.0], [1.0, 0.0]], 30, axis=0),
    "one row": lambda: np.ones((1, 4)),
}


@pytest.fixture(params=[(2048, 256), (8, 3), (1, 1)], ids=["as shipped", "small groups", "groups of one"])
def group_sizes(request, monkeypatch):
    """Sizes at which the lazy machinery has work to do even on small inputs."""
    monkeypatch.setattr(cover, "_GROUP", request.param[0])
    monkeypatch.setattr(cover, "_HEAD", request.param[1])
    if request.param[0] < 100:
        monkeypatch.setattr(space, "_CPU_TILE", (7, 3))


@pytest.mark.heavy
@pytest.mark.usefixtures("group_sizes")
@pytest.mark.parametrize("name", CASES)
def test_each_pick_is_the_farthest(name):
    rows = CASES[name]().astype(np.float32)
    before = rows.copy()
    for k in {1, min(40, len(rows)), len(rows)}:
        picks, found = k_center(rows, k)
        assert_greedy(rows, k, picks, found)
    labelled = generator(4).permutation(len(rows))[: len(rows) // 3].tolist()
    if labelled:
        rest = len(rows) - len(labelled)
        for k in (1, rest):
            picks, found = k_center(rows, k, labelled_L=np.array(labelled))
            assert_greedy(rows, k, picks, found, labelled)
    np.testing.assert_array_equal(rows, before)


@pytest.mark.parametrize("name", ["normal", "clusters", "offset of a thousand"])
def test_picks_are_those_of_the_plain_loop(name):
    rows = CASES[name]().astype(np.float32)
    labelled = [5, 17, 100]
    candidates = sorted(set(range(0, len(rows), 2)) - set(labelled))
    picks, found = k_center(rows, 60, labelled_L=labelled, candidates_M=candidates)
    slow_picks, slow_found = plain_greedy(rows.astype(np.float64), 60, labelled, candidates)
    assert picks.tolist() == slow_picks
    np.testing.assert_allclose(found, slow_found, rtol=1e-4)
    assert_greedy(rows, 60, picks, found, labelled, candidates)


def test_first_pick_of_an_empty_cover_is_nearest_the_mean():
    rows = clustered(100, 8)
    picks, found = k_center(rows, 3)
    assert int(picks[0]) == int(((rows - rows.mean(0)) ** 2).sum(1).argmin())
    assert float(found[0]) == float(found[1])
    alone, radius = k_center(rows, 1)
    assert alone.tolist() == picks[:1].tolist()
    assert float(radius[0]) == pytest.approx(float(found[1]))
    assert float(k_center([[1.0, 2.0]], 1)[1][0]) == 0


def test_a_longer_selection_begins_with_the_shorter():
    rows = clustered(500, 16)
    longer = k_center(rows, 100)[0]
    assert torch.equal(longer[:37], k_center(rows, 37)[0])


def test_identical_rows_give_distinct_picks_in_the_order_of_the_generator():
    rows = np.full((20_000, 8), 3.7, dtype=np.float32)
    picks, found = k_center(rows, 1000)
    assert len(set(picks.tolist())) == 1000
    assert (found == 0).all()
    assert abs(float(picks.float().mean()) - 10_000) < 1000
    assert torch.equal(picks, k_center(rows, 1000)[0])
    assert not torch.equal(picks, k_center(rows, 1000, seed=1)[0])


def test_one_candidate_left():
    rows = clustered(50, 4)
    picks, found = k_center(rows, 1, labelled_L=[i for i in range(50) if i != 31])
    assert picks.tolist() == [31]
    assert float(found[0]) == pytest.approx(min(distances_to(rows, 31)[np.arange(50) != 31]), rel=1e-5)
    assert k_center(rows, 0)[0].tolist() == []
    assert k_center(rows, 0, labelled_L=range(50))[0].dtype == torch.int64


def test_half_precision_rows_are_compared_in_single():
    half = clustered(300, 16).astype(np.float16)
    expected = k_center(half.astype(np.float32), 50)
    found = k_center(half, 50)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


def test_tensors_arrays_and_memory_maps_agree(tmp_path):
    rows = clustered(300, 16).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    picks = k_center(rows, 40)[0]
    assert torch.equal(picks, k_center(torch.from_numpy(rows), 40)[0])
    assert torch.equal(picks, k_center(np.load(tmp_path / "rows.npy", mmap_mode="r"), 40)[0])
    assert torch.equal(picks, k_center(np.asfortranarray(rows), 40)[0])


def test_the_number_of_threads_does_not_show():
    rows = clustered(3000, 32)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = k_center(rows, 200)[0]
        torch.set_num_threads(2)
        assert torch.equal(one, k_center(rows, 200)[0])
    finally:
        torch.set_num_threads(before)


def test_order_of_the_rows_does_not_show():
    rows = clustered(400, 16)
    order = generator(9).permutation(400)
    assert order[k_center(rows[order], 60)[0].numpy()].tolist() == k_center(rows, 60)[0].tolist()


def test_cover_radius_is_the_farthest_row():
    rows = clustered(300, 8)
    centres = [3, 40, 77]
    nearest = np.min([distances_to(rows, c) for c in centres], axis=0)
    assert cover.cover_radius(rows, centres) == pytest.approx(nearest.max(), rel=1e-5)
    some = np.arange(0, 300, 7)
    assert cover.cover_radius(rows, centres, candidates_M=some) == pytest.approx(nearest[some].max(), rel=1e-5)
    assert cover.cover_radius(rows, centres, candidates_M=[]) == 0
    assert cover.cover_radius(rows, range(300)) == 0
    with pytest.raises(DataError, match="no centre"):
        cover.cover_radius(rows, [])


def test_greedy_radius_is_at_most_twice_the_best():
    rows = generator(6).normal(size=(9, 2))
    radius = cover.cover_radius(rows, k_center(rows, 3)[0])
    best = min(cover.cover_radius(rows, [a, b, c]) for a in range(9) for b in range(a + 1, 9) for c in range(b + 1, 9))
    assert radius <= 2 * best + 1e-6


def test_impossible_covers_are_refused():
    rows = clustered(10, 3)
    with pytest.raises(ConfigError, match="11 picks among 10"):
        k_center(rows, 11)
    with pytest.raises(DataError, match="labelled already"):
        k_center(rows, 1, labelled_L=[2], candidates_M=[1, 2])
    with pytest.raises(DataError, match="twice"):
        k_center(rows, 1, candidates_M=[1, 1])
    with pytest.raises(DataError, match="allowed is 0 to 9"):
        k_center(rows, 1, labelled_L=[10])
    with pytest.raises(DataError, match="integers"):
        k_center(rows, 1, labelled_L=[0.5])
    with pytest.raises(DataError, match="shape"):
        k_center(rows[0], 1)
    rows[4, 1] = np.inf
    with pytest.raises(DataError, match=r"1 of 10 .*\[4\]"):
        k_center(rows, 1)
