"""People answer when they like: partly, in any order, with skips and corrections; the campaign goes on where it was."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

import tiny
from labelwise.campaign.events import Cleared
from labelwise.contracts.oracle import Answer, HeldBack, Oracle, Round
from labelwise.contracts.query import Budget
from labelwise.errors import DataError, PoolError
from labelwise.strategies import STRATEGIES

SOURCE = tiny.digits(70, test=10)
STRATEGY = STRATEGIES.create("margin")


class Slow(Oracle):
    """Answers at most ``pace`` of the picks it is shown, last ones first."""

    def __init__(self, pace: int) -> None:
        self.pace = pace
        self.asked: list[Round] = []

    def annotate(self, asked: Round) -> Iterable[Answer]:
        self.asked.append(asked)
        for pick in asked.picks[::-1][: self.pace]:
            yield Answer(pick.id, SOURCE.truth[pick.id])


def _campaign(folder):
    return tiny.campaign(folder, SOURCE, tiny.feature_learner(SOURCE), labelled=SOURCE.ids[:10], seed=2)


def _picks(campaign) -> list[tuple]:
    return [(query.round, query.rank, query.id, query.score) for query in campaign.pool.queries()]


@pytest.mark.heavy
def test_partial_answers_end_in_the_same_place(tmp_path):
    at_once = _campaign(tmp_path / "at once")
    list(at_once.rounds(STRATEGY, HeldBack(SOURCE.truth), Budget(6), count=3))
    oracle = Slow(pace=4)
    for _ in range(20):
        # a new process each time: nothing but the store is left
        bit_by_bit = _campaign(tmp_path / "bit by bit")
        list(bit_by_bit.rounds(STRATEGY, oracle, Budget(6), count=3))
        if bit_by_bit.pool.round == 3 and not len(bit_by_bit.pool.pending):
            break
    assert _picks(bit_by_bit) == _picks(at_once)
    assert len(oracle.asked) == 6, "six picks, four answers at a time, three rounds"
    assert [len(asked) for asked in oracle.asked] == [6, 2] * 3
    assert [pick.rank for pick in oracle.asked[0].picks] == list(range(6))


def test_an_open_round_is_asked_again_before_anything_else(tmp_path):
    campaign = _campaign(tmp_path)
    campaign.fit()
    picks = campaign.suggest(STRATEGY, Budget(5)).picks
    again = _campaign(tmp_path)
    assert [pick.id for pick in again.pending()] == [pick.id for pick in picks]
    assert again.pending() == list(picks)
    again.answer([Answer(picks[3].id, SOURCE.truth[picks[3].id]), Answer(picks[0].id, reason="blurred")])
    assert [pick.rank for pick in _campaign(tmp_path).pending()] == [1, 2, 4]


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([("ok", "3"), ("nobody.png", "3")], PoolError),
        ([("ok", "3"), ("also ok", "eleven")], DataError),
        ([("ok", "3"), ("labelled", None)], PoolError),
    ],
)
def test_answers_are_taken_whole_or_not_at_all(answers, error, tmp_path):
    campaign = _campaign(tmp_path)
    campaign.fit()
    picks = campaign.suggest(STRATEGY, Budget(5)).picks
    names = {"ok": picks[0].id, "also ok": picks[1].id, "labelled": SOURCE.ids[0]}
    before = list(campaign.store.events())
    with pytest.raises(error) as caught:
        campaign.answer([Answer(names.get(item, item), target) for item, target in answers])
    assert "\n" not in str(caught.value)
    assert list(campaign.store.events()) == before
    assert len(campaign.pending()) == 5
    assert _campaign(tmp_path).pending() == campaign.pending()


def test_a_corrected_label_is_trained_on_and_trained_anew(tmp_path):
    campaign = _campaign(tmp_path)
    first = campaign.fit().key
    wrong = str((int(SOURCE.truth[SOURCE.ids[0]]) + 1) % 10)
    campaign.answer([Answer(SOURCE.ids[0], wrong)])
    second = campaign.fit().key
    campaign.answer([Answer(SOURCE.ids[0], SOURCE.truth[SOURCE.ids[0]])])
    assert second != first
    assert campaign.fit().key == first, "found, not trained again"


def test_a_cancelled_round_is_chosen_anew(tmp_path):
    campaign = _campaign(tmp_path)
    campaign.fit()
    picks = campaign.suggest(STRATEGY, Budget(5)).picks
    campaign.write([Cleared(pick.id) for pick in picks])
    assert campaign.pool.round == 0
    assert campaign.suggest(STRATEGY, Budget(5)).picks == picks
    assert len(campaign.store.rounds()) == 1
