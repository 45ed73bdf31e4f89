"""One choice: what a strategy needs is collected, what cannot be read is left out, and its selection becomes picks."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from labelwise.campaign.setting import class_counts, unreadable
from labelwise.contracts.learner import Examples
from labelwise.contracts.oracle import Pick, Round
from labelwise.contracts.progress import Progress
from labelwise.contracts.query import Budget, Query, Rows, Selection
from labelwise.contracts.signal import Probe, Signal, SignalRole, SignalTable, read_targets
from labelwise.contracts.strategy import Collected, Needs, Step, Strategy, run_steps
from labelwise.errors import NonFiniteScore, NothingToAsk, PoolError, few
from labelwise.processes import reset_peak
from labelwise.rng import generator, seed_of
from labelwise.selection.arrays import as_tensor
from labelwise.selection.progress import listening
from labelwise.signals.plain import Probs

if TYPE_CHECKING:
    from labelwise.campaign.examples import PoolExamples
    from labelwise.campaign.pool import Pool, Positions
    from labelwise.contracts.head import LinearHead
    from labelwise.contracts.task import Task

#: reasons for leaving items out that are told one by one
_REASONS = 5


class Chooser:
    """One selection from a pool as it stands.

    Args:
        examples: the pool's items, and the setting.
        first_needs: of the first steps of all strategies that ask of the same weights: they share one pass.
        progress: told on long work.
        passed_over: items that are not to be chosen, and why.
    """

    def __init__(
        self,
        examples: PoolExamples,
        first_needs: Needs,
        progress: Progress,
        passed_over: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.examples = examples
        self.setting = examples.setting
        self.pool = examples.pool
        self.progress = progress
        self.candidates = examples.pool.candidates
        self.first_needs = first_needs
        #: left out of this round: those that are passed over, and what cannot be read
        self.unreadable: dict[str, str] = dict(passed_over)
        self.frame = _Frame(0)
        self.collect_seconds = 0.0
        self.read: set[int] = set()
        self.oracle = False

    def run(self, strategy: Strategy, budget: Budget | None) -> Round:
        """What the strategy wants; None as budget ranks all candidates.

        Raises:
            ConfigError: a budget larger than the pool.
            NonFiniteScore: the model gives NaN or infinity; names items.
            NothingToAsk: no candidate can be read, or none has a prediction.
        """
        started = time.perf_counter()
        reset_peak()
        available = len(self.candidates)
        count, cost_N = self._size(budget)
        while True:
            known = len(self.unreadable)
            query = self._query(strategy, count)
            if self.unreadable and not len(query.unlabelled_M):
                raise NothingToAsk(
                    f"none of the {available:,} items that are left can be asked about: "
                    + "; ".join(_left_out(self.unreadable, available))[:200]
                )
            query = replace(query, budget=min(count, len(query.unlabelled_M)), cost_N=cost_N)
            try:
                with listening(self.progress):
                    selection = run_steps(strategy, query, self._collect)
                short = len(selection.positions_K) < query.budget and len(self.unreadable) > known
                if budget is not None:
                    selection = budget.cut(selection, cost_N, self._images(budget))
            except NonFiniteScore as error:
                raise self._not_finite(strategy, error) from error
            if not self._unreadable_picks(selection) and not short:
                break
        seconds = time.perf_counter() - started - self.collect_seconds
        picks = self._describe(selection)
        notes = selection.notes
        notes += tuple(_left_out(self.unreadable, available))
        return Round(
            number=None if budget is None else self.pool.round,
            picks=picks,
            strategy=strategy.name,
            classes=self.setting.task.classes,
            notes=notes,
            left_out=dict(self.unreadable),
            collect_seconds=self.collect_seconds,
            select_seconds=seconds,
        )

    def acting(self, strategy: Strategy, budget: Budget | None) -> Strategy:
        """What a strategy hands over to as things stand, itself mostly; no image is read and no model."""
        return strategy.acts_as(self._query(strategy, self._size(budget)[0]))

    def _size(self, budget: Budget | None) -> tuple[int, Tensor | None]:
        """How many of the candidates a budget pays for, and (N,) what each costs where it counts no items."""
        available, cost_N = len(self.candidates), self._costs(budget)
        if budget is None:
            return available, cost_N
        here, image_N = torch.from_numpy(self.candidates), self._images(budget)
        of = [None if values is None else values[here] for values in (cost_N, image_N)]
        return budget.items(available, *of), cost_N

    def _images(self, budget: Budget) -> Tensor | None:
        """(N,) number of the image of each item, where items are subjects and images are counted."""
        if budget.unit != "images" or not self.pool.has_subjects:
            return None
        numbers: dict[str, int] = {}
        return torch.tensor([numbers.setdefault(item.path, len(numbers)) for item in self.pool.items])

    def _costs(self, budget: Budget | None) -> Tensor | None:
        """(N,) expected cost of the candidates in the unit of the budget; None where items are counted."""
        if budget is None or budget.counts_items:
            return None
        where = self.candidates
        cost_M = self.setting.source.expected_cost([self.pool.ids[p] for p in where], budget.unit)
        if cost_M is None:
            return None
        cost_N = torch.zeros(len(self.pool), dtype=torch.float64)
        cost_N[torch.from_numpy(where)] = torch.from_numpy(cost_M)
        return cost_N

    def _not_finite(self, strategy: Strategy, error: NonFiniteScore) -> NonFiniteScore:
        """The same error in words that name items."""
        items = [repr(self.pool.ids[p]) for p in self.frame.not_finite()]
        if not items:
            return error
        return NonFiniteScore(
            f"strategy {strategy.name!r} cannot rank {len(items)} items, for which the model gives NaN or infinity "
            f"(first: {', '.join(items[:3])}): did the training diverge? Lower the learning rate, then fit again"
        )

    def _query(self, strategy: Strategy, budget: int) -> Query:
        pool, task = self.pool, self.setting.task
        labelled, reference = pool.labelled, pool.with_role("reference")
        free = np.array([p for p in self.candidates if pool.ids[p] not in self.unreadable], dtype=np.int64)
        known = self.examples.of(labelled, targets=True).targets or ()
        counts = class_counts(task, known)
        may_look = strategy.oracle or any(step.needs.truth for step in strategy.steps())
        truth = self.setting.truth if may_look else None
        return Query(
            labelled_L=torch.from_numpy(labelled),
            unlabelled_M=torch.from_numpy(free),
            budget=budget,
            rng=generator(self.setting.seed, "select", pool.round),
            reference_R=torch.from_numpy(reference),
            labels_L=_indices(known),
            labels_R=_indices(self.examples.of(reference, targets=True).targets or ()),
            class_counts_C=torch.tensor([counts[name] for name in task.classes], dtype=torch.int64),
            truth_N=None if truth is None else _truth(task, pool, truth),
            head=self._head(strategy),
            round=pool.round,
        )

    def _head(self, strategy: Strategy) -> LinearHead | None:
        learner = self.setting.learner
        wanted = any(step.needs.head for step in strategy.steps())
        return learner.linear_head() if wanted and learner.weights is not None else None

    def _collect(self, step: Step, query: Query) -> Collected:
        started = time.perf_counter()
        frame = self.frame = _Frame(len(self.pool))
        needs, self.oracle = step.needs, step.needs.truth
        roles: tuple[tuple[SignalRole, Tensor, frozenset[Signal]], ...] = (
            ("pool", query.unlabelled_M, needs.pool),
            ("labelled", query.labelled_L, needs.labelled),
            ("reference", query.reference_R, needs.reference),
        )
        kept = [self._collect_role(frame, role, positions, signals) for role, positions, signals in roles]
        self.collect_seconds += time.perf_counter() - started
        return Collected(frame, kept[0], kept[1], kept[2])

    def _collect_role(self, frame: _Frame, role: SignalRole, positions: Tensor, signals: frozenset[Signal]) -> Tensor:
        if not signals or not len(positions):
            return positions
        failed: dict[str, str] = {}
        # the first step of all strategies in play shares one pass over the same candidates
        united = self.first_needs.pool if role == "pool" and signals <= self.first_needs.pool else signals
        for of in ("frozen", "task"):
            wanted = frozenset(signal for signal in united if signal.of == of)
            if wanted:
                table = self._table(of, role, positions, wanted)
                failed |= table.failed
                frame.add(table, [self.pool.position(item) for item in table.ids], settled=role == "pool")
        if role == "pool":
            self.unreadable |= failed
            self.read.update(positions.tolist())
        good = [p for p in positions.tolist() if self.pool.ids[p] not in failed]
        return torch.tensor(good, dtype=torch.int64)

    def _table(self, of: str, role: SignalRole, positions: Tensor, signals: frozenset[Signal]) -> SignalTable:
        setting, progress = self.setting, self.progress
        view = self._view(positions.numpy(), role, signals)
        if of == "frozen":
            assert setting.frozen is not None, "the plan checks that frozen features exist"
            return setting.frozen.collect(view, signals, role=role, progress=progress)
        tested = any(isinstance(signal, Probe) and "test" in signal.prepared_from for signal in signals)
        data, seed = self.examples.data(test=tested), seed_of(setting.seed, "draw")
        # a simulated run never comes back to the weights of a later round: its rows would only fill the disk
        passing = setting.truth is not None and self.pool.round > 0
        if passing or not setting.learner.keeps_rows:
            return setting.learner.collect(view, signals, role=role, data=data, seed=seed, progress=progress)
        return setting.cache.table(setting.learner, view, signals, role=role, data=data, seed=seed, progress=progress)

    def _view(self, positions: Positions, role: SignalRole, signals: frozenset[Signal]) -> Examples:
        """With the targets that signals may see: those of labelled items, and hidden ones for an oracle."""
        # masks are decoded for those signals alone that look at them
        view = self.examples.of(positions, targets=role != "pool" and read_targets(signals))
        truth, task = self.setting.truth, self.setting.task
        hidden = read_targets(signals) and (self.oracle or any("loss" in signal.fields for signal in signals))
        if role == "pool" and hidden and truth is not None:
            return replace(view, targets=tuple(task.load(truth[item]) for item in view.ids))
        return view

    def _unreadable_picks(self, selection: Selection) -> bool:
        """Looks at picks that no step has read, so that nobody is asked about a broken file."""
        found = False
        for position in selection.positions_K.tolist():
            if position in self.read:
                continue
            self.read.add(position)
            item = self.pool.ids[position]
            if why := unreadable(self.setting.source, item):
                self.unreadable[item] = why
                found = True
        return found

    def _describe(self, selection: Selection) -> tuple[Pick, ...]:
        positions = selection.positions_K.numpy()
        ids = [self.pool.ids[p] for p in positions]
        scores = [None] * len(ids) if selection.scores_K is None else [float(s) for s in selection.scores_K]
        guess = self._guess(positions)
        path = self.setting.source.path
        return tuple(
            Pick(item, path(item), rank, score, *guess.get(item, (None, None)))
            for rank, (item, score) in enumerate(zip(ids, scores, strict=True))
        )

    def _guess(self, positions: Positions) -> dict[str, tuple[str, float]]:
        learner = self.setting.learner
        if learner.weights is None or not Probs().fields <= learner.provides or not len(positions):
            return {}
        table = learner.collect(self.examples.of(positions), frozenset({Probs()}))
        if not table.ids:
            return {}
        # a model that diverged predicts nothing
        rows = zip(table.ids, table[Probs()].tolist(), strict=True)
        told = {item: self.setting.task.said(probs_C) for item, probs_C in rows if all(map(math.isfinite, probs_C))}
        return {item: (words, round(value, 6)) for item, (words, value) in told.items()}


class _Frame:
    """Collected rows by position."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._parts: dict[Signal, list[tuple[Tensor, Tensor]]] = {}
        self._ragged: dict[Signal, list[tuple[Tensor, Rows]]] = {}

    def add(self, table: SignalTable, positions: list[int], *, settled: bool) -> None:
        where = torch.tensor(positions, dtype=torch.int64)
        for signal, column in table.columns.items():
            if isinstance(column, tuple):
                found = Rows(as_tensor(column[0]), as_tensor(column[1]))
                self._ragged.setdefault(signal, []).append((where, found))
                continue
            rows = as_tensor(column)
            self._parts.setdefault(signal, []).append((where, signal.settle(rows) if settled else rows))

    def not_finite(self) -> list[int]:
        """Positions with a NaN or an infinity in any row."""
        found: set[int] = set()
        for where, rows in (part for parts in self._parts.values() for part in parts):
            bad = ~torch.isfinite(rows).reshape(len(rows), -1).all(1)
            found |= set(where[bad].tolist())
        for where, ragged in (part for parts in self._ragged.values() for part in parts):
            values = ragged.values_U
            bad = ~torch.isfinite(values).reshape(len(values), -1).all(1)
            found |= set(where[ragged.item_U[bad]].tolist())
        return sorted(found)

    def matrix(self, signal: Signal) -> Tensor:
        """(N, ...) by position, without a copy where one table holds all positions in order."""
        parts = self._parts.get(signal)
        if not parts:
            raise PoolError(f"{signal!r} was declared, but there is no item to collect it for")
        if len(parts) == 1 and torch.equal(parts[0][0], torch.arange(self.size)):
            return parts[0][1]
        first = parts[0][1]
        matrix = torch.zeros((self.size, *first.shape[1:]), dtype=first.dtype)
        for where, rows in parts:
            matrix[where] = rows
        return matrix

    def ragged(self, signal: Signal) -> Rows:
        """Rows by position; none for items that it was not collected for."""
        parts = self._ragged.get(signal)
        if not parts:
            raise PoolError(f"{signal!r} was declared, but there is no item to collect it for")
        count = torch.zeros(self.size, dtype=torch.int64)
        for where, rows in parts:
            count[where] = rows.first_N.diff()
        first = torch.cat([count.new_zeros(1), count.cumsum(0)])
        values = torch.empty((int(first[-1]), *parts[0][1].values_U.shape[1:]), dtype=parts[0][1].values_U.dtype)
        for where, rows in parts:
            start = (first[where] - rows.first_N[:-1]).repeat_interleave(count[where])
            values[torch.arange(len(start)) + start] = rows.values_U
        return Rows(values, first)


def _left_out(reasons: Mapping[str, str], available: int) -> Iterator[str]:
    """One line for each reason why items are left out of this round; they are asked about again in the next."""
    items: dict[str, list[str]] = {}
    for item, why in reasons.items():
        items.setdefault(why.removeprefix(f"{item!r}: "), []).append(item)
    told = sorted(items.items(), key=lambda one: -len(one[1]))
    for why, mine in told[:_REASONS]:
        yield f"{len(mine):,} of {available:,} left out of this round ({why}): {few(mine)}"
    if more := told[_REASONS:]:
        yield f"{sum(len(mine) for _, mine in more):,} more left out of this round, for {len(more):,} other reasons"


def _indices(targets: Sequence[Any]) -> Tensor | None:
    """Class indices, where the targets of a task are such."""
    return torch.tensor(targets, dtype=torch.int64) if all(isinstance(target, int) for target in targets) else None


def _truth(task: Task[Any], pool: Pool, truth: Mapping[str, Any]) -> Tensor | None:
    return _indices([task.load(truth[item]) if item in truth else -1 for item in pool.ids])
