"""A campaign whose answers come back as files, in parts, days apart as far as it knows."""

import csv
import json

import numpy as np
import pytest

from labelwise.campaign.events import Added, Item
from labelwise.campaign.loop import Campaign
from labelwise.campaign.setting import Setting
from labelwise.campaign.store import Store
from labelwise.contracts.input import InputSpec
from labelwise.contracts.query import Budget
from labelwise.data.arrays import ArraySource
from labelwise.errors import FormatError
from labelwise.exchange.folder import Folder
from labelwise.learners.backbones import Pixels
from labelwise.learners.features import FeatureLearner, FeatureSource
from labelwise.signals.cache import SignalCache
from labelwise.strategies import STRATEGIES
from labelwise.tasks.classification import Classification


@pytest.fixture
def campaign(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
    images[::2] //= 4  # even items are dark: two classes that can be told apart
    source = ArraySource(images)
    store = Store(tmp_path / ".labelwise", create=True)
    store.append([Added(Item(item, item)) for item in source.ids])
    task = Classification(("bright", "dark"), InputSpec((8, 8), 1), "none")
    features = FeatureSource(Pixels(side=8, channels=1))
    setting = Setting(source, task, FeatureLearner(task, features), SignalCache(None), frozen=features)
    from labelwise.contracts.learner import Examples

    features.backbone.prepare(Examples(source, tuple(source.ids)))
    return Campaign(store, setting)


def answer(folder, number, ids, name="answers.csv"):
    with (folder / f"{number:03d}" / name).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label"])
        writer.writerows([item, "dark" if int(item) % 2 == 0 else "bright"] for item in ids)


@pytest.mark.heavy
def test_rounds_stop_where_answers_are_missing_and_go_on_when_they_are_there(campaign, tmp_path):
    folder = tmp_path / "exchange"
    oracle, strategy = Folder(folder), STRATEGIES.create("kmeans")

    def go():
        return list(campaign.rounds(strategy, oracle, Budget(6), count=2))

    first = go()
    assert [record.labels for record in first] == [0]
    asked = [item["id"] for item in json.loads((folder / "000" / "picks.json").read_text())["items"]]
    assert asked == first[0].picked

    answer(folder, 0, asked[:4])
    assert go() == []
    assert len(campaign.pool.labelled) == 4
    assert [campaign.pool.ids[p] for p in campaign.pool.pending] == sorted(asked[4:])

    answer(folder, 0, asked[4:], "more.csv")
    second = go()
    assert [record.labels for record in second] == [6]
    assert not set(second[0].picked) & set(asked)

    answer(folder, 1, second[0].picked)
    last = go()
    assert [(record.round, record.labels, record.picked) for record in last] == [(2, 12, [])]


def test_a_bad_answer_file_is_refused_and_nothing_of_it_is_taken(campaign, tmp_path):
    folder = tmp_path / "exchange"
    list(campaign.rounds(STRATEGIES.create("kmeans"), Folder(folder), Budget(3), count=1))
    asked = [pick.id for pick in campaign.pending()]
    (folder / "000" / "answers.csv").write_text(f"id,label\n{asked[0]},dark\nnobody,dark\n")
    with pytest.raises(FormatError, match="row 3"):
        list(campaign.rounds(STRATEGIES.create("kmeans"), Folder(folder), Budget(3), count=1))
    assert len(campaign.pool.labelled) == 0
    assert len(campaign.pending()) == 3
