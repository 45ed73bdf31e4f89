"""Uncertainty of units, reduced to items: against loops that follow the words, over batches and the whole pool."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from labelwise.contracts.signal import stack_rows
from labelwise.contracts.task import Outputs
from labelwise.signals import Uncertainty

MEASURES = ("entropy", "margin", "least_confidence")
REDUCTIONS = ("mean", "max", "sum", "top_k", "top_share", "weighted", "class_balanced")


# ---- the slow twins -------------------------------------------------------------------------------------------------


def slow_unit(measure: str, probs: list[float], exclusive: bool) -> float:
    if exclusive and len(probs) > 1:
        if measure == "entropy":
            return -sum(p * math.log(p) for p in probs if p > 0)
        best, second = sorted(probs, reverse=True)[:2]
        return 1 - (best - second) if measure == "margin" else 1 - best
    if measure == "entropy":
        return sum(-q * math.log(q) for p in probs for q in (p, 1 - p) if q > 0)
    if measure == "margin":
        return max(1 - abs(2 * p - 1) for p in probs)
    return max(min(p, 1 - p) for p in probs)


def slow_item(values: list[float], weights: list[float], classes: list[int], how: str, top: int) -> float | None:
    if how == "weighted":
        return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights) if sum(weights) > 0 else None
    if not values:
        return None
    if how == "top_k":
        values = sorted(values, reverse=True)[:top]
        return sum(values) / len(values)
    if how == "top_share":
        values = sorted(values, reverse=True)[: math.ceil(top * len(values) / 100)]
        return sum(values) / len(values)
    if how == "class_balanced":
        of_class: dict[int, list[float]] = {}
        for value, number in zip(values, classes, strict=True):
            of_class.setdefault(number, []).append(value)
        return sum(sum(part) / len(part) for part in of_class.values()) / len(of_class)
    return {"mean": sum(values) / len(values), "max": max(values), "sum": sum(values)}[how]


def slow_pool(items: list[float | None], empty: str) -> list[float]:
    known = [value for value in items if value is not None]
    if not known:
        return [0.0] * len(items)
    below, above = min(known), max(known)
    fill = {"last": below, "first": above, "median": float(np.median(known))}[empty]
    return [fill if value is None else value for value in items]


# ---- the pools ------------------------------------------------------------------------------------------------------


def _pool(seed: int, *, classes: int, exclusive: bool, empty_share: float, items: int = 17):
    """Ragged units: some items have none, rows with zeros and ones, equal rows, weights of zero."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(items):
        units = 0 if rng.random() < empty_share else int(rng.integers(1, 6))
        probs = rng.dirichlet(np.full(classes, 0.5), units) if exclusive else rng.random((units, classes))
        if units > 1:
            probs[0] = probs[1]
        if units > 2:
            probs[2] = np.eye(classes)[0]
        found.append((probs.astype(np.float32), (rng.random(units) * (rng.random(units) > 0.2)).astype(np.float32)))
    return found


def _outputs(items, exclusive: bool) -> Outputs:
    classes = max((part.shape[1] for part, _ in items), default=1)
    probs = (
        np.concatenate([part.reshape(-1, classes) for part, _ in items])
        if items
        else np.zeros((0, classes), np.float32)
    )
    owners = np.repeat(np.arange(len(items)), [len(part) for part, _ in items])
    weights = np.concatenate([weight for _, weight in items])
    return Outputs(len(items), torch.from_numpy(owners), torch.from_numpy(probs), exclusive, torch.from_numpy(weights))


def _collected(signal: Uncertainty, items, exclusive: bool, batch: int) -> np.ndarray:
    """Batch by batch, then settled over the whole pool, as the engine does."""
    parts = [signal.compute(_outputs(items[i : i + batch], exclusive)) for i in range(0, len(items), batch)]
    return signal.settle(torch.from_numpy(stack_rows(parts))).numpy()


