"""Features from nothing but the user's images: a network trained without labels, written as a file that is a backbone.

Dimension key: N images, D features, L labelled rows, T rows to classify.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from labelwise.contracts.learner import Examples, LearnerData, Phase
from labelwise.contracts.progress import Progress, silent
from labelwise.contracts.task import Task
from labelwise.errors import ConfigError, DataError
from labelwise.learners.backbones import Backbone, Network
from labelwise.learners.checkpoints import Checkpoint
from labelwise.learners.features import FROZEN, FeatureSource
from labelwise.learners.heads import Labels
from labelwise.learners.nearest import nearest_classes
from labelwise.learners.saved import write_file
from labelwise.learners.torch import TorchLearner
from labelwise.models import last_linear
from labelwise.models.weights import read_metadata
from labelwise.rng import generator
from labelwise.selection.arrays import as_tensor

#: images held out of the training to judge it by: a tenth, at most this many
HELD_OUT = 2000


@dataclass(frozen=True)
class Pretraining:
    """How a network is trained without labels.

    Args:
        objective: ``rotation``, ``simclr``, ``vicreg``, or ``package.module:name`` of an ``Objective``.
        model: see ``labelwise.models.by_name``; None: ``lenet`` without a GPU up to 32 pixels, else ``resnet18_cifar``.
        epochs: passes over the images.
        batch_size: images per step; SimCLR compares each with the others of its batch.
        optimiser: ``adamw`` or ``sgd``.
        lr: peak learning rate.
        weight_decay: decoupled for adamw.
        momentum: of sgd.
        nesterov: for sgd.
        schedule: see ``Phase``.
        milestones: of the schedule ``steps``.
        precision: ``auto`` is bf16 on a GPU.
        options: of the objective.
    """

    objective: str = "simclr"
    model: str | None = None
    epochs: int = 50
    batch_size: int = 256
    optimiser: Literal["sgd", "adamw"] = "adamw"
    lr: float = 2e-3
    weight_decay: float = 1e-4
    momentum: float = 0.9
    nesterov: bool = True
    schedule: Literal["cosine", "onecycle", "constant", "steps"] = "onecycle"
    milestones: tuple[int, ...] = ()
    precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)

    def learner(self, task: Task[Any]) -> TorchLearner:
        """The training as one phase of a ``TorchLearner``."""
        on_gpu = torch.cuda.is_available()
        small = max(task.input.size) <= 32 and not on_gpu
        name = self.model or ("lenet" if small else "resnet18_cifar")
        phase = Phase(
            epochs=self.epochs,
            batches="unlabelled",
            batch_size=self.batch_size,
            optimiser=self.optimiser,
            lr=self.lr,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            nesterov=self.nesterov,
            schedule=self.schedule,
            milestones=self.milestones,
            loss=self.objective,
            options=dict(self.options),
        )
        precision = ("bf16" if on_gpu else "no") if self.precision == "auto" else self.precision
        return TorchLearner(task, name, phases=(phase,), precision=precision)


@dataclass(frozen=True)
class Pretrained:
    """A network that was trained without labels.

    Args:
        file: its weights with what is needed to use them, a backbone by its path.
        objective: what it was trained on.
        model: its architecture.
        loss: of the last epoch.
        held_out: loss on images that were held out.
        effective_rank: of its features of these images, see ``effective_rank``.
        images: how many it was trained on.
        seconds: wall clock.
        knn: k-NN accuracy by what gave the features, where there are labels.
        before: whether exactly this had been trained before.
    """

    file: Path
    objective: str
    model: str
    loss: float
    held_out: float | None
    effective_rank: float
    images: int
    seconds: float
    knn: Mapping[str, float] = field(default_factory=dict)
    before: bool = False


def pretrain(
    task: Task[Any],
    images: Examples,
    file: Path,
    settings: Pretraining,
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> Pretrained:
    """Trains a network on images without their labels, or finds it trained; a killed training goes on.

    Args:
        task: how images become input, and how many classes the network's unused last layer has.
        images: to train on; a tenth of them is held out to judge the result by.
        file: gets the weights, .safetensors.
        settings: how.
        seed: of weights, order and views.
        progress: told after each step.

    Raises:
        ConfigError: unknown names or options; fewer than four images.
        DataError: none of the images can be read.
    """
    if len(images) < 4:
        raise ConfigError(f"{len(images)} images are too few to train on without labels: add images")
    if file.suffix != ".safetensors":
        raise ConfigError(f"{file.name!r} is to hold weights: end it in .safetensors")
    learner = settings.learner(task)
    held, rest = _parted(images, seed)
    nobody = Examples(images.source, (), ())
    data = LearnerData(labelled=nobody, unlabelled=rest, validation=held, reference=nobody)
    key = learner.fit_key(data, seed)
    if read_metadata(file).get("key") == key:
        return replace(found(file), before=True)
    every = max(1, settings.epochs // 100)
    checkpoint = Checkpoint(file.with_suffix(".unfinished"), key, every)
    started = time.perf_counter()
    report = learner.fit(data, seed, progress=progress, checkpoint=checkpoint)
    if not np.isfinite(report.loss):
        raise DataError(f"training with {settings.objective!r} diverged: lower lr (now {settings.lr})")
    rows_ND = features(Network.around(learner.networks.nets[0], task.input), held)
    about = {
        "settings": asdict(settings),
        "seed": seed,
        "images": len(rest),
        "loss": report.loss,
        "held_out": report.held_out,
        "effective_rank": effective_rank(rows_ND),
        "seconds": time.perf_counter() - started,
    }
    _keep(learner, file, about, key)
    checkpoint.clear()
    return found(file)


def _keep(learner: TorchLearner, file: Path, about: Mapping[str, Any], key: str) -> None:
    """Writes the network without its last layer, and what is needed to use it."""
    net, task = learner.networks.nets[0], learner.task
    network = {
        "objective": about["settings"]["objective"],
        "model": learner.model,
        "classes": len(task.classes),
        "input": asdict(task.input),
        "layer": None,
    }
    head = f"{last_linear(net)}."
    state = {name: value for name, value in net.state_dict().items() if not name.startswith(head)}
    write_file(file, state, {"labelwise": json.dumps({**network, **about}), "labels": "none", "key": key})


def _parted(images: Examples, seed: int) -> tuple[Examples, Examples]:
    """A tenth of the images, and the rest, each in their order."""
    count = len(images)
    held = min(max(count // 10, 2), HELD_OUT)
    chosen = generator(seed, "held out").permutation(count)[:held]
    taken = set(chosen.tolist())
    return images.take(sorted(taken)), images.take([row for row in range(count) if row not in taken])


def found(file: Path) -> Pretrained:
    """What a file written by ``pretrain`` says of itself.

    Raises:
        DataError: it is no such file.
    """
    metadata = read_metadata(file)
    if "labelwise" not in metadata:
        raise DataError(f"{file} was not written by 'labelwise pretrain': it says nothing of its network")
    about = json.loads(metadata["labelwise"])
    names = ("objective", "model", "loss", "held_out", "effective_rank", "images", "seconds")
    return Pretrained(file, **{name: about[name] for name in names})


# ---- how good it is -------------------------------------------------------------------------------------------------


def features(backbone: Backbone, view: Examples, progress: Progress = silent) -> Tensor:
    """(N, D) float32 of the images of a view that can be read."""
    return as_tensor(FeatureSource(backbone).collect(view, frozenset({FROZEN}), progress=progress)[FROZEN]).float()


def effective_rank(rows_ND: Tensor) -> float:
    """How many directions the features use: exp(entropy of p), p = singular values over their sum, plus 1e-7.

    The criterion by which trainings are compared without labels: collapsed features, all alike, have rank near 1. It
    says nothing of what the directions mean, so compare networks of one architecture.

    Example:
        >>> round(effective_rank(torch.eye(4)), 3)
        4.0

    Reference:
        Garrido et al., "RankMe: Assessing the Downstream Performance of Pretrained Self-Supervised Representations by
        Their Rank", ICML 2023, equation 1.
    """
    values = torch.linalg.svdvals(rows_ND.double())
    p = values / values.sum().clamp_min(1e-12) + 1e-7
    return float(torch.special.entr(p).sum().exp())


def knn_accuracy(backbone: Backbone, known: Examples, asked: Examples, *, k: int = 20) -> float:
    """Share of images whose k most similar labelled ones, by cosine of the features, mostly are of their class.

    Images that cannot be read are left out.

    Args:
        backbone: ready to use.
        known: images with targets that vote.
        asked: images with targets that are classified.
        k: neighbours.
    """
    (rows_LD, labels_L), (rows_TD, labels_T) = (_with_labels(backbone, view) for view in (known, asked))
    voters = Labels(torch.arange(len(rows_LD)), labels_L)
    said_T = nearest_classes(rows_LD, rows_TD, [voters], k=k)[0]
    return float((said_T == labels_T).float().mean())


def _with_labels(backbone: Backbone, view: Examples) -> tuple[Tensor, Tensor]:
    table = FeatureSource(backbone).collect(view, frozenset({FROZEN}))
    target_of = dict(zip(view.ids, view.targets or (), strict=True))
    return as_tensor(table[FROZEN]), torch.tensor([target_of[item] for item in table.ids])


def ranked(folder: Path) -> Sequence[Pretrained]:
    """All networks that were pretrained into a folder, by architecture, the highest effective rank first."""
    files = [file for file in sorted(folder.glob("*.safetensors")) if "labelwise" in read_metadata(file)]
    return sorted(map(found, files), key=lambda one: (one.model, -one.effective_rank))
