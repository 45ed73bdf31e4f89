"""What the batches of a phase are made of, and in which order they come."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from labelwise.contracts.learner import Examples, LearnerData, Objective, Phase
from labelwise.contracts.task import Batch, Task
from labelwise.data.loader import Loaded, PreparedImages, batches, default_workers
from labelwise.errors import ConfigError, DataError
from labelwise.learners.objectives import objective_of
from labelwise.rng import torch_generator

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class ViewsBatch(Batch):
    """Several views of images without labels, view by view.

    Args:
        size: number of images.
    """

    size: int = 0


@dataclass(frozen=True)
class Items:
    """A view to train on, its prepared images, and the rows that can be read as far as that is known.

    Args:
        view: the items.
        images: reads them.
        rows: those that can be read.
        count: how many of them an epoch reads, drawn anew for each.
    """

    view: Examples
    images: PreparedImages
    rows: list[int]
    count: int


@dataclass(frozen=True)
class Batches:
    """The batches of one phase of one training.

    Args:
        task: makes batches.
        objective: makes views of images without labels; None for other losses.
        items: what they are made of; several take turns.
        size: images of a batch.
        seed: order and augmentation come from it, whatever chose the labels: runs with one seed are paired.
        stream: number of the ensemble member, and of the phase.
        accelerator: device and processes.
    """

    task: Task[Any]
    objective: Objective | None
    items: tuple[Items, ...]
    size: int
    seed: int
    stream: tuple[int, int]
    accelerator: Accelerator

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return len(self.items) * self._steps

    @property
    def _steps(self) -> int:
        return steps_of([part.count for part in self.items], self.size, self.objective is not None)

    def epoch(self, number: int) -> Iterator[Batch]:
        """All batches of an epoch, in a fresh order."""
        member, phase = self.stream
        process = self.accelerator.process_index
        rng = torch_generator(self.seed, "augment", member, phase, number, process)
        readers = []
        for which, part in enumerate(self.items):
            order = [part.rows[i] for i in self._order(part, number, which)]
            mine = [self._share(chunk) for chunk in chunks(order, self.size)]
            pin = self.accelerator.device.type == "cuda" and not part.images.in_memory
            count = 0 if part.images.in_memory or self.objective is None else len(part.rows)
            workers = default_workers(part.view.source, count)
            readers.append(batches(part.images, mine, workers=workers, pin=pin))
        for together in zip(*readers, strict=True):
            for part, loaded in zip(self.items, together, strict=True):
                if loaded.rows:
                    yield self._batch(part.view, loaded, rng)

    def _order(self, part: Items, epoch: int, which: int) -> list[int]:
        """A fresh order; the shorter of two alternating views starts over until both last equally long."""
        member, phase = self.stream
        rng = torch_generator(self.seed, "order", member, phase, epoch, which)
        steps, every = self._steps, len(part.rows)
        order: list[int] = torch.randperm(every, generator=rng).tolist()[: part.count]
        if math.ceil(part.count / self.size) == steps:
            return order
        while len(order) < steps * self.size:
            order += torch.randperm(every, generator=rng).tolist()
        return order[: steps * self.size]

    def _share(self, rows: list[int]) -> list[int]:
        world = self.accelerator.num_processes
        return rows if len(rows) < world else rows[self.accelerator.process_index :: world]

    def _batch(self, view: Examples, loaded: Loaded, rng: torch.Generator) -> Batch:
        if self.objective is not None and view.targets is None:
            return views_of(self.objective, loaded, self.task, rng, self.accelerator.device)
        targets = None if view.targets is None else [view.targets[row] for row in loaded.rows]
        batch = self.task.batch(loaded.images, targets, train=True, rng=rng)
        return batch.to(self.accelerator.device)


def views_of(
    objective: Objective, loaded: Loaded, task: Task[Any], rng: torch.Generator, device: torch.device
) -> ViewsBatch:
    """Random views of images without labels, on the device."""
    views = objective.views(loaded.images.to(device, non_blocking=True), task.input, rng)
    if views.shape[1] == 3:
        views = views.contiguous(memory_format=torch.channels_last)
    return ViewsBatch(views, size=len(loaded.rows))


def items_of(
    phase: Phase, data: LearnerData, task: Task[Any], objective: Objective | None, device: torch.device
) -> tuple[Items, ...]:
    """What the batches of a phase are made of; labelled images are read once and stay in memory where they fit.

    Raises:
        ConfigError: a phase that cannot be, or one that has nothing to train on.
        DataError: none of its images can be read.
    """
    if phase.batches != "labelled" and phase.loss == "task":
        raise ConfigError(
            f"a phase over {phase.batches} items needs a loss that does without labels: loss: package.module:name"
        )
    if objective is not None and phase.batches == "labelled":
        raise ConfigError(f"the objective {phase.loss!r} reads images without labels: batches: unlabelled")
    items = []
    for view in _examples(phase, data):
        if not len(view):
            raise ConfigError(f"a phase over {phase.batches} items has none to train on: label some, or drop the phase")
        # without labels there are many epochs over the same images
        keep = view is data.labelled or objective is not None
        images = PreparedImages(view.source, view.ids, task.input, keep=keep)
        images.keep_all()
        if objective is not None:
            images.move(device)
        rows = [row for row in range(len(view)) if row not in images.failed]
        items.append(Items(view, images, rows, _count(phase, view, data, len(rows))))
    if not all(part.rows for part in items):
        raise unreadable(items)
    return tuple(items)


def shares(phases: Sequence[Phase], data: LearnerData) -> list[tuple[float, float]]:
    """Where in the whole training each phase begins, and which part of it it is, by steps; both in [0, 1].

    Phases of an objective, which have no loss of labels, do not count: they are no part of it. Images that cannot be
    read count here, as nobody has looked at them yet.
    """
    steps = []
    for phase in phases:
        if isinstance(objective_of(phase), Objective):
            steps.append(0)
            continue
        counts = [_count(phase, view, data, len(view)) for view in _examples(phase, data)]
        per_epoch = max(1, len(counts) * steps_of(counts, phase.batch_size, False))
        steps.append(epochs_of(phase, per_epoch) * per_epoch)
    total = max(sum(steps), 1)
    return [(sum(steps[:number]) / total, steps[number] / total) for number in range(len(steps))]


def _examples(phase: Phase, data: LearnerData) -> list[Examples]:
    labelled, unlabelled = data.labelled, data.unlabelled
    return {"labelled": [labelled], "unlabelled": [unlabelled], "alternate": [labelled, unlabelled]}[phase.batches]


def _count(phase: Phase, view: Examples, data: LearnerData, readable: int) -> int:
    """How many of the images that can be read an epoch reads."""
    if view is data.labelled or phase.unlabelled == "all":
        return readable
    return min(readable, len(data.labelled) if phase.unlabelled == "as_labelled" else phase.unlabelled)


def steps_of(counts: Sequence[int], size: int, whole_only: bool) -> int:
    """Batches of an epoch; a loss that compares the images of a batch gets whole batches only."""
    whole = max(count // size for count in counts)
    return whole if whole_only and whole else max(math.ceil(count / size) for count in counts)


def epochs_of(phase: Phase, per_epoch: int) -> int:
    """How many epochs, from the bounds on steps.

    Raises:
        ConfigError: bounds that cannot be.
    """
    if phase.max_steps is not None and phase.max_steps < max(phase.min_steps, 1):
        raise ConfigError(
            f"a phase of at least {phase.min_steps} and at most {phase.max_steps} steps cannot be: raise max_steps"
        )
    epochs = max(phase.epochs, math.ceil(phase.min_steps / per_epoch))
    return epochs if phase.max_steps is None else max(1, min(epochs, phase.max_steps // per_epoch))


def chunks(order: list[int], size: int) -> list[list[int]]:
    """Batches of rows; none of a single row, of which batch norm could learn nothing, where that can be helped."""
    found = [order[i : i + size] for i in range(0, len(order), size)]
    if size > 2 and len(found) > 1 and len(found[-1]) == 1:
        found[-1].append(found[-2].pop())
    return found


def unreadable(items: Sequence[Items]) -> DataError:
    """That nothing can be trained on."""
    reason = next((reason for part in items for reason in part.images.failed.values()), "")
    return DataError(
        f"none of the {len(items[0].view)} images to train on can be read (first: {reason}): check the files"
    )
