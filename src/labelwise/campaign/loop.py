"""The loop: fit, evaluate, choose, ask, take answers back; with people or simulated, resumed wherever it stopped."""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from labelwise.campaign.plan import Offer, unite
from labelwise.campaign.pool import Event, Labelled, Pool, Positions, Queried, Skipped
from labelwise.campaign.records import RoundRecord
from labelwise.contracts.head import LinearHead
from labelwise.contracts.learner import Examples, FitReport, LearnerData, Progress, silent
from labelwise.contracts.oracle import Answer, Oracle, Pick, Request
from labelwise.contracts.query import Budget, Query, Rows, Selection
from labelwise.contracts.signal import Signal, SignalRole, SignalTable, read_targets
from labelwise.contracts.strategy import Collected, Needs, Step, Strategy, run_steps
from labelwise.errors import DataError, NonFiniteScore, PoolError, StateError
from labelwise.rng import generator, seed_of
from labelwise.selection.arrays import as_tensor
from labelwise.selection.progress import listening
from labelwise.signals.plain import Probs
from labelwise.strategies.random import Random

if TYPE_CHECKING:
    from labelwise.campaign.cache import Producer, SignalCache
    from labelwise.campaign.store import Store
    from labelwise.contracts.learner import Auxiliary, Learner
    from labelwise.contracts.source import Role, Source
    from labelwise.contracts.task import Task


@dataclass(frozen=True)
class Setting:
    """What stays the same through a campaign.

    Args:
        source: the images.
        task: the kind of label.
        learner: what is trained.
        cache: keeps signal rows.
        fits: folder of finished trainings, by what they were trained from; None keeps none.
        frozen: feature source beside the learner.
        truth: hidden labels, in simulated campaigns only.
        seed: of every random choice.
        warm: train on from the last weights instead of from scratch.
    """

    source: Source
    task: Task[Any]
    learner: Learner
    cache: SignalCache
    fits: Path | None = None
    frozen: Producer | None = None
    truth: Mapping[str, Any] | None = None
    seed: int = 0
    warm: bool = False


@dataclass(frozen=True)
class Fitted:
    """A training, done now or found.

    Args:
        key: digest of what it was trained from.
        report: how it went.
        metrics: on the test items; {} when there are none.
    """

    key: str
    report: FitReport
    metrics: Mapping[str, float]


