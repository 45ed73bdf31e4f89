"""However many strategies ask, the model reads the pool once."""

from __future__ import annotations

import math

import pytest
import torch

import tiny
from labelwise.config import RecipeConfig, parse
from labelwise.contracts.learner import Examples as Items
from labelwise.contracts.query import Budget
from labelwise.learners.backbones import Backbone
from labelwise.learners.features import FeatureSource
from labelwise.strategies import STRATEGIES
from labelwise.studies.comparison import Comparison

BATCH, PICKS = 16, 5
SOURCE = tiny.digits(60)
LABELLED = SOURCE.ids[:10]
CANDIDATES = SOURCE.ids[10:]

FOUR = [
    STRATEGIES.create("margin"),
    STRATEGIES.create("entropy"),
    STRATEGIES.create("kmeans", features="task"),
    STRATEGIES.create("stratified_random", by="predicted"),
]


def _keys(ids) -> dict[str, bytes]:
    """The pixels of each item as the net is shown them."""
    task = tiny.digits_task()
    return {
        i: task.batch(task.input.prepare(SOURCE.load(i))[None], None, train=False).images[0].numpy().tobytes()
        for i in ids
    }


@pytest.fixture
def campaign(tmp_path):
    learner = tiny.torch_learner(model=tiny.CountingNet, batch_size=BATCH)
    campaign = tiny.campaign(tmp_path, SOURCE, learner, labelled=LABELLED)
    campaign.fit()
    tiny.SEEN.clear()
    return campaign


def test_four_strategies_one_pass(campaign):
    """Each candidate goes through the net once; the picks of each strategy once more, for their predicted class."""
    picked = []
    for index, strategy in enumerate(FOUR):
        picked += [pick.id for pick in campaign.choose(strategy, Budget(PICKS), companions=FOUR[index + 1 :]).picks]
        if index == 0:
            assert len(tiny.SEEN.batches) == math.ceil(len(CANDIDATES) / BATCH) + math.ceil(PICKS / BATCH)
    assert len(tiny.SEEN.batches) == math.ceil(len(CANDIDATES) / BATCH) + len(FOUR) * math.ceil(PICKS / BATCH)
    for item, key in _keys(CANDIDATES).items():
        assert tiny.SEEN.images[key] == 1 + picked.count(item)
    assert not set(_keys(LABELLED).values()) & set(tiny.SEEN.images), "nobody asked for labelled items"


def test_without_companions_each_strategy_reads_what_is_missing(campaign):
    """The contrast that shows what the test above measures."""
    for strategy in FOUR:
        campaign.choose(strategy, Budget(PICKS))
    assert len(tiny.SEEN.batches) == 4 * math.ceil(len(CANDIDATES) / BATCH) + 4 * math.ceil(PICKS / BATCH)


def test_one_strategy_with_two_needs_reads_once(campaign):
    campaign.choose(STRATEGIES.create("prefilter", then=FOUR[2], keep=2.0), Budget(PICKS))
    survivors = 2 * PICKS
    expected = sum(math.ceil(count / BATCH) for count in (len(CANDIDATES), survivors, PICKS))
    assert len(tiny.SEEN.batches) == expected, "the second step reads the survivors only"


def test_labelled_items_are_read_only_by_who_needs_them(campaign):
    campaign.choose(STRATEGIES.create("k_center"), Budget(PICKS), companions=FOUR)
    expected = sum(math.ceil(count / BATCH) for count in (len(CANDIDATES), len(LABELLED), PICKS))
    assert len(tiny.SEEN.batches) == expected


def _recipe(**changes) -> RecipeConfig:
    values = {
        "data": {"source": "unused"},
        "input": {"size": tiny.SIDE, "channels": 1, "augment": "none"},
        "learner": {
            "kind": "torch",
            "model": "tiny:counting_net",
            "batch_size": BATCH,
            "phases": [{"epochs": 1, "min_steps": 0}],
        },
        "features": {"backbone": "pixels", "size": 8},
        "strategies": [
            "margin",
            "entropy",
            {"name": "kmeans", "features": "task"},
            {"name": "stratified_random", "by": "predicted"},
        ],
        "initial": 10,
        "batch": PICKS,
        "rounds": 1,
        "seeds": [0],
        "full": False,
        "again": 0,
    }
    return parse(RecipeConfig, values | changes, where="test")


@pytest.mark.heavy
def test_round_0_of_a_comparison_reads_the_pool_once_for_all_strategies(tmp_path):
    source = tiny.digits(80, test=20)
    tiny.SEEN.clear()
    study = Comparison(_recipe(), source, tmp_path).run()
    assert len(study.runs) == 4
    candidates = 60 - 10
    tests = 1 + 4  # round 0 is trained and tested once, the last round once for each strategy
    read = math.ceil(candidates / BATCH) + 4 * math.ceil(PICKS / BATCH) + tests * math.ceil(20 / BATCH)
    # for the pictures of a report each last model is shown the test images, and these with the picks
    read += 4 * math.ceil(20 / BATCH) + 4 * math.ceil((20 + PICKS) / BATCH)
    # each fresh net is shown one batch of zeros, to check its output
    zeros = tiny.SEEN.images.pop(torch.zeros(1, tiny.SIDE, tiny.SIDE).numpy().tobytes(), 0)
    assert zeros % 2 == 0
    assert len(tiny.SEEN.batches) - zeros // 2 == read


class CountingBackbone(Backbone):
    """The grey value of four corners; counts its batches."""

    def __init__(self) -> None:
        self.input = tiny.spec()
        self.batches = 0

    def prepare(self, view: Items) -> None:
        pass

    @property
    def weights(self) -> str:
        return "corners"

    def __call__(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        self.batches += 1
        return torch.nn.functional.adaptive_avg_pool2d(self.input.normalise(images_BCHW), 2).flatten(1)


@pytest.mark.heavy
def test_frozen_features_are_read_once_for_ever(tmp_path):
    """All strategies, all rounds, the head's training and a new process: the backbone sees each image once."""
    from labelwise.learners.features import FeatureLearner
    from labelwise.signals.cache import SignalCache

    backbone = CountingBackbone()
    for number in range(2):
        source = FeatureSource(backbone, SignalCache(tmp_path / "features"), batch_size=BATCH)
        learner = FeatureLearner(tiny.digits_task(), source)
        campaign = tiny.campaign(tmp_path / str(number), SOURCE, learner, labelled=LABELLED, frozen=source)
        for strategy in [*FOUR, STRATEGIES.create("k_center", features="frozen")]:
            campaign.fit()
            campaign.choose(strategy, Budget(PICKS))
    labelled_first = math.ceil(len(LABELLED) / BATCH)
    assert backbone.batches == labelled_first + math.ceil(len(CANDIDATES) / BATCH)
