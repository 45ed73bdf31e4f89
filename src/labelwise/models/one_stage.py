"""torchvision's one-stage detectors, with the losses of each image: FCOS, RetinaNet, SSD and SSDlite.

The losses follow torchvision's own, image by image; what lies in an ignored box is no background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou, generalized_box_iou_loss, sigmoid_focal_loss

from labelwise.models.detectors import Dense, PixelBoxes, TwoSteps, background_last, maps_of, settled

#: what a place is matched with instead of an object
BACKGROUND, IGNORED = -1, -2


_CLASSES, _BOXES = "net.head.classification_head", "net.head.regression_head"


class _FromTorchvision(TwoSteps):
    """A one-stage torchvision network.

    Args:
        net: the network; its own resizing and normalising are left aside.
        objects: number of the map that object vectors are averaged from; the last, where there are fewer.
        image: number of the map whose mean is the image's vector; likewise.
    """

    class_head = _CLASSES

    def __init__(self, net: Any, *, objects: int = 0, image: int = 2) -> None:
        super().__init__()
        self.net = net
        self.objects_map, self.image_map = objects, image

    def maps(self, images: Tensor) -> list[Tensor]:
        """The backbone's, from fine to coarse."""
        return list(maps_of(self.net.backbone(images)).values())

    def class_logits(self, head: nn.Module, maps: Sequence[Tensor]) -> Tensor:
        """(B, A, C) what a classification head of torchvision says."""
        logits_BAC: Tensor = head(list(maps))
        return background_last(logits_BAC) if self.exclusive else logits_BAC

    def say(self, maps: Sequence[Tensor], images: Tensor) -> Dense:
        """What the dense heads say of maps of these images."""
        maps, size = list(maps), (images.shape[-2], images.shape[-1])
        said = self.net.head(maps)
        anchors_A4 = self.net.anchor_generator(ImageList(images, [size] * len(images)), maps)[0]
        counts = self.net.anchor_generator.num_anchors_per_location()
        quality = said.get("bbox_ctrness")
        return Dense(
            logits_BAC=background_last(said["cls_logits"]) if self.exclusive else said["cls_logits"],
            deltas_BA4=said["bbox_regression"],
            quality_BA=None if quality is None else quality.squeeze(2),
            anchors_A4=anchors_A4,
            levels=tuple((m.shape[-2], m.shape[-1], count) for m, count in zip(maps, counts, strict=True)),
            size=size,
            objects=maps[min(self.objects_map, len(maps) - 1)],
            images_BD=maps[min(self.image_map, len(maps) - 1)].mean((2, 3)),
        )

    def decode(self, deltas_U4: Tensor, anchors_U4: Tensor) -> Tensor:
        """(U, 4) corners in pixels."""
        return self.net.box_coder.decode_single(deltas_U4, anchors_U4)  # type: ignore[no-any-return]

    def match(self, seen: Dense, corners_G4: Tensor) -> Tensor:
        """(A,) object that each place learns, or BACKGROUND, or IGNORED between the two."""
        matched: Tensor = self.net.proposal_matcher(box_iou(corners_G4, seen.anchors_A4))
        return matched

    def matched(self, seen: Dense, boxes: PixelBoxes) -> Tensor:
        """(A,) as ``match``, for images without objects too; background in an ignored box is ignored."""
        if len(boxes.corners_G4):
            matched_A = self.match(seen, boxes.corners_G4)
        else:
            matched_A = torch.full((len(seen.anchors_A4),), BACKGROUND, device=seen.anchors_A4.device)
        return torch.where((matched_A == BACKGROUND) & boxes.ignores(seen.anchors_A4), IGNORED, matched_A)


@dataclass(frozen=True)
class Learnt:
    """What the places of an image learn of classes.

    Args:
        matched_A: object of each, or BACKGROUND, or IGNORED.
        class_G: class of each object.
        count: what the loss of classes is divided by.
    """

    matched_A: Tensor
    class_G: Tensor
    count: Tensor

    def focal(self, logits_AC: Tensor) -> Tensor:
        """The sum of the focal loss over places and classes."""
        told = self.matched_A != IGNORED
        target_AC = torch.zeros_like(logits_AC)
        here = (self.matched_A >= 0).nonzero().squeeze(1)
        target_AC[here, self.class_G[self.matched_A[here]]] = 1.0
        loss: Tensor = sigmoid_focal_loss(logits_AC[told], target_AC[told], reduction="sum")
        return loss


