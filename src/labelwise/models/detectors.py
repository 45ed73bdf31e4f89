"""What a detector is here: a network that gives losses of each image, boxes, or a second opinion on boxes.

Shape letters: B images, A places where a dense head speaks (anchors, cells), C classes, D features, G annotated
objects, U kept boxes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms, roi_align

from labelwise.contracts.losses import Losses
from labelwise.contracts.targets import Boxes


@dataclass(frozen=True)
class Keep:
    """Which boxes count as detected.

    Args:
        threshold: lowest score.
        overlap: intersection over union above which the weaker of two boxes of one class goes.
        top: most boxes of an image.
        candidates: boxes that are compared with each other.
    """

    threshold: float = 0.05
    overlap: float = 0.5
    top: int = 100
    candidates: int = 1000


@dataclass(frozen=True)
class Detections:
    """Kept boxes of a batch, flattened; by image, then from the highest score down.

    Args:
        item_U: int64 image of each box.
        boxes_U4: corners in fractions of the image's sides.
        scores_U: in [0, 1].
        labels_U: int64 class.
        probs_UC: class distribution of each box; of exclusive heads the last column is the background.
        place_U: where the detector read it, (U,) or (U, 4): what it needs for a second opinion.
        features_UD: the object as a vector.
        images_BD: the image as a vector.
        exclusive: rows of probs_UC are distributions (softmax with a background) and not one sigmoid for each class.
    """

    item_U: Tensor
    boxes_U4: Tensor
    scores_U: Tensor
    labels_U: Tensor
    probs_UC: Tensor
    place_U: Tensor
    features_UD: Tensor
    images_BD: Tensor
    exclusive: bool


class Detector(nn.Module, ABC):
    """A network that finds objects in images of one size, so that no image depends on its neighbours in a batch.

    Each place of a detector gives at most one box, for its likeliest class: two boxes never share a distribution.
    """

    #: softmax over classes and background (the last column), or one sigmoid for each class
    exclusive: ClassVar[bool]
    #: beginnings of the names of the parameters of its prediction layers; () where nobody said
    predicts: ClassVar[tuple[str, ...]] = ()

    def forward(
        self,
        images: Tensor,
        targets: Sequence[Boxes] | None = None,
        keep: Keep | None = None,
        at: Detections | None = None,
        moved: Tensor | None = None,
    ) -> Any:
        """Losses where there are targets, a second opinion (probs_UC, boxes_U4) where there are boxes, else detections.

        Args:
            images: (B, C, H, W), normalised.
            targets: what there is in each image; gives ``Losses``.
            keep: which boxes count as detected.
            at: boxes of an earlier pass to look at again.
            moved: (2, 3) where the pixels of ``images`` come from in the images that ``at`` speaks of, as
                ``affine_grid`` has it; None for the same pixels.
        """
        seen = self.see(images)
        if targets is not None:
            return self.losses(seen, targets)
        if at is not None:
            return self.read(seen, at, moved)
        return self.find(seen, keep or Keep())

    @abstractmethod
    def see(self, images: Tensor) -> Any:
        """What the network computes of images, before anybody asks for boxes."""

    @abstractmethod
    def losses(self, seen: Any, targets: Sequence[Boxes]) -> Losses:
        """Named parts of the loss, each (sum_B, norm_B)."""

    @abstractmethod
    def find(self, seen: Any, keep: Keep) -> Detections:
        """The boxes that count as detected."""

    @abstractmethod
    def read(self, seen: Any, at: Detections, moved: Tensor | None) -> tuple[Tensor, Tensor]:
        """(U, C) distributions and (U, 4) boxes at the places of these boxes."""


class SeenOnce(Detector):
    """A detector that looks at a batch of images once, however often it is asked about them.

    Args:
        detector: does the work; its mode stays as it is.
    """

    exclusive = False  # what is found says it

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector
        self.training = detector.training
        self._seen: tuple[Tensor, Any] | None = None

    def see(self, images: Tensor) -> Any:
        """What the detector computes, or has computed."""
        if self._seen is None or self._seen[0] is not images:
            self._seen = (images, self.detector.see(images))
        return self._seen[1]

    def losses(self, seen: Any, targets: Sequence[Boxes]) -> Losses:
        """The detector's."""
        return self.detector.losses(seen, targets)

    def find(self, seen: Any, keep: Keep) -> Detections:
        """The detector's."""
        return self.detector.find(seen, keep)

    def read(self, seen: Any, at: Detections, moved: Tensor | None) -> tuple[Tensor, Tensor]:
        """The detector's."""
        return self.detector.read(seen, at, moved)


