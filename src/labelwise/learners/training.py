"""The one training loop: phases over labelled and unlabelled images, on any device, in one process or several."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from labelwise.contracts.learner import Auxiliary, FitReport, LearnerData, Objective, Phase
from labelwise.contracts.losses import TOLD, Losses, batch_loss, batch_parts
from labelwise.contracts.progress import Progress, silent
from labelwise.contracts.task import Batch, Task
from labelwise.data.loader import PreparedImages, batches
from labelwise.learners.averaged import Averaged
from labelwise.learners.batching import Batches, ViewsBatch, epochs_of, items_of, shares, unreadable, views_of
from labelwise.learners.beside import Heads
from labelwise.learners.best import Judge
from labelwise.learners.checkpoints import Checkpoint
from labelwise.learners.objectives import objective_of, with_progress
from labelwise.learners.parts import Course, Parts
from labelwise.learners.what_learns import called, check_learning, choose, in_training_mode, no_such_part
from labelwise.models.kept_maps import kept_maps
from labelwise.models.taps import Taps, evaluating, last_linear, pooled, widths
from labelwise.processes import on_cpu
from labelwise.rng import seed_of, torch_generator

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
        embedding: what the head of an objective reads; None: the input of the last linear layer.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task[Any],
        auxiliaries: Sequence[Auxiliary] = (),
        heads: Heads | None = None,
        *,
        embedding: str | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.heads = heads if heads is not None else Heads()
        self.task = task
        self.auxiliaries = tuple(auxiliaries)
        self.embedding = embedding
        self.loss: Callable[[nn.Module, Task[Any], Batch, float], Losses] = _task_loss
        self.objective: Objective | None = None
        self.projector: nn.Module = nn.Identity()
        self._taps = Taps(model, self.heads.taps)

    def forward(self, batch: Batch, progress: float = 0.0) -> dict[str, tuple[Tensor, Tensor]]:
        """Named losses of one batch, each (sum_B, norm_B)."""
        if self.objective is not None and isinstance(batch, ViewsBatch):
            with Taps(self.model, [self.read]).capture() as seen:
                self.model(batch.images)
            return dict(self.objective.loss(self.projector, pooled(seen[self.read]), batch.size))
        if not self.auxiliaries or batch.targets is None:
            return dict(self.loss(self.model, self.task, batch, progress))
        with self._taps.capture() as seen:
            losses = dict(self.loss(self.model, self.task, batch, progress))
        known = dict(losses)
        for auxiliary in self.auxiliaries:
            name = auxiliary.name
            # what the head is told of the loss never carries its gradient into the model
            loss_B, taps = auxiliary.target(known).detach(), self.heads.shown(name, seen)
            if auxiliary.detach(progress):
                taps = {path: tap.detach() for path, tap in taps.items()}
            extra = auxiliary.weight(progress) * auxiliary.loss(self.heads[name], taps, loss_B, progress)
            losses[name] = (extra.expand(1), extra.new_ones(1))
        return losses

    def take(self, phase: Phase, example: Tensor) -> None:
        """Sets what a phase is trained on; the head of an objective is made anew."""
        found = objective_of(phase)
        self.objective = found if isinstance(found, Objective) else None
        self.loss = _task_loss if found is None or isinstance(found, Objective) else with_progress(found)
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
        parameters = list(self.model.parameters())
        with evaluating(self.model), Taps(self.model, [self.read]).capture() as seen:
            self.model(example)
        reached = torch.autograd.grad(pooled(seen[self.read]).sum(), parameters, allow_unused=True)
        return [parameter for parameter, gradient in zip(parameters, reached, strict=True) if gradient is None]


def _task_loss(model: nn.Module, task: Task[Any], batch: Batch, progress: float) -> Losses:
    return task.loss(model, batch)


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
        loss: mean of the last epoch that was run; NaN when it diverged, or none was.
        losses: mean loss of each epoch of the last phase.
        left_out: phases that were left out, as they need images without labels and there are none.
        course: means of the named parts of the loss over the epochs.
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
    loss: float = math.nan
    losses: list[float] = field(default_factory=list)
    left_out: int = 0
    course: Course = field(default_factory=Course)
    _parts: Parts = field(default_factory=Parts, init=False, repr=False)
    _learns: dict[str, bool] = field(default_factory=dict, init=False, repr=False)

    def run(self) -> float:
        """Trains; returns the mean loss of the last epoch, NaN when it diverged.

        Raises:
            ConfigError: a phase that cannot be.
            DataError: none of its images can be read.
        """
        self.step.task = self.step.task.under(self.data.labelled.targets or ())
        # what the network itself froze
        self._learns = {name: parameter.requires_grad for name, parameter in self.step.named_parameters()}
        kept = self.checkpoint.read() if self.checkpoint is not None else None
        self._leave_out()
        for number, phase in enumerate(self.phases):
            if kept is None or number >= kept["phase"]:
                with self._maps_kept(phase):
                    self.loss = self._run_phase(number, phase, kept)
                kept = None
        self.step.objective, self.step.projector = None, nn.Identity()
        if self.judge is not None:
            self.judge.restore(self.step.model)
        # what a phase left frozen is no property of the weights: loaded ones would not have it
        for name, parameter in self.step.named_parameters():
            parameter.requires_grad_(self._learns[name])
        return self.loss

    def _leave_out(self) -> None:
        """Phases over images with and without labels, where none is without and others train; the report tells it."""
        left = [phase for phase in self.phases if phase.batches != "alternate" or len(self.data.unlabelled)]
        if left and len(left) < len(self.phases):
            self.left_out = len(self.phases) - len(left)
            self.phases = left

    def _run_phase(self, number: int, phase: Phase, kept: Mapping[str, Any] | None) -> float:
        with seeded(self.seed, "train", self.member, number):
            self.step.take(phase, self._example())
        made = self._batches(number, phase)
        per_epoch = made.steps
        epochs = epochs_of(phase, per_epoch)
        self._choose_what_learns(phase)
        optimiser = _optimiser(phase, _by_rate(phase, self.step))
        total = epochs * per_epoch
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda at: _rate(phase, at, total))
        step, optimiser = self.accelerator.prepare(self.step, optimiser)
        in_training_mode(self.step)
        averaged = Averaged.over(self.step, phase.average * total)
        begun, share = shares(self.phases, self.data)[number]
        first, self.losses = 0, []
        if kept is not None:
            first = self._go_on(kept, optimiser, schedule, averaged)
        judge = self.judge if number == len(self.phases) - 1 else None
        if judge is not None:
            judge.see(self.step.model, 0, epochs)
        for epoch in range(first, epochs):
            losses, before = [], self.steps
            self._parts = Parts()
            # streams of its own for each epoch: one that is gone on with sees what it would have seen
            with seeded(self.seed, "train", self.member, number, epoch):
                for done, batch in enumerate(made.epoch(epoch), epoch * per_epoch):
                    losses.append(self._learn(step, optimiser, schedule, batch, begun + share * done / total))
                    averaged.update()
                    if self.step.objective is not None:
                        self.progress("training without labels", done + 1, total)
            if not losses:
                raise unreadable(made.items)
            self.losses.append(float(self.accelerator.reduce(torch.stack(losses).mean(), reduction="mean")))
            means = self._parts.means()
            values = cast(
                "Tensor", self.accelerator.reduce(torch.stack(list(means.values())), reduction="mean")
            ).tolist()
            self.course.add(before, self.steps, dict(zip(means, values, strict=True)))
            if self.step.objective is None:
                self.progress("training", epoch + 1, epochs)
            if judge is not None:
                with averaged.in_use():
                    judge.see(self.step.model, epoch + 1, epochs)
            if epoch + 1 == epochs:
                averaged.settle()
            where = {"phase": number, "epoch": epoch + 1, "losses": self.losses, "averaged": averaged.state()}
            self._keep(where, optimiser, schedule, epoch + 1 == epochs)
        for part in made.items:
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
                "course": self.course.epochs,
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
        self.course = Course(list(kept["course"]))
        epoch: int = kept["epoch"]
        return epoch

    @torch.inference_mode()
    def _held_out(self, phase: Phase) -> float | None:
        """Loss of a phase without labels on the validation images, in whole batches of the size that it trained on."""
        view, objective = self.data.validation, self.step.objective
        if objective is None or not len(view):
            return None
        task = self.step.task
        images = PreparedImages(view.source, view.ids, task.input)
        rng = torch_generator(self.seed, "held out")
        size = min(phase.batch_size, len(view))
        rows = [range(start, start + size) for start in range(0, len(view) - size + 1, size)]
        self.step.eval()
        losses = []
        for loaded in batches(images, rows):
            if loaded.rows:
                with self.accelerator.autocast():
                    losses.append(
                        float(batch_loss(self.step(views_of(objective, loaded, task, rng, self.accelerator.device))))
                    )
        return sum(losses) / len(losses) if losses else None

    def _example(self) -> Tensor:
        spec = self.step.task.input
        return torch.zeros(2, spec.channels, *spec.size, device=self.accelerator.device)

    def _maps_kept(self, phase: Phase) -> AbstractContextManager[None]:
        """Frozen trunks compute the maps of a labelled image once."""
        if phase.batches != "labelled" or objective_of(phase) is not None:
            return nullcontext()
        task, labelled = self.step.task, len(self.data.labelled)
        return kept_maps(self.step.model, labelled, task.augmentation, self._example())

    def _batches(self, number: int, phase: Phase) -> Batches:
        task, objective, device = self.step.task, self.step.objective, self.accelerator.device
        items = items_of(phase, self.data, task, objective, device)
        return Batches(task, objective, items, phase.batch_size, self.seed, (self.member, number), self.accelerator)

    def _choose_what_learns(self, phase: Phase) -> None:
        choose(self.step.model, phase, {name.removeprefix("model."): flag for name, flag in self._learns.items()})
        if self.step.objective is not None and phase.batches == "unlabelled":
            # no gradient reaches the last layer, and data parallel waits for all that could have one
            for parameter in self.step.unread(self._example()):
                parameter.requires_grad_(False)
        check_learning(self.step.model, phase)

    def _learn(self, step: nn.Module, optimiser: Any, schedule: Any, batch: Batch, progress: float) -> Tensor:
        with self.accelerator.autocast():
            losses = step(batch, progress)
        told = {name: losses.pop(name) for name in list(losses) if name.startswith(TOLD)}
        if told:
            self._parts.add(tuple(told), self._weighed(told).detach())
        parts_P = self._weighed(losses)
        loss = parts_P.sum()
        self.accelerator.backward(loss)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        schedule.step()
        self.steps += 1
        self._parts.add(tuple(losses), parts_P.detach())
        # what heads add says nothing of how the model learns; they stand behind the model's own parts
        heads = sum(auxiliary.name in losses for auxiliary in self.step.auxiliaries)
        return parts_P.detach()[: len(losses) - heads].sum() if heads else loss.detach()

    def _weighed(self, losses: Losses) -> Tensor:
        """As ``batch_parts``, over all processes; data parallel averages gradients, hence the world size."""
        world = self.accelerator.num_processes
        if world == 1:
            return batch_parts(losses)

        def over_all(norm: Tensor) -> Tensor:
            return cast("Tensor", self.accelerator.reduce(norm, reduction="sum"))

        parts_P: Tensor = batch_parts(losses, gathered=over_all) * world
        return parts_P


def reported(trainings: Sequence[Training], seconds: float) -> FitReport:
    """How the members of an ensemble were trained, taken together.

    Args:
        trainings: one for each member, all run.
        seconds: wall clock of all.
    """
    count, last = len(trainings), trainings[-1]
    notes = {
        name: sum(training.course.last.get(name, math.nan) / count for training in trainings)
        for name in last.course.last
    }
    return FitReport(
        loss=sum(training.loss / count for training in trainings),
        steps=sum(training.steps for training in trainings),
        seconds=seconds,
        skipped={item: why for training in trainings for item, why in training.skipped.items()},
        held_out=last.held_out,
        losses=tenths(last.losses),
        notes=notes | ({f"{TOLD}phases left out": float(last.left_out)} if last.left_out else {}),
        parts=last.course.curves(),
    )


def tenths(losses: Sequence[float]) -> tuple[float, ...]:
    """Means over tenths of the epochs; over each epoch where there are fewer than ten.

    Example:
        >>> tenths([4.0, 3.0]), tenths([float(10 - epoch) for epoch in range(20)])[:2]
        ((4.0, 3.0), (9.5, 7.5))
    """
    parts = min(10, len(losses))
    ends = [round(part * len(losses) / parts) for part in range(parts + 1)] if parts else []
    return tuple(sum(losses[start:end]) / (end - start) for start, end in itertools.pairwise(ends))


def _by_rate(phase: Phase, step: TrainingStep) -> list[dict[str, Any]]:
    """Parameters that learn, in groups of one learning rate; the first prefix that fits counts."""
    groups: dict[float, list[nn.Parameter]] = {}
    unused = {prefix for prefix, _ in phase.rates}
    of_heads = [(f"heads.{a.name}.", a.lr) for a in step.auxiliaries if a.lr is not None]
    for name, parameter in step.named_parameters():
        own = called(step.model, name.removeprefix("model."))
        prefix, rate = next(((p, r) for p, r in phase.rates if own.startswith(p)), (None, phase.lr))
        rate = next((r for p, r in of_heads if name.startswith(p)), rate)
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
