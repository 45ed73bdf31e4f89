"""Neighbours by blocks of products against all distances in float64, on kind and unkind rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labelwise.errors import ConfigError, DataError
from labelwise.selection import neighbours
from labelwise.selection.neighbours import nearest, within


def clustered(count, width, groups=8, spread=0.3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(groups, width))[rng.integers(0, groups, count)] + spread * rng.normal(size=(count, width))


CASES = {
    "normal": lambda: np.random.default_rng(1).normal(size=(150, 16)),
    "clusters": lambda: clustered(170, 24),
    "in the order of clusters": lambda: np.sort(clustered(160, 3), axis=0),
    "offset of a thousand": lambda: clustered(130, 32) + 1000.0,
    "grid (ties)": lambda: np.stack(np.meshgrid(np.arange(9.0), np.arange(9.0)), -1).reshape(-1, 2),
    "every row twice": lambda: np.repeat(clustered(60, 16), 2, axis=0),
    "zero rows": lambda: np.concatenate([np.zeros((50, 8)), clustered(50, 8)]),
    "two places": lambda: np.repeat([[0.0, 1.0], [1.0, 0.0]], 30, axis=0),
    "identical": lambda: np.full((80, 5), 3.7),
    "two rows": lambda: np.eye(2),
    "one row": lambda: np.ones((1, 4)),
}


@pytest.fixture(params=[(2048, 64), (16, 2), (7, 64)], ids=["as shipped", "small blocks", "odd blocks"])
def block_sizes(request, monkeypatch):
    """Blocks at which lists are merged many times, one entry by one and whole rows."""
    monkeypatch.setattr(neighbours, "_CPU_TILE", request.param[0])
    monkeypatch.setattr(neighbours, "_SPARSE", request.param[1])


def all_distances2(rows):
    rows = np.asarray(rows, dtype=np.float64)
    return ((rows[:, None] - rows[None]) ** 2).sum(2)


def assert_nearest(rows, k, found, queries=None, among=None):
    """Distances are the k smallest of each query, and those of the rows named beside them."""
    exact = all_distances2(rows)
    scale2 = max(((rows - rows.mean(0)) ** 2).sum(1).max(), 1e-30)
    queries = range(len(rows)) if queries is None else queries
    among = range(len(rows)) if among is None else among
    shared = bool(set(queries) & set(among))
    width = min(k, max(0, len(among) - shared))
    assert found.index_QK.dtype == torch.int64
    assert found.distance2_QK.dtype == torch.float32
    assert found.index_QK.shape == found.distance2_QK.shape == (len(queries), width)
    for query, index, distance2 in zip(queries, found.index_QK.tolist(), found.distance2_QK.tolist(), strict=True):
        others = [row for row in among if row != query]
        expected = sorted(exact[query, others])[:width]
        assert len(set(index)) == width
        assert set(index) <= set(others)
        assert distance2 == sorted(distance2)
        np.testing.assert_allclose(distance2, expected, rtol=1e-5, atol=5e-6 * scale2)
        np.testing.assert_allclose(exact[query, index], expected, rtol=1e-5, atol=5e-6 * scale2)


@pytest.mark.heavy
@pytest.mark.usefixtures("block_sizes")
@pytest.mark.parametrize("name", CASES)
def test_nearest_are_the_nearest(name):
    rows = CASES[name]().astype(np.float32)
    before = rows.copy()
    for k in (1, 5, len(rows) + 3):
        assert_nearest(rows.astype(np.float64), k, nearest(rows, k))
    np.testing.assert_array_equal(rows, before)


@pytest.mark.heavy
@pytest.mark.usefixtures("block_sizes")
@pytest.mark.parametrize("name", ["clusters", "every row twice", "one row"])
def test_some_queries_among_some_rows(name):
    rows = CASES[name]().astype(np.float32)
    order = np.random.default_rng(2).permutation(len(rows))
    some, others = order[: len(rows) // 3].tolist(), order[len(rows) // 3 :].tolist()
    for queries, among in (
        (some, None),
        (None, some),
        (some, others),
        (some, some[::-1]),
        (others, others),
        ([], some),
    ):
        found = nearest(rows, 4, queries=queries, among=among)
        assert_nearest(rows.astype(np.float64), 4, found, queries, among)


def test_duplicates_are_at_exactly_zero():
    rows = (np.repeat(clustered(40, 64), 3, axis=0) + 500.0).astype(np.float32)
    found = nearest(rows, 4)
    assert (found.distance2_QK[:, :2] == 0).all()
    assert (found.distance2_QK[:, 2:] > 0).all()


@pytest.mark.heavy
@pytest.mark.usefixtures("block_sizes")
@pytest.mark.parametrize("name", CASES)
def test_within_a_radius(name):
    rows = CASES[name]().astype(np.float32)
    exact = all_distances2(rows)
    for radius in (0.0, 0.5, 1.1, 5.5, 1000.0):
        graph = within(rows, radius)
        scale2 = ((rows - rows.mean(0)) ** 2).sum(1).max()
        near = exact <= max(radius**2, 1e-9 * scale2)
        np.fill_diagonal(near, False)
        assert graph.first_N.shape == (len(rows) + 1,)
        assert graph.target_E.dtype == torch.int32
        for row in range(len(rows)):
            assert graph.neighbours(row).tolist() == np.flatnonzero(near[row]).tolist()
        assert graph.degree_N.tolist() == near.sum(1).tolist()


@pytest.mark.usefixtures("block_sizes")
def test_within_among_some_rows():
    rows = clustered(120, 8).astype(np.float32)
    some = np.random.default_rng(3).permutation(120)[:50]
    graph = within(rows, 1.2, among=some)
    near = all_distances2(rows) <= 1.2**2
    for row in range(120):
        expected = [other for other in sorted(some.tolist()) if other != row and near[row, other]]
        assert graph.neighbours(row).tolist() == (expected if row in set(some.tolist()) else [])
    assert len(within(rows, 1.2, among=[]).target_E) == 0


def test_a_dense_radius_is_refused_before_it_is_stored():
    rows = clustered(100, 8).astype(np.float32)
    assert len(within(rows, 100.0, most_pairs=9900).target_E) == 9900
    with pytest.raises(ConfigError, match=r"more than 9899 pairs of 100 rows lie within 100 .* smaller radius"):
        within(rows, 100.0, most_pairs=9899)


def test_float_types_memory_maps_and_devices_agree(tmp_path):
    half = clustered(200, 16).astype(np.float16)
    rows = half.astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    expected = nearest(rows, 6)
    for same in (half, np.load(tmp_path / "rows.npy", mmap_mode="r"), np.asfortranarray(rows), torch.from_numpy(rows)):
        found = nearest(same, 6)
        assert torch.equal(found.index_QK, expected.index_QK)
        torch.testing.assert_close(found.distance2_QK, expected.distance2_QK, rtol=1e-4, atol=0)
        assert torch.equal(within(same, 1.5).target_E, within(rows, 1.5).target_E)
    if torch.cuda.is_available():
        found = nearest(torch.from_numpy(rows).cuda(), 6)
        assert found.index_QK.is_cuda
        torch.testing.assert_close(found.distance2_QK.cpu(), expected.distance2_QK, rtol=1e-4, atol=1e-5)


def test_the_number_of_threads_does_not_show():
    rows = clustered(3000, 32).astype(np.float32)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = nearest(rows, 10)
        torch.set_num_threads(2)
        two = nearest(rows, 10)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(one.index_QK, two.index_QK)


def test_impossible_neighbours_are_refused():
    rows = clustered(10, 3)
    with pytest.raises(ConfigError, match="0 neighbours"):
        nearest(rows, 0)
    with pytest.raises(DataError, match="queries reach from 0 to 10"):
        nearest(rows, 2, queries=[0, 10])
    with pytest.raises(DataError, match="twice"):
        nearest(rows, 2, among=[1, 1])
    for radius in (-1.0, np.inf, np.nan):
        with pytest.raises(ConfigError, match="radius"):
            within(rows, radius)
    rows[4, 1] = np.nan
    with pytest.raises(DataError, match=r"1 of 10 .*\[4\]"):
        nearest(rows, 2)
    with pytest.raises(DataError, match=r"1 of 10 .*\[4\]"):
        within(rows, 2.0)
