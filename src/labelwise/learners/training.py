"""The one training loop: phases over labelled and unlabelled images, on any device, in one process or several."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from labelwise.data.loader import Loaded, PreparedImages, batches
from labelwise.errors import ConfigError, DataError
from labelwise.learner import Auxiliary, LearnerData, Phase, Progress, View, silent
from labelwise.models.taps import Taps, pooled
from labelwise.registry import import_object
from labelwise.rng import seed_of, torch_generator
from labelwise.task import Batch, Losses, Task, image_losses

if TYPE_CHECKING:
    from accelerate import Accelerator


class TrainingStep(nn.Module):
    """Model, task and auxiliaries as one module: ``forward(batch)`` gives the losses.

    Everything goes through this forward, so that data parallel, forward-mode derivatives and compilation see one
    module.

    Args:
        model: what is trained.
        task: gives the loss.
        auxiliaries: extra heads; each joins the losses under its name, already weighted.
        heads: the module of each auxiliary, by name.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task[Any],
        auxiliaries: Sequence[Auxiliary] = (),
        heads: nn.ModuleDict | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.heads = heads if heads is not None else nn.ModuleDict()
        self.task = task
        self.auxiliaries = tuple(auxiliaries)
        self.loss: Callable[[nn.Module, Task[Any], Batch], Losses] = _task_loss
        self._taps = Taps(model, sorted({path for a in self.auxiliaries for path in a.taps}))

    def forward(self, batch: Batch, progress: float = 0.0) -> dict[str, tuple[Tensor, Tensor]]:
        """Named losses of one batch, each (sum_B, norm_B)."""
        if not self.auxiliaries or batch.targets is None:
            return dict(self.loss(self.model, self.task, batch))
        with self._taps.capture() as seen:
            losses = dict(self.loss(self.model, self.task, batch))
        loss_B = image_losses(losses)
        for auxiliary in self.auxiliaries:
            taps, shown_B = {path: seen[path] for path in auxiliary.taps}, loss_B
            if auxiliary.detach(progress):
                taps, shown_B = {path: tap.detach() for path, tap in taps.items()}, loss_B.detach()
            extra = auxiliary.weight(progress) * auxiliary.loss(self.heads[auxiliary.name], taps, shown_B, progress)
            losses[auxiliary.name] = (extra.expand(1), extra.new_ones(1))
        return losses


def _task_loss(model: nn.Module, task: Task[Any], batch: Batch) -> Losses:
    return task.loss(model, batch)


def build_heads(model: nn.Module, auxiliaries: Sequence[Auxiliary], example: Tensor) -> nn.ModuleDict:
    """A head for each auxiliary, sized by one forward pass."""
    heads = nn.ModuleDict()
    for auxiliary in auxiliaries:
        model.eval()
        with torch.inference_mode(), Taps(model, auxiliary.taps).capture() as seen:
            model(example)
        heads[auxiliary.name] = auxiliary.build({path: pooled(tap).shape[1] for path, tap in seen.items()})
    return heads


def make_accelerator(precision: str) -> Accelerator:
    """Device, processes and mixed precision."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != precision:
        AcceleratorState._reset_state()
    # started by torchrun on a machine without a GPU: unless told, accelerate takes each process for the only one
    on_cpu = "LOCAL_RANK" in os.environ and not torch.accelerator.is_available()
    return Accelerator(mixed_precision=precision, cpu=on_cpu)


@contextmanager
def seeded(seed: int, *names: str | int) -> Iterator[None]:
    """Global torch randomness (initial weights, training dropout) from a named stream; put back afterwards."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed_of(seed, *names))
        yield


@dataclass(frozen=True)
class _Items:
    """A view to train on, its prepared images, and the rows that can be read as far as that is known."""

    view: View
    images: PreparedImages
    rows: list[int]