@dataclass
class Suggestion:
    """What a strategy chose, and what it took."""

    picks: tuple[Pick, ...]
    notes: tuple[str, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    collect_seconds: float = 0.0
    select_seconds: float = 0.0


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
        self.pool: Pool = store.pool()

    # ---- state ------------------------------------------------------------------------------------------------------

    def write(self, events: Sequence[Event], *, record: RoundRecord | None = None) -> None:
        """Appends events, with the record of their round, and applies them.

        Raises:
            PoolError: an event contradicts the state; nothing is written.
        """
        after = self.pool.copy()
        for event in events:
            after.apply(event)
        self.store.append(events, record=None if record is None else record.to_json())
        self.pool = after

    def view(self, positions: Positions, *, targets: bool = False) -> Examples:
        """Items by position, with their loaded targets on demand."""
        ids = tuple(self.pool.ids[p] for p in positions)
        loaded = tuple(self.setting.task.load(self.pool.target(p)) for p in positions) if targets else None
        return Examples(self.setting.source, ids, loaded)

    def images(self, positions: Positions, *, targets: bool = False) -> Examples:
        """The images that items lie in, as a training reads them: the labels of an image's regions become one."""
        if not self.pool.has_regions:
            return self.view(positions, targets=targets)
        of_image: dict[str, list[Any]] = {}
        for p in positions:
            parts = of_image.setdefault(self.pool.items[p].path, [])
            if targets:
                parts.append(self.setting.task.load(self.pool.target(p)))
        merged = tuple(self.setting.task.merge(parts) for parts in of_image.values()) if targets else None
        return Examples(self.setting.source, tuple(of_image), merged)

    def data(self) -> LearnerData:
        """What a learner may look at now."""
        judged_on = self.setting.learner.judged_on
        return LearnerData(
            labelled=self.images(self.pool.labelled, targets=True),
            unlabelled=self.images(self.pool.unlabelled),
            validation=self.view(self.pool.with_role("validation"), targets=True),
            reference=self.view(self.pool.with_role("reference"), targets=True),
            judge=None if judged_on is None else self.view(self.pool.with_role(judged_on), targets=True),
        )

    @property
    def offer(self) -> Offer:
        """What strategies can ask for."""
        setting, reference = self.setting, bool(len(self.pool.with_role("reference")))
        return Offer(
            setting.learner, setting.frozen is not None, setting.truth is not None, reference, self.pool.has_regions
        )

    # ---- training ---------------------------------------------------------------------------------------------------

    def fit(self, strategy: Strategy | None = None) -> Fitted:
        """Trains on all labels, unless exactly this was trained before; then the weights are loaded.

        Raises:
            DataError: there is no label.
        """
        learner, data = self.setting.learner, self.data()
        seed = seed_of(self.setting.seed, "fit")
        auxiliaries = strategy.auxiliaries() if strategy is not None else ()
        init = self._warm_start(auxiliaries) if self.setting.warm else None
        key = learner.fit_key(data, seed, init=init, auxiliaries=auxiliaries)
        folder = None if self.setting.fits is None else self.setting.fits / key
        if folder is not None and (folder / "fit.json").is_file():
            if learner.weights != key:
                learner.load(folder, key, auxiliaries=auxiliaries)
            found = json.loads((folder / "fit.json").read_text())
            return Fitted(key, FitReport(**found["report"]), found["metrics"])
        report = learner.fit(data, seed, init=init, auxiliaries=auxiliaries, progress=self.progress)
        metrics = self.evaluate("test")
        if folder is not None:
            _keep(folder, learner, report, metrics)
        return Fitted(key, report, metrics)

    def begin(self) -> None:
        """Takes the model into use as it is before its first label: what ``fit`` would start from."""
        self.setting.learner.begin(seed_of(self.setting.seed, "fit"))

    def _warm_start(self, auxiliaries: Sequence[Auxiliary]) -> str | None:
        """Weights of the round before, loaded where another process trained them; None in the first round."""
        learner, fits = self.setting.learner, self.setting.fits
        before = [record for record in self.store.rounds() if record["round"] < self.pool.round and record["fit_key"]]
        if not before:
            return None
        key: str = before[-1]["fit_key"]
        if learner.weights != key:
            if fits is None or not (fits / key / "fit.json").is_file():
                raise StateError(
                    f"the weights of round {before[-1]['round']} are gone, and training was to go on from them: "
                    "start anew, or train from scratch each round (warm: false)"
                )
            learner.load(fits / key, key, auxiliaries=auxiliaries)
        return key

    def evaluate(self, role: Role) -> dict[str, float]:
        """Metrics on the labelled items of a role; {} when there are none."""
        view = self.view(self.pool.with_role(role), targets=True)
        return self.setting.learner.evaluate(view, progress=self.progress) if len(view) else {}

    # ---- choosing ---------------------------------------------------------------------------------------------------

    def choose(self, strategy: Strategy, budget: Budget | None, *, companions: Sequence[Strategy] = ()) -> Suggestion:
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
        chooser = _Chooser(self, unite([strategy, *companions]))
        return chooser.run(strategy, budget)

    def suggest(
        self,
        strategy: Strategy,
        budget: Budget,
        *,
        fitted: Fitted | None = None,
        companions: Sequence[Strategy] = (),
        notes: tuple[str, ...] = (),
    ) -> Suggestion:
        """Chooses and writes it down: from here on these items are asked, whatever happens."""
        suggestion = self.choose(strategy, budget, companions=companions)
        suggestion.notes = notes + suggestion.notes
        number = self.pool.round
        events: list[Event] = [Skipped(item, f"unreadable: {why}") for item, why in suggestion.unreadable.items()]
        events += [
            Queried(pick.id, number, pick.rank, pick.score, strategy.name, pick.predicted, pick.probability)
            for pick in suggestion.picks
        ]
        self.write(events, record=self.describe(fitted, suggestion))
        return suggestion

    def describe(self, fitted: Fitted | None, suggestion: Suggestion | None = None) -> RoundRecord:
        """The record of the round that is about to be asked, or of the last training when nothing more is."""
        picks = suggestion.picks if suggestion is not None else ()
        labels = [self.pool.target(p) for p in self.pool.labelled]
        scores = [pick.score for pick in picks if pick.score is not None]
        return RoundRecord(
            round=self.pool.round,
            labels=len(labels),
            metrics=dict(fitted.metrics) if fitted is not None else {},
            cost=self.pool.cost(),
            class_counts=class_counts(self.setting.task, labels),
            picked=[pick.id for pick in picks],
            scores=scores if scores else None,
            notes=list(suggestion.notes) if suggestion is not None else [],
            fit_seconds=fitted.report.seconds if fitted is not None else math.nan,
            collect_seconds=suggestion.collect_seconds if suggestion is not None else math.nan,
            select_seconds=suggestion.select_seconds if suggestion is not None else math.nan,
            peak_mb=peak_mb(),
            train_loss=fitted.report.loss if fitted is not None else math.nan,
            fit_key=fitted.key if fitted is not None else "",
        )

    def pending(self) -> list[Pick]:
        """Picks that wait for an answer, in the order chosen."""
        waiting = {self.pool.ids[p] for p in self.pool.pending}
        return [self._pick(query) for query in self.pool.queries() if query.id in waiting]

    def _pick(self, query: Queried) -> Pick:
        path = self.setting.source.path(query.id)
        return Pick(query.id, path, query.rank, query.score, query.predicted, query.probability)

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
            left = len(self.pool.candidates)
            first = self.pool.round == 0
            if self.pool.round >= count or not left:
                record = self.describe(fitted)
                self.write([], record=record)
                yield record
                return
            size = Budget(min(budget.amount, left), budget.unit) if budget.counts_items else budget
            yield self._next_round(strategy, size, fitted, companions if first else ())

    def _next_round(
        self, strategy: Strategy, budget: Budget, fitted: Fitted | None, companions: Sequence[Strategy]
    ) -> RoundRecord:
        """Chooses; a simulated campaign whose training diverged goes on at random, and says so in its record."""
        number = self.pool.round
        try:
            self.suggest(strategy, budget, fitted=fitted, companions=companions)
        except (NonFiniteScore, DataError) as error:
            diverged = fitted is not None and not math.isfinite(fitted.report.loss)
            if self.setting.truth is None or not (diverged or isinstance(error, NonFiniteScore)):
                raise
            self.suggest(Random(), budget, fitted=fitted, notes=(f"picked at random: {error}",))
        return RoundRecord.from_json(next(record for record in self.store.rounds() if record["round"] == number))

    def _ask(self, oracle: Oracle, strategy: Strategy) -> None:
        request = Request(self.pool.round - 1, tuple(self.pending()), self.setting.task.classes, strategy.name)
        self.answer(oracle.annotate(request))


def labelled(task: Task[Any], pool: Pool, answer: Answer) -> Labelled:
    """An answer as the event that keeps it, with what it cost.

    Raises:
        DataError: the label is none.
        PoolError: an unknown item.
    """
    target = task.load(answer.target)
    cost = task.cost(target)
    if answer.id in pool and pool.items[pool.position(answer.id)].region is not None:
        # a region is no image, and is paid for as one region
        cost = {"regions": 1.0} | {unit: value for unit, value in cost.items() if unit != "images"}
    # what the oracle says of the cost goes before what can be counted
    return Labelled(answer.id, task.dump(target), {**cost, **answer.cost})


def _keep(folder: Path, learner: Learner, report: FitReport, metrics: Mapping[str, float]) -> None:
    try:
        learner.save(folder)
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f"fit.{os.getpid()}.tmp"
        draft.write_text(json.dumps({"report": asdict(report), "metrics": dict(metrics)}))
        draft.replace(folder / "fit.json")
    except (OSError, SafetensorError) as error:
        raise StateError(
            f"cannot keep the weights in {folder}: {error}. Nothing was lost but this training: check that the "
            "folder is writable and the disk has room, then run the command again"
        ) from error


def prune_fits(folder: Path, keep: set[str]) -> None:
    """Deletes trainings that nobody needs any more; they can be done again."""
    if folder.is_dir():
        for entry in folder.iterdir():
            if entry.name not in keep:
                shutil.rmtree(entry, ignore_errors=True)


def reset_peak() -> None:
    """Starts a new measurement of the highest memory, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_mb() -> float:
    """Highest memory of this process since ``reset_peak``, in MiB, a GPU's included."""
    try:
        status = Path("/proc/self/status").read_text()
        host = next(float(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        host = used / (1 << 20) if sys.platform == "darwin" else used / (1 << 10)
    return host + (torch.cuda.max_memory_allocated() / (1 << 20) if torch.cuda.is_available() else 0.0)


class _Chooser:
    """One selection: collects what steps need, leaves out unreadable images, runs the strategy, describes the picks."""

    def __init__(self, campaign: Campaign, first_needs: Needs) -> None:
        self.campaign = campaign
        self.setting = campaign.setting
        self.pool = campaign.pool
        self.candidates = campaign.pool.candidates
        self.first_needs = first_needs
        self.unreadable: dict[str, str] = {}
        self.frame = _Frame(0)
        self.collect_seconds = 0.0
        self.read: set[int] = set()
        self.oracle = False

    def run(self, strategy: Strategy, budget: Budget | None) -> Suggestion:
        started = time.perf_counter()
        reset_peak()
        available = len(self.candidates)
        cost_N = self._costs(budget)
        count = available
        if budget is not None:
            count = budget.items(available, None if cost_N is None else cost_N[torch.from_numpy(self.candidates)])
        while True:
            known = len(self.unreadable)
            query = self._query(strategy, count)
            query = replace(query, budget=min(count, len(query.unlabelled_M)), cost_N=cost_N)
            try:
                with listening(self.campaign.progress):
                    selection = run_steps(strategy, query, self._collect)
                short = len(selection.positions_K) < query.budget and len(self.unreadable) > known
                if budget is not None:
                    selection = budget.cut(selection, cost_N)
            except NonFiniteScore as error:
                raise self._not_finite(strategy, error) from error
            if not self._unreadable_picks(selection) and not short:
                break
        seconds = time.perf_counter() - started - self.collect_seconds
        picks = self._describe(selection)
        notes = selection.notes
        if self.unreadable:
            notes += (f"{len(self.unreadable)} images could not be read and are left out",)
        return Suggestion(picks, notes, dict(self.unreadable), self.collect_seconds, seconds)

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
        labels_L = _labels(task, pool, labelled)
        counts = class_counts(task, [pool.target(p) for p in labelled])
        may_look = strategy.oracle or any(step.needs.truth for step in strategy.steps())
        truth = self.setting.truth if may_look else None
        return Query(
            labelled_L=torch.from_numpy(labelled),
            unlabelled_M=torch.from_numpy(free),
            budget=budget,
            rng=generator(self.setting.seed, "select", pool.round),
            reference_R=torch.from_numpy(reference),
            labels_L=labels_L,
            labels_R=_labels(task, pool, reference),
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
        setting, progress = self.setting, self.campaign.progress
        view = self._view(positions.numpy(), role, signals)
        if of == "frozen":
            assert setting.frozen is not None, "the plan checks that frozen features exist"
            return setting.frozen.collect(view, signals, role=role, progress=progress)
        data, seed = self.campaign.data(), seed_of(setting.seed, "draw")
        # a simulated run never comes back to the weights of a later round: its rows would only fill the disk
        passing = setting.truth is not None and self.pool.round > 0
        if passing or not setting.learner.keeps_rows:
            return setting.learner.collect(view, signals, role=role, data=data, seed=seed, progress=progress)
        return setting.cache.table(setting.learner, view, signals, role=role, data=data, seed=seed, progress=progress)

    def _view(self, positions: Positions, role: SignalRole, signals: frozenset[Signal]) -> Examples:
        """With the targets that signals may see: those of labelled items, and hidden ones for an oracle."""
        # masks are decoded for those signals alone that look at them
        view = self.campaign.view(positions, targets=role != "pool" and read_targets(signals))
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
        table = learner.collect(self.campaign.view(positions), frozenset({Probs()}))
        if not table.ids:
            return {}
        best_K = as_tensor(table[Probs()]).max(1)
        names = self.setting.task.classes
        found = zip(table.ids, best_K.indices.tolist(), best_K.values.tolist(), strict=True)
        # a model that diverged predicts nothing
        return {item: (names[index], round(value, 6)) for item, index, value in found if math.isfinite(value)}


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


def class_counts(task: Task[Any], labels: Iterable[Any]) -> dict[str, int]:
    """How many images, or objects, of each class some raw labels name."""
    found = Counter(number for label in labels for number in task.objects(task.load(label)))
    return {name: found[number] for number, name in enumerate(task.classes)}


def unreadable(source: Source, item: str) -> str:
    """Why an image cannot be read, in one line; "" when it can."""
    try:
        source.load(item)
    except DataError as error:
        return str(error)
    return ""


def _labels(task: Task[Any], pool: Pool, positions: Positions) -> Tensor | None:
    loaded = [task.load(pool.target(p)) for p in positions]
    return torch.tensor(loaded, dtype=torch.int64) if all(isinstance(label, int) for label in loaded) else None


def _truth(task: Task[Any], pool: Pool, truth: Mapping[str, Any]) -> Tensor | None:
    loaded = [task.load(truth[item]) if item in truth else -1 for item in pool.ids]
    return torch.tensor(loaded, dtype=torch.int64) if all(isinstance(label, int) for label in loaded) else None
