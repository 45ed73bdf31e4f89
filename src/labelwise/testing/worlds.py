"""A small world for contract tests: labelled images, something that learns from them, and frozen features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelwise.campaign.events import Event, Labelled, added
from labelwise.campaign.loop import Campaign
from labelwise.campaign.plan import Offer
from labelwise.campaign.setting import Setting
from labelwise.campaign.store import Store
from labelwise.contracts.input import InputSpec
from labelwise.contracts.learner import Auxiliary, Examples, Learner, LearnerData, Phase
from labelwise.contracts.query import Query, Rows, Selection
from labelwise.contracts.signal import Probe, Signal, read_targets
from labelwise.contracts.source import Role, Source
from labelwise.contracts.strategy import Collected, Step, Strategy, run_steps
from labelwise.data.arrays import ArraySource
from labelwise.data.views import View
from labelwise.errors import DataError, UnmetNeed
from labelwise.learners.backbones import Pixels
from labelwise.learners.features import FeatureSource
from labelwise.learners.torch import TorchLearner
from labelwise.rng import generator
from labelwise.signals.cache import SignalCache
from labelwise.tasks.classification import Classification

#: images that a world's learner is trained on
LABELLED = 20


@dataclass
class World:
    """Images, a learner and frozen features; what is collected of them is kept.

    Args:
        source: labelled images: 60 or so in the pool, some in the role of reference; whole images, no regions.
        make_learner: a fresh learner that trains in a second or two.
        frozen: features that no training changes.

    Example:
        >>> world = digits_world()
        >>> len(world.pool), len(world.reference)
        (60, 6)
    """

    source: Source
    make_learner: Callable[[], Learner]
    frozen: FeatureSource
    _learners: dict[tuple[Auxiliary, ...], Learner] = field(default_factory=dict, repr=False)
    _collected: dict[tuple[Any, ...], Tensor | Rows] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        roles = [self.source.roles.get(item, "pool") for item in self.source.ids]
        #: positions by role, ascending
        self.pool = [position for position, role in enumerate(roles) if role == "pool"]
        self.reference = [position for position, role in enumerate(roles) if role == "reference"]
        self.task = self.make_learner().task
        self.targets = [self.task.load(self.source.truth[item]) for item in self.source.ids]
        one_each = all(isinstance(target, int) for target in self.targets)
        #: class of each item; None where an image has more than one
        self.labels_N = torch.tensor(self.targets, dtype=torch.int64) if one_each else None
        counts = [
            [self.task.objects(target).count(c) for c in range(len(self.task.classes))] for target in self.targets
        ]
        self.counts_NC = torch.tensor(counts)

    # ---- learning ---------------------------------------------------------------------------------------------------

    def ids(self, positions: Sequence[int]) -> list[str]:
        """Ids of positions."""
        return [self.source.ids[position] for position in positions]

    def examples(self, positions: Sequence[int], *, labels: bool = True, source: Source | None = None) -> Examples:
        """Items with their targets."""
        targets = tuple(self.targets[position] for position in positions) if labels else None
        return Examples(source or self.source, tuple(self.ids(positions)), targets)

    def data(self, labelled: Sequence[int] | None = None) -> LearnerData:
        """Some items of the pool labelled, by default the first; the rest not."""
        taken = self.pool[:LABELLED] if labelled is None else list(labelled)
        rest = [position for position in self.pool if position not in set(taken)]
        return LearnerData(
            labelled=self.examples(taken),
            unlabelled=self.examples(rest, labels=False),
            validation=self.examples(()),
            reference=self.examples(self.reference),
        )

    def learner(self, auxiliaries: tuple[Auxiliary, ...] = ()) -> Learner:
        """A learner that was trained once, with these heads."""
        if auxiliaries not in self._learners:
            learner = self._learners[auxiliaries] = self.make_learner()
            learner.fit(self.data(), 0, auxiliaries=auxiliaries)
        return self._learners[auxiliaries]

    def lacks(self, strategy: Strategy) -> str:
        """Why a strategy cannot work here; "" where it can."""
        signals = [signal for step in strategy.steps() for signal in step.needs.signals]
        if any(isinstance(signal, Probe) and "test" in signal.prepared_from for signal in signals):
            return "there are no test images here"
        try:
            offer = Offer(self.learner(strategy.auxiliaries()), frozen=True, held_back=True, validation=False)
            offer.check([strategy])
        except UnmetNeed as error:
            return str(error)
        return ""

    def collected(self, signal: Signal, auxiliaries: tuple[Auxiliary, ...] = ()) -> Tensor | Rows:
        """Rows of all items: (N, ...), or of different lengths."""
        key = (signal, auxiliaries)
        if key not in self._collected:
            everything = range(len(self.source.ids))
            view = self.examples(everything, labels=read_targets([signal]))
            if signal.of == "frozen":
                table = self.frozen.collect(view, frozenset({signal}))
            else:
                table = self.learner(auxiliaries).collect(view, frozenset({signal}), data=self.data())
            column = table.columns[signal]
            if isinstance(column, tuple):
                self._collected[key] = Rows(*(torch.from_numpy(np.array(part)) for part in column))
            else:
                self._collected[key] = signal.settle(torch.from_numpy(np.array(column)))
        return self._collected[key]

    # ---- choosing ---------------------------------------------------------------------------------------------------

    def query(self, strategy: Strategy, labelled: Sequence[int], budget: int, seed: int = 0) -> Query:
        """What a strategy is asked when these items have a label."""
        taken = torch.tensor(sorted(labelled), dtype=torch.int64)
        free = sorted({*self.pool} - {*labelled})
        reference_R = torch.tensor(self.reference, dtype=torch.int64)
        labels_N = self.labels_N
        return Query(
            labelled_L=taken,
            unlabelled_M=torch.tensor(free, dtype=torch.int64),
            budget=budget,
            rng=generator(seed, "select", 0),
            reference_R=reference_R,
            labels_L=None if labels_N is None else labels_N[taken],
            labels_R=None if labels_N is None else labels_N[reference_R],
            class_counts_C=self.counts_NC[taken].sum(0),
            cost_N=torch.ones(len(self.source.ids)),
            truth_N=labels_N if strategy.oracle else None,
            head=self.learner(strategy.auxiliaries()).linear_head(),
        )

    def run(self, strategy: Strategy, labelled: Sequence[int], budget: int, seed: int = 0) -> Selection:
        """What it chooses, checked as a campaign checks it."""
        rows = CollectedRows(self, strategy.auxiliaries())

        def collect(step: Step, query: Query) -> Collected:
            return Collected(rows, query.unlabelled_M, query.labelled_L, query.reference_R)

        return run_steps(strategy, self.query(strategy, labelled, budget, seed), collect)

    def campaign(
        self,
        folder: Path,
        learner: Learner,
        labelled: Sequence[int] = (),
        *,
        broken: Sequence[int] = (),
        order: Sequence[str] | None = None,
    ) -> Campaign:
        """A simulated campaign over these images.

        Args:
            folder: for its state.
            learner: trained or not.
            labelled: positions that have a label.
            broken: positions of images that cannot be read.
            order: in which items are registered; None: as they come.
        """
        source = Broken(self.source, self.ids(broken)) if len(broken) else self.source
        frozen = FeatureSource(self.frozen.backbone, SignalCache(None)) if len(broken) else self.frozen
        store = Store(folder, create=True)
        known = [item for item in self.source.ids if self.source.roles.get(item, "pool") != "pool"]
        events: list[Event] = [added(source, item) for item in order or source.ids]
        store.append([*events, *(Labelled(item, source.truth[item]) for item in [*known, *self.ids(labelled)])])
        cache = SignalCache(folder / "signals")
        setting = Setting(source, learner.task, learner, cache, folder / "fits", frozen, truth=source.truth)
        return Campaign(store, setting)


@dataclass(frozen=True)
class CollectedRows:
    """Signals of a world, as a query reads them."""

    world: World
    auxiliaries: tuple[Auxiliary, ...]

    def matrix(self, signal: Signal) -> Tensor:
        """Rows of one shape."""
        found = self.world.collected(signal, self.auxiliaries)
        assert isinstance(found, Tensor), f"{signal!r} has rows of different lengths: read them with pool_rows"
        return found

    def ragged(self, signal: Signal) -> Rows:
        """Rows of different lengths."""
        found = self.world.collected(signal, self.auxiliaries)
        assert isinstance(found, Rows), f"{signal!r} has one row for each item: read it with pool"
        return found


class Broken(View):
    """A source some of whose images cannot be read."""

    def __init__(self, source: Source, broken: Sequence[str]) -> None:
        super().__init__(source)
        self._broken = set(broken)

    def load(self, item_id: str) -> Any:
        """As the original, unless it is broken."""
        if item_id in self._broken:
            raise DataError(f"{item_id!r} is truncated")
        return self.source.load(item_id)

    def batch(self, item_ids: Sequence[str]) -> None:
        """Each image by itself."""

    def content(self, item_ids: Sequence[str]) -> list[str]:
        """Digests; "" of what is broken."""
        found = zip(item_ids, self.source.content(item_ids), strict=True)
        return ["" if item in self._broken else content for item, content in found]


class _Net(nn.Module):
    """A convolution with batch norm, dropout and two linear layers."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.pool = nn.MaxPool2d(4)
        self.hidden = nn.Linear(6 * 16, 12)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(12, classes)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.pool(F.relu(self.norm(self.conv(images))))
        scores: Tensor = self.head(self.drop(F.relu(self.hidden(maps.flatten(1)))))
        return scores