@dataclass
class Training:
    """One run through a list of phases.

    Args:
        step: what is trained.
        phases: what happens, in order.
        data: labelled and unlabelled views.
        accelerator: device, precision and processes.
        seed: order and augmentation come from it, whatever chose the labels: runs with one seed are paired.
        member: number of the ensemble member.
        progress: told after each epoch.
    """

    step: TrainingStep
    phases: Sequence[Phase]
    data: LearnerData
    accelerator: Accelerator
    seed: int
    member: int = 0
    progress: Progress = silent
    steps: int = 0
    skipped: dict[str, str] = field(default_factory=dict)

    def run(self) -> float:
        """Trains; returns the mean loss of the last epoch, NaN when it diverged.

        Raises:
            ConfigError: a phase that cannot be.
            DataError: none of its images can be read.
        """
        loss = math.nan
        learnt = [parameter.requires_grad for parameter in self.step.parameters()]
        for number, phase in enumerate(self.phases):
            with seeded(self.seed, "train", self.member, number):
                loss = self._run_phase(number, phase)
        # what a phase left frozen is no property of the weights: loaded ones would not have it
        for parameter, flag in zip(self.step.parameters(), learnt, strict=True):
            parameter.requires_grad_(flag)
        return loss

    def _run_phase(self, number: int, phase: Phase) -> float:
        items = self._items(phase)
        size = phase.batch_size
        per_epoch = len(items) * max(math.ceil(len(part.rows) / size) for part in items)
        epochs = max(phase.epochs, math.ceil(phase.min_steps / per_epoch))
        self._set_trainable(phase)
        self.step.loss = _task_loss if phase.loss == "task" else import_object(phase.loss)
        optimiser = _optimiser(phase, [p for p in self.step.parameters() if p.requires_grad])
        total = epochs * per_epoch
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda at: _rate(phase, at, total))
        step, optimiser = self.accelerator.prepare(self.step, optimiser)
        step.train()
        rng = torch_generator(self.seed, "augment", self.member, number, self.accelerator.process_index)
        mean = math.nan
        for epoch in range(epochs):
            losses = [
                self._learn(step, optimiser, schedule, batch, (epoch * per_epoch + done) / total)
                for done, batch in enumerate(self._epoch(items, (number, epoch), size, rng))
            ]
            if not losses:
                raise _unreadable(items)
            mean = float(self.accelerator.reduce(torch.stack(losses).mean(), reduction="mean"))
            self.progress("training", epoch + 1, epochs)
        for part in items:
            self.skipped.update({part.view.ids[row]: reason for row, reason in part.images.failed.items()})
        return mean

    def _items(self, phase: Phase) -> list[_Items]:
        """What the batches of a phase are made of; labelled images are read once and stay in memory where they fit."""
        if phase.batches != "labeled" and phase.loss == "task":
            raise ConfigError(
                f"a phase over {phase.batches} items needs a loss that does without labels: loss: package.module:name"
            )
        data = self.data
        views = {"labeled": [data.labeled], "unlabeled": [data.unlabeled], "alternate": [data.labeled, data.unlabeled]}
        items = []
        for view in views[phase.batches]:
            if not len(view):
                raise ConfigError(
                    f"a phase over {phase.batches} items has none to train on: label some, or drop the phase"
                )
            images = PreparedImages(view.source, view.ids, self.step.task.input, keep=view is data.labeled)
            images.keep_all()
            items.append(_Items(view, images, [row for row in range(len(view)) if row not in images.failed]))
        if not all(part.rows for part in items):
            raise _unreadable(items)
        return items

    def _set_trainable(self, phase: Phase) -> None:
        for name, parameter in self.step.model.named_parameters():
            parameter.requires_grad_(not phase.trainable or name.startswith(phase.trainable))
        if not any(p.requires_grad for p in self.step.model.parameters()):
            names = sorted({name.split(".")[0] for name, _ in self.step.model.named_parameters()})
            raise ConfigError(f"no parameter starts with {phase.trainable}: the model's parts are {', '.join(names)}")

    def _epoch(self, items: list[_Items], stream: tuple[int, int], size: int, rng: torch.Generator) -> Iterator[Batch]:
        longest = max(math.ceil(len(part.rows) / size) for part in items)
        readers = []
        for which, part in enumerate(items):
            order = [part.rows[i] for i in self._order(len(part.rows), (*stream, which), longest, size)]
            mine = [self._share(chunk) for chunk in _chunks(order, size)]
            readers.append(batches(part.images, mine, pin=self.accelerator.device.type == "cuda"))
        for together in zip(*readers, strict=True):
            for part, loaded in zip(items, together, strict=True):
                if loaded.rows:
                    yield self._batch(part.view, loaded, rng)

    def _order(self, count: int, stream: tuple[int, ...], steps: int, size: int) -> list[int]:
        """A fresh order; the shorter of two alternating views starts over until both last equally long."""
        rng = torch_generator(self.seed, "order", self.member, *stream)
        order: list[int] = torch.randperm(count, generator=rng).tolist()
        if math.ceil(count / size) == steps:
            return order
        while len(order) < steps * size:
            order += torch.randperm(count, generator=rng).tolist()
        return order[: steps * size]

    def _share(self, rows: list[int]) -> list[int]:
        world = self.accelerator.num_processes
        return rows if len(rows) < world else rows[self.accelerator.process_index :: world]

    def _batch(self, view: View, loaded: Loaded, rng: torch.Generator) -> Batch:
        targets = None if view.targets is None else [view.targets[row] for row in loaded.rows]
        batch = self.step.task.batch(loaded.images, targets, train=True, rng=rng)
        return batch.to(self.accelerator.device)

    def _learn(self, step: nn.Module, optimiser: Any, schedule: Any, batch: Batch, progress: float) -> Tensor:
        with self.accelerator.autocast():
            losses = step(batch, progress)
        loss = self._total(losses)
        self.accelerator.backward(loss)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        schedule.step()
        self.steps += 1
        return loss.detach()

    def _total(self, losses: Mapping[str, tuple[Tensor, Tensor]]) -> Tensor:
        """As ``batch_loss``, over all processes; data parallel averages gradients, hence the world size."""
        world = self.accelerator.num_processes
        parts = []
        for sums, norms in losses.values():
            norm = norms.detach().sum()
            if world > 1:
                norm = self.accelerator.reduce(norm, reduction="sum")
            parts.append(world * sums.sum() / norm.clamp_min(1))
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum()


