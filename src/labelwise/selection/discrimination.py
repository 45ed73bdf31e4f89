"""Candidates that a small net takes for unlabelled: discriminative active learning on rows of features.

Dimension key: N pool, L labelled, M candidates drawn, A both together, D features, B batch, K picks.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelwise.errors import ConfigError, DataError
from labelwise.selection.arrays import ArrayLike, as_matrix, as_positions, block_rows, check_budget, free_candidates
from labelwise.selection.progress import report
from labelwise.selection.ranking import take_top

#: logits of the net
UNLABELLED, LABELLED = 0, 1

#: share of each kind that is held out to see whether the kinds can be told apart
_HELD_OUT = 0.2

#: a loss that is not this share below what it was has stopped falling
_FALL = 0.02

#: steps of an epoch, at least, where batches hold as many of both kinds
_STEPS = 5


@dataclass(frozen=True)
class Settings:
    """How picks are made by nets that tell labelled from unlabelled rows, a fresh one for every sub-batch.

    Args:
        sub_batches: of equal size; the last is smaller where they do not divide the budget.
        candidates: drawn for a sub-batch, as a multiple of the rows that are labelled at the start, or of the sub-batch
            where that is more; None: all.
        standardise: each feature minus its mean, by its deviation.
        hidden: layers of the net before the last.
        rate: of Adam; None: one by the width of the net, 0.004 at 256, at most 0.02.
        batch_size: rows of a step.
        halves: half of them labelled, half not (the fewer come more often), where kinds are to weigh alike; False: both
            kinds as they come.
        weighted: both kinds weigh alike in the loss, however many there are of each; False: every row does.
        accuracy: a net stops learning once this share of all rows is told right, counted while they are learnt from:
            after each epoch, over it; where batches are halves after each step, over a quarter of an epoch.
        epochs: at most; one shows every row of the larger kind once.
        patience: it also stops where so many epochs brought no loss 2 % below the lowest of before; None: it does not.

    Raises:
        ConfigError: a value out of its range.
    """

    sub_batches: int = 10
    candidates: int | None = 10
    standardise: bool = True
    hidden: int = 1
    rate: float | None = None
    batch_size: int = 512
    halves: bool = True
    weighted: bool = True
    accuracy: float = 0.982
    epochs: int = 100
    patience: int | None = 3

    def __post_init__(self) -> None:
        for name in ("sub_batches", "candidates", "batch_size", "epochs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1")
        if not 0 < self.accuracy <= 1:
            raise ConfigError(f"accuracy is {self.accuracy}; it must be above 0 and at most 1")


#: as published by SuperAnnotate: https://github.com/superannotateai/active_learning
PUBLISHED = Settings(standardise=False, hidden=3, rate=3e-4, batch_size=128, halves=False, epochs=500, patience=None)


@dataclass(frozen=True)
class Turn:
    """How one sub-batch went.

    Args:
        drawn: candidates.
        epochs: of the training; a fraction where it stopped inside one.
        accuracy: share of all rows told right while they were learnt from, over what the stop rule counts.
        reached: whether that was enough; False: the loss had stopped falling, or the epochs were at an end.
    """

    drawn: int
    epochs: float
    accuracy: float
    reached: bool


@dataclass(frozen=True)
class Apart:
    """Whether the two kinds can be told apart: by a net like those that choose, on rows that it has not seen.

    Args:
        pairs: of a labelled and an unlabelled row, the share that the net puts in the right order (the area under the
            ROC curve): picks go by that order, and a net that calls every row it has not seen unlabelled may still know
            it. 0.5 is chance.
        labelled: rows held out.
        unlabelled: the same of the candidates.
    """

    pairs: float
    labelled: int
    unlabelled: int

    @property
    def chance(self) -> bool:
        """Whether that is within two standard errors of chance."""
        error = math.sqrt((self.labelled + self.unlabelled + 1) / (12 * self.labelled * self.unlabelled))
        return self.pairs < 0.5 + 2 * error


@dataclass(frozen=True)
class Discriminated:
    """What was chosen.

    Args:
        rows_K: by sub-batch; within one, most unlabelled first.
        scores_K: probability of "unlabelled" by the net of its sub-batch.
        turns: one for each sub-batch.
        apart: whether the kinds could be told apart before the first pick; None where there is too little to hold out.
    """

    rows_K: Tensor
    scores_K: Tensor
    turns: tuple[Turn, ...]
    apart: Apart | None


def class_weights(labelled: int, unlabelled: int) -> tuple[float, float]:
    """Weights of an unlabelled and of a labelled row, such that both kinds weigh alike as a whole.

    Example:
        >>> class_weights(labelled=1, unlabelled=3)
        (0.25, 0.75)
    """
    both = labelled + unlabelled
    return labelled / both, unlabelled / both


def sub_batches(k: int, parts: int) -> list[int]:
    """Sizes of at most ``parts`` sub-batches of equal size; the last is smaller where they do not divide k.

    Example:
        >>> sub_batches(10, 4), sub_batches(3, 10)
        ([3, 3, 3, 1], [1, 1, 1])
    """
    size = max(1, math.ceil(k / parts))
    return [min(size, k - start) for start in range(0, k, size)]


def discriminate(
    features_ND: ArrayLike,
    k: int,
    *,
    labelled_L: ArrayLike,
    candidates_M: ArrayLike | None = None,
    settings: Settings | None = None,
    rng: np.random.Generator,
) -> Discriminated:
    """Choose k candidates in sub-batches, each the rows that a fresh net is surest are not labelled.

    For each sub-batch: draw candidates, train a net to tell them from what is labelled or was picked, take those with
    the highest probability of "unlabelled".

    Args:
        features_ND: one row per item.
        k: number of picks.
        labelled_L: positions of labelled rows, at least one.
        candidates_M: rows to choose from; None: all that are not labelled.
        settings: None: the default.
        rng: of all draws and of the nets' weights.

    Returns:
        Picks, scores, and how the trainings went.

    Raises:
        ConfigError: more picks than candidates, or nothing labelled.
        DataError: rows that are not finite.
        NonFiniteScore: a training diverged.

    Cost:
        a training for each sub-batch and one to see whether the kinds can be told apart. Memory: the rows of a
        sub-batch, labelled ones and candidates drawn, in float32.

    Example:
        >>> rows = torch.cat([torch.zeros(20, 2), torch.ones(20, 2)])
        >>> found = discriminate(rows, 4, labelled_L=torch.arange(10), rng=np.random.default_rng(0))
        >>> bool((found.rows_K >= 20).all())
        True
    """
    matrix_ND = as_matrix(features_ND)
    known_L = as_positions(labelled_L, len(matrix_ND), "labelled positions", device=matrix_ND.device)
    free_M = free_candidates(candidates_M, known_L, len(matrix_ND))
    check_budget(k, len(free_M))
    if not len(known_L):
        raise ConfigError("nothing is labelled: there is nothing to tell candidates from")
    # inference mode is left: its tensors take no part in a training
    with torch.inference_mode(False), torch.enable_grad():
        game = _Game(matrix_ND, known_L, free_M, settings or Settings(), rng)
        sizes = sub_batches(k, game.settings.sub_batches)
        chosen, scores, turns = [free_M[:0]], [torch.zeros(0, device=free_M.device)], []
        for number, size in enumerate(sizes):
            report("telling labelled from unlabelled", number, len(sizes))
            picks, scores_K, turn = game.turn(size)
            chosen.append(picks)
            scores.append(scores_K)
            turns.append(turn)
        # last, and on what was labelled at the start, so that no pick depends on it
        apart = game.apart(known_L, free_M) if turns else None
    return Discriminated(torch.cat(chosen), torch.cat(scores), tuple(turns), apart)


class _Game:
    """Rows with what is known of them, from sub-batch to sub-batch."""

    def __init__(
        self, matrix_ND: Tensor, known_L: Tensor, free_M: Tensor, settings: Settings, rng: np.random.Generator
    ) -> None:
        self.matrix_ND, self.settings, self.rng = matrix_ND, settings, rng
        self.known_L, self.free_M, self.start = known_L, free_M, len(known_L)
        self.mean_D, self.spread_D = _moments(matrix_ND, torch.cat([known_L, free_M]))

    def turn(self, size: int) -> tuple[Tensor, Tensor, Turn]:
        """The picks of one sub-batch: rows, scores, and how the training went."""
        drawn_M = self._drawn(self.free_M, size)
        rows_MD = self._rows(drawn_M)
        net, turn = train(self._rows(self.known_L), rows_MD, self.settings, self.rng)
        surplus_M = _surplus(net, rows_MD)
        best_K = take_top(surplus_M, size, rng=self.rng)
        picks_K = drawn_M[best_K]
        self.known_L = torch.cat([self.known_L, picks_K])
        self.free_M = self.free_M[~torch.isin(self.free_M, picks_K)]
        return picks_K, torch.sigmoid(surplus_M[best_K]), turn

    def apart(self, known_L: Tensor, free_M: Tensor) -> Apart | None:
        """How well a net tells rows of both kinds that were kept from it; None where there is too little to keep."""
        known_L, drawn_M = self._shuffled(known_L), self._drawn(free_M, 1)
        held = int(_HELD_OUT * len(known_L)), int(_HELD_OUT * len(drawn_M))
        if not min(held):
            return None
        kept = self._rows(known_L[held[0] :]), self._rows(drawn_M[held[1] :])
        net, _ = train(*kept, self.settings, self.rng)
        low_L = _surplus(net, self._rows(known_L[: held[0]])).sort().values
        high_M = _surplus(net, self._rows(drawn_M[: held[1]]))
        # a tie is half a pair
        below = torch.searchsorted(low_L, high_M) + torch.searchsorted(low_L, high_M, right=True)
        return Apart(float(below.double().mean()) / 2 / held[0], *held)

    def _drawn(self, free_M: Tensor, size: int) -> Tensor:
        multiple = self.settings.candidates
        return self._shuffled(free_M)[: None if multiple is None else multiple * max(self.start, size)]

    def _shuffled(self, places: Tensor) -> Tensor:
        return places[_order(len(places), self.rng, places.device)]

    def _rows(self, places: Tensor) -> Tensor:
        rows = self.matrix_ND[places].float()
        return (rows - self.mean_D) / self.spread_D if self.settings.standardise else rows


def _moments(matrix_ND: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each column over some rows; infinite where a column does not vary, which so becomes zero.

    Raises:
        DataError: rows that are not finite.
    """
    parts = torch.split(places, block_rows(matrix_ND))
    bad = torch.cat([part[~torch.isfinite(matrix_ND[part].float()).all(1)] for part in parts])
    if len(bad):
        raise DataError(
            f"{len(bad)} of {len(places)} feature rows hold NaN, infinity or numbers too large for float32 "
            f"(first positions: {bad[:5].tolist()}); mend or drop them"
        )
    mean_D = torch.stack([matrix_ND[part].double().sum(0) for part in parts]).sum(0) / len(places)
    squares = [(matrix_ND[part].double() - mean_D).square().sum(0) for part in parts]
    spread_D = (torch.stack(squares).sum(0) / len(places)).sqrt()
    # what rounding leaves of a constant column is no spread
    varies_D = spread_D > 1e-6 * mean_D.abs()
    return mean_D.float(), torch.where(varies_D, spread_D, torch.inf).float()


