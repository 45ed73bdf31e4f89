"""The one inference loop: all signals of a pass over images, whatever the learner."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from labelwise.contracts.learner import Examples, LearnerData
from labelwise.contracts.passes import Passes
from labelwise.contracts.progress import Progress, silent
from labelwise.contracts.signal import (
    Draw,
    Plain,
    Prepared,
    Probe,
    ProbeContext,
    Ragged,
    Signal,
    SignalRole,
    SignalTable,
    stack_rows,
)
from labelwise.contracts.task import Batch, Outputs, Task
from labelwise.data.loader import Loaded, PreparedImages, batches, blocks, default_workers
from labelwise.errors import UnmetNeed
from labelwise.processes import several, share
from labelwise.rng import generator

#: outputs of all stochastic passes, one by one: (batch, passes, outputs of the deterministic pass) -> Outputs of each
DrawPasses = Callable[[Batch, Passes, Outputs], Iterator[Outputs]]


def logits_from(probs_BC: torch.Tensor, *, exclusive: bool) -> torch.Tensor:
    """Scores whose softmax, or sigmoid where each class is a yes or no of its own, gives these probabilities."""
    log_BC = probs_BC.clamp_min(1e-12).log()
    return log_BC if exclusive else log_BC - (1 - probs_BC).clamp_min(1e-12).log()


@dataclass(frozen=True)
class Reader:
    """How images are read when nothing is learnt: in order, prepared, on the device.

    Args:
        task: prepares batches.
        batch_size: images per step.
        workers: decoding processes; None decides by the data.
        device: where batches go.
    """

    task: Task[Any]
    batch_size: int
    workers: int | None
    device: torch.device

    def batches(
        self, view: Examples, rows: Sequence[int], stage: str, progress: Progress, *, targets: bool = False
    ) -> Iterator[tuple[Loaded, Batch]]:
        """These rows of a view, batch by batch; with their targets only where they are asked for."""
        images = PreparedImages(view.source, view.ids, self.task.input)
        workers = default_workers(view.source, len(rows)) if self.workers is None else self.workers
        order = [[rows[i] for i in block] for block in blocks(len(rows), self.batch_size)]
        done = 0
        for loaded in batches(images, order, workers=workers, pin=self.device.type == "cuda"):
            known = [view.targets[row] for row in loaded.rows] if targets and view.targets is not None else None
            yield loaded, self.task.batch(loaded.images, known, train=False).to(self.device)
            done += len(loaded.rows) + len(loaded.failed)
            progress(stage, done, len(rows))

    def with_targets(self, view: Examples | None) -> Iterator[Batch]:
        """All readable images of a view with their targets, where it has any."""
        if view is None:
            return
        images = PreparedImages(view.source, view.ids, self.task.input)
        for loaded in batches(images, blocks(len(view), self.batch_size)):
            targets = None if view.targets is None else [view.targets[row] for row in loaded.rows]
            yield self.task.batch(loaded.images, targets, train=False).to(self.device)

    def context(self, model: nn.Module, data: LearnerData, rng: np.random.Generator) -> ProbeContext:
        """What a probe may look at."""
        return ProbeContext(
            model,
            self.task,
            labelled=lambda: self.with_targets(data.labelled),
            unlabelled=lambda: self.with_targets(data.unlabelled),
            reference=lambda: self.with_targets(data.reference),
            rng=rng,
            count={name: len(getattr(data, name) or ()) for name in typing.get_args(Prepared)},
            validation=lambda: self.with_targets(data.validation),
            test=lambda: self.with_targets(data.test),
            part=lambda name: self.with_targets(_shared(getattr(data, name))),
            total=summed,
        )

    def prepared(
        self, signals: Iterable[Signal], model: nn.Module, data: LearnerData | None, seed: int
    ) -> dict[Signal, Any]:
        """What each probe looks at beforehand.

        Raises:
            UnmetNeed: a probe has nothing to prepare with.
        """
        states: dict[Signal, Any] = {}
        # one order in all processes, which wait for each other's sums: that of a set is another in each
        for signal in sorted(signals, key=lambda one: one.key):
            if isinstance(signal, Probe):
                if data is None:
                    raise UnmetNeed(f"{signal!r} is prepared from labelled or reference items, and none were given")
                states[signal] = signal.prepare(self.context(model, data, generator(seed, "probe", signal.key)))
        return states


@dataclass
class Collector:
    """Computes signals batch by batch and keeps their rows.

    Args:
        signals: what to compute.
        draws: makes stochastic passes.
        states: what each probe prepared.
        role: of the items, for probes.
    """

    signals: frozenset[Signal]
    draws: DrawPasses
    states: Mapping[Signal, Any] = field(default_factory=dict)
    role: SignalRole = "pool"
    rows: dict[Signal, list[torch.Tensor | Ragged]] = field(default_factory=dict)

    def run(
        self, model: Any, read: Iterable[tuple[Loaded, Batch]], outputs: Callable[[Batch], Outputs]
    ) -> tuple[list[int], dict[int, str]]:
        """All batches; returns the rows that were read, and why others could not be."""
        kept: list[int] = []
        failed: dict[int, str] = {}
        for loaded, batch in read:
            failed.update(loaded.failed)
            if loaded.rows:
                kept += loaded.rows
                self.add(model, batch, partial(outputs, batch))
        return kept, failed

    def probe(self, model: Any, batch: Batch) -> None:
        """One batch, for probes alone."""
        for signal in self.signals:
            if isinstance(signal, Probe):
                rows = signal.compute(self.states[signal], model, batch, self.role)
                self.rows.setdefault(signal, []).append(rows.detach())

    def add(self, model: Any, batch: Batch, run: Callable[[], Outputs]) -> None:
        """One batch; ``run`` makes its deterministic pass, which probes alone can do without."""
        self.probe(model, batch)
        if all(isinstance(signal, Probe) for signal in self.signals):
            return
        outputs = run()
        for signal in self.signals:
            if isinstance(signal, Plain):
                self.rows.setdefault(signal, []).append(signal.compute(outputs))
        for passes, folds in self._folds().items():
            states = {signal: signal.start(outputs) for signal in folds}
            for drawn in self.draws(batch, passes, outputs):
                states = {signal: signal.step(state, drawn) for signal, state in states.items()}
            for signal, state in states.items():
                self.rows.setdefault(signal, []).append(signal.finish(state))

    def _folds(self) -> dict[Passes, list[Draw]]:
        # signals that ask for the same passes share them
        folds: dict[Passes, list[Draw]] = {}
        for signal in self.signals:
            if isinstance(signal, Draw):
                folds.setdefault(signal.passes, []).append(signal)
        return folds

    def columns(self) -> dict[Signal, Any]:
        """The finished table columns."""
        return {signal: stack_rows(parts) for signal, parts in self.rows.items()}


@torch.inference_mode()
def measured(
    run: Callable[[Batch, frozenset[Any]], Outputs], reader: Reader, view: Examples, progress: Progress = silent
) -> dict[str, float]:
    """Metrics of a network on labelled items; images that cannot be read are left out.

    Args:
        run: makes the outputs of a batch.
        reader: reads the images.
        view: the items with their targets.
        progress: told after each batch.
    """
    metrics = reader.task.metrics()
    for loaded, batch in reader.batches(view, range(len(view)), "evaluating", progress):
        targets = [view.targets[row] for row in loaded.rows] if view.targets else []
        metrics.update(run(batch, frozenset()), targets)
    return metrics.compute()


def prepared_with(signal: Signal, data: LearnerData | None, seed: int) -> list[Any]:
    """What a row depends on besides weights, image and signal: the seed, and what a probe was prepared from."""
    parts: list[Any] = [seed] if isinstance(signal, Draw | Probe) else []
    for name in sorted(signal.prepared_from) if isinstance(signal, Probe) and data is not None else ():
        view: Examples | None = getattr(data, name)
        if view is not None:
            parts.append([name, list(view.ids), repr(view.targets)])
    return parts


def wanted_fields(signals: Iterable[Signal]) -> frozenset[Any]:
    """Fields that the outputs must carry for these signals."""
    fields: frozenset[Any] = frozenset()
    for signal in signals:
        fields |= signal.fields
    return fields


def _shared(view: Examples | None) -> Examples | None:
    """The items of a view that this process reads."""
    return view.take(share(len(view))) if view is not None and several() else view


def summed(found: torch.Tensor) -> torch.Tensor:
    """The sum of a tensor over all processes, the same on each."""
    if not several():
        return found
    from accelerate.utils import reduce

    total: torch.Tensor = reduce(found, reduction="sum")
    return total


def gathered(table: SignalTable, ids: Sequence[str]) -> SignalTable:
    """One table from those of all processes, the same on each, its rows in the order of ``ids``."""
    from accelerate.utils import gather_object

    parts: list[SignalTable] = gather_object([table])
    if any(isinstance(rows, tuple) for part in parts for rows in part.columns.values()):
        raise UnmetNeed("ragged signals are not gathered from several processes yet: run in one process")
    found = [item for part in parts for item in part.ids]
    rank = {item: number for number, item in enumerate(ids)}
    order = sorted(range(len(found)), key=lambda row: rank[found[row]])
    columns: dict[Signal, Any] = {}
    for signal in {signal for part in parts for signal in part.columns}:
        columns[signal] = np.concatenate([part[signal] for part in parts if part.ids])[order]
    failed = {item: reason for part in parts for item, reason in part.failed.items()}
    return SignalTable(tuple(found[row] for row in order), columns, failed)
