"""Key points of one subject an image; the unit is one point of one image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn

from labelwise.contracts.chance import Chance
from labelwise.contracts.input import InputSpec
from labelwise.contracts.learner import Examples, Phase
from labelwise.contracts.losses import Losses
from labelwise.contracts.targets import Pose
from labelwise.contracts.task import Batch, Field, Json, Metrics, Outputs, Prediction, Task
from labelwise.data import augment, augment_points
from labelwise.data.pose_labels import pose_of, raw_of_pose
from labelwise.errors import ConfigError, UnmetNeed, brief
from labelwise.kinds.points import Points
from labelwise.kinds.subjects import in_image
from labelwise.learners.gathered import Told
from labelwise.learners.imported_points import ImportedPoints, of_points
from labelwise.models import heat_maps
from labelwise.models.segmenters import said_of
from labelwise.models.trunks import with_known_trunk
from labelwise.signals.units import Units
from labelwise.tasks.keypoints_metrics import KeypointMetrics, Near, near_of, usual_places

if TYPE_CHECKING:
    from labelwise.contracts.kind import Naming
    from labelwise.contracts.learner import Learner
    from labelwise.contracts.record import Record
    from labelwise.contracts.source import Source

#: how many peaks of a map are told apart
PEAKS = 4
#: half the side of a peak's window, in standard deviations of the bell
_HOLDS = 2
#: what the points of the upper half of a body are called
_UPPER = ("nose", "eye", "ear", "shoulder", "elbow", "wrist")


@dataclass(frozen=True)
class Keypoints(Task[Pose]):
    """Places of named points on the one subject of each image, by heat maps.

    A raw label is ``{"size": [width, height], "objects": [{"class": NAME, "points": [[x, y, seen], ...]}]}`` in pixels
    of the original image, with one object that has points at most; ``seen`` is 2 for a visible point, 1 for a hidden
    one and 0 for one that lies outside or was not marked. Visible and hidden points are learnt.

    Units of the outputs are points: of each image all of them, in their order. The classes of a unit are the four
    highest peaks of its map and twelve places elsewhere that share the rest, so that every measure of uncertainty says
    how far the map is from one sure place; entropy then is the multiple-peak entropy of Liu and Ferrari, "Active
    Learning for Human Pose Estimation", ICCV 2017, with the mass in a window around a peak in place of its height.
    Stochastic passes, changed views and the members of an ensemble judge the peaks of the first pass.

    Args:
        classes: what the subjects are; one name.
        points: names of the points, in the order of labels that name none.
        pairs: names of points that change places in a mirror image; None: those that say left and right.
        limbs: pairs of points that lie in one rigid part, as the skeleton of labels has them.
        input: how images become model input; points need no change when an image is squeezed.
        augment: what training adds: ``none``, ``flip`` (a mirror image half of the time), ``turn`` (a turn of up to
            ``degrees``, a factor of 0.75 to 1.33, a move of up to a tenth of the sides, contrast and brightness) or
            ``all`` (both).
        degrees: largest turn to either side.
        half_body: share of the training images that are cut to one half of the subject before they are turned.
        half: names of the points of that one half; the others are the other half. (): those called nose, eye, ear,
            shoulder, elbow or wrist.
        by: the loss: ``divergence`` of the softmax over cells from a bell around the point, or ``squares`` of what the
            map differs from the bell, as published; the latter needs long trainings (of few steps it learns nothing).
        sigma: standard deviation of the bell, in cells of the map.
        flip_test: whether maps are averaged with those of the mirror image; twice the time.
        within: pixels of the original image within which a point counts as found.
        share: of a reference length within which it does, for ``pck_share``.
        reference: the two points whose distance is that length; (): the longer side of the subject's box.
        sigmas: of OKS: one for each point, or one for all; (): COCO's where there are 17 points, else 0.06.
        confident: lowest mass of a point's highest peak in a prediction; below it the point counts as not seen.

    Raises:
        ConfigError: a name twice, a left point without its right one where images are
            mirrored, or a number out of its range.

    Example:
        >>> task = Keypoints(("mouse",), ("nose", "tail"))
        >>> raw = {"size": [64, 48], "objects": [{"class": "mouse", "points": [[16, 24, 2], [0, 0, 0]]}]}
        >>> pose = task.load(raw)
        >>> pose.points_K2.tolist(), pose.seen_K.tolist(), task.dump(pose) == raw
        ([[0.25, 0.5], [0.0, 0.0]], [2, 0], True)
    """

    name: ClassVar[str] = "keypoints"
    kind: ClassVar[Points] = Points()
    provides: ClassVar[frozenset[Field]] = frozenset(
        {"probs", "embedding", "map_embedding", "unit_embedding", "points", "scores"}
    )
    #: thirty epochs, of few labels as many as make 300 steps; the weights are averages over about a tenth of the steps
    phases: ClassVar[tuple[Phase, ...]] = (
        Phase(epochs=30, batch_size=8, min_steps=300, max_steps=20_000, lr=3e-3, schedule="onecycle", average=0.1),
    )
    #: maps of all points and the maps of a full-size network are in memory at once
    inference_pixels: ClassVar[int] = 1 << 19
    classes: tuple[str, ...]
    points: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] | None = None
    limbs: tuple[tuple[str, str], ...] = ()
    input: InputSpec = field(default_factory=lambda: InputSpec((192, 256)))
    augment: Literal["none", "flip", "turn", "all"] = "all"
    degrees: float = 30.0
    half_body: float = 0.0
    half: tuple[str, ...] = ()
    by: Literal["divergence", "squares"] = "divergence"
    sigma: float = 1.5
    flip_test: bool = False
    within: float = 10.0
    share: float = 0.2
    reference: tuple[str, ...] = ()
    sigmas: tuple[float, ...] = ()
    confident: float = 0.3

    def __post_init__(self) -> None:
        _check_numbers(self.points, sigma=self.sigma, within=self.within, share=self.share, confident=self.confident)
        _check_limbs(self.limbs, self.points)
        _half_of(self.half, self.points, self.half_body, self.augment)
        if self.input.crop != 1:
            raise ConfigError("a central crop would cut points off: set crop: 1")
        if self.augment in ("flip", "all") or self.flip_test:
            augment_points.mirrored_order(self.points, self.pairs)
        self.near  # noqa: B018 - says what is wrong with it

    @property
    def _named(self) -> tuple[str, ...]:
        """The points, of a task that knows them: one is made before its labels are, too.

        Raises:
            ConfigError: it does not, or subjects are of several classes.
        """
        if not self.points:
            raise ConfigError("keypoints needs the names of the points: task: {name: keypoints, points: [nose, tail]}")
        if len(self.classes) != 1:
            raise ConfigError(
                f"keypoints are those of one class of subjects, got {len(self.classes)}: leave the others out"
            )
        return self.points

    @property
    def near(self) -> Near:
        """What counts as found."""
        return near_of(self.points, self.within, self.share, self.reference, self.sigmas)

    @property
    def outcomes(self) -> int:
        """The peaks of a map, and places elsewhere."""
        return PEAKS + heat_maps.ELSEWHERE

    @property
    def _order(self) -> tuple[int, ...]:
        return augment_points.mirrored_order(self.points, self.pairs)

    @property
    def _radius(self) -> int:
        return round(_HOLDS * self.sigma)

    # ---- labels -----------------------------------------------------------------------------------------------------

    def load(self, raw: Json) -> Pose:
        """The points of a raw label; those that lie outside the image are not seen.

        Raises:
            DataError: something that is no label, other points than the task's, or more than one subject.
        """
        if isinstance(raw, Pose):
            return raw
        self.kind.check(raw, self.classes, None)
        height, width = self.input.size
        return pose_of(raw, self._named, width / height)

    def dump(self, target: Pose) -> Json:
        """The raw form in pixels; to the digit what it was loaded from."""
        return raw_of_pose(target, self.classes[0], self.points)

    def collate(self, targets: Sequence[Pose]) -> Tensor:
        """(B, K, 3): x and y in fractions, and 1 where the point is learnt, else 0."""
        rows = [torch.cat([pose.points_K2, pose.known_K[:, None].float()], 1) for pose in targets]
        return torch.stack(rows)

    # ---- training ---------------------------------------------------------------------------------------------------

    def batch(
        self, images: Tensor, targets: Sequence[Pose] | None, *, train: bool, rng: torch.Generator | None = None
    ) -> Batch:
        """Normalised images with their points, changed at random when ``train``."""
        images = self.input.normalise(images)
        points_BK3 = None if targets is None else self.collate(targets).to(images.device)
        if train:
            images, points_BK3 = _augmented(self, images, points_BK3, rng)
        return Batch(images, points_BK3)

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        """How far the map of each known point is from a bell around it; an image's norm is how many it has."""
        maps_BKHW = said_of(model, batch.images, len(self.points), enlarged=False).logits_BCHW
        lost = heat_maps.divergence if self.by == "divergence" else heat_maps.squares
        points_BK2, known_BK = batch.targets[..., :2], batch.targets[..., 2] > 0
        return {self.by: lost(maps_BKHW, points_BK2.to(maps_BKHW), known_BK, self.sigma)}

    # ---- outputs ----------------------------------------------------------------------------------------------------

    def outputs(self, model: nn.Module, batch: Batch, want: frozenset[Field]) -> Outputs:
        """Masses of the peaks of each point, and ``points`` (U, 2): the highest ones in fractions.

        ``cells`` (U, 4) are the peaks, by which later passes judge the same ones, ``scores`` (U,) the masses of the
        highest; on demand ``embedding`` (B, D), the mean over places of the last map of the encoder,
        ``map_embedding`` (B, D, h, w), that map, and ``unit_embedding`` (U, D), that map at each point.
        """
        maps = bool(want & {"embedding", "map_embedding", "unit_embedding"})
        logits_BKHW, maps_BDHW = self._said(model, batch.images, maps=maps)
        probs_UHW = heat_maps.over_cells(logits_BKHW).flatten(0, 1)
        cells_UP = heat_maps.peaks(probs_UHW, PEAKS, self._radius)
        points_BK2 = heat_maps.decoded(logits_BKHW)
        masses_UC = heat_maps.spread(heat_maps.masses(probs_UHW, cells_UP, self._radius))
        extra: dict[Field, Tensor] = {"points": points_BK2.flatten(0, 1), "cells": cells_UP, "scores": masses_UC[:, 0]}
        if "embedding" in want and maps_BDHW is not None:
            extra["embedding"] = maps_BDHW.mean((2, 3))
        if "map_embedding" in want and maps_BDHW is not None:
            extra["map_embedding"] = maps_BDHW
        if "unit_embedding" in want and maps_BDHW is not None:
            extra["unit_embedding"] = heat_maps.at_points(maps_BDHW, points_BK2).flatten(0, 1)
        item_U = torch.arange(len(batch), device=probs_UHW.device).repeat_interleave(len(self.points))
        return Outputs(len(batch), item_U, masses_UC, extra=extra)

    def redrawn(self, model: nn.Module, batch: Batch, first: Outputs, want: frozenset[Field]) -> Outputs:
        """What the model says now of the peaks of the first pass; a changed view is laid back onto the image.

        ``points`` and ``cells`` stay those of the first pass.
        """
        logits_BKHW, _ = self._said(model, batch.images)
        probs_BKHW = heat_maps.over_cells(logits_BKHW)
        if batch.moved is not None:
            if torch.linalg.det(batch.moved[:, :2].double()) < 0:  # a mirror image
                probs_BKHW = probs_BKHW[:, list(self._order)]
            back_BKHW, shown_HW = augment.laid_back(probs_BKHW, batch.moved)
            probs_BKHW = back_BKHW * shown_HW
            # what the view does not show lies elsewhere; what overlaps it is no more than all there is
            probs_BKHW = probs_BKHW / probs_BKHW.sum((2, 3), keepdim=True).clamp_min(1)
        masses_UC = heat_maps.masses(probs_BKHW.flatten(0, 1), first.extra["cells"], self._radius)
        return replace(first, probs_UC=heat_maps.spread(masses_UC))

    def _said(self, model: nn.Module, images: Tensor, *, maps: bool = False) -> tuple[Tensor, Tensor | None]:
        """Logits over the cells of each map, and the encoder's last map where that is wanted."""
        said = said_of(model, images, len(self.points), maps=maps, enlarged=False)
        logits_BKHW = self._logits(said.logits_BCHW)
        if self.flip_test:
            turned = said_of(model, images.flip(-1), len(self.points), enlarged=False).logits_BCHW
            turned = self._logits(turned).flip(-1)[:, list(self._order)]
            both = heat_maps.over_cells(logits_BKHW) + heat_maps.over_cells(turned)
            logits_BKHW = (both / 2).clamp_min(torch.finfo(both.dtype).tiny).log()
        return logits_BKHW, said.maps_BDHW

    def _logits(self, maps_BKHW: Tensor) -> Tensor:
        return maps_BKHW if self.by == "divergence" else heat_maps.log_of_squares(maps_BKHW)

    def predictions(self, outputs: Outputs, confident: float | None = None) -> list[Prediction[Pose]]:
        """Each point at its highest peak, with its mass as score; the score of an image is the mean of theirs.

        ``size`` is that of the model's input.
        """
        lowest = self.confident if confident is None else confident
        (height, width), count = self.input.size, len(self.points)
        points_BK2 = outputs.extra["points"].float().view(outputs.size, count, 2)
        scores_BK = outputs.probs_UC[:, 0].float().nan_to_num(0).clamp(0, 1).view(outputs.size, count)
        found = []
        for points_K2, scores_K in zip(points_BK2, scores_BK, strict=True):
            finite_K = torch.isfinite(points_K2).all(1)
            seen_K = torch.where(finite_K & (scores_K >= lowest), 2, 0)
            pose = Pose(points_K2.nan_to_num(0), seen_K, (width, height), scores_K=scores_K)
            found.append(Prediction(pose, float(scores_K.mean())))
        return found

    def guesses(self, learner: Learner, source: Source, ids: Sequence[str]) -> Iterator[tuple[str, Json]]:
        """The points of each image with how sure the model is of them.

        Raises:
            UnmetNeed: the learner finds no points.
        """
        signals = {name: Units(name) for name in ("points", "probs")}
        if learner.weights is None:
            return
        if not all(signal.fields <= learner.provides for signal in signals.values()):
            raise UnmetNeed("the learner finds no points that could be offered to people: leave the predictions out")
        table = learner.collect(Examples(source, tuple(ids)), frozenset(signals.values()))
        (points_U2, offsets), (probs_UC, _) = (table.ragged(signals[name]) for name in ("points", "probs"))
        for row, item in enumerate(table.ids):
            rows = slice(offsets[row], offsets[row + 1])
            points_K2, probs_KC = torch.as_tensor(points_U2[rows]), torch.as_tensor(probs_UC[rows])
            said = Outputs(1, torch.zeros(len(points_K2), dtype=torch.int64), probs_KC, extra={"points": points_K2})
            found, size, window = self.predictions(said)[0].target, source.size(item), source.window(item)
            if window is None:
                yield item, self.dump(replace(found, size=size))
            else:
                yield item, in_image(self.dump(replace(found, size=window[2:])), window, size)

    def imported(
        self,
        found: Iterable[tuple[str, Record]],
        naming: Naming,
        ids: Sequence[str],
        size_of: Callable[[str], tuple[int, int] | None] = lambda item: None,
    ) -> ImportedPoints:
        """A learner of places with confidences; see :func:`labelwise.learners.imported_points.of_points`."""
        return of_points(replace(self, points=self._named), Told(found, naming, ids, size_of))

    def metrics(self) -> Metrics:
        """Shares of points near enough, and average precision over OKS."""
        return KeypointMetrics(self._named, self.near)

    def chance(self, targets: Iterable[Pose]) -> Chance | None:
        """What each point at the middle of its places reaches."""
        return usual_places(self.points, self.near, targets)

    # ---- networks ---------------------------------------------------------------------------------------------------

    @property
    def default_name(self) -> str:
        """The small encoder-decoder, on a trunk that has seen photographs where one is installed."""
        return with_known_trunk("unet", self.input)

    @classmethod
    def model_names(cls) -> list[str]:
        """The small net, simple baselines and HRNet."""
        from labelwise.models.pose import POSE_NETS

        return list(POSE_NETS)

    def named_model(self, name: str, weights: str | None = None) -> nn.Module:
        """A network by name; see ``labelwise.models.pose.build_pose_net``."""
        from labelwise.models.pose import build_pose_net

        return build_pose_net(name, len(self._named), self.input, weights=weights)


