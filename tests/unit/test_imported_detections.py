"""Somebody else's detector in place of a learner: any strategy works from its file alone."""

from __future__ import annotations

import numpy as np
import pytest

import tiny
from labelwise.contracts.learner import Examples
from labelwise.contracts.targets import Boxes
from labelwise.errors import DataError, UnmetNeed
from labelwise.learners.imported_detections import FoundBoxes, ImportedDetections
from labelwise.signals import Embedding, Probs, Uncertainty
from labelwise.signals.units import Units
from labelwise.tasks.detection import Detection

SOURCE = tiny.digits(12)
IDS = SOURCE.ids
TASK = Detection(("cat", "dog"))
RNG = np.random.default_rng(0)


def _found(**changes):
    counts = np.array([2, 0, 3, 1])
    units = int(counts.sum())
    labels = np.array([0, 1, 1, 0, 1, 0])
    scores = np.linspace(0.9, 0.3, units).astype(np.float32)
    probs = np.zeros((units, 2), np.float32)
    probs[np.arange(units), labels] = scores
    boxes = np.sort(RNG.random((units, 2, 2)), axis=1).reshape(units, 4).astype(np.float32)
    values = {
        "ids": IDS[:4],
        "offsets": np.concatenate([[0], np.cumsum(counts)]),
        "boxes_U4": boxes,
        "scores_U": scores,
        "labels_U": labels,
        "probs_UC": probs,
        "exclusive": False,
        "unit_embedding_UD": RNG.normal(size=(units, 3)).astype(np.float32),
        "embedding_ND": RNG.normal(size=(4, 5)).astype(np.float32),
        "classes": ("cat", "dog"),
    }
    return FoundBoxes(**values | changes)


def test_what_it_provides():
    always = {"probs", "boxes", "scores", "labels"}
    assert ImportedDetections(TASK, _found()).provides == always | {"embedding", "unit_embedding"}
    assert ImportedDetections(TASK, _found(unit_embedding_UD=None, embedding_ND=None)).provides == always


def test_rows_of_images_in_any_order_and_without_detections():
    found = _found()
    learner = ImportedDetections(TASK, found)
    signals = [Units("boxes"), Units("probs"), Units("labels"), Embedding(), Units("unit_embedding")]
    table = learner.collect(Examples(SOURCE, (IDS[2], IDS[1], IDS[9], IDS[0])), frozenset(signals))
    assert table.ids == (IDS[2], IDS[1], IDS[0])
    assert set(table.failed) == {IDS[9]}
    values, offsets = table.ragged(Units("boxes"))
    assert offsets.tolist() == [0, 3, 3, 5]
    np.testing.assert_array_equal(values, found.boxes_U4[[2, 3, 4, 0, 1]])
    np.testing.assert_array_equal(table.ragged(Units("labels"))[0], [1, 0, 1, 0, 1])
    np.testing.assert_array_equal(table[Embedding()], found.embedding_ND[[2, 1, 0]])


def test_uncertainty_is_that_of_a_yes_or_no():
    learner = ImportedDetections(TASK, _found())
    rows = learner.collect(Examples(SOURCE, IDS[:4]), frozenset({Uncertainty("entropy", "max")}))[
        Uncertainty("entropy", "max")
    ]
    p = np.array([[0.9, 0.78, 0.9], [0.66, 0.54, 0.42], [0.3, 0.3, 0.3]])
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    np.testing.assert_allclose(rows[[0, 2, 3]], entropy.max(1), rtol=1e-5)
    assert rows[1] == -np.inf  # no detection: settled over the whole pool


def test_metrics_over_labelled_images():
    found = _found()
    truth = [
        Boxes.of_pixels(found.boxes_U4[a:b] * 100, found.labels_U[a:b], size=(100, 100))
        for a, b in ((0, 2), (2, 2), (2, 5))
    ]
    metrics = ImportedDetections(TASK, found).evaluate(Examples(SOURCE, IDS[:3], tuple(truth)))
    assert metrics["map"] == pytest.approx(1)
    assert ImportedDetections(TASK, found).evaluate(Examples(SOURCE, IDS[:3])) == {}


def test_weights_are_the_content():
    found = _found()
    weights = ImportedDetections(TASK, found).weights
    assert weights == ImportedDetections(TASK, found).weights
    moved = found.boxes_U4.copy()
    moved[0, 0] += 1e-3
    other = FoundBoxes(**{**found.__dict__, "boxes_U4": moved})
    assert ImportedDetections(TASK, other).weights != weights


def test_what_it_cannot_do():
    with pytest.raises(DataError, match="the task has dog, cat"):
        ImportedDetections(Detection(("dog", "cat")), _found())
    learner = ImportedDetections(TASK, _found())
    with pytest.raises(UnmetNeed, match="cannot be trained"):
        learner.fit(None, 0)
    assert not Probs().fields <= learner.provides
