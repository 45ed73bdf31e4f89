"""Selections by size from frozen features: how many labels, which images, without a campaign.

Dimension key: N images that can be chosen, L chosen before, M not chosen, K picks, C classes, D features.

The number of labels is a *total* here. A size follows from the one before (nested), except for a method that chooses
each size anew.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from labelwise.contracts.progress import Progress, silent
from labelwise.contracts.query import Query, Selection
from labelwise.contracts.strategy import Collected, Step, Strategy, run_steps
from labelwise.direct.arrays import Arrays
from labelwise.direct.select import Held
from labelwise.errors import ConfigError, DataError, UnmetNeed, unknown
from labelwise.few_labels.faithful import FAITHFUL_HEAD, published_kmeans
from labelwise.few_labels.frozen import FrozenImages
from labelwise.learners.heads import Heads, Labels, LinearProtocol, fit_heads
from labelwise.rng import generator, seed_of
from labelwise.selection import progress as telling
from labelwise.signals.plain import Embedding
from labelwise.strategies import STRATEGIES

Preset = Literal["default", "faithful"]
Counting = Literal["total", "increment"]

PRESETS: tuple[Preset, ...] = ("default", "faithful")
# what can be read here: probabilities of the head, and the features
_AT_HAND = Arrays(torch.empty(0, 0), torch.empty(0, 0))
_CAMPAIGN = "choose another, or use it in a campaign ('labelwise init', 'labelwise compare' with rounds)"
#: these choose every size anew: k-means with as many clusters as labels
ONE_SHOT = frozenset({"kmeans"})
#: a number of ``--splits`` is a total for these, as in the published scripts; for all others it is an increment
TOTALS = frozenset({"random", "uniform", *ONE_SHOT})
#: how the first labels of those are chosen that do not choose them themselves; "random" for all that need a model
FIRST = {"accu_kmeans": "kmeans", "k_center": "random"}


@dataclass(frozen=True)
class Subset:
    """The images of one size, chosen to be labelled.

    Args:
        ids: in the order chosen; the labels that a size goes on from come first.
        nested: whether it holds the whole selection of the size before; found by looking. None for the first.
        coverage: per cent of the classes, NaN where labels are not known.
        seconds: what choosing took, trainings of a head included.
        notes: remarks for people.
    """

    ids: tuple[str, ...]
    nested: bool | None
    coverage: float
    seconds: float
    notes: tuple[str, ...] = ()


def counting_of(strategy: Strategy) -> Counting:
    """What a number of ``--splits`` means for this strategy."""
    return "total" if strategy.name in TOTALS else "increment"


def totals(strategy: Strategy, splits: Sequence[int], *, before: int = 0) -> tuple[int, ...]:
    """Label counts that ``splits`` stand for.

    Args:
        strategy: decides whether they are totals or increments.
        splits: positive, totals ascending.
        before: labels there are already.

    Raises:
        ConfigError: numbers that are not positive, or totals that do not ascend.

    Example:
        >>> totals(STRATEGIES.create("random"), [10, 20]), totals(STRATEGIES.create("k_center"), [10, 20], before=5)
        ((10, 20), (15, 35))
    """
    if not splits or min(splits) < 1:
        raise ConfigError(f"splits {list(splits)}: give one or more numbers of labels, each 1 or more")
    _check_before(strategy, before)
    if counting_of(strategy) == "increment":
        return tuple(before + total for total in itertools.accumulate(splits))
    if any(b <= a for a, b in itertools.pairwise([before, *splits])):
        raise ConfigError(
            f"splits {list(splits)} are totals for {strategy.name!r}"
            f"{f', beyond the {before} labels there are' if before else ''}: they have to ascend"
        )
    return tuple(splits)


@dataclass(frozen=True)
class Selector:
    """Chooses images by size from frozen features.

    Args:
        images: what can be chosen; all strategies see their rows at unit length.
        seed: of every draw; strategies of one seed that start at random start from the same images.
        preset: ``default``; or ``faithful``: the constants of the published k-means and max-entropy.
        head: how the head of a strategy that asks a model is trained in each round; None: as the preset says.
        progress: told on long work.
    """

    images: FrozenImages
    seed: int = 0
    preset: Preset = "default"
    head: LinearProtocol | None = None
    progress: Progress = silent

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise unknown("preset", self.preset, PRESETS)

    def choose(self, strategy: Strategy, sizes: Sequence[int], *, before: Sequence[str] = ()) -> list[Subset]:
        """One selection for each size: exactly as many images, none twice.

        Args:
            strategy: chooses.
            sizes: totals, ascending.
            before: ids that are labelled already; they count.

        Raises:
            ConfigError: more than there are, or labels to go on from for a strategy that chooses every size anew.
            UnmetNeed: the strategy needs what frozen features and a head on them cannot give.
            DataError: labels are needed and not known.
        """
        self.check(strategy, sizes, before=before)
        found: list[Subset] = []
        for size in sizes:
            found.append(self.one(strategy, size, before=found[-1].ids if found else before))
        return found

    def one(self, strategy: Strategy, size: int, *, before: Sequence[str] = ()) -> Subset:
        """The selection of one size, after that of the size before it; see ``choose``."""
        started = time.perf_counter()
        one_shot = strategy.name in ONE_SHOT
        rows_L = self.images.rows_of(() if one_shot else before)
        with telling.listening(self.progress):
            first = first_of(strategy)
            chooser = strategy if len(rows_L) or first == strategy.name else STRATEGIES.create(first)
            selection = self._round(chooser, rows_L, size)
        rows_L = torch.cat([rows_L, selection.positions_K.cpu()])
        seconds = time.perf_counter() - started
        ids = tuple(self.images.ids[row] for row in rows_L.tolist())
        nested = set(before) <= set(ids) if before else None
        return Subset(ids, nested, self.images.coverage(rows_L), seconds, selection.notes)

    def check(self, strategy: Strategy, sizes: Sequence[int], *, before: Sequence[str] = ()) -> None:
        """Refuses what cannot be chosen, before anything takes long; errors as for ``choose``."""
        _check_before(strategy, len(before))
        if not sizes or list(sizes) != sorted(set(sizes)) or sizes[0] <= len(before):
            raise ConfigError(
                f"sizes {list(sizes)} with {len(before)} labels before: give ascending totals beyond those"
            )
        if sizes[-1] > len(self.images):
            raise ConfigError(f"{sizes[-1]} labels asked for, and there are {len(self.images)} images to choose from")
        needs_labels = strategy.oracle or _asks_a_model(strategy)
        if needs_labels and (not self.images.classes or bool((self.images.labels_N < 0).any())):
            what = "reads the labels of all images (an oracle)" if strategy.oracle else "trains on labels as it goes"
            raise DataError(f"{strategy.name!r} {what}, and not all are known: give labelled data, or another strategy")
        if strategy.auxiliaries():
            raise UnmetNeed(f"strategy {strategy.name!r} trains an extra head beside a network: {_CAMPAIGN}")
        for step in strategy.steps():
            for signal in step.needs.signals:
                try:
                    _AT_HAND.read_by(signal)
                except UnmetNeed:
                    raise UnmetNeed(
                        f"strategy {strategy.name!r} needs {signal.words}, which frozen features and a linear head do "
                        f"not give: {_CAMPAIGN}"
                    ) from None

    def _round(self, strategy: Strategy, rows_L: torch.Tensor, size: int) -> Selection:
        images, count = self.images, size - len(rows_L)
        if self.preset == "faithful" and strategy.name in ("kmeans", "accu_kmeans"):
            return Selection(published_kmeans(images.unit_ND, count, rows_L))
        free_N = torch.ones(len(images), dtype=torch.bool)
        free_N[rows_L] = False
        order = rows_L.argsort()
        labels_L = images.labels_N[rows_L][order]
        known = bool(images.classes) and bool((labels_L >= 0).all())
        model = self._fit(rows_L) if len(rows_L) and _asks_a_model(strategy) else None
        query = Query(
            labelled_L=rows_L[order],
            unlabelled_M=free_N.nonzero().squeeze(1),
            budget=count,
            rng=generator(self.seed, "select", size),
            labels_L=labels_L if known else None,
            class_counts_C=labels_L.bincount(minlength=len(images.classes)) if known and len(labels_L) else None,
            truth_N=images.labels_N if strategy.oracle else None,
            head=None if model is None else model.head(),
            round=int(len(rows_L) > 0),
        )
        probs_NC = None if model is None else model.logits(images.rows_ND).softmax(2)[0]
        arrays = Arrays(probs_NC, images.unit_ND)
        return run_steps(strategy, query, lambda step, now: _collected(arrays, step, now))

    def _fit(self, rows_L: torch.Tensor) -> Heads:
        faithful = self.preset == "faithful"
        how = self.head or (FAITHFUL_HEAD if faithful else LinearProtocol())
        labels = Labels(rows_L, self.images.labels_of(rows_L), seed_of(self.seed, "fit"))
        return fit_heads(self.images.rows_ND, [labels], len(self.images.classes), protocol=how)


def _check_before(strategy: Strategy, before: int) -> None:
    if before and strategy.name in ONE_SHOT:
        raise ConfigError(
            f"{strategy.name!r} chooses every size anew and cannot go on from {before} labels: use accu_kmeans"
        )


def first_of(strategy: Strategy) -> str:
    """What chooses the first labels: the strategy itself, where it needs none and nothing else was published.

    Strategies that act without labels as another (auto, uherding, tcm) begin here as they do in a project.
    """
    return FIRST.get(strategy.name, "random" if _asks_a_model(strategy) and not strategy.cold else strategy.name)


def _asks_a_model(strategy: Strategy) -> bool:
    """Whether it reads anything beyond features."""
    needs = [step.needs for step in strategy.steps()]
    return any(n.head or any(not isinstance(signal, Embedding) for signal in n.signals) for n in needs)


def _collected(arrays: Arrays, step: Step, query: Query) -> Collected:
    rows = Held({signal: arrays.matrix(signal) for signal in step.needs.signals})
    return Collected(rows, query.unlabelled_M, query.labelled_L, query.reference_R)
