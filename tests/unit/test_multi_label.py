"""Images of several classes: what is learnt of them, by a network and by a head on frozen features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score

import tiny
from labelwise.contracts.learner import Examples, LearnerData
from labelwise.contracts.task import Batch, Outputs
from labelwise.errors import ConfigError, DataError, UnmetNeed
from labelwise.few_labels.frozen import frozen_images
from labelwise.learners.features import fit_linear
from labelwise.signals.plain import Probs, Uncertainty
from labelwise.tasks.multi_label import MultiLabel

TASK = MultiLabel(("cat", "dog", "hen"))


def _view(source, ids, task=None):
    return Examples(source, tuple(ids), tuple((task or tiny.pairs_task()).load(source.truth[item]) for item in ids))


def _data(source, labelled):
    rest = tuple(item for item in source.ids if item not in set(labelled))
    nothing = Examples(source, (), ())
    return LearnerData(_view(source, labelled), Examples(source, rest), nothing, nothing)


# ---- labels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("cat", "'cat' is no list of classes: give names such as"),
        (["cat", "cat"], "class 'cat' is named twice for one image"),
        (["cow"], "unknown class 'cow'"),
        ([0], r"\[0\] is no list of classes"),
        (None, "None is no list of classes"),
    ],
)
def test_what_is_no_label_is_refused(raw, words):
    with pytest.raises(DataError, match=words) as caught:
        TASK.load(raw)
    assert "\n" not in str(caught.value)


def test_the_order_in_which_classes_are_named_changes_nothing():
    assert TASK.load(["hen", "cat"]) == TASK.load(["cat", "hen"]) == (0, 2)
    assert TASK.kind.same(["hen", "cat"], ["cat", "hen"])
    assert not TASK.kind.same(["hen"], [])
    assert TASK.load([]) == ()


@pytest.mark.parametrize(
    ("options", "words"),
    [({"threshold": 1.0}, "threshold is 1.0"), ({"cap": 0.5}, "cap is 0.5"), ({"threshold": 0}, "threshold is 0")],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        MultiLabel(("a", "b"), **options)


# ---- loss -----------------------------------------------------------------------------------------------------------


def test_weights_are_those_of_the_labels_and_capped():
    targets = [(0,), (0, 1), (), ()]
    assert TASK.under(targets) is TASK
    assert MultiLabel(TASK.classes, balance=True).under(targets).positives == (1.0, 3.0, 8.0)
    assert MultiLabel(TASK.classes, balance=True, cap=2.5).under(targets).positives == (1.0, 2.5, 2.5)
    assert repr(MultiLabel(TASK.classes, balance=True).under(targets)) == repr(MultiLabel(TASK.classes, balance=True))


def test_the_loss_of_an_image_is_the_mean_of_its_answers():
    task = MultiLabel(TASK.classes, balance=True).under([(0,), (0, 1), (), ()])
    logits = torch.tensor([[2.0, -1.0, 0.5]])
    batch = Batch(torch.zeros(1, 1, 4, 4), task.collate([(0, 1)]))
    found = task.loss(lambda images: logits, batch)["binary_cross_entropy"]
    p = 1 / (1 + np.exp(-logits.numpy()[0]))
    wanted = -(1 * np.log(p[0]) + 3 * np.log(p[1]) + np.log(1 - p[2])) / 3
    assert found[0].tolist() == pytest.approx([wanted], rel=1e-5)
    assert found[1].tolist() == [1]


@pytest.mark.heavy
def test_a_network_is_trained_with_the_weights(monkeypatch):
    source, seen = tiny.pairs(24), []
    plain = MultiLabel.loss
    monkeypatch.setattr(MultiLabel, "loss", lambda task, *rest: seen.append(task.positives) or plain(task, *rest))
    learner = tiny.torch_learner(tiny.pairs_task(balance=True))
    learner.fit(_data(source, source.ids[:20]), 0)
    weights = tiny.pairs_task(balance=True).under(_view(source, source.ids[:20]).targets).positives
    assert set(seen) == {weights}
    assert max(weights) > 2


# ---- a head on frozen features --------------------------------------------------------------------------------------


def test_the_linear_head_is_a_logistic_regression_for_each_class():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 20)).astype("f4"), (rng.random((60, 3)) < [0.2, 0.4, 0.6]).astype("f4")
    weight, bias, loss = fit_linear(torch.from_numpy(x), torch.from_numpy(y), 3, 2.0, (1.0, 2.0, 1.0))
    losses = []
    for c, positive in enumerate((1, 2, 1)):
        twin = LogisticRegression(C=0.5, class_weight={0: 1, 1: positive}, tol=1e-8, max_iter=1000).fit(x, y[:, c])
        # a light ridge on the bias is all that differs
        np.testing.assert_allclose(weight[c], twin.coef_[0], atol=0.01)
        assert float(bias[c]) == pytest.approx(float(twin.intercept_[0]), abs=0.02)
        p = twin.predict_proba(x)[np.arange(60), y[:, c].astype(int)]
        losses.append(float(-(np.where(y[:, c] > 0, positive, 1) * np.log(p)).mean()))
    assert loss == pytest.approx(np.mean(losses), abs=1e-3)


@pytest.mark.parametrize("head", ["linear", "knn"])
def test_a_head_learns_which_digits_there_are(head):
    source = tiny.pairs(400, test=100)
    pool, test = source.ids[:300], source.ids[300:]
    learner = tiny.feature_learner(source, tiny.pairs_task(), head=head)
    learner.fit(_data(source, pool), 0)
    found = learner.evaluate(_view(source, test))
    targets = _view(source, test).targets
    assert found["map"] > tiny.pairs_task().chance(targets).level + 0.15
    probs = learner.collect(_view(source, test), frozenset({Probs()}))[Probs()]
    assert ((probs >= 0) & (probs <= 1)).all()
    assert np.ptp(probs.sum(1)) > 0.1  # nothing makes them sum to one


def test_the_loss_under_the_true_label_is_that_of_the_head():
    from labelwise.signals.plain import HiddenLoss

    source = tiny.pairs(40)
    learner = tiny.feature_learner(source, tiny.pairs_task())
    learner.fit(_data(source, source.ids[:30]), 0)
    view = _view(source, source.ids[30:])
    table = learner.collect(view, frozenset({HiddenLoss(), Probs()}))
    yes, p = tiny.pairs_task().collate(view.targets).numpy(), table[Probs()]
    wanted = -np.log(np.where(yes > 0, p, 1 - p)).mean(1)
    np.testing.assert_allclose(table[HiddenLoss()], wanted, rtol=1e-3)


# ---- metrics --------------------------------------------------------------------------------------------------------


def test_metrics_are_those_of_scikit_learn_over_the_classes_that_occur():
    rng = np.random.default_rng(3)
    probs, yes = rng.random((50, 4)), rng.random((50, 4)) < [0.1, 0.5, 0.9, 0.0]
    metrics = MultiLabel(("a", "b", "c", "d")).metrics()
    for part in (slice(0, 20), slice(20, 50)):
        targets = [tuple(np.flatnonzero(row).tolist()) for row in yes[part]]
        metrics.update(Outputs.of_images(torch.from_numpy(probs[part]), exclusive=False), targets)
    found = metrics.compute()
    probs = probs.astype("f4")
    assert found["map"] == pytest.approx(average_precision_score(yes[:, :3], probs[:, :3], average="macro"))
    assert found["macro_f1"] == pytest.approx(f1_score(yes[:, :3], probs[:, :3] >= 0.5, average="macro"))
    assert found["map/b"] == pytest.approx(average_precision_score(yes[:, 1], probs[:, 1]))
    assert found["classes_untested"] == 1
    assert "map/d" not in found


def test_a_model_that_diverged_has_no_metric_and_says_nothing():
    metrics = TASK.metrics()
    metrics.update(Outputs.of_images(torch.full((2, 3), torch.nan), exclusive=False), [(0,), (1, 2)])
    assert np.isnan(metrics.compute()["map"])


# ---- what a model says ----------------------------------------------------------------------------------------------


def test_predictions_are_all_classes_above_the_threshold():
    outputs = Outputs.of_images(torch.tensor([[0.9, 0.7, 0.2], [0.1, 0.2, 0.3]]), exclusive=False)
    first, second = TASK.predictions(outputs)
    assert first.target == (0, 1)
    assert first.score == pytest.approx(0.7)
    assert second.target == ()
    assert TASK.predictions(outputs, 0.8)[0].target == (0,)
    assert TASK.said([0.9, 0.7, 0.2]) == ("cat; dog", 0.7)
    assert TASK.said([0.1, 0.2, 0.3]) == ("none", 0.7)


def test_uncertainty_is_by_class_and_reduced_as_for_objects():
    outputs = Outputs.of_images(torch.tensor([[0.5, 0.1, 0.1], [0.7, 0.7, 0.7]]), exclusive=False)
    margin = {how: Uncertainty("margin", how).compute(outputs).tolist() for how in ("mean", "max", "sum")}
    assert margin["mean"] == pytest.approx([1.4 / 3, 0.6])
    assert margin["max"] == pytest.approx([1.0, 0.6])
    assert margin["sum"] == pytest.approx([1.4, 1.8])
    assert Uncertainty("margin", "top_k", top=2).compute(outputs).tolist() == pytest.approx([0.6, 0.6])


def test_studies_by_size_are_of_one_class_an_image_and_say_so():
    source = tiny.pairs(12)
    with pytest.raises(UnmetNeed, match="labels of these data are not one class an image"):
        frozen_images(source, tiny.pixels(source))
