"""A head beside the model learns to predict its loss, and the images it expects the highest of are asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelwise.contracts.learner import Auxiliary
from labelwise.contracts.losses import Losses
from labelwise.contracts.query import Query, Selection
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.selection.predicted_loss import divergence_loss, ranking_accuracy, ranking_loss
from labelwise.selection.ranking import take_top
from labelwise.selection.sampling import uniform
from labelwise.signals.plain import HeadOutput

Preset = Literal[
    "default", "faithful_classification", "faithful_detection", "faithful_segmentation", "faithful_keypoints"
]
Target = Literal["mean", "sum"]

SIGNAL = HeadOutput("learning_loss")


@dataclass(frozen=True)
class _Constants:
    """What a preset says where an option is left out."""

    grid: int = 1
    width: int = 128
    weight: float = 1.0
    detached_from: float = 0.0
    warm_up: float = 0.0
    target: Target = "mean"
    subpool: str | None = "10x"


PRESETS: dict[str, _Constants] = {
    "default": _Constants(subpool=None),
    "faithful_classification": _Constants(detached_from=0.6),
    "faithful_detection": _Constants(detached_from=1.0, target="sum"),
    "faithful_segmentation": _Constants(6, 256, 0.01, 0.6, 0.008, "sum"),
    "faithful_keypoints": _Constants(weight=1e-4, detached_from=0.75, subpool="5x"),
}


class LossPrediction(nn.Module):
    """The loss prediction module: each map is pooled and squeezed, all are joined, and one number comes out.

    ``v_j = relu(W_j flatten(pool(map_j)) + b_j)``, ``said = w concat(v_j) + c``, without norm or dropout.

    Args:
        widths: channels of each map, in their order.
        grid: cells that a map is pooled to, along each side; token sequences and vectors have none.
        width: numbers that each map is squeezed to.
    """

    def __init__(self, widths: Mapping[str, int], grid: int, width: int) -> None:
        super().__init__()
        self.grid = grid
        self.squeeze = nn.ModuleList(nn.Linear(channels * grid * grid, width) for channels in widths.values())
        self.join = nn.Linear(width * len(widths), 1)

    def forward(self, taps: Mapping[str, Tensor]) -> Tensor:
        """(B,) from maps (B, C, h, w), token sequences (B, T, D) or vectors (B, D)."""
        squeezed = [F.relu(linear(self._pooled(tap))) for linear, tap in zip(self.squeeze, taps.values(), strict=True)]
        return self.join(torch.cat(squeezed, dim=1))[:, 0]  # type: ignore[no-any-return]

    def _pooled(self, tap: Tensor) -> Tensor:
        if tap.dim() == 4:
            return tap.mean((2, 3)) if self.grid == 1 else F.adaptive_avg_pool2d(tap, self.grid).flatten(1)
        vector_BD = tap.mean(1) if tap.dim() == 3 else tap
        return vector_BD.repeat_interleave(self.grid * self.grid, dim=1)


@dataclass(frozen=True)
class PredictedLoss(Auxiliary):
    """The head of ``learning_loss``; see there for its options."""

    name: ClassVar[str] = "learning_loss"
    taps: tuple[str, ...] = ()
    grid: int = 1
    width: int = 128
    margin: float = 1.0
    scale: float = 1.0
    detached_from: float = 0.0
    warm_up: float = 0.0
    shown: Target = "mean"
    ranked: Literal["ranking", "kl"] = "ranking"

    def build(self, widths: Mapping[str, int]) -> nn.Module:
        """The loss prediction module."""
        return LossPrediction(widths, self.grid, self.width)

    def target(self, losses: Losses) -> Tensor:
        """(B,): each part by its own norm, or as it is."""
        return super().target(losses) if self.shown == "mean" else torch.stack([s for s, _ in losses.values()]).sum(0)

    def loss(self, head: nn.Module, taps: Mapping[str, Tensor], loss_B: Tensor, progress: float) -> Tensor:
        """Over pairs of images; zero for a single one."""
        said_B = self.read(head, taps)
        if said_B.shape != loss_B.shape:  # (B, 1) against (B,) would spread out, and rank nothing
            raise ValueError(f"the head says {tuple(said_B.shape)} of losses {tuple(loss_B.shape)}: a bug in it")
        if self.ranked == "kl":
            return divergence_loss(said_B, loss_B)
        return ranking_loss(said_B, loss_B, margin=self.margin)

    def read(self, head: nn.Module, taps: Mapping[str, Tensor]) -> Tensor:
        """(B,) predicted loss, in no unit: only its order means anything."""
        said_B: Tensor = head(taps)
        return said_B

    def weight(self, progress: float) -> float:
        """Nothing while the model warms up."""
        return 0.0 if progress < self.warm_up else self.scale

    def detach(self, progress: float) -> bool:
        """From a share of the training on."""
        return progress >= self.detached_from

    def measured(self, said_N: Tensor, loss_N: Tensor) -> Mapping[str, float]:
        """How many pairs of images it puts in the right order."""
        return {"ranking_accuracy": ranking_accuracy(said_N, loss_N)}


@dataclass(frozen=True)
class LearningLoss(Strategy):
    """The candidates of which a head beside the model predicts the highest loss.

    score = w concat_j relu(W_j pool(map_j) + b_j) + c, over maps of the model from fine to coarse. The head is trained
    with the model, on pairs of labelled images, to say which of the two has the higher loss; any task has a loss, so
    any kind of label will do. ``learning_loss_ranking_accuracy`` among the metrics of a round says how many pairs of
    test images it puts in the right order (0.5: none the better for it).

    By default the head is detached from the start: it changes nothing in the model, to the bit, so that its picks can
    be compared with those of every other method on the same weights. As published it trains the model as well: a gain
    is then partly one of training, and a study should judge the picks by a plain model too.

    Args:
        preset: ``default``, or the published constants for a task: ``faithful_classification``,
            ``faithful_detection``, ``faithful_segmentation``, ``faithful_keypoints``. They say ``grid``, ``width``,
            ``weight``, ``detached_from``, ``warm_up``, ``target`` and ``subpool`` where these are left out.
        taps: modules whose maps the head reads, as ``layer3``, ``stage3[1]``; (): of the modules that run once in a
            pass the widest map at each resolution, at most six. Of a ResNet these are its four stages, of SSD300 its
            six published maps.
        grid: cells that each map is pooled to along each side; 1, published for segmentation 6.
        width: numbers that each map is squeezed to; 128, published for segmentation 256.
        margin: by which the higher loss is to stand out; ``ranking`` only.
        weight: of the head's loss beside the task's; 1, published for segmentation 0.01, for key points 0.0001.
        detached_from: share of all training steps from which on the head's gradient is kept out of the model; 0 from
            the start, 1 never. Published: 0.6, for detection never, for key points 0.75.
        warm_up: share of all training steps without the head's loss; published for segmentation 0.008.
        target: which loss of an image it learns to rank: ``mean`` by the norm of each part (boxes, labelled pixels),
            ``sum`` as it is, so that many boxes or pixels count more. A sum over the pixels of images of one size ranks
            as the published mean over all of them.
        loss: ``ranking``, the hinge over pairs, or ``kl``, the divergence from the share of each in the pair's loss.
        subpool: candidates drawn at random that alone are scored: a number, or a multiple of the budget as "10x", as
            published (of key points 5x), against picks that are all alike; None scores all.

    Raises:
        UnmetNeed: the learner trains no head, or regions are asked for.
        NonFiniteScore: the training diverged.

    Cost: a few per cent of each training step; one pass over the candidates, O(M + K log K) to choose.

    Example:
        >>> LearningLoss(preset="faithful_segmentation").head.width
        256

    Reference:
        Yoo and Kweon, "Learning Loss for Active Learning", CVPR 2019; constants of classification and detection as
        there, those of segmentation and key points as in SuperAnnotate's ``active_learning``. ``loss="kl"`` after
        Shukla and Ahmed, "A Mathematical Analysis of Learning Loss for Active Learning in Regression", CVPR Workshops
        2021. We differ: by default the head is detached from the start and all candidates are scored, and the loss of
        an image is divided by its own number of boxes or labelled pixels; in every preset a pair whose loss is not
        finite is left out.
    """

    name: ClassVar[str] = "learning_loss"
    preset: Preset = "default"
    taps: tuple[str, ...] | list[str] = ()
    grid: int | None = None
    width: int | None = None
    margin: float = 1.0
    weight: float | None = None
    detached_from: float | None = None
    warm_up: float | None = None
    target: Target | None = None
    loss: Literal["ranking", "kl"] = "ranking"
    subpool: int | str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "taps", tuple(self.taps))
        head = self.head
        if head.grid < 1 or head.width < 1:
            raise ValueError(f"grid and width must be at least 1, got {head.grid} and {head.width}")
        for name, value in (("detached_from", head.detached_from), ("warm_up", head.warm_up)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is a share of the training, from 0 to 1, got {value}")
        if head.scale < 0 or head.margin < 0:
            raise ValueError(f"weight and margin must not be negative, got {head.scale} and {head.margin}")
        self._subpool(1)

    @property
    def head(self) -> PredictedLoss:
        """The head with all its options."""
        by = PRESETS[self.preset]
        return PredictedLoss(
            taps=tuple(self.taps),
            grid=by.grid if self.grid is None else self.grid,
            width=by.width if self.width is None else self.width,
            margin=self.margin,
            scale=by.weight if self.weight is None else self.weight,
            detached_from=by.detached_from if self.detached_from is None else self.detached_from,
            warm_up=by.warm_up if self.warm_up is None else self.warm_up,
            shown=by.target if self.target is None else self.target,
            ranked=self.loss,
        )

    @property
    def scored_by(self) -> HeadOutput:
        """What the module says."""
        return SIGNAL

    def auxiliaries(self) -> tuple[Auxiliary, ...]:
        """The loss prediction module."""
        return (self.head,)

    def steps(self) -> tuple[Step, ...]:
        """A random sub-pool first where one is asked for, so that only it is scored."""
        scored = Step(Needs(pool=frozenset({SIGNAL})), self._choose)
        return (scored,) if self._subpool(1) is None else (Step(Needs(), self._thin), scored)

    def _subpool(self, budget: int) -> int | None:
        """How many candidates are looked at; None for all."""
        wanted = PRESETS[self.preset].subpool if self.subpool is None else self.subpool
        if wanted is None or isinstance(wanted, int):
            if wanted is not None and wanted < 1:
                raise ValueError(f"subpool must be at least 1, got {wanted}")
            return wanted
        times = wanted.removesuffix("x")
        if times == wanted or not times.isdecimal() or not int(times):
            raise ValueError(f"subpool is {wanted!r}: give a number, or a multiple of the budget such as '10x'")
        return int(times) * budget

    def _thin(self, query: Query) -> Selection:
        keep = min(len(query.unlabelled_M), max(query.budget, self._subpool(query.budget) or 0))
        return Selection(uniform(query.unlabelled_M, keep, rng=query.rng))

    def _choose(self, query: Query) -> Selection:
        scores_M = query.pool(SIGNAL)
        chosen_K = take_top(scores_M, query.budget, rng=query.rng).cpu()
        return Selection(query.unlabelled_M[chosen_K], scores_M.cpu()[chosen_K])