@torch.no_grad()
def _surplus(net: nn.Sequential, rows_BD: Tensor) -> Tensor:
    """How much more unlabelled than labelled: a difference of logits, which keeps apart what rounds to one."""
    logits_B2: Tensor = net(rows_BD)
    return logits_B2[:, UNLABELLED] - logits_B2[:, LABELLED]


def train(known_LD: Tensor, new_MD: Tensor, settings: Settings, rng: np.random.Generator) -> tuple[nn.Sequential, Turn]:
    """A net that has learnt to tell labelled rows from candidates, and how that went."""
    rows_AD, labelled = torch.cat([known_LD, new_MD]), len(known_LD)
    kind_A = torch.zeros(len(rows_AD), dtype=torch.int64, device=rows_AD.device)
    kind_A[:labelled] = LABELLED
    width = _width(rows_AD.shape[1])
    net = _net([rows_AD.shape[1], *[width] * settings.hidden, 2], rng).to(rows_AD.device)
    learner = torch.optim.Adam(net.parameters(), lr=settings.rate or min(0.02, 1 / width), fused=True)
    batches = _Batches(labelled, len(new_MD), settings, rng, rows_AD.device)
    watch = _Watch(labelled / len(rows_AD), batches, settings)
    for step, place_B in enumerate(batches, 1):
        kind_B = kind_A[place_B]
        logits_B2 = net(rows_AD[place_B])
        loss = F.cross_entropy(logits_B2, kind_B, weight=batches.weight_2)
        learner.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        learner.step()
        watch.saw(loss.detach(), logits_B2.detach().argmax(1) == kind_B, kind_B)
        if watch.over(step):
            break
    return net, Turn(len(new_MD), step / batches.steps, watch.accuracy, watch.reached)


