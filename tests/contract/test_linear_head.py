"""The last linear layer of a model, for strategies that ask what it would say of embeddings that no image has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

import labelwise as lw
import tiny
from labelwise.campaign.plan import Offer
from labelwise.contracts.head import LinearHead
from labelwise.contracts.input import InputSpec
from labelwise.contracts.query import Budget, Selection
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.errors import ConfigError, DataError, LabelwiseError, UnmetNeed
from labelwise.learners.features import FeatureLearner
from labelwise.learners.imported import ImportedPredictions
from labelwise.models import build
from labelwise.models.ending import last_layer
from labelwise.selection.arrays import as_tensor
from labelwise.signals.plain import Embedding, Logits
from labelwise.strategies import STRATEGIES
from labelwise.tasks.classification import Classification

SOURCE = tiny.digits(40)
EMBEDDING = Embedding("task")


@dataclass(frozen=True)
class ByHead(Strategy):
    """Keeps the first half without the head, then takes the highest logits of class 0 among the rest."""

    name = "by_head"

    def steps(self):
        return (
            Step(Needs(), self._half),
            Step(Needs(pool=frozenset({EMBEDDING}), head=True), self._choose),
        )

    def _half(self, query):
        assert query.head is None, "a step that does not declare the head does not get it"
        return Selection(query.unlabelled_M[: max(query.budget, len(query.unlabelled_M) // 2)])

    def _choose(self, query):
        top = query.head.logits(query.pool(EMBEDDING))[:, 0].topk(query.budget)
        return Selection(query.unlabelled_M[top.indices], top.values)


LEARNERS = {
    "torch": tiny.torch_learner,
    "torch, embedding named": lambda: tiny.torch_learner(embedding="drop"),
    "torch, flat": lambda: tiny.torch_learner(model=_flat),
    "torch, channels last maps": lambda: tiny.torch_learner(model=_pooled, embedding="0"),
    "features": lambda: tiny.feature_learner(SOURCE),
}


def _flat() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(tiny.SIDE**2, 10, bias=False))


def _pooled() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 10))


@pytest.mark.heavy
@pytest.mark.parametrize("kind", LEARNERS)
def test_the_head_says_what_the_model_says(kind):
    learner = LEARNERS[kind]()
    assert learner.headless == ""
    with pytest.raises(DataError, match="no weights yet"):
        learner.linear_head()
    learner.fit(tiny.learner_data(SOURCE, SOURCE.ids[:20]), 0)
    table = learner.collect(tiny.view(SOURCE, labels=False), frozenset({EMBEDDING, Logits()}))
    head = learner.linear_head()
    np.testing.assert_allclose(
        head.logits(as_tensor(table[EMBEDDING])).numpy(), np.array(table[Logits()]), rtol=1e-3, atol=1e-4
    )


def test_found_by_what_layers_do_not_by_their_order():
    class Reversed(nn.Module):
        """Defines its last layer first, and has a linear layer that nothing reads."""

        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(6, 3)
            self.first = nn.Linear(9, 6)
            self.unused = nn.Linear(6, 3)

        def forward(self, images):
            return self.last(self.first(images.flatten(1)).relu())

    net = Reversed().train()
    images = torch.rand(2, 1, 3, 3)
    assert last_layer(net, "last:input", images) is net.last
    assert last_layer(net, "first", images) is None, "a nonlinearity lies between"
    assert last_layer(net, "unused:input", images) is None
    assert net.training, "the mode is put back"


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["lenet", "resnet18_cifar", "torchvision:mobilenet_v3_small", "timm:resnet10t"])
def test_library_models_end_in_a_head(name):
    task = Classification(tiny.CLASSES, InputSpec((32, 32), 3))
    learner = tiny.torch_learner(task, name)
    assert learner.headless == "", build(name, 10, task.input)


NONE = {
    "ensemble": (lambda: tiny.torch_learner(members=2), "set members: 1"),
    "embedding further up": (lambda: tiny.torch_learner(embedding="conv"), "embedding='...'"),
    "no linear layer": (lambda: tiny.torch_learner(model=_convolutional, embedding="0"), "embedding='...'"),
    "k-NN": (lambda: tiny.feature_learner(SOURCE, head="knn"), "set head: linear"),
    "imported": (
        lambda: ImportedPredictions(tiny.digits_task(), SOURCE.ids, embeddings=np.zeros((40, 3), "float32")),
        "head=(weight, bias)",
    ),
}


def _convolutional() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Conv2d(5, 10, 1), nn.Flatten())


@pytest.mark.parametrize("kind", NONE)
def test_a_model_without_one_is_refused_before_training(kind):
    make, message = NONE[kind]
    learner = make()
    with pytest.raises(UnmetNeed, match="last linear layer") as caught:
        Offer(learner).check([ByHead()])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    if learner.weights is not None:
        assert learner.linear_head() is None


def test_a_campaign_hands_it_over(tmp_path):
    learner = FeatureLearner(tiny.digits_task(), tiny.pixels(SOURCE))
    campaign = tiny.campaign(tmp_path, SOURCE, learner, labelled=SOURCE.ids[:10])
    campaign.fit()
    inside = STRATEGIES.create("prefilter", first=STRATEGIES.create("random"), then=ByHead(), keep=2.0)
    for strategy in (ByHead(), inside):
        assert len(campaign.choose(strategy, Budget(4)).picks) == 4


E = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
W = np.random.default_rng(1).normal(size=(3, 4)).astype("float32")
B = np.array([0.5, 0.0, -1.0])


def test_arrays_take_a_pair_or_a_head():
    expected = (E[:10] @ W.T + B)[:, 0].argsort()[::-1][:3].tolist()
    heads = ((W, B), (torch.from_numpy(W).half().float(), B.tolist()), LinearHead(torch.tensor(W), torch.tensor(B)))
    for head in (heads[0], heads[2]):
        assert lw.select(ByHead(), 3, embeddings=E, head=head).positions.tolist() == expected
    assert len(lw.select(ByHead(), 3, embeddings=E, head=heads[1])) == 3
    weight = torch.from_numpy(W).requires_grad_()
    assert lw.select(ByHead(), 3, embeddings=E, head=(weight, torch.tensor(B))).positions.tolist() == expected


P = np.full((20, 2), 0.5)
WRONG = {
    "missing": ({}, UnmetNeed, "head=(layer.weight, layer.bias)"),
    "no pair": ({"head": W}, ConfigError, "no pair"),
    "three": ({"head": (W, B, B)}, ConfigError, "no pair"),
    "text": ({"head": "fc"}, ConfigError, "no pair"),
    "a vector for a weight": ({"head": (B, B)}, DataError, "2 dimensions"),
    "a matrix for a bias": ({"head": (W, W)}, ConfigError, "1 dimension"),
    "turned round": ({"head": (W.T, B)}, ConfigError, "give 4"),
    "other features": ({"head": (W[:, :2], B)}, ConfigError, "reads 2 features, and embeddings= has 4"),
    "other classes": ({"head": (W, B), "probs": P}, ConfigError, "3 classes, and probs= has 2"),
    "nan": ({"head": (W * np.nan, B)}, DataError, "NaN"),
    "infinite bias": ({"head": (W, B + np.inf)}, DataError, "infinity"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_heads_are_refused_in_one_line(case):
    given, error, message = WRONG[case]
    with pytest.raises(LabelwiseError) as caught:
        lw.select(ByHead(), 1, **{"embeddings": E, **given})
    assert isinstance(caught.value, error), repr(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
