"""Tiny images, nets and campaigns that tests share: real code, small enough to train in a blink."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from labelwise.campaign.events import Added, Event, Item, Labelled
from labelwise.campaign.loop import Campaign
from labelwise.campaign.setting import Setting
from labelwise.campaign.store import Store
from labelwise.contracts.input import InputSpec
from labelwise.contracts.learner import Auxiliary, Examples, Learner, LearnerData, Phase
from labelwise.contracts.losses import Losses
from labelwise.contracts.source import Source
from labelwise.contracts.task import Batch, Outputs, Task
from labelwise.data.arrays import ArraySource
from labelwise.data.views import View as SourceView
from labelwise.errors import DataError
from labelwise.learners.backbones import Pixels
from labelwise.learners.features import FeatureLearner, FeatureSource
from labelwise.learners.torch import TorchLearner
from labelwise.signals.cache import SignalCache
from labelwise.tasks.classification import Classification
from labelwise.tasks.multi_label import MultiLabel

CLASSES = tuple("0123456789")
SIDE = 16
FAST = (Phase(epochs=2, batch_size=16, lr=3e-3),)


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    data = load_digits()
    images = np.kron(data.images, np.ones((1, 2, 2))) * (255 / 16)
    return images.round().astype(np.uint8)[..., None], data.target


def digits(count: int = 80, *, test: int = 0, reference: int = 0, start: int = 0) -> ArraySource:
    """Handwritten digits of 16 x 16 pixels; the last ``test`` and the ``reference`` before them are not in the pool."""
    images, labels = _digits()
    part = slice(start, start + count)
    roles = ["pool"] * (count - test - reference) + ["reference"] * reference + ["test"] * test
    names = [f"img/{number:04d}.png" for number in range(start, start + count)]
    return ArraySource(images[part], labels[part], classes=CLASSES, ids=names, roles=roles)


def spec(channels: int = 1) -> InputSpec:
    return InputSpec((SIDE, SIDE), channels)


def digits_task(augment: str = "none", classes: Sequence[str] = CLASSES) -> Classification:
    return Classification(tuple(classes), spec(), augment)


def pairs(count: int = 80, *, test: int = 0, reference: int = 0) -> Source:
    """Two digits beside each other in 16 x 16 pixels: the classes are those that occur; now and then one, or none."""
    images, labels = _digits()
    small = images[:, ::2, ::2, 0]
    drawn, truth = np.zeros((count, SIDE, SIDE, 1), np.uint8), {}
    names = [f"img/{number:04d}.png" for number in range(count)]
    for number, name in enumerate(names):
        shown = [] if number % 11 == 10 else [2 * number] if number % 5 == 4 else [2 * number, 2 * number + 1]
        for place, digit in enumerate(shown):
            drawn[number, :, 8 * place : 8 * place + 8, 0] = np.kron(small[digit], np.ones((2, 1)))
        truth[name] = [CLASSES[label] for label in sorted({int(labels[digit]) for digit in shown})]
    roles = ["pool"] * (count - test - reference) + ["reference"] * reference + ["test"] * test
    return SourceView(ArraySource(drawn, ids=names, roles=roles), classes=CLASSES, truth=truth)


def pairs_task(**options: Any) -> MultiLabel:
    return MultiLabel(CLASSES, spec(), "none", **options)


class TinyNet(nn.Module):
    """A convolution with batch norm, dropout and two linear layers."""

    def __init__(self, classes: int = 10, *, dropout: float = 0.5, norm: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6) if norm else nn.Identity()
        self.pool = nn.MaxPool2d(4)
        self.hidden = nn.Linear(6 * 16, 12)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(12, classes)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.pool(F.relu(self.norm(self.conv(images))))
        return self.head(self.drop(F.relu(self.hidden(maps.flatten(1)))))


def plain_net() -> nn.Module:
    """Neither dropout nor batch norm: its loss on a batch is the mean of its losses on the parts."""
    return TinyNet(dropout=0.0, norm=False)


def named_net(classes: int, spec: InputSpec) -> nn.Module:
    """What YAML names as ``tiny:named_net``."""
    return TinyNet(classes)


def torch_learner(task: Task[Any] | None = None, model: Any = TinyNet, **options: Any) -> TorchLearner:
    options.setdefault("phases", FAST)
    return TorchLearner(task or digits_task(), model, **options)


def pixels(source: Source, *, axes: int = 8, folder: Path | None = None) -> FeatureSource:
    backbone = Pixels(side=8, axes=axes, channels=1)
    pool = tuple(item for item in source.ids if source.roles.get(item, "pool") == "pool")
    backbone.prepare(Examples(source, pool))
    return FeatureSource(backbone, SignalCache(folder))


def feature_learner(source: Source, task: Task[Any] | None = None, **options: Any) -> FeatureLearner:
    return FeatureLearner(task or digits_task(), pixels(source), **options)


def view(source: Source, ids: Sequence[str] | None = None, *, labels: bool = True) -> Examples:
    """Items with their digit as target."""
    chosen = tuple(source.ids) if ids is None else tuple(ids)
    return Examples(source, chosen, tuple(int(source.truth[item]) for item in chosen) if labels else None)


def learner_data(source: Source, labelled: Sequence[str], *, reference: Sequence[str] = ()) -> LearnerData:
    """Some items labelled, the rest not."""
    taken = {*labelled, *reference}
    rest = [item for item in source.ids if item not in taken]
    return LearnerData(
        labelled=view(source, labelled),
        unlabelled=view(source, rest, labels=False),
        validation=view(source, ()),
        reference=view(source, reference),
    )


def registration(source: Source, order: Sequence[str] | None = None) -> list[Event]:
    """Events that add all items, in any order, with the labels of those that are not in the pool."""
    ids = list(source.ids) if order is None else list(order)
    added: list[Event] = [Added(Item(item, item), source.roles.get(item, "pool")) for item in ids]
    return added + [Labelled(item, source.truth[item]) for item in ids if source.roles.get(item, "pool") != "pool"]


def campaign(
    folder: Path,
    source: Source,
    learner: Learner,
    *,
    labelled: Sequence[str] = (),
    order: Sequence[str] | None = None,
    **setting: Any,
) -> Campaign:
    """A campaign on a store in ``folder``; what is there already is gone on with."""
    store = Store(folder, create=True)
    if not len(store.pool()):
        store.append([*registration(source, order), *(Labelled(item, source.truth[item]) for item in labelled)])
    setting.setdefault("cache", SignalCache(folder / "signals"))
    setting.setdefault("fits", folder / "fits")
    return Campaign(store, Setting(source, learner.task, learner, **setting))


class Broken(SourceView):
    """A source some of whose images cannot be read."""

    def __init__(self, source: Source, broken: Sequence[str]) -> None:
        super().__init__(source)
        self._broken = set(broken)

    def load(self, item_id: str) -> Any:
        if item_id in self._broken:
            raise DataError(f"{item_id!r} is truncated")
        return self.source.load(item_id)

    def batch(self, item_ids: Sequence[str]) -> None:
        return None

    def content(self, item_ids: Sequence[str]) -> list[str]:
        return [
            "" if i in self._broken else found for i, found in zip(item_ids, self.source.content(item_ids), strict=True)
        ]


@dataclass(frozen=True)
class LossHead(Auxiliary):
    """A learning-loss-like head: predicts the loss of each image from two taps."""

    name = "loss_head"
    taps: tuple[str, ...] = ("conv", "hidden")
    strength: float = 1.0
    detached: bool = True

    def build(self, widths: Mapping[str, int]) -> nn.Module:
        return nn.Linear(sum(widths[path] for path in self.taps), 1)

    def _predict(self, head: nn.Module, taps: Mapping[str, Tensor]) -> Tensor:
        flat = [taps[path].mean((2, 3)) if taps[path].dim() == 4 else taps[path] for path in self.taps]
        return head(torch.cat(flat, dim=1))[:, 0]

    def loss(self, head: nn.Module, taps: Mapping[str, Tensor], loss_B: Tensor, progress: float) -> Tensor:
        return (self._predict(head, taps) - loss_B).pow(2).mean()

    def read(self, head: nn.Module, taps: Mapping[str, Tensor]) -> Tensor:
        return self._predict(head, taps)

    def weight(self, progress: float) -> float:
        return self.strength

    def detach(self, progress: float) -> bool:
        return self.detached


def agreement_loss(model: nn.Module, task: Task[Any], batch: Batch) -> Losses:
    """A loss without labels for some images: ``tiny:agreement_loss`` in a phase."""
    if batch.targets is not None:
        return task.loss(model, batch)
    probs_BC = model(batch.images).softmax(1)
    entropy_B = torch.special.entr(probs_BC).sum(1)
    return {"entropy": (entropy_B, torch.ones_like(entropy_B))}


class RegionTask(Classification):
    """Outputs whose unit is one of the four corners of an image; an empty image has none."""

    def outputs(self, model: nn.Module, batch: Batch, want: frozenset[str]) -> Outputs:
        half = SIDE // 2
        corners = [batch.images[..., y : y + half, x : x + half] for y in (0, half) for x in (0, half)]
        size = len(batch.images)
        whole = [F.interpolate(corner, size=(SIDE, SIDE)) for corner in corners]
        probs = torch.stack([model(part).float().softmax(1) for part in whole], dim=1).flatten(0, 1)
        ink_U = torch.stack([(corner + 1).mean((1, 2, 3)) for corner in corners], dim=1).flatten()
        item_U = torch.arange(size).repeat_interleave(4)
        there_U = ink_U > 0.55
        return Outputs(size, item_U[there_U], probs[there_U], True, ink_U[there_U])


class Seen:
    """How often each image went through a net outside training, by its pixels, and in how many batches."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.images: dict[bytes, int] = {}

    def clear(self) -> None:
        self.batches.clear()
        self.images.clear()

    def note(self, images_BCHW: Tensor) -> None:
        self.batches.append(len(images_BCHW))
        for image in images_BCHW.contiguous():
            key = image.numpy().tobytes()
            self.images[key] = self.images.get(key, 0) + 1