class FCOS(_FromTorchvision):
    """Anchor-free, one place a cell, sigmoid heads and a centre-ness; a score is the root of both multiplied.

    The normaliser is the number of positive places of the batch.

    Reference:
        Tian et al., "FCOS: Fully Convolutional One-Stage Object Detection", ICCV 2019, section 3.
    """

    exclusive = False
    predicts = (f"{_CLASSES}.cls_logits", f"{_BOXES}.bbox_reg", f"{_BOXES}.bbox_ctrness")

    def decode(self, deltas_U4: Tensor, anchors_U4: Tensor) -> Tensor:
        """(U, 4) corners in pixels."""
        return self.net.box_coder.decode(deltas_U4, anchors_U4)  # type: ignore[no-any-return]

    def match(self, seen: Dense, corners_G4: Tensor) -> Tensor:
        """(A,) the smallest object around a place near its centre, whose size is that of the place's map."""
        anchors = seen.anchors_A4
        centre_A2 = (anchors[:, :2] + anchors[:, 2:]) / 2
        side_A1 = (anchors[:, 2] - anchors[:, 0])[:, None]
        centre_G2 = (corners_G4[:, :2] + corners_G4[:, 2:]) / 2
        near_AG = (centre_A2[:, None] - centre_G2).abs().amax(2) < self.net.center_sampling_radius * side_A1
        to_sides_AG4 = torch.cat([centre_A2[:, None] - corners_G4[:, :2], corners_G4[:, 2:] - centre_A2[:, None]], 2)
        low_A1, high_A1 = side_A1 * 4, side_A1 * 8
        counts = [height * width * k for height, width, k in seen.levels]
        low_A1[: counts[0]], high_A1[-counts[-1] :] = 0, torch.inf
        reach_AG = to_sides_AG4.amax(2)
        good_AG = near_AG & (to_sides_AG4.amin(2) > 0) & (reach_AG > low_A1) & (reach_AG < high_A1)
        area_G = (corners_G4[:, 2:] - corners_G4[:, :2]).prod(1)
        smallest = torch.where(good_AG, area_G, torch.inf).min(1)
        return torch.where(torch.isinf(smallest.values), BACKGROUND, smallest.indices)

    def box_losses(self, seen: Dense, image: int, boxes: PixelBoxes) -> tuple[Learnt, dict[str, tuple[Tensor, Tensor]]]:
        """Generalised IoU and centre-ness of one image."""
        matched_A = self.matched(seen, boxes)
        here = (matched_A >= 0).nonzero().squeeze(1)
        true = boxes.corners_G4[matched_A[here]]
        found = self.decode(seen.deltas_BA4[image][here].float(), seen.anchors_A4[here])
        sides = generalized_box_iou_loss(settled(found, true, 1e-2), true, reduction="sum")
        to_sides = self.net.box_coder.encode(seen.anchors_A4[here], true)
        across, down = to_sides[:, [0, 2]], to_sides[:, [1, 3]]
        centred = (across.amin(1) / across.amax(1) * (down.amin(1) / down.amax(1))).sqrt()
        assert seen.quality_BA is not None
        said = seen.quality_BA[image][here].float()
        centre = F.binary_cross_entropy_with_logits(said, centred, reduction="sum")
        count = sides.new_tensor(float(len(here)))
        learnt = Learnt(matched_A, boxes.class_G, count)
        return learnt, {"bbox_regression": (sides, count), "bbox_ctrness": (centre, count)}

    def class_losses(self, logits_AC: Tensor, learnt: Learnt) -> dict[str, tuple[Tensor, Tensor]]:
        """Focal loss of one image."""
        return {"classification": (learnt.focal(logits_AC), learnt.count)}


class RetinaNet(_FromTorchvision):
    """Anchors on a feature pyramid, sigmoid heads, focal loss.

    The normaliser is the number of positive anchors of each image, and a batch is the mean over its images.

    Reference:
        Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, section 4.1.
    """

    exclusive = False
    predicts = (f"{_CLASSES}.cls_logits", f"{_BOXES}.bbox_reg")

    def box_losses(self, seen: Dense, image: int, boxes: PixelBoxes) -> tuple[Learnt, dict[str, tuple[Tensor, Tensor]]]:
        """L1 of one image."""
        matched_A = self.matched(seen, boxes)
        here = (matched_A >= 0).nonzero().squeeze(1)
        count = max(1, len(here))
        wanted = self.net.box_coder.encode_single(boxes.corners_G4[matched_A[here]], seen.anchors_A4[here])
        found = settled(seen.deltas_BA4[image][here].float(), wanted, 1e-4)
        sides = F.l1_loss(found, wanted, reduction="sum") / count
        learnt = Learnt(matched_A, boxes.class_G, sides.new_tensor(float(count)))
        return learnt, {"bbox_regression": (sides, torch.ones_like(sides))}

    def class_losses(self, logits_AC: Tensor, learnt: Learnt) -> dict[str, tuple[Tensor, Tensor]]:
        """Focal loss of one image."""
        focal = learnt.focal(logits_AC) / learnt.count
        return {"classification": (focal, torch.ones_like(focal))}


class SSD(_FromTorchvision):
    """Default boxes on maps of falling size, softmax over classes and background, three hard negatives a positive.

    The normaliser is the number of positive boxes of the batch; an image without objects teaches nothing.

    Reference:
        Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016, section 2.2. We differ, as torchvision's own loss
        does not: a place is never both positive and a hard negative.
    """

    exclusive = True
    predicts = (_CLASSES, _BOXES)

    def box_losses(self, seen: Dense, image: int, boxes: PixelBoxes) -> tuple[Learnt, dict[str, tuple[Tensor, Tensor]]]:
        """Smooth L1 of one image."""
        matched_A = self.matched(seen, boxes)
        here = (matched_A >= 0).nonzero().squeeze(1)
        code = self.net.box_coder.encode_single(boxes.corners_G4[matched_A[here]], seen.anchors_A4[here])
        sides = F.smooth_l1_loss(seen.deltas_BA4[image][here].float(), code, reduction="sum")
        count = sides.new_tensor(float(len(here)))
        return Learnt(matched_A, boxes.class_G, count), {"bbox_regression": (sides, count)}

    def class_losses(self, logits_AC: Tensor, learnt: Learnt) -> dict[str, tuple[Tensor, Tensor]]:
        """Cross-entropy with hard negatives of one image."""
        matched_A = learnt.matched_A
        here = (matched_A >= 0).nonzero().squeeze(1)
        target_A = torch.full_like(matched_A, logits_AC.shape[1] - 1)
        target_A[here] = learnt.class_G[matched_A[here]]
        entropy_A = F.cross_entropy(logits_AC, target_A, reduction="none")
        away = (matched_A == BACKGROUND).nonzero().squeeze(1)
        wanted = min(len(away), int(self.net.neg_to_pos_ratio * len(here)))
        hard = away[entropy_A.detach()[away].argsort(descending=True, stable=True)[:wanted]]
        return {"classification": (entropy_A[here].sum() + entropy_A[hard].sum(), learnt.count)}