def digits(count: int = 66, *, reference: int = 6) -> ArraySource:
    """Handwritten digits of 16 x 16 pixels; the last ones are no part of the pool but the reference set."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = (np.kron(data.images[:count], np.ones((1, 2, 2))) * (255 / 16)).round().astype(np.uint8)[..., None]
    names = [f"img/{number:04d}.png" for number in range(count)]
    roles: dict[str, Role] = dict.fromkeys(names[count - reference :], "reference")
    return ArraySource(images, data.target[:count], classes=tuple("0123456789"), ids=names, roles=roles)


@cache
def digits_world() -> World:
    """Classification of 60 handwritten digits and 6 in the reference set, by a network of a thousand weights."""
    source = digits()
    task = Classification(tuple("0123456789"), InputSpec((16, 16), 1), "none")
    phases = (Phase(epochs=2, batch_size=16, lr=3e-3),)
    return World(source, lambda: TorchLearner(task, _Net, phases=phases), pixels(source))


def pixels(source: Source) -> FeatureSource:
    """The simplest frozen features: a few principal axes of the pixels of the pool."""
    backbone = Pixels(side=8, axes=8, channels=1)
    pool = tuple(item for item in source.ids if source.roles.get(item, "pool") == "pool")
    backbone.prepare(Examples(source, pool))
    return FeatureSource(backbone, SignalCache(None))