#: what all ``CountingNet`` have been shown
SEEN = Seen()


class CountingNet(TinyNet):
    """A net that remembers what it was shown outside training: ``tiny:counting_net``."""

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            SEEN.note(images)
        return super().forward(images)


def counting_net(classes: int, spec: InputSpec) -> nn.Module:
    return CountingNet(classes)


T = TypeVar("T")

#: labels that each ``fit`` of a ``CountingLearner`` was given, in order
FITS: list[tuple[int, int]] = []
#: fits after which the next one raises KeyboardInterrupt; None for never
STOP_AFTER: list[int | None] = [None]


class CountingLearner(TorchLearner):
    """Notes each training, and may be interrupted before one."""

    def fit(self, data: LearnerData, seed: int, **options: Any) -> Any:
        if STOP_AFTER[0] is not None and len(FITS) >= STOP_AFTER[0]:
            raise KeyboardInterrupt
        FITS.append((len(data.labelled), seed))
        return super().fit(data, seed, **options)


def interrupted(run: Callable[[], T], fits: int) -> T:
    """What a run comes to that is interrupted before each of so many trainings, and begun again."""
    FITS.clear()
    for count in range(1, fits + 1):
        STOP_AFTER[0] = count
        with suppress(KeyboardInterrupt):
            return run()
    raise AssertionError("it trains more often than it was said to")


def counting_learner(task: Task[Any]) -> TorchLearner:
    """What a recipe names as ``tiny:counting_learner``."""
    return CountingLearner(task, TinyNet, phases=FAST, batch_size=32)
