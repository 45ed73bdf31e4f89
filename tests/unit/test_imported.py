"""Somebody else's predictions in place of a learner."""

from __future__ import annotations

import numpy as np
import pytest

import tiny
from labelwise.campaign.events import Labelled
from labelwise.contracts.query import Budget
from labelwise.errors import DataError, UnmetNeed
from labelwise.learners.imported import ImportedPredictions
from labelwise.signals import Embedding, Logits, PredictedClass, Probs
from labelwise.strategies import STRATEGIES

SOURCE = tiny.digits(40)
IDS = SOURCE.ids
RNG = np.random.default_rng(0)
PROBS = RNG.dirichlet(np.ones(10), size=40).astype(np.float32)
VECTORS = RNG.normal(size=(40, 5)).astype(np.float32)


def _learner(**changes) -> ImportedPredictions:
    arguments = {"ids": IDS, "probs": PROBS, "embeddings": VECTORS} | changes
    return ImportedPredictions(tiny.digits_task(), **arguments)


def test_what_it_provides():
    assert _learner().provides == {"probs", "per_image", "logits", "embedding"}
    assert _learner(embeddings=None).provides == {"probs", "per_image", "logits"}
    assert _learner(probs=None).provides == {"embedding"}


def test_rows_are_found_by_id():
    order = RNG.permutation(40)
    learner = _learner(ids=[IDS[i] for i in order], probs=PROBS[order], embeddings=VECTORS[order])
    table = learner.collect(tiny.view(SOURCE, IDS[5:20]), frozenset({Probs(), Embedding(), PredictedClass(), Logits()}))
    np.testing.assert_array_equal(table[Probs()], PROBS[5:20])
    np.testing.assert_array_equal(table[Embedding()], VECTORS[5:20])
    np.testing.assert_array_equal(table[PredictedClass()], PROBS[5:20].argmax(1))
    np.testing.assert_allclose(table[Logits()], np.log(PROBS[5:20]), rtol=1e-6)


def test_items_without_a_row_are_reported_and_never_picked(tmp_path):
    learner = _learner(ids=IDS[:30], probs=PROBS[:30], embeddings=VECTORS[:30])
    table = learner.collect(tiny.view(SOURCE), frozenset({Probs()}))
    assert table.ids == IDS[:30]
    assert set(table.failed) == set(IDS[30:])
    campaign = tiny.campaign(tmp_path, SOURCE, learner, frozen=learner)
    for name in ("margin", "k_center", "kmeans"):
        assert {pick.id for pick in campaign.choose(STRATEGIES.create(name), Budget(30)).picks} == set(IDS[:30])


def test_half_precision_and_memory_maps(tmp_path):
    np.save(tmp_path / "probs.npy", PROBS.astype(np.float16))
    learner = _learner(probs=np.load(tmp_path / "probs.npy", mmap_mode="r"), embeddings=VECTORS.astype(np.float64))
    table = learner.collect(tiny.view(SOURCE), frozenset({Probs(), Embedding()}))
    assert table[Probs()].dtype == np.float32
    assert table[Embedding()].dtype == np.float32
    np.testing.assert_allclose(table[Probs()], PROBS, atol=1e-3)


def test_the_digest_follows_every_number_and_id():
    changed = PROBS.copy()
    changed[3, 4] += 1e-6
    learners = [
        _learner(),
        _learner(probs=changed),
        _learner(embeddings=-VECTORS),
        _learner(ids=IDS[::-1]),
        _learner(probs=None),
        _learner(embeddings=None),
        _learner(probs=PROBS.astype(np.float64)),
    ]
    assert len({learner.weights for learner in learners}) == len(learners)
    assert _learner().weights == learners[0].weights
    assert len({_learner().signal_key(signal) for signal in (Probs(), Embedding(), Logits())}) == 3


def test_evaluate_over_what_has_a_prediction_and_a_label():
    metrics = _learner(ids=IDS[:30], probs=PROBS[:30], embeddings=None).evaluate(tiny.view(SOURCE))
    truth = np.array([int(SOURCE.truth[item]) for item in IDS[:30]])
    assert metrics["accuracy"] == pytest.approx((PROBS[:30].argmax(1) == truth).mean())
    assert _learner(probs=None).evaluate(tiny.view(SOURCE)) == {}
    assert _learner(ids=["elsewhere"], probs=PROBS[:1], embeddings=None).evaluate(tiny.view(SOURCE)) == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probs": None, "embeddings": None}, "neither probs nor embeddings"),
        ({"probs": PROBS[:, :7]}, "7 columns for 10 classes"),
        ({"probs": PROBS[:-1]}, "39 rows of probs for 40 ids"),
        ({"embeddings": VECTORS[:-1]}, "39 rows of embeddings for 40 ids"),
        ({"ids": [*IDS[:-1], IDS[0]]}, "twice"),
        ({"probs": PROBS[0]}, "probs"),
        ({"embeddings": VECTORS[0]}, "embeddings"),
    ],
)
def test_predictions_that_do_not_fit_are_refused_in_one_line(changes, message):
    with pytest.raises(DataError, match=message) as caught:
        _learner(**changes)
    assert "\n" not in str(caught.value)


def test_what_it_cannot_do_is_refused(tmp_path):
    learner = _learner()
    with pytest.raises(UnmetNeed, match="cannot be trained"):
        learner.fit(tiny.learner_data(SOURCE, IDS[:5]), 0)
    campaign = tiny.campaign(tmp_path, SOURCE, _learner(embeddings=None))
    with pytest.raises(UnmetNeed, match="needs an embedding of each image"):
        campaign.choose(STRATEGIES.create("k_center"), Budget(1))
    with pytest.raises(UnmetNeed, match="frozen features"):
        campaign.choose(STRATEGIES.create("kmeans"), Budget(1))
    campaign.write([Labelled(IDS[0], "3")])
    assert len(campaign.choose(STRATEGIES.create("margin"), Budget(39)).picks) == 39
