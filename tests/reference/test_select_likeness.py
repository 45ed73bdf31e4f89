"""Likeness, near-duplicates and outliers against all pairs in float64, on kind and unkind rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labelwise.errors import ConfigError, DataError
from labelwise.selection import near_duplicates as near
from labelwise.selection.likeness import most_alike, outlyingness
from labelwise.selection.near_duplicates import near_duplicates


def copies(count, width, noise, seed=0, offset=0.0):
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(count, width)) + offset
    which = rng.integers(0, count, count // 2)
    return np.concatenate([base, base[which] + noise * rng.normal(size=(count // 2, width))])[
        rng.permutation(count * 3 // 2)
    ]


def chain(links, angle):
    """Rows on a circle: each a step from the next, the ends far apart."""
    turn = np.arange(links) * angle
    return np.stack([np.cos(turn), np.sin(turn)], axis=1) * np.linspace(1, 9, links)[:, None]


CASES = {
    "copies": lambda: copies(120, 48, 0.05),
    "loose copies": lambda: copies(120, 300, 0.3),
    "behind a relu": lambda: np.maximum(copies(120, 80, 0.05, offset=0.5), 0),
    "every row twice": lambda: np.repeat(np.random.default_rng(3).normal(size=(60, 16)), 2, axis=0),
    "zero rows": lambda: np.concatenate([np.zeros((20, 40)), copies(40, 40, 0.02)]),
    "all zero": lambda: np.zeros((30, 3)),
    "identical": lambda: np.full((70, 5), 3.7),
    "of all lengths": lambda: copies(60, 20, 0.01) * np.geomspace(1e-6, 1e6, 90)[:, None],
    "opposite": lambda: np.concatenate([np.eye(8), -np.eye(8)]),
    "a chain": lambda: chain(40, 0.1),
    "two rows": lambda: np.array([[1.0, 0.0], [1.0, 1e-3]]),
    "one row": lambda: np.ones((1, 4)),
    "no row": lambda: np.empty((0, 4)),
}


def cosines(rows):
    rows = np.asarray(rows, dtype=np.float64)
    length = np.linalg.norm(rows, axis=1)
    unit = rows / np.where(length > 0, length, 1)[:, None]
    found = unit @ unit.T
    nothing = length == 0
    found[np.ix_(nothing, nothing)] = 1.0
    return found


def components(linked):
    """Group of each row by walking from row to row, -1 for a row by itself; numbered by first rows."""
    group, number = np.full(len(linked), -1), 0
    for start in range(len(linked)):
        if group[start] >= 0:
            continue
        seen, waiting = {start}, [start]
        while waiting:
            for other in np.flatnonzero(linked[waiting.pop()]).tolist():
                if other not in seen:
                    seen.add(other)
                    waiting.append(other)
        if len(seen) > 1:
            group[sorted(seen)] = number
            number += 1
    return group


@pytest.fixture(params=[(2048, 1 << 15), (16, 8), (7, 1000)], ids=["as shipped", "small blocks", "odd blocks"])
def block_sizes(request, monkeypatch):
    monkeypatch.setattr(near, "_TILE", request.param[0])
    monkeypatch.setattr(near, "_AT_ONCE", request.param[1])


def safe(rows, threshold):
    """The threshold, moved to where no cosine is so close that rounding decides."""
    found = cosines(rows)
    while len(found) and np.abs(found - threshold).min() < 1e-8 and threshold < 1:
        threshold -= 1e-6
    return threshold


@pytest.mark.usefixtures("block_sizes")
@pytest.mark.parametrize("threshold", [0.3, 0.9, 0.99])
@pytest.mark.parametrize("name", CASES)
def test_groups_are_connected_components(name, threshold):
    rows = CASES[name]().astype(np.float32)
    before, threshold = rows.copy(), safe(rows, threshold)
    found = near_duplicates(rows, threshold, rng=np.random.default_rng(0))
    assert found.exact
    assert found.group_N.tolist() == components(cosines(rows) >= threshold).tolist()
    assert found.members() == [np.flatnonzero(found.group_N.numpy() == g).tolist() for g in range(len(found.members()))]
    np.testing.assert_array_equal(rows, before)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_a_threshold_of_one_means_the_same_direction(kind):
    rows = np.array([[1, 2, 3], [2, 4, 6], [1, 2, 3], [3, 2, 1], [0, 0, 0], [0, 0, 0], [-1, -2, -3]], dtype=kind)
    found = near_duplicates(rows, 1.0, rng=np.random.default_rng(0))
    assert found.group_N.tolist() == [0, 0, 0, -1, 1, 1, -1]


def test_the_threshold_itself_is_a_link_and_what_lies_below_is_none():
    # cosines of exactly 0.6 and 0.8
    rows = np.array([[1.0, 0.0], [0.6, 0.8], [-3.0, 4.0]])
    groups = {t: near_duplicates(rows, t, rng=np.random.default_rng(0)).group_N.tolist() for t in (0.6, 0.6001)}
    assert groups == {0.6: [0, 0, -1], 0.6001: [-1, -1, -1]}


def test_the_ends_of_a_chain_are_of_one_group_though_they_are_not_alike():
    rows = chain(16, 0.1)
    assert cosines(rows)[0, -1] < 0.1
    assert set(near_duplicates(rows, 0.99, rng=np.random.default_rng(0)).group_N.tolist()) == {0}
    without = np.delete(rows, 8, axis=0)
    assert len(near_duplicates(without, 0.99, rng=np.random.default_rng(0)).members()) == 2


def test_short_rows_never_say_less_than_the_cosine():
    rows = np.maximum(copies(200, 400, 0.2, offset=0.3), 0).astype(np.float32)
    pool = near._Linking(torch.from_numpy(rows), 0.9)
    differing = pool.join_equals()
    short = near._shortened(pool, differing, np.random.default_rng(0))
    assert short.shape[1] < 400
    exact = cosines(rows)[np.ix_(differing.numpy(), differing.numpy())]
    assert (short.double() @ short.double().T).numpy().min(initial=1) > -1.001
    assert ((short @ short.T).numpy() >= exact - near._SLACK).all()


@pytest.mark.parametrize("order", ["as it comes", "sorted"])
def test_a_large_pool_is_searched_by_cells_and_says_what_they_miss(monkeypatch, order):
    monkeypatch.setattr(near, "_IN_CELL", 30)
    monkeypatch.setattr(near, "_PROBES", 3)
    rows = copies(400, 64, 0.1).astype(np.float32)
    rows = np.concatenate([rows, rows[:50]])  # equal rows are found whatever the cells
    rows = rows[np.lexsort(rows.T)] if order == "sorted" else rows
    threshold = safe(rows, 0.95)
    found = near_duplicates(rows, threshold, exact_up_to=100, rng=np.random.default_rng(0))
    truth = components(cosines(rows) >= threshold)
    assert not found.exact
    # a search by cells parts groups and never joins what is apart
    for members in found.members():
        assert len(set(truth[members].tolist())) == 1
        assert truth[members[0]] >= 0
    assert found.links > 100
    share = found.found / found.links
    assert share > 0.9
    assert (found.group_N.numpy() >= 0).sum() >= share * 0.9 * (truth >= 0).sum()


def test_one_image_many_times_is_no_work_of_all_pairs(monkeypatch):
    asked = []
    monkeypatch.setattr(near._Linking, "linked", lambda self, left, right: asked.append(len(left)) or left >= 0)
    rows = np.ones((5000, 8)) + 1e-4 * np.random.default_rng(0).normal(size=(5000, 8))
    assert set(near_duplicates(rows, 0.9, rng=np.random.default_rng(0)).group_N.tolist()) == {0}
    assert sum(asked) < 50 * 5000


@pytest.mark.parametrize("threshold", [0, -1, 1.01, float("nan")])
def test_a_threshold_that_is_none_is_refused(threshold):
    with pytest.raises(ConfigError, match="above 0, 1 at most"):
        near_duplicates(np.eye(3), threshold, rng=np.random.default_rng(0))


def test_rows_that_are_not_finite_are_named():
    rows = np.ones((5, 3))
    rows[3, 1] = np.nan
    for call in (
        lambda: near_duplicates(rows, 0.9, rng=np.random.default_rng(0)),
        lambda: most_alike(rows, np.ones((1, 3)), 2),
        lambda: outlyingness(rows, 1, rng=np.random.default_rng(0)),
    ):
        with pytest.raises(DataError, match=r"\[3\]"):
            call()


# ---- more like these ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("examples", [1, 3])
@pytest.mark.parametrize("name", [name for name in CASES if name not in ("all zero", "no row")])
def test_most_alike_are_the_best_of_all(name, examples):
    rows = CASES[name]().astype(np.float32)
    shown = np.random.default_rng(5).normal(size=(examples, rows.shape[1]))
    shown[0] = rows[-1] if rows[-1].any() else shown[0]
    every = np.asarray(rows, dtype=np.float64)
    length = np.linalg.norm(every, axis=1)
    exact = every @ (shown / np.linalg.norm(shown, axis=1)[:, None]).T / np.where(length > 0, length, 1)[:, None]
    order = sorted(range(len(rows)), key=lambda row: (-round(exact[row].max() * 1e12), row))
    for k in (1, 7, len(rows) + 5):
        found = most_alike(rows, shown, k)
        assert found.index_K.tolist() == order[:k]
        np.testing.assert_allclose(found.cosine_K, exact[order[:k]].max(1), atol=1e-12)
        np.testing.assert_allclose(exact[order[:k], found.example_K.tolist()], exact[order[:k]].max(1), atol=1e-12)


def test_equal_rows_come_in_their_order_and_examples_are_left_out():
    rows = np.repeat(np.random.default_rng(0).normal(size=(3, 33)), 1000, axis=0).astype(np.float32)
    assert most_alike(rows, rows[1500:1501], 5).index_K.tolist() == [1000, 1001, 1002, 1003, 1004]
    found = most_alike(rows, rows[1500:1501], 2, without=[1000, 1002])
    assert found.index_K.tolist() == [1001, 1003]
    assert len(most_alike(rows[:2], rows[:1], 3, without=[0, 1]).index_K) == 0


@pytest.mark.parametrize(
    ("examples", "k", "says"),
    [([[0.0, 0.0]], 1, "not all zero"), ([[1.0]], 1, "of one backbone"), ([[1.0, 0.0]], 0, "1 and more")],
)
def test_examples_that_are_none_are_refused(examples, k, says):
    with pytest.raises((ConfigError, DataError), match=says):
        most_alike(np.eye(2), examples, k)


# ---- outliers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 4, 1000])
@pytest.mark.parametrize("name", [name for name in CASES if name not in ("one row", "no row")])
def test_outlyingness_is_the_distance_to_the_kth_nearest(name, k):
    rows = CASES[name]().astype(np.float32)
    every = np.asarray(rows, dtype=np.float64)
    length = np.linalg.norm(every, axis=1)
    unit = every / np.where(length > 0, length, 1)[:, None]
    distance2 = ((unit[:, None] - unit[None]) ** 2).sum(2) / 2
    np.fill_diagonal(distance2, np.inf)
    expected = np.sort(distance2, axis=1)[:, min(k, len(rows) - 1) - 1]
    found = outlyingness(rows, k, rng=np.random.default_rng(0))
    assert found.compared == len(rows)
    np.testing.assert_allclose(found.score_N, expected, atol=5e-6)


def test_outliers_of_a_large_pool_are_told_by_a_sample():
    rows = np.random.default_rng(0).normal(size=(600, 8))
    rows[:, 0] += 6
    rows[17] = -rows[17]
    found = outlyingness(rows, 3, compared=50, rng=np.random.default_rng(1))
    assert found.compared == 50
    assert int(found.score_N.argmax()) == 17
    again = outlyingness(rows, 3, compared=50, rng=np.random.default_rng(1))
    assert torch.equal(found.score_N, again.score_N)


def test_one_image_has_no_outliers():
    with pytest.raises(DataError, match="give two at least"):
        outlyingness(np.ones((1, 2)), rng=np.random.default_rng(0))
