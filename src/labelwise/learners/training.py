"""The one training loop: phases over labelled and unlabelled images, on any device, in one process or several."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from labelwise.contracts.learner import Auxiliary, Examples, LearnerData, Objective, Phase
from labelwise.contracts.progress import Progress, silent
from labelwise.contracts.task import Batch, Losses, Task, batch_loss, image_losses
from labelwise.data.loader import Loaded, PreparedImages, batches, default_workers
from labelwise.errors import ConfigError, DataError
from labelwise.learners.averaged import Averaged
from labelwise.learners.best import Judge
from labelwise.learners.checkpoints import Checkpoint
from labelwise.learners.objectives import objective_of
from labelwise.learners.what_learns import check_learning, choose, in_training_mode, no_such_part
from labelwise.models.taps import Taps, last_linear, pooled, widths
from labelwise.processes import on_cpu
from labelwise.rng import seed_of, torch_generator

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class ViewsBatch(Batch):
    """Several views of images without labels, view by view.

    Args:
        size: number of images.
    """

    size: int = 0


class TrainingStep(nn.Module):
    """Model, task and auxiliaries as one module: ``forward(batch)`` gives the losses.

    Everything goes through this forward, so that data parallel, forward-mode derivatives and compilation see one
    module.

    Args:
        model: what is trained.
        task: gives the loss.
        auxiliaries: extra heads; each joins the losses under its name, already weighted.
        heads: the module of each auxiliary, by name.
        embedding: what the head of an objective reads; None: the input of the last linear layer.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task[Any],
        auxiliaries: Sequence[Auxiliary] = (),
        heads: nn.ModuleDict | None = None,
        *,
        embedding: str | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.heads = heads if heads is not None else nn.ModuleDict()
        self.task = task
        self.auxiliaries = tuple(auxiliaries)
        self.embedding = embedding
        self.loss: Callable[[nn.Module, Task[Any], Batch], Losses] = _task_loss
        self.objective: Objective | None = None
        self.projector: nn.Module = nn.Identity()
        self._taps = Taps(model, sorted({path for a in self.auxiliaries for path in a.taps}))

    def forward(self, batch: Batch, progress: float = 0.0) -> dict[str, tuple[Tensor, Tensor]]:
        """Named losses of one batch, each (sum_B, norm_B)."""
        if self.objective is not None and isinstance(batch, ViewsBatch):
            with Taps(self.model, [self.read]).capture() as seen:
                self.model(batch.images)
            return dict(self.objective.loss(self.projector, pooled(seen[self.read]), batch.size))
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

    def take(self, phase: Phase, example: Tensor) -> None:
        """Sets what a phase is trained on; the head of an objective is made anew."""
        found = objective_of(phase)
        self.objective = found if isinstance(found, Objective) else None
        self.loss = _task_loss if found is None or isinstance(found, Objective) else found
        self.projector = nn.Identity()
        if self.objective is not None:
            width = widths(self.model, [self.read], example)[self.read]
            self.projector = self.objective.build(width).to(example.device)

    @property
    def read(self) -> str:
        """Path of the embedding."""
        return self.embedding or f"{last_linear(self.model)}:input"

    def unread(self, example: Tensor) -> list[nn.Parameter]:
        """Parameters of the model that do not reach the embedding: those of its last layer, mostly."""
        mode = self.model.training
        self.model.eval()
        parameters = list(self.model.parameters())
        with Taps(self.model, [self.read]).capture() as seen:
            self.model(example)
        self.model.train(mode)
        reached = torch.autograd.grad(pooled(seen[self.read]).sum(), parameters, allow_unused=True)
        return [parameter for parameter, gradient in zip(parameters, reached, strict=True) if gradient is None]


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
    return Accelerator(mixed_precision=precision, cpu=on_cpu())


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

    view: Examples
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
        progress: told after each epoch, in phases without labels after each step.
        checkpoint: where it is kept while it runs; a killed one goes on from there.
        judge: keeps the weights of the best epoch of the last phase; None keeps the last.
        held_out: loss of the last phase on the validation images, where that is a phase without labels.
        losses: mean loss of each epoch of the last phase.
    """

    step: TrainingStep
    phases: Sequence[Phase]
    data: LearnerData
    accelerator: Accelerator
    seed: int
    member: int = 0
    progress: Progress = silent
    checkpoint: Checkpoint | None = None
    judge: Judge | None = None
    steps: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    held_out: float | None = None
    losses: list[float] = field(default_factory=list)
    _learns: dict[str, bool] = field(default_factory=dict, init=False, repr=False)

    def run(self) -> float:
        """Trains; returns the mean loss of the last epoch, NaN when it diverged.

        Raises:
            ConfigError: a phase that cannot be.
            DataError: none of its images can be read.
        """
        loss = math.nan
        # what the network itself froze
        self._learns = {name: parameter.requires_grad for name, parameter in self.step.named_parameters()}
        kept = self.checkpoint.read() if self.checkpoint is not None else None
        for number, phase in enumerate(self.phases):
            if kept is None or number >= kept["phase"]:
                loss = self._run_phase(number, phase, kept)
                kept = None
        self.step.objective, self.step.projector = None, nn.Identity()
        if self.judge is not None:
            self.judge.restore(self.step.model)
        # what a phase left frozen is no property of the weights: loaded ones would not have it
        for name, parameter in self.step.named_parameters():
            parameter.requires_grad_(self._learns[name])
        return loss

    def _run_phase(self, number: int, phase: Phase, kept: Mapping[str, Any] | None) -> float:
        with seeded(self.seed, "train", self.member, number):
            self.step.take(phase, self._example())
        items = self._items(phase)
        per_epoch = len(items) * self._steps(items, phase.batch_size)
        epochs = _epochs(phase, per_epoch)
        self._choose_what_learns(phase)
        optimiser = _optimiser(phase, _by_rate(phase, self.step))
        total = epochs * per_epoch
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda at: _rate(phase, at, total))
        step, optimiser = self.accelerator.prepare(self.step, optimiser)
        in_training_mode(self.step)
        averaged = Averaged.over(self.step, phase.average * total)
        first, self.losses = 0, []
        if kept is not None:
            first = self._go_on(kept, optimiser, schedule, averaged)
        judge = self.judge if number == len(self.phases) - 1 else None
        if judge is not None:
            judge.see(self.step.model, 0, epochs)
        for epoch in range(first, epochs):
            losses = []
            # streams of its own for each epoch: one that is gone on with sees what it would have seen
            with seeded(self.seed, "train", self.member, number, epoch):
                for done, batch in enumerate(self._epoch(items, (number, epoch), phase.batch_size), epoch * per_epoch):
                    losses.append(self._learn(step, optimiser, schedule, batch, done / total))
                    averaged.update()
                    if self.step.objective is not None:
                        self.progress("training without labels", done + 1, total)
            if not losses:
                raise _unreadable(items)
            self.losses.append(float(self.accelerator.reduce(torch.stack(losses).mean(), reduction="mean")))
            if self.step.objective is None:
                self.progress("training", epoch + 1, epochs)
            if judge is not None:
                with averaged.in_use():
                    judge.see(self.step.model, epoch + 1, epochs)
            if epoch + 1 == epochs:
                averaged.settle()
            where = {"phase": number, "epoch": epoch + 1, "losses": self.losses, "averaged": averaged.state()}
            self._keep(where, optimiser, schedule, epoch + 1 == epochs)
        for part in items:
            self.skipped.update({part.view.ids[row]: reason for row, reason in part.images.failed.items()})
        self.held_out = self._held_out(phase)
        return self.losses[-1] if self.losses else math.nan

    def _keep(self, where: dict[str, Any], optimiser: Any, schedule: Any, last: bool) -> None:
        if self.checkpoint is None or not (last or where["epoch"] % self.checkpoint.every == 0):
            return
        scaler = self.accelerator.scaler
        self.checkpoint.write(
            {
                **where,
                "steps": self.steps,
                "step": self.step.state_dict(),
                "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(),
                "scaler": None if scaler is None else scaler.state_dict(),
            }
        )

    def _go_on(self, kept: Mapping[str, Any], optimiser: Any, schedule: Any, averaged: Averaged) -> int:
        """Takes the state of a checkpoint; returns the next epoch."""
        self.step.load_state_dict(kept["step"])
        optimiser.load_state_dict(kept["optimiser"])
        schedule.load_state_dict(kept["schedule"])
        if self.accelerator.scaler is not None and kept["scaler"]:
            self.accelerator.scaler.load_state_dict(kept["scaler"])
        averaged.load(kept["averaged"])
        self.steps, self.losses = kept["steps"], list(kept["losses"])
        epoch: int = kept["epoch"]
        return epoch

    @torch.inference_mode()
    def _held_out(self, phase: Phase) -> float | None:
        """Loss of a phase without labels on the validation images, in whole batches of the size that it trained on."""
        view, objective = self.data.validation, self.step.objective
        if objective is None or not len(view):
            return None
        images = PreparedImages(view.source, view.ids, self.step.task.input)
        rng = torch_generator(self.seed, "held out")
        size = min(phase.batch_size, len(view))
        rows = [range(start, start + size) for start in range(0, len(view) - size + 1, size)]
        self.step.eval()
        losses = []
        for loaded in batches(images, rows):
            if loaded.rows:
                with self.accelerator.autocast():
                    losses.append(float(batch_loss(self.step(self._views(objective, loaded, rng)))))
        return sum(losses) / len(losses) if losses else None

    def _example(self) -> Tensor:
        spec = self.step.task.input
        return torch.zeros(2, spec.channels, *spec.size, device=self.accelerator.device)

    def _items(self, phase: Phase) -> list[_Items]:
        """What the batches of a phase are made of; labelled images are read once and stay in memory where they fit."""
        if phase.batches != "labelled" and phase.loss == "task":
            raise ConfigError(
                f"a phase over {phase.batches} items needs a loss that does without labels: loss: package.module:name"
            )
        data, objective = self.data, self.step.objective
        if objective is not None and phase.batches == "labelled":
            raise ConfigError(f"the objective {phase.loss!r} reads images without labels: batches: unlabelled")
        views = {
            "labelled": [data.labelled],
            "unlabelled": [data.unlabelled],
            "alternate": [data.labelled, data.unlabelled],
        }
        items = []
        for view in views[phase.batches]:
            if not len(view):
                raise ConfigError(
                    f"a phase over {phase.batches} items has none to train on: label some, or drop the phase"
                )
            # without labels there are many epochs over the same images
            keep = view is data.labelled or objective is not None
            images = PreparedImages(view.source, view.ids, self.step.task.input, keep=keep)
            images.keep_all()
            if objective is not None:
                images.move(self.accelerator.device)
            items.append(_Items(view, images, [row for row in range(len(view)) if row not in images.failed]))
        if not all(part.rows for part in items):
            raise _unreadable(items)
        return items

    def _choose_what_learns(self, phase: Phase) -> None:
        choose(self.step.model, phase, {name.removeprefix("model."): flag for name, flag in self._learns.items()})
        if self.step.objective is not None and phase.batches == "unlabelled":
            # no gradient reaches the last layer, and data parallel waits for all that could have one
            for parameter in self.step.unread(self._example()):
                parameter.requires_grad_(False)
        check_learning(self.step.model, phase)

    def _steps(self, items: list[_Items], size: int) -> int:
        """Batches of an epoch; a loss that compares the images of a batch gets whole batches only."""
        counts = [len(part.rows) for part in items]
        whole = max(count // size for count in counts)
        return whole if self.step.objective is not None and whole else max(math.ceil(count / size) for count in counts)

    def _epoch(self, items: list[_Items], stream: tuple[int, int], size: int) -> Iterator[Batch]:
        rng = torch_generator(self.seed, "augment", self.member, *stream, self.accelerator.process_index)
        steps = self._steps(items, size)
        readers = []
        for which, part in enumerate(items):
            order = [part.rows[i] for i in self._order(len(part.rows), (*stream, which), steps, size)]
            mine = [self._share(chunk) for chunk in _chunks(order, size)]
            pin = self.accelerator.device.type == "cuda" and not part.images.in_memory
            count = 0 if part.images.in_memory or self.step.objective is None else len(part.rows)
            workers = default_workers(part.view.source, count)
            readers.append(batches(part.images, mine, workers=workers, pin=pin))
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

    def _batch(self, view: Examples, loaded: Loaded, rng: torch.Generator) -> Batch:
        if self.step.objective is not None and view is self.data.unlabelled:
            return self._views(self.step.objective, loaded, rng)
        targets = None if view.targets is None else [view.targets[row] for row in loaded.rows]
        batch = self.step.task.batch(loaded.images, targets, train=True, rng=rng)
        return batch.to(self.accelerator.device)

    def _views(self, objective: Objective, loaded: Loaded, rng: torch.Generator) -> ViewsBatch:
        images = loaded.images.to(self.accelerator.device, non_blocking=True)
        views = objective.views(images, self.step.task.input, rng)
        if views.shape[1] == 3:
            views = views.contiguous(memory_format=torch.channels_last)
        return ViewsBatch(views, size=len(loaded.rows))

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
        if world == 1:
            return batch_loss(losses)

        def over_all(norm: Tensor) -> Tensor:
            return cast("Tensor", self.accelerator.reduce(norm, reduction="sum"))

        loss: Tensor = batch_loss(losses, gathered=over_all) * world
        return loss


def tenths(losses: Sequence[float]) -> tuple[float, ...]:
    """Means over tenths of the epochs; over each epoch where there are fewer than ten.

    Example:
        >>> tenths([4.0, 3.0]), tenths([float(10 - epoch) for epoch in range(20)])[:2]
        ((4.0, 3.0), (9.5, 7.5))
    """
    parts = min(10, len(losses))
    ends = [round(part * len(losses) / parts) for part in range(parts + 1)] if parts else []
    return tuple(sum(losses[start:end]) / (end - start) for start, end in itertools.pairwise(ends))


def _epochs(phase: Phase, per_epoch: int) -> int:
    """How many, from the bounds on steps."""
    if phase.max_steps is not None and phase.max_steps < max(phase.min_steps, 1):
        raise ConfigError(
            f"a phase of at least {phase.min_steps} and at most {phase.max_steps} steps cannot be: raise max_steps"
        )
    epochs = max(phase.epochs, math.ceil(phase.min_steps / per_epoch))
    return epochs if phase.max_steps is None else max(1, min(epochs, phase.max_steps // per_epoch))


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


def _by_rate(phase: Phase, step: TrainingStep) -> list[dict[str, Any]]:
    """Parameters that learn, in groups of one learning rate; the first prefix that fits counts."""
    groups: dict[float, list[nn.Parameter]] = {}
    unused = {prefix for prefix, _ in phase.rates}
    for name, parameter in step.named_parameters():
        own = name.removeprefix("model.")
        prefix, rate = next(((p, r) for p, r in phase.rates if own.startswith(p)), (None, phase.lr))
        unused.discard(prefix or "")
        if parameter.requires_grad:
            groups.setdefault(rate, []).append(parameter)
    if unused:
        raise no_such_part(step.model, "rates", min(unused))
    return [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]


def _optimiser(phase: Phase, parameters: list[dict[str, Any]]) -> torch.optim.Optimizer:
    if phase.optimiser == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=phase.lr,
            momentum=phase.momentum,
            nesterov=phase.nesterov and phase.momentum > 0,
            weight_decay=phase.weight_decay,
            fused=True,
        )
    return torch.optim.AdamW(parameters, lr=phase.lr, weight_decay=phase.weight_decay, fused=True)


def _rate(phase: Phase, at: int, total: int) -> float:
    done = min(at / max(total, 1), 1.0)
    if phase.schedule == "constant":
        return 1.0
    if phase.schedule == "steps":
        # half a step: the rate of an epoch is that of its first step, whatever the division rounds to
        epoch = (at + 0.5) / max(total, 1) * max(phase.epochs, 1)
        return float(0.1 ** sum(epoch > milestone for milestone in phase.milestones))
    if phase.schedule == "onecycle":
        return done / 0.1 + 1e-3 if done < 0.1 else 0.5 * (1 + math.cos(math.pi * (done - 0.1) / 0.9))
    return 0.5 * (1 + math.cos(math.pi * done))