@pytest.mark.heavy
@pytest.mark.parametrize("empty", ["last", "median", "first"])
@pytest.mark.parametrize("how", REDUCTIONS)
@pytest.mark.parametrize("measure", MEASURES)
def test_against_loops(measure, how, empty):
    for seed, (classes, exclusive) in enumerate([(4, True), (2, True), (1, True), (3, False), (1, False)]):
        for share in (0.0, 0.4, 1.0):
            items = _pool(seed, classes=classes, exclusive=exclusive, empty_share=share)
            top = 50 if how == "top_share" else 2
            signal = Uncertainty(measure, how, top=top, empty=empty)
            units = [[slow_unit(measure, row.tolist(), exclusive) for row in probs] for probs, _ in items]
            slow = [
                slow_item(values, weights.tolist(), [int(row.argmax()) for row in probs], how, top)
                for values, (probs, weights) in zip(units, items, strict=True)
            ]
            expected = slow_pool(slow, empty)
            for batch in (1, 5, 17):
                rows = _collected(signal, items, exclusive, batch)
                assert rows.dtype == np.float32
                np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(("empty", "side"), [("last", -1), ("first", 1)])
def test_items_without_units_stand_strictly_beyond_all_others(empty, side):
    items = _pool(3, classes=3, exclusive=True, empty_share=0.4)
    rows = _collected(Uncertainty("entropy", empty=empty), items, True, 4)
    has = np.array([len(probs) > 0 for probs, _ in items])
    assert 0 < has.sum() < len(has)
    assert (side * (rows[~has] - rows[has].max() if side > 0 else rows[~has] - rows[has].min()) > 0).all()
    assert len(set(rows[~has].tolist())) == 1


def test_nan_is_never_taken_for_an_item_without_units():
    """What a diverged model says must come out as NaN, so that ranking refuses it."""
    items = _pool(1, classes=3, exclusive=True, empty_share=0.3)
    broken = next(n for n, (probs, _) in enumerate(items) if len(probs))
    items[broken][0][:] = np.nan
    for how in ("mean", "sum", "max", "top_k"):
        rows = _collected(Uncertainty("entropy", how), items, True, 5)
        assert np.isnan(rows[broken])


@pytest.mark.heavy
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=12),
    st.integers(1, 12),
    st.sampled_from(REDUCTIONS),
    st.integers(0, 99),
)
def test_the_batch_is_of_no_account(counts, batch, how, seed):
    rng = np.random.default_rng(seed)
    items = [
        (rng.dirichlet(np.ones(3), count).astype(np.float32), rng.random(count).astype(np.float32)) for count in counts
    ]
    signal = Uncertainty("margin", how, top=2)
    whole = _collected(signal, items, True, len(items))
    np.testing.assert_allclose(_collected(signal, items, True, batch), whole, rtol=1e-6)


def test_where_the_unit_is_the_image_no_reduction_changes_anything():
    probs = torch.from_numpy(np.random.default_rng(0).dirichlet(np.ones(4), 9).astype(np.float32))
    rows = [Uncertainty("entropy", how).compute(Outputs.of_images(probs)) for how in REDUCTIONS]
    for other in rows[1:]:
        torch.testing.assert_close(other, rows[0], rtol=1e-6, atol=0)


def test_a_megapixel_of_units_keeps_its_digits():
    """A dense map: the mean over a million pixels in float32 would lose the fourth digit."""
    probs = torch.full((1_000_000, 2), 0.5)
    probs[::3] = torch.tensor([0.9, 0.1])
    outputs = Outputs(1, torch.zeros(1_000_000, dtype=torch.int64), probs)
    expected = (333_334 * slow_unit("entropy", [0.9, 0.1], True) + 666_666 * math.log(2)) / 1_000_000
    assert float(Uncertainty("entropy").compute(outputs)[0]) == pytest.approx(expected, rel=1e-6)
