"""A training that diverges: a project is told which items cannot be ranked, a simulated run goes on and says so."""

from __future__ import annotations

import math

import pytest

import tiny
from labelwise.contracts.learner import Phase
from labelwise.contracts.oracle import HeldBack
from labelwise.contracts.query import Budget
from labelwise.errors import NonFiniteScore
from labelwise.strategies import STRATEGIES

SOURCE = tiny.digits(50, test=10)
EXPLODES = [Phase(epochs=5, batch_size=8, optimiser="sgd", lr=1e12, schedule="constant")]


def _campaign(folder, **setting):
    learner = tiny.torch_learner(model=tiny.plain_net, phases=EXPLODES)
    return tiny.campaign(folder, SOURCE, learner, labelled=SOURCE.ids[:10], **setting)


def test_a_project_is_told_which_items_cannot_be_ranked(tmp_path):
    campaign = _campaign(tmp_path)
    assert math.isnan(campaign.fit().report.loss)
    with pytest.raises(NonFiniteScore, match=r"30 items.*'img/0010.png'.*learning rate") as caught:
        campaign.suggest(STRATEGIES.create("margin"), Budget(5))
    assert "\n" not in str(caught.value)
    assert campaign.pool.round == 0
    assert len(campaign.suggest(STRATEGIES.create("random"), Budget(5)).picks) == 5


@pytest.mark.heavy
@pytest.mark.parametrize(
    "strategy", [STRATEGIES.create(name) for name in ("margin", "entropy", "k_center", "random")], ids=repr
)
def test_a_simulated_run_goes_on_and_says_so(strategy, tmp_path):
    campaign = _campaign(tmp_path, truth=SOURCE.truth)
    records = list(campaign.rounds(strategy, HeldBack(SOURCE.truth), Budget(5), count=2))
    assert [record.labels for record in records] == [10, 15, 20]
    assert all(math.isnan(record.train_loss) for record in records)
    assert all(len(record.picked) == 5 for record in records[:2])
    if strategy.name != "random":
        assert all(any("picked at random" in note for note in record.notes) for record in records[:2])