class _Batches:
    """Places of the rows of one step after another; labelled rows come first."""

    def __init__(
        self, labelled: int, new: int, settings: Settings, rng: np.random.Generator, device: torch.device
    ) -> None:
        self.labelled, self.new, self.rng, self.device = labelled, new, rng, device
        larger, self.size = max(labelled, new), settings.batch_size
        self.halves = settings.halves and settings.weighted
        shown = labelled, new
        if self.halves:
            half = max(1, min(self.size // 2, math.ceil(larger / _STEPS)))
            self.steps = math.ceil(larger / half)
            shown = self.shown = min(labelled, half), min(new, half)
        else:
            self.steps = math.ceil((labelled + new) / self.size)
        self.weight_2 = torch.tensor(class_weights(*shown), device=device) if settings.weighted else None

    def __iter__(self) -> Iterator[Tensor]:
        if not self.halves:
            while True:
                yield from torch.split(_order(self.labelled + self.new, self.rng, self.device), self.size)
        known, new = (
            self._endless(count, shown) for count, shown in ((self.labelled, self.shown[0]), (self.new, self.shown[1]))
        )
        for known_B, new_B in zip(known, new, strict=True):
            yield torch.cat([known_B, new_B + self.labelled])

    def _endless(self, count: int, size: int) -> Iterator[Tensor]:
        """Parts of one random order after another, each going on into the next."""
        waiting = torch.empty(0, dtype=torch.int64, device=self.device)
        while True:
            while len(waiting) < size:
                waiting = torch.cat([waiting, _order(count, self.rng, self.device)])
            yield waiting[:size]
            waiting = waiting[size:]


class _Watch:
    """The stop rule."""

    def __init__(self, share: float, batches: _Batches, settings: Settings) -> None:
        self.share, self.steps, self.halves, self.settings = share, batches.steps, batches.halves, settings
        self.window = math.ceil(self.steps / 4) if self.halves else self.steps
        self.counts: deque[Tensor] = deque(maxlen=self.window)
        self.losses: deque[Tensor] = deque(maxlen=self.steps)
        self.epochs: list[float] = []
        self.accuracy, self.reached = 0.0, False

    def saw(self, loss: Tensor, right_B: Tensor, kind_B: Tensor) -> None:
        """One step."""
        labelled_B = kind_B == LABELLED
        right, labelled = right_B.sum(), labelled_B.sum()
        both = (right_B & labelled_B).sum()
        self.counts.append(torch.stack([right - both, len(kind_B) - labelled, both, labelled]))
        self.losses.append(loss)

    def over(self, step: int) -> bool:
        """Whether that was the last step."""
        ended = step % self.steps == 0
        if not ended and (not self.halves or step < self.window):
            return False
        new, of_new, known, of_known = torch.stack(tuple(self.counts)).sum(0).tolist()
        self.accuracy = (1 - self.share) * new / of_new + self.share * known / of_known
        self.reached = self.accuracy >= self.settings.accuracy
        if ended:
            self.epochs.append(float(torch.stack(tuple(self.losses)).mean()))
        return self.reached or (ended and (len(self.epochs) == self.settings.epochs or self._flat()))

    def _flat(self) -> bool:
        patience = self.settings.patience
        if patience is None or len(self.epochs) <= patience:
            return False
        return min(self.epochs[-patience:]) > (1 - _FALL) * min(self.epochs[:-patience])


def _order(count: int, rng: np.random.Generator, device: torch.device) -> Tensor:
    return torch.from_numpy(rng.permutation(count)).to(device)


def _width(features: int) -> int:
    """Of the hidden layers, as published."""
    return 20 if features < 30 else 256 if features <= 512 else 512


def _net(widths: list[int], rng: np.random.Generator) -> nn.Sequential:
    """A fresh net, weights as PyTorch begins linear layers, drawn from ``rng``."""
    draw = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layer: nn.Linear = nn.utils.skip_init(nn.Linear, before, after)  # type: ignore[no-untyped-call]
        for part in (layer.weight, layer.bias):
            nn.init.uniform_(part, -(before**-0.5), before**-0.5, generator=draw)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])
