"""The loop: fit, evaluate, choose, ask, take answers back; with people or simulated, resumed wherever it stopped."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from labelwise.campaign.asked import picks_again, picks_of
from labelwise.campaign.chooser import Chooser
from labelwise.campaign.describing import described
from labelwise.campaign.events import AskedAgain, Event, Queried, Skipped
from labelwise.campaign.examples import PoolExamples
from labelwise.campaign.fits import Fits, Fitted
from labelwise.campaign.measuring import measure, up_to_date
from labelwise.campaign.plan import Offer, unite
from labelwise.campaign.pool import Pool
from labelwise.campaign.records import RoundRecord
from labelwise.campaign.setting import Setting, labelled
from labelwise.campaign.weights import take, take_newest
from labelwise.contracts.learner import heads_of
from labelwise.contracts.oracle import Answer, Oracle, Pick, Round
from labelwise.contracts.progress import Progress, silent
from labelwise.contracts.query import Budget
from labelwise.contracts.strategy import Needs, Strategy
from labelwise.errors import DataError, NonFiniteScore, NothingToAsk, StateError
from labelwise.rng import seed_of
from labelwise.strategies.random import Random

if TYPE_CHECKING:
    from labelwise.campaign.store import Store
    from labelwise.contracts.learner import Auxiliary
    from labelwise.contracts.source import Role


class Campaign:
    """One project or one simulated run.

    Every change is an event in the store, written before anything that can fail or take long comes next; a new
    ``Campaign`` on the same store goes on where the old one stopped, with the same picks.

    Args:
        store: the events.
        setting: what does not change.
        progress: told on long work.
    """

    def __init__(self, store: Store, setting: Setting, *, progress: Progress = silent) -> None:
        self.store = store
        self.setting = setting
        self.progress = progress
        self.fits = Fits(setting.fits)
        self.examples = PoolExamples(setting, store.pool())
        #: items that are not to be chosen now, and why; of this process alone
        self.passed_over: Mapping[str, str] = {}

    # ---- state ------------------------------------------------------------------------------------------------------

    @property
    def pool(self) -> Pool:
        """All items and what has happened to each."""
        return self.examples.pool

    def register(self, events: Sequence[Event]) -> None:
        """Appends events that add items, with what is known of them, and reads the state anew."""
        self.store.append(events)
        self.examples.pool = self.store.pool()

    def write(self, events: Sequence[Event], *, record: RoundRecord | None = None) -> None:
        """Appends events, with the record of their round, and applies them.

        Raises:
            PoolError: an event contradicts the state; nothing is written.
        """
        after = self.pool.copy()
        for event in events:
            after.apply(event)
        self.store.append(events, record=None if record is None else record.to_json())
        self.examples.pool = after

    @property
    def offer(self) -> Offer:
        """What strategies can ask for."""
        setting, pool = self.setting, self.pool
        reference, validation = (bool(len(pool.with_role(role))) for role in ("reference", "validation"))
        frozen, simulated = setting.frozen is not None, setting.truth is not None
        return Offer(setting.learner, frozen, simulated, reference, pool.has_regions, validation)

    # ---- training ---------------------------------------------------------------------------------------------------

    def fit(self, strategy: Strategy | None = None) -> Fitted:
        """Trains on all labels, unless exactly this was trained before; then the weights are loaded.

        Raises:
            DataError: there is no label.
        """
        learner, data = self.setting.learner, self.examples.data()
        seed = seed_of(self.setting.seed, "fit")
        auxiliaries = strategy.auxiliaries() if strategy is not None else ()
        init = self._warm_start() if self.setting.warm else None
        key = learner.fit_key(data, seed, init=init, auxiliaries=auxiliaries)
        if (found := self._found(key, auxiliaries)) is not None:
            return found
        report = learner.fit(data, seed, init=init, auxiliaries=auxiliaries, progress=self.progress)
        plain = learner.fit_key(data, seed, init=init) if auxiliaries else ""
        fitted = Fitted.judged(key, report, measure(self), heads_of(auxiliaries), plain)
        self.fits.keep(learner, fitted)
        return fitted

    def trained(self) -> Fitted | None:
        """The training on exactly the labels there are, its weights in use; None where there is none.

        Where there is none without extra heads, one with heads will do.
        """
        if self.fits.newest() is None:
            return None
        key = self.setting.learner.fit_key(self.examples.data(), seed_of(self.setting.seed, "fit"))
        if self.fits.place(key) is None:
            key = self.fits.with_heads(key) or key
        return self._found(key, ())

    def _found(self, key: str, auxiliaries: Sequence[Auxiliary]) -> Fitted | None:
        found = self.fits.find(key)
        with contextlib.suppress(DataError):  # weights that are damaged are trained again
            take(self.fits, self.setting.learner, key, auxiliaries)
            return None if found is None else up_to_date(found, self)
        return None

    def load_newest(self, strategy: Strategy | None = None) -> bool:
        """Takes the weights into use that were trained last; False where none were.

        Args:
            strategy: whose extra heads are wanted; None wants none.

        Raises:
            StateError: they belong to another network, or lack a head.
        """
        return take_newest(self.fits, self.setting.learner, strategy)

    def begin(self) -> None:
        """Takes the model into use as it is before its first label: what ``fit`` would start from."""
        self.setting.learner.begin(seed_of(self.setting.seed, "fit"))

    def _warm_start(self) -> str | None:
        """Weights of the round before, loaded where another process trained them; None in the first round."""
        before = [record for record in self.store.rounds() if record["round"] < self.pool.round and record["fit_key"]]
        if not before:
            return None
        key: str = before[-1]["fit_key"]
        if self.setting.learner.weights != key and self.fits.place(key) is None:
            raise StateError(
                f"the weights of round {before[-1]['round']} are gone, and training was to go on from them: "
                "start anew, or train from scratch each round (warm: false)"
            )
        take(self.fits, self.setting.learner, key)
        return key

    def evaluate(self, role: Role) -> dict[str, float]:
        """Metrics on the labelled items of a role; {} when there are none."""
        view = self.examples.of(self.pool.with_role(role), targets=True)
        return self.setting.learner.evaluate(view, progress=self.progress) if len(view) else {}

    # ---- choosing ---------------------------------------------------------------------------------------------------

    def choose(self, strategy: Strategy, budget: Budget | None, *, companions: Sequence[Strategy] = ()) -> Round:
        """What the strategy wants next; nothing is written. ``None`` as budget ranks all there are.

        Args:
            strategy: chooses.
            budget: how much.
            companions: strategies whose needs are collected in the same pass, because they ask next.

        Raises:
            UnmetNeed: the strategy needs what is not there.
            ConfigError: a budget larger than the pool.
        """
        self.offer.check([strategy])
        chooser = Chooser(self.examples, unite([strategy, *companions]), self.progress, self.passed_over)
        return chooser.run(strategy, budget)

    def acting(self, strategy: Strategy, budget: Budget | None) -> Strategy:
        """What a strategy hands over to as things stand; itself where it hands over to none."""
        return Chooser(self.examples, Needs(), self.progress).acting(strategy, budget)

    def suggest(
        self,
        strategy: Strategy,
        budget: Budget,
        *,
        fitted: Fitted | None = None,
        companions: Sequence[Strategy] = (),
        notes: tuple[str, ...] = (),
        again: Sequence[AskedAgain] = (),
    ) -> Round:
        """Chooses and writes it down: from here on these items are asked, with the labels that are asked again."""
        found = self.choose(strategy, budget, companions=companions)
        found = replace(found, notes=notes + found.notes)
        events: list[Event] = [
            Queried(pick.id, self.pool.round, pick.rank, pick.score, strategy.name, pick.predicted, pick.probability)
            for pick in found
        ]
        again = [replace(event, round=self.pool.round, rank=len(found) + rank) for rank, event in enumerate(again)]
        found = replace(found, picks=(*found.picks, *picks_again(self.setting.source, again)))
        self.write([*events, *again], record=self.describe(fitted, found))
        return found

    def describe(self, fitted: Fitted | None, asked: Round | None = None) -> RoundRecord:
        """The record of the round that is about to be asked, or of the last training when nothing more is."""
        return described(self.examples, fitted, asked)

    def pending(self) -> list[Pick]:
        """Picks that wait for an answer, in the order chosen."""
        return picks_of(self.setting.source, self.pool.asked.waiting(self.pool.pending))

    def answer(self, answers: Iterable[Answer]) -> int:
        """Writes what an oracle said, all or none; returns how many answers there were.

        Raises:
            DataError: a label that is none; nothing is written.
            PoolError: an unknown item.
        """
        events: list[Event] = []
        for answer in answers:
            self.pool.position(answer.id)
            if answer.target is None:
                events.append(Skipped(answer.id, answer.reason))
            else:
                events.append(labelled(self.setting.task, self.pool, answer))
        self.write(events)
        return len(events)

    # ---- the loop ---------------------------------------------------------------------------------------------------

    def rounds(
        self, strategy: Strategy, oracle: Oracle, budget: Budget, *, count: int, companions: Sequence[Strategy] = ()
    ) -> Iterator[RoundRecord]:
        """Fits, chooses and asks until ``count`` rounds were asked, then fits once more; yields each round's record.

        Stops early when the oracle leaves items unanswered (call again once it has answered) or nothing is left to ask.

        Args:
            strategy: chooses.
            oracle: answers.
            budget: of each round.
            count: rounds to ask.
            companions: strategies that ask of the same weights in round 0: their needs are read in the same pass.

        Raises:
            UnmetNeed: before anything is trained.
        """
        self.offer.check([strategy, *companions])
        while True:
            if len(self.pool.pending):
                self._ask(oracle, strategy)
                if len(self.pool.pending):
                    return
            fitted = self.fit(strategy) if len(self.pool.labelled) else None
            left, record = len(self.pool.candidates), None
            if self.pool.round < count and left:
                size = Budget(min(budget.amount, left), budget.unit) if budget.counts_items else budget
                record = self._next_round(strategy, size, fitted, companions if self.pool.round == 0 else ())
            if record is None:
                record = self.describe(fitted)
                self.write([], record=record)
                yield record
                return
            yield record

    def _next_round(
        self, strategy: Strategy, budget: Budget, fitted: Fitted | None, companions: Sequence[Strategy]
    ) -> RoundRecord | None:
        """Chooses; None where nothing that is left can be read.

        A simulated campaign whose training diverged goes on at random, and says so in its record.
        """
        number = self.pool.round
        try:
            self.suggest(strategy, budget, fitted=fitted, companions=companions)
        except NothingToAsk:
            return None
        except (NonFiniteScore, DataError) as error:
            diverged = fitted is not None and not math.isfinite(fitted.report.loss)
            if self.setting.truth is None or not (diverged or isinstance(error, NonFiniteScore)):
                raise
            self.suggest(Random(), budget, fitted=fitted, notes=(f"picked at random: {error}",))
        return RoundRecord.from_json(next(record for record in self.store.rounds() if record["round"] == number))

    def _ask(self, oracle: Oracle, strategy: Strategy) -> None:
        asked = Round(
            self.pool.round - 1, tuple(self.pending()), strategy.name, classes=self.setting.task.classes, open=True
        )
        self.answer(oracle.annotate(asked))
