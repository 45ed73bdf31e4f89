"""The one inference loop: all signals of a pass over images, whatever the learner."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from labelwise.data.loader import Loaded, PreparedImages, batches, blocks, default_workers
from labelwise.errors import UnmetNeed
from labelwise.learner import LearnerData, Progress, View
from labelwise.learners.networks import Networks
from labelwise.signals.base import Draw, Plain, Probe, ProbeContext, Ragged, Signal, SignalRole, SignalTable, stack_rows
from labelwise.signals.passes import Passes
from labelwise.task import Batch, Field, Outputs, Task

#: outputs of one stochastic pass: (batch, passes, draw, outputs of the deterministic pass) -> Outputs
DrawPass = Callable[[Batch, Passes, int, Outputs], Outputs]


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
        self, view: View, rows: Sequence[int], stage: str, progress: Progress, *, labels: bool = False
    ) -> Iterator[tuple[Loaded, Batch]]:
        """These rows of a view, batch by batch; without targets, unless ``labels`` says so."""
        images = PreparedImages(view.source, view.ids, self.task.input)
        workers = default_workers(view.source, len(rows)) if self.workers is None else self.workers
        order = [[rows[i] for i in block] for block in blocks(len(rows), self.batch_size)]
        done = 0
        for loaded in batches(images, order, workers=workers, pin=self.device.type == "cuda"):
            targets = [view.targets[row] for row in loaded.rows] if labels and view.targets is not None else None
            yield loaded, self.task.batch(loaded.images, targets, train=False).to(self.device)
            done += len(loaded.rows) + len(loaded.failed)
            progress(stage, done, len(rows))

    def with_targets(self, view: View) -> Iterator[Batch]:
        """All readable images of a view with their targets, where it has any."""
        images = PreparedImages(view.source, view.ids, self.task.input)
        for loaded in batches(images, blocks(len(view), self.batch_size)):
            targets = None if view.targets is None else [view.targets[row] for row in loaded.rows]
            yield self.task.batch(loaded.images, targets, train=False).to(self.device)

    def context(self, model: nn.Module, data: LearnerData, rng: np.random.Generator) -> ProbeContext:
        """What a probe may look at."""
        return ProbeContext(
            model,
            self.task,
            labeled=lambda: self.with_targets(data.labeled),
            unlabeled=lambda: self.with_targets(data.unlabeled),
            reference=lambda: self.with_targets(data.reference),
            rng=rng,
        )


@dataclass
class Collector:
    """Computes signals batch by batch and keeps their rows.

    Args:
        signals: what to compute.
        states: what each probe prepared.
        draw: makes a stochastic pass.
        role: of the items, for probes.
    """

    signals: frozenset[Signal]
    draw: DrawPass
    states: Mapping[Signal, Any] = field(default_factory=dict)
    role: SignalRole = "pool"
    rows: dict[Signal, list[torch.Tensor | Ragged]] = field(default_factory=dict)

    def add(self, model: Any, batch: Batch, outputs: Outputs) -> None:
        """One batch, with the outputs of its deterministic pass."""
        for signal in self.signals:
            if isinstance(signal, Plain):
                self.rows.setdefault(signal, []).append(signal.compute(outputs))
            elif isinstance(signal, Probe):
                rows = signal.compute(self.states[signal], model, batch, self.role)
                self.rows.setdefault(signal, []).append(rows.detach())
        for passes, folds in self._folds().items():
            states = {signal: signal.start(outputs) for signal in folds}
            for draw in range(passes.draws):
                drawn = self.draw(batch, passes, draw, outputs)
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


def read_through(
    networks: Networks,
    reader: Reader,
    view: View,
    rows: Sequence[int],
    collector: Collector,
    want: frozenset[Field],
    progress: Progress,
) -> SignalTable:
    """The table of one pass over these rows of a view; their labels are read only where a loss is wanted."""
    kept: list[int] = []
    failed: dict[str, str] = {}
    labels = "loss" in want
    for loaded, batch in reader.batches(view, rows, "reading the pool", progress, labels=labels):
        failed.update({view.ids[row]: reason for row, reason in loaded.failed.items()})
        if loaded.rows:
            kept += loaded.rows
            outputs = networks.outputs(batch, want)
            if labels:
                outputs = outputs.with_extra({"loss": networks.losses(batch)})
            collector.add(networks.nets[0], batch, outputs)
    return SignalTable(tuple(view.ids[row] for row in kept), collector.columns(), failed)


def wanted_fields(signals: Iterable[Signal]) -> frozenset[Any]:
    """Fields that the outputs must carry for these signals."""
    fields: frozenset[Any] = frozenset()
    for signal in signals:
        fields |= signal.fields
    return fields


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