def _augmented(
    task: Keypoints, images: Tensor, points_BK3: Tensor | None, rng: torch.Generator | None
) -> tuple[Tensor, Tensor | None]:
    """Images as training sees them, with their points."""
    if task.augment in ("flip", "all"):
        order = augment_points.mirrored_order(task.points, task.pairs)
        images, points_BK3 = augment_points.flipped_points(images, points_BK3, order, rng)
    if task.augment in ("turn", "all"):
        closer_B3 = None
        if task.half_body and points_BK3 is not None:
            half_K = _half_of(task.half, task.points, task.half_body, task.augment)
            closer_B3 = augment_points.half_bodies(points_BK3, half_K, task.half_body, rng)
        images, points_BK3 = augment_points.turned_points(
            images, points_BK3, rng, degrees=task.degrees, closer_B3=closer_B3
        )
        images = augment.recoloured(images, rng)
    return images, points_BK3


def _check_limbs(limbs: Sequence[Sequence[str]], points: Sequence[str]) -> None:
    for limb in limbs:
        if len(limb) != 2 or limb[0] == limb[1] or any(end not in points for end in limb):
            raise ConfigError(
                f"limbs has {brief(list(limb), 60)}: give pairs of two points out of {brief(list(points), 150)}"
            )


def _half_of(half: Sequence[str], points: Sequence[str], share: float, augment: str) -> list[bool]:
    """Which points are of the one half.

    Raises:
        ConfigError: a share that is none, names that no point has, or halves of which one is empty.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"half_body is {share}: give a share of the training images, from 0 to 1")
    if share and augment not in ("turn", "all"):
        raise ConfigError(f"half bodies are cut where images are turned: set augment to turn or all, got {augment}")
    if unknown := [name for name in half if points and name not in points]:
        raise ConfigError(f"half has {brief(unknown, 60)}: give names out of {brief(list(points), 150)}")
    found = [name in half if half else name.lower().endswith(_UPPER) for name in points]
    if share and points and len(set(found)) < 2:
        raise ConfigError(
            "half_body needs the points of one half of the subject: half: [NAME, ...], some of "
            f"{brief(list(points), 150)}, not all"
        )
    return found


def _check_numbers(points: Sequence[str], *, confident: float, **above_zero: float) -> None:
    twice = [name for name in points if points.count(name) > 1]
    if twice:
        raise ConfigError(f"point {twice[0]!r} is listed twice: names of points must differ")
    for name, value in above_zero.items():
        if not value > 0:
            raise ConfigError(f"{name} is {value}: give a number above 0")
    if not 0 <= confident <= 1:
        raise ConfigError(f"confident is {confident}: give a number from 0 to 1")
