"""Input that breaks selections, for every registered strategy that runs from arrays: exactly k distinct free rows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import faiss
import numpy as np
import pytest
import torch

import labelwise as lw
from labelwise.errors import UnmetNeed
from labelwise.strategies import STRATEGIES
from thorough import case_of, thorough

Case = dict[str, Any]
T = 3


def _case(embeddings: np.ndarray, probs: np.ndarray, labelled: list[int], **given: Any) -> Case:
    """Everything that a method may ask for, about these rows."""
    classes, width = probs.shape[1], embeddings.shape[1]
    rng = np.random.default_rng(7)
    shift = rng.random((T, 1, classes)).astype(np.float32)
    draws = probs.astype(np.float32) * (0.5 + shift)
    draws /= draws.sum(2, keepdims=True)
    return {
        "embeddings": embeddings,
        "probs": probs,
        "draws": draws,
        "head": (rng.normal(size=(classes, width)).astype(np.float32), np.zeros(classes, np.float32)),
        "labelled": labelled,
        "labels": [row % classes for row in labelled],
        "cost": np.ones(len(probs)),
        **given,
    }


def _random(count: int = 40, width: int = 5, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(classes), size=count) if classes > 1 else np.ones((count, 1))
    return rng.normal(size=(count, width)).astype(np.float32), probs.astype(np.float32)


def _ties() -> Case:
    rng = np.random.default_rng(1)
    grid = rng.integers(0, 2, size=(40, 3)).astype(np.float32)
    return _case(grid, np.full((40, 4), 0.25, np.float32), [3, 4, 5])


def _duplicates() -> Case:
    embeddings, probs = (np.repeat(array, 8, axis=0) for array in _random(5))
    return _case(embeddings, probs, [0, 9])


def _identical(count: int = 40) -> Case:
    return _case(np.ones((count, 4), np.float32), np.full((count, 3), 1 / 3, np.float32), [1, 2])


def _zero_rows() -> Case:
    embeddings, probs = _random()
    embeddings[::2] = 0
    return _case(embeddings, probs, [0, 1, 2])


def _all_zero() -> Case:
    return _case(np.zeros((30, 4), np.float32), np.eye(3, dtype=np.float32)[np.arange(30) % 3], [5])


def _far_from_zero() -> Case:
    embeddings, probs = _random()
    return _case(embeddings * 1e-2 + 1e3, probs, [0, 1])


def _one_outlier() -> Case:
    embeddings, probs = _random()
    embeddings[7] = 1e6
    return _case(embeddings, probs, [0, 1])


def _sure() -> Case:
    embeddings, _ = _random()
    return _case(embeddings, np.eye(4, dtype=np.float32)[np.zeros(40, int)], [0, 1])


def _column() -> Case:
    _, probs = _random()
    return _case(np.arange(40, dtype=np.float32)[:, None], probs, [0])


def _half() -> Case:
    embeddings, probs = (array.astype(np.float16) for array in _random())
    return _case(embeddings, probs, [0, 1, 2])


CASES = {
    "plain": lambda: _case(*_random(), [0, 7, 9]),
    "no label": lambda: _case(*_random(), []),
    "ties": _ties,
    "duplicates": _duplicates,
    "identical rows": _identical,
    "zero rows": _zero_rows,
    "nothing but zeros": _all_zero,
    "far from zero": _far_from_zero,
    "one outlier": _one_outlier,
    "a model that is sure of one class": _sure,
    "one feature": _column,
    "one class": lambda: _case(*_random(classes=1), [0, 1]),
    "two classes": lambda: _case(*_random(classes=2), [0, 1]),
    "more classes than rows": lambda: _case(*_random(count=12, classes=30), [0, 1]),
    "float16": _half,
    "float64": lambda: _case(*(array.astype(np.float64) for array in _random()), [0, 1]),
    "one row": lambda: _case(*_random(count=1), []),
    "two rows, one labelled": lambda: _case(*_random(count=2), [1]),
    "all labelled but one": lambda: _case(*_random(), [row for row in range(40) if row != 31]),
    "labels of one class": lambda: _case(*_random(), [0, 1, 2], labels=[2, 2, 2]),
}


def _runs(name: str) -> bool:
    if STRATEGIES.get(name).oracle:
        return False
    try:
        lw.select(name, 1, **CASES["plain"]())
    except UnmetNeed:
        return False
    return True


NAMES = [name for name in STRATEGIES.names() if _runs(name)]
each = pytest.mark.parametrize("name", NAMES)


def _check(picks: Any, case: Case, k: int) -> list[int]:
    found = picks.positions.tolist()
    assert len(found) == k
    assert len(set(found)) == k
    assert not set(found) & set(case["labelled"])
    assert set(found) <= set(range(len(case["probs"])))
    if picks.scores is not None:
        assert len(picks.scores) == k
        assert np.isfinite(picks.scores).all()
    return found


@pytest.mark.heavy
@pytest.mark.parametrize("case", CASES)
def test_exactly_k_distinct_free_rows(case):
    given = CASES[case]()
    free = len(given["probs"]) - len(given["labelled"])
    for name in NAMES:
        for k in sorted({1, min(6, free), free}):
            with case_of(name, k):
                _check(lw.select(name, k, **given, seed=3), given, k)


@pytest.mark.heavy
@pytest.mark.parametrize("case", ["identical rows", "ties"])
@each
def test_ties_go_by_the_seed_not_by_the_order_of_rows(name, case):
    given = CASES[case]()
    if case == "ties":
        given["embeddings"] = np.ones_like(given["embeddings"])
    picked = {tuple(lw.select(name, 3, **given, seed=seed).positions.tolist()) for seed in range(8)}
    assert len(picked) > 1
    assert len({row for rows in picked for row in rows}) > 6


@pytest.mark.heavy
@thorough("count", 10_000, 100_000)
@each
def test_thousands_of_identical_rows(name, count):
    given = _identical(count)
    started = time.process_time()
    _check(lw.select(name, 20, **given), given, 20)
    # seconds of work, not of waiting: far above what any method needs, far below what N x N in Python would take
    assert time.process_time() - started < count * 1.2e-3


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads(), faiss.omp_get_max_threads()
    torch.set_num_threads(count)
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        faiss.omp_set_num_threads(before[1])


@pytest.mark.heavy
@each
def test_the_number_of_threads_changes_nothing(name):
    given = _case(*_random(count=1500, width=32, classes=12, seed=5), list(range(0, 300, 3)))
    picks = []
    for count in (1, 2):
        with _threads(count):
            picks.append(lw.select(name, 40, **given, seed=2).positions.tolist())
    # entropies of a batch are sums over thousands of its outcomes, added in another order by two threads: after some
    # twenty picks the best candidates are nearer to each other than rounding
    certain = 20 if name == "batch_bald" else 40
    assert picks[0][:certain] == picks[1][:certain]


def _reads(name: str) -> bool:
    return any(step.needs.signals for step in STRATEGIES.create(name).steps())


@pytest.mark.heavy
@each
def test_a_listener_hears_and_may_interrupt(name):
    given = CASES["plain"]()
    heard = []
    silent = lw.select(name, 6, **given, seed=1).positions.tolist()
    told = lw.select(name, 6, **given, seed=1, progress=lambda *what: heard.append(what)).positions.tolist()
    assert told == silent, "listening changes nothing"
    assert all(0 <= done <= total for _, done, total in heard)
    if not _reads(name):
        return
    assert heard
    for turn in {0, len(heard) // 2, len(heard) - 1}:
        left = [turn]

        def stop(what, done, total, left=left):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1

        with pytest.raises(KeyboardInterrupt):
            lw.select(name, 6, **given, seed=1, progress=stop)
    assert lw.select(name, 6, **given, seed=1).positions.tolist() == silent