def maps_of(found: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Maps of features by level, as a torchvision backbone gives them: several by name, or one."""
    return {"0": found} if isinstance(found, Tensor) else dict(found)


def background_last(logits: Tensor) -> Tensor:
    """Columns of a torchvision head, which has the background first, in the order used here."""
    return torch.cat([logits[..., 1:], logits[..., :1]], dim=-1)


@dataclass(frozen=True)
class Dense:
    """What a one-stage network says at each of its places.

    Args:
        logits_BAC: class scores.
        deltas_BA4: boxes in the code of the network.
        quality_BA: further logits that a score is made of; None where there are none.
        anchors_A4: box of each place in pixels of the input.
        levels: (height, width, places in a cell) of each map; places lie level by level, row by row, cell by cell.
        size: (height, width) of the input.
        objects: map that object vectors are averaged from, (B, D, h, w).
        images_BD: vector of each image.
    """

    logits_BAC: Tensor
    deltas_BA4: Tensor
    quality_BA: Tensor | None
    anchors_A4: Tensor
    levels: tuple[tuple[int, int, int], ...]
    size: tuple[int, int]
    objects: Tensor
    images_BD: Tensor

    @property
    def sides(self) -> Tensor:
        """(4,) width, height, width, height in pixels."""
        height, width = self.size
        return self.anchors_A4.new_tensor([width, height, width, height])


class OneStage(Detector):
    """A detector whose classes and boxes are read off dense maps."""

    @abstractmethod
    def see(self, images: Tensor) -> Dense:
        """What the dense heads say."""

    @abstractmethod
    def decode(self, deltas_U4: Tensor, anchors_U4: Tensor) -> Tensor:
        """(U, 4) corners in pixels."""

    @abstractmethod
    def image_loss(self, seen: Dense, image: int, boxes: PixelBoxes) -> dict[str, tuple[Tensor, Tensor]]:
        """Named parts of one image's loss, each (sum, norm)."""

    def losses(self, seen: Dense, targets: Sequence[Boxes]) -> Losses:
        """Named parts of the loss, each (sum_B, norm_B)."""
        return stacked([self.image_loss(seen, i, PixelBoxes.of(one, seen.sides)) for i, one in enumerate(targets)])

    def probs(self, logits: Tensor) -> Tensor:
        """Class distributions."""
        return logits.float().softmax(-1) if self.exclusive else logits.float().sigmoid()

    def scored(self, probs: Tensor, quality: Tensor | None) -> tuple[Tensor, Tensor]:
        """Score and class of each row: the likeliest class; the background is none."""
        score, label = (probs[..., :-1] if self.exclusive else probs).max(-1)
        return (score if quality is None else (score * quality.float().sigmoid()).sqrt()), label

    def find(self, seen: Dense, keep: Keep) -> Detections:
        """The boxes that count as detected."""
        parts = [self._of_image(seen, image, keep) for image in range(len(seen.logits_BAC))]
        counts = torch.tensor([len(part[0]) for part in parts], device=seen.anchors_A4.device)
        item_U = torch.arange(len(parts), device=counts.device).repeat_interleave(counts)
        boxes_U4, scores_U, labels_U, probs_UC, place_U = (torch.cat(part) for part in zip(*parts, strict=True))
        features_UD = pooled_boxes(seen.objects, item_U, boxes_U4)
        images_BD = seen.images_BD.float()
        found = (item_U, boxes_U4, scores_U, labels_U, probs_UC, place_U, features_UD, images_BD)
        return Detections(*found, exclusive=self.exclusive)

    def _of_image(self, seen: Dense, image: int, keep: Keep) -> tuple[Tensor, ...]:
        probs_AC = self.probs(seen.logits_BAC[image])
        score_A, label_A = self.scored(probs_AC, None if seen.quality_BA is None else seen.quality_BA[image])

        def boxes_at(place: Tensor) -> Tensor:
            return self.decode(seen.deltas_BA4[image][place].float(), seen.anchors_A4[place]) / seen.sides

        place, boxes_U4 = kept(score_A, label_A, boxes_at, keep)
        return boxes_U4, score_A[place], label_A[place], probs_AC[place], place

    def read(self, seen: Dense, at: Detections, moved: Tensor | None) -> tuple[Tensor, Tensor]:
        """(U, C) distributions and (U, 4) boxes at the places of these boxes."""
        place_U = at.place_U if moved is None else places_in_view(at.place_U, seen.levels, moved)
        deltas_U4 = seen.deltas_BA4[at.item_U, place_U].float()
        boxes_U4 = (self.decode(deltas_U4, seen.anchors_A4[place_U]) / seen.sides).clamp(0, 1)
        if moved is not None:
            boxes_U4 = moved_boxes(boxes_U4, moved).clamp(0, 1)
        return self.probs(seen.logits_BAC[at.item_U, place_U]), boxes_U4


class TwoSteps(OneStage):
    """A one-stage detector that looks in two steps: maps, and what heads say of them.

    So that other heads can be asked about the same maps; see ``labelwise.models.multiple_instance``.
    """

    #: where the module lies that says classes, and nothing else
    class_head: ClassVar[str]

    @abstractmethod
    def maps(self, images: Tensor) -> Sequence[Tensor]:
        """What all heads read."""

    @abstractmethod
    def say(self, maps: Sequence[Tensor], images: Tensor) -> Dense:
        """What the dense heads say of maps of these images."""

    @abstractmethod
    def class_logits(self, head: nn.Module, maps: Sequence[Tensor]) -> Tensor:
        """(B, A, C) what a head of the kind of the class head says of maps; of exclusive ones the background last."""

    @abstractmethod
    def box_losses(self, seen: Dense, image: int, boxes: PixelBoxes) -> tuple[Any, dict[str, tuple[Tensor, Tensor]]]:
        """What the classes at each place of one image learn, and the parts of its loss that are not of classes."""

    @abstractmethod
    def class_losses(self, logits_AC: Tensor, learnt: Any) -> dict[str, tuple[Tensor, Tensor]]:
        """The parts of one image's loss that are of classes, each (sum, norm).

        Args:
            logits_AC: float32, of any class head.
            learnt: what ``box_losses`` gave.
        """

    def image_loss(self, seen: Dense, image: int, boxes: PixelBoxes) -> dict[str, tuple[Tensor, Tensor]]:
        """Parts of classes, then those of boxes."""
        learnt, parts = self.box_losses(seen, image, boxes)
        return self.class_losses(seen.logits_BAC[image].float(), learnt) | parts

    def mean_loss(
        self, seen: Dense, image: int, boxes: PixelBoxes, heads: Sequence[Tensor]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """As ``image_loss``, with the mean over several class heads, whose boxes are the same and cost nothing more.

        Args:
            seen: what the detector says; its own class logits are not looked at.
            image: number of the image in the batch.
            boxes: what is in it.
            heads: (B, A, C) logits of each class head.
        """
        learnt, parts = self.box_losses(seen, image, boxes)
        each = [self.class_losses(logits_BAC[image].float(), learnt) for logits_BAC in heads]
        classes = {
            name: (torch.stack([found[name][0] for found in each]).mean(0), norm) for name, (_, norm) in each[0].items()
        }
        return classes | parts

    def see(self, images: Tensor) -> Dense:
        """What the dense heads say."""
        return self.say(self.maps(images), images)


@dataclass(frozen=True)
class PixelBoxes:
    """What is in one image, in pixels of the input.

    Args:
        corners_G4: of the objects that are learnt.
        class_G: their classes.
        ignored_I4: boxes in which a detector may say what it likes.
    """

    corners_G4: Tensor
    class_G: Tensor
    ignored_I4: Tensor

    @classmethod
    def of(cls, target: Boxes, sides: Tensor) -> PixelBoxes:
        """In pixels of an input with these sides."""
        corners_G4 = target.corners_G4.to(sides) * sides
        learnt_G = ~target.ignore_G.to(sides.device)
        return cls(corners_G4[learnt_G], target.class_G.to(sides.device)[learnt_G], corners_G4[~learnt_G])

    def ignores(self, anchors_A4: Tensor) -> Tensor:
        """(A,) whether the centre of a place lies in an ignored box."""
        if not len(self.ignored_I4):
            return torch.zeros(len(anchors_A4), dtype=torch.bool, device=anchors_A4.device)
        return inside(anchors_A4, self.ignored_I4).any(1)


def stacked(parts: Sequence[Mapping[str, tuple[Tensor, Tensor]]]) -> Losses:
    """Parts of the loss of each image as those of the batch, each (sum_B, norm_B)."""
    return {
        name: (torch.stack([part[name][0] for part in parts]), torch.stack([part[name][1] for part in parts]))
        for name in parts[0]
    }


def inside(anchors_A4: Tensor, corners_G4: Tensor) -> Tensor:
    """(A, G) whether the centre of a place lies in a box."""
    centre_A2 = (anchors_A4[:, :2] + anchors_A4[:, 2:]) / 2
    after_AG2 = centre_A2[:, None] >= corners_G4[None, :, :2]
    before_AG2 = centre_A2[:, None] <= corners_G4[None, :, 2:]
    return (after_AG2 & before_AG2).all(-1)


def settled(found: Tensor, true: Tensor, slack: float) -> Tensor:
    """What was found, but the truth itself where the two differ by rounding.

    A box that is told from the net's own prediction lies on a kink of L1 and IoU losses, where rounding would decide
    which way the loss falls; there it falls neither way.
    """
    return torch.where((found - true).abs() < slack, true, found)


def kept(score_A: Tensor, label_A: Tensor, boxes_at: Any, keep: Keep) -> tuple[Tensor, Tensor]:
    """Places and boxes (fractions) of one image that count as detected, from the highest score down.

    Args:
        score_A: score of each place.
        label_A: class of each place.
        boxes_at: gives the boxes of places in fractions.
        keep: which count.
    """
    bad_A = ~torch.isfinite(score_A)
    if bad_A.any():  # a model that diverged: one box that says so, for nothing may hide it
        place = bad_A.nonzero()[0]
        return place, torch.zeros_like(boxes_at(place)) + boxes_at(place).new_tensor([0.0, 0.0, 1.0, 1.0])
    place = (score_A > keep.threshold).nonzero().squeeze(1)
    place = place[score_A[place].argsort(descending=True, stable=True)[: keep.candidates]]
    boxes_U4 = boxes_at(place).clamp(0, 1)
    real_U = ((boxes_U4[:, 2:] - boxes_U4[:, :2]) > 0).all(1)
    place, boxes_U4 = place[real_U], boxes_U4[real_U]
    best_K = batched_nms(boxes_U4, score_A[place], label_A[place], keep.overlap)[: keep.top]
    return place[best_K], boxes_U4[best_K]


def pooled_boxes(maps: Tensor, item_U: Tensor, boxes_U4: Tensor) -> Tensor:
    """(U, D): the mean of a map over each box, from sixteen points; no derivative goes through it, back or forth."""
    height, width = maps.shape[-2:]
    corners = boxes_U4 * boxes_U4.new_tensor([width, height, width, height])
    rois_U5 = torch.cat([item_U[:, None].to(corners), corners], dim=1)
    # torchvision's function refuses to be differentiated forwards, or loses the derivative without a word
    pooled: Tensor = roi_align(maps.detach().float(), rois_U5.detach().float(), 1, sampling_ratio=4, aligned=True)
    return pooled.flatten(1)


# ---- changed views --------------------------------------------------------------------------------------------------


def moved_boxes(boxes_U4: Tensor, moved: Tensor) -> Tensor:
    """Boxes of a view in the image it shows: the smallest upright boxes around the moved corners, in fractions."""
    x1, y1, x2, y2 = (boxes_U4 * 2 - 1).unbind(1)
    corners_U42 = torch.stack([torch.stack([x1, x2, x1, x2], 1), torch.stack([y1, y1, y2, y2], 1)], 2)
    corners_U42 = corners_U42 @ moved[:, :2].T.to(boxes_U4) + moved[:, 2].to(boxes_U4)
    return (torch.cat([corners_U42.amin(1), corners_U42.amax(1)], 1) + 1) / 2


def inverse(moved: Tensor) -> Tensor:
    """(2, 3) the way back of an affine map."""
    back = torch.linalg.inv(moved[:, :2].double())
    return torch.cat([back, -back @ moved[:, 2:].double()], dim=1).to(moved)


def places_in_view(place_U: Tensor, levels: Sequence[tuple[int, int, int]], moved: Tensor) -> Tensor:
    """(U,) places of a view that show what these places of the image show: the nearest cell of the same map."""
    back = inverse(moved).double()
    result, start = place_U.clone(), 0
    for height, width, count in levels:
        here = (place_U >= start) & (place_U < start + height * width * count)
        rest = place_U[here] - start
        cell, which = rest // count, rest % count
        sides = torch.tensor([width, height], dtype=torch.float64, device=place_U.device)
        centre = torch.stack([cell % width, cell // width], 1).double() + 0.5
        centre = (centre / sides * 2 - 1) @ back[:, :2].T + back[:, 2]
        spot = ((centre + 1) / 2 * sides).floor().long()
        column, row = spot[:, 0].clamp(0, width - 1), spot[:, 1].clamp(0, height - 1)
        result[here] = start + (row * width + column) * count + which
        start += height * width * count
    return result