def _chunks(order: list[int], size: int) -> list[list[int]]:
    """Batches of rows; none of a single row, of which batch norm could learn nothing, where that can be helped."""
    chunks = [order[i : i + size] for i in range(0, len(order), size)]
    if size > 2 and len(chunks) > 1 and len(chunks[-1]) == 1:
        chunks[-1].append(chunks[-2].pop())
    return chunks


def _unreadable(items: list[_Items]) -> DataError:
    reason = next((reason for part in items for reason in part.images.failed.values()), "")
    return DataError(
        f"none of the {len(items[0].view)} images to train on can be read (first: {reason}): check the files"
    )


def _optimiser(phase: Phase, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    if phase.optimiser == "sgd":
        return torch.optim.SGD(
            parameters, lr=phase.lr, momentum=0.9, nesterov=True, weight_decay=phase.weight_decay, fused=True
        )
    return torch.optim.AdamW(parameters, lr=phase.lr, weight_decay=phase.weight_decay, fused=True)


def _rate(phase: Phase, at: int, total: int) -> float:
    done = min(at / max(total, 1), 1.0)
    if phase.schedule == "constant":
        return 1.0
    if phase.schedule == "onecycle":
        return done / 0.1 + 1e-3 if done < 0.1 else 0.5 * (1 + math.cos(math.pi * (done - 0.1) / 0.9))
    return 0.5 * (1 + math.cos(math.pi * done))
