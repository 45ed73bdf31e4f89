"""torchvision's Faster R-CNN, with the losses of each image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import concat_box_prediction_layers

from labelwise.contracts.losses import Losses
from labelwise.contracts.targets import Boxes
from labelwise.models.detectors import (
    Detections,
    Detector,
    Keep,
    PixelBoxes,
    background_last,
    inverse,
    kept,
    maps_of,
    moved_boxes,
)


class Sampler:
    """A balanced sample of positives and negatives of each image, at random in training, else always the same one.

    Args:
        size: sampled of each image.
        share: of positives, at most.
    """

    def __init__(self, size: int, share: float) -> None:
        self.size, self.share = size, share
        self.training = True

    def __call__(self, labels: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Masks of the sampled positives (label above 0) and negatives (label 0) of each image."""
        pairs = [self._of_image(label) for label in labels]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]

    def _of_image(self, label: Tensor) -> tuple[Tensor, Tensor]:
        positive, negative = (label >= 1).nonzero().squeeze(1), (label == 0).nonzero().squeeze(1)
        wanted = min(len(positive), int(self.size * self.share))
        # what a probe or an evaluation sees of an image depends on that image alone
        fixed = None if self.training else torch.Generator().manual_seed(0)
        masks = []
        for rows, count in ((positive, wanted), (negative, min(len(negative), self.size - wanted))):
            if fixed is None:
                order = torch.randperm(len(rows), device=rows.device)
            else:
                order = torch.randperm(len(rows), generator=fixed).to(rows.device)
            masks.append(torch.zeros_like(label, dtype=torch.uint8).index_fill(0, rows[order[:count]], 1))
        return masks[0], masks[1]


@dataclass(frozen=True)
class Proposed:
    """What a region proposal network says of images.

    Args:
        maps: features by level.
        anchors: (A, 4) of each image, in pixels.
        objectness_BA: logits.
        deltas_BA4: in the code of the network.
        proposals: (P, 4) of each image, in pixels.
        size: (height, width) of the input.
    """

    maps: dict[str, Tensor]
    anchors: list[Tensor]
    objectness_BA: Tensor
    deltas_BA4: Tensor
    proposals: list[Tensor]
    size: tuple[int, int]

    @property
    def sides(self) -> Tensor:
        """(4,) width, height, width, height in pixels."""
        height, width = self.size
        return self.deltas_BA4.new_tensor([width, height, width, height], dtype=torch.float32)


class FasterRCNN(Detector):
    """Region proposals, then a softmax over classes and background and a box of each class for every proposal.

    All four parts are normalised by the number of sampled places. A second opinion looks at the same proposals.

    Args:
        net: torchvision's network; its own resizing and normalising are left aside.

    Reference:
        Ren et al., "Faster R-CNN", NeurIPS 2015, equation 1.
    """

    exclusive = True
    predicts = ("net.roi_heads.box_predictor",)

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        for part in (net.rpn, net.roi_heads):
            part.fg_bg_sampler = Sampler(part.fg_bg_sampler.batch_size_per_image, part.fg_bg_sampler.positive_fraction)

    def see(self, images: Tensor) -> Proposed:
        """Features and proposals."""
        rpn, size = self.net.rpn, (images.shape[-2], images.shape[-1])
        sizes = [size] * len(images)
        maps = maps_of(self.net.backbone(images))
        objectness, deltas = rpn.head(list(maps.values()))
        anchors = rpn.anchor_generator(ImageList(images, sizes), list(maps.values()))
        counts = [level[0].numel() for level in objectness]
        objectness_N1, deltas_N4 = concat_box_prediction_layers(objectness, deltas)
        corners = rpn.box_coder.decode(deltas_N4.detach().float(), anchors).view(len(images), -1, 4)
        proposals, _ = rpn.filter_proposals(corners, objectness_N1.float(), sizes, counts)
        objectness_BA, deltas_BA4 = objectness_N1.view(len(images), -1), deltas_N4.view(len(images), -1, 4)
        return Proposed(maps, anchors, objectness_BA, deltas_BA4, proposals, size)

    # ---- losses -----------------------------------------------------------------------------------------------------

    def losses(self, seen: Proposed, targets: Sequence[Boxes]) -> Losses:
        """Named parts of the loss, each (sum_B, norm_B)."""
        boxes = [PixelBoxes.of(target, seen.sides) for target in targets]
        # in torchvision the background is class 0
        told = [{"boxes": b.corners_G4, "labels": b.class_G + 1} for b in boxes]
        for part in (self.net.rpn, self.net.roi_heads):
            part.fg_bg_sampler.training = self.training
        return {**self._proposal_losses(seen, boxes, told), **self._box_losses(seen, boxes, told)}

    def _proposal_losses(self, seen: Proposed, boxes: list[PixelBoxes], told: list[dict[str, Tensor]]) -> Losses:
        rpn = self.net.rpn
        labels, true = rpn.assign_targets_to_anchors(seen.anchors, told)
        labels = [_ignoring(label, b, anchors) for label, b, anchors in zip(labels, boxes, seen.anchors, strict=True)]
        wanted = rpn.box_coder.encode(true, seen.anchors)
        objectness, sides, counts = [], [], []
        for i, (positive, negative) in enumerate(zip(*rpn.fg_bg_sampler(labels), strict=True)):
            here, sampled = positive.bool(), (positive | negative).bool()
            said = seen.objectness_BA[i][sampled].float()
            objectness.append(F.binary_cross_entropy_with_logits(said, labels[i][sampled], reduction="sum"))
            found = seen.deltas_BA4[i][here].float()
            sides.append(F.smooth_l1_loss(found, wanted[i][here], beta=1 / 9, reduction="sum"))
            counts.append(sampled.sum())
        norm_B = torch.stack(counts).float()
        return {"objectness": (torch.stack(objectness), norm_B), "proposals": (torch.stack(sides), norm_B)}

    def _box_losses(self, seen: Proposed, boxes: list[PixelBoxes], told: list[dict[str, Tensor]]) -> Losses:
        heads = self.net.roi_heads
        true = [t["boxes"] for t in told]
        proposals = heads.add_gt_proposals([p.detach() for p in seen.proposals], true)
        matched, labels = heads.assign_targets_to_proposals(proposals, true, [t["labels"] for t in told])
        labels = [_ignoring(label, b, places) for label, b, places in zip(labels, boxes, proposals, strict=True)]
        rows = heads.subsample(labels)
        proposals = [places[row] for places, row in zip(proposals, rows, strict=True)]
        labels = [label[row] for label, row in zip(labels, rows, strict=True)]
        goals = [
            corners[match[row]] if len(corners) else torch.zeros_like(places)
            for corners, match, row, places in zip(true, matched, rows, proposals, strict=True)
        ]
        wanted = heads.box_coder.encode(goals, proposals)
        logits, deltas, _ = self._look(seen, proposals)
        sizes = [len(row) for row in rows]
        classes, sides = [], []
        for said, found, label, goal in zip(_parts(logits, sizes), _parts(deltas, sizes), labels, wanted, strict=True):
            classes.append(F.cross_entropy(said.float(), label, reduction="sum"))
            here = (label > 0).nonzero().squeeze(1)
            own = _by_class(found)[here, label[here]].float()
            sides.append(F.smooth_l1_loss(own, goal[here], beta=1 / 9, reduction="sum"))
        norm_B = logits.new_tensor(sizes, dtype=torch.float32)
        return {"classification": (torch.stack(classes), norm_B), "sides": (torch.stack(sides), norm_B)}

    def _look(self, seen: Proposed, proposals: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (background first), deltas and features at proposals, those of all images end to end."""
        heads = self.net.roi_heads
        sizes = [seen.size] * len(proposals)
        if self.training:
            pooled = heads.box_roi_pool(seen.maps, proposals, sizes)
        else:
            names = list(seen.maps)

            def pool(*tensors: Tensor) -> Tensor:
                maps = dict(zip(names, tensors, strict=False))
                found: Tensor = heads.box_roi_pool(maps, list(tensors[len(names) :]), sizes)
                return found

            pooled = _LinearPool.apply(pool, len(names), *seen.maps.values(), *proposals)
        features = heads.box_head(pooled)
        logits, deltas = heads.box_predictor(features)
        return logits, deltas, features

    # ---- boxes ------------------------------------------------------------------------------------------------------

    def find(self, seen: Proposed, keep: Keep) -> Detections:
        """The boxes that count as detected."""
        logits, deltas, features = self._look(seen, seen.proposals)
        sizes = [len(p) for p in seen.proposals]
        probs = background_last(logits).float().softmax(-1)
        parts = []
        split = zip(_parts(probs, sizes), _parts(deltas, sizes), _parts(features, sizes), seen.proposals, strict=True)
        for image, (probs_PC, deltas_P, features_PD, corners_P4) in enumerate(split):
            score_P, label_P = probs_PC[:, :-1].max(1)
            boxes_P4 = self._corners(deltas_P, corners_P4, label_P) / seen.sides
            row, boxes_U4 = kept(score_P, label_P, lambda rows, found=boxes_P4: found[rows], keep)
            place_U4 = corners_P4[row] / seen.sides
            item_U = torch.full_like(row, image)
            parts.append((item_U, boxes_U4, score_P[row], label_P[row], probs_PC[row], place_U4, features_PD[row]))
        maps = list(seen.maps.values())
        images_BD = maps[min(3, len(maps) - 1)].mean((2, 3))
        item_U, boxes_U4, scores_U, labels_U, probs_UC, place_U4, features_UD = (
            torch.cat(part) for part in zip(*parts, strict=True)
        )
        found = (item_U, boxes_U4, scores_U, labels_U, probs_UC, place_U4, features_UD.float(), images_BD.float())
        return Detections(*found, exclusive=self.exclusive)

    def _corners(self, deltas: Tensor, corners_P4: Tensor, label_P: Tensor) -> Tensor:
        """(P, 4) the box of each proposal's class, in pixels."""
        found: Tensor = self.net.roi_heads.box_coder.decode_single(deltas.float(), corners_P4)
        rows = torch.arange(len(corners_P4), device=corners_P4.device)
        return _by_class(found)[rows, label_P + 1]

    def read(self, seen: Proposed, at: Detections, moved: Tensor | None) -> tuple[Tensor, Tensor]:
        """(U, C) distributions and (U, 4) boxes at the proposals of these boxes."""
        place_U4 = at.place_U if moved is None else moved_boxes(at.place_U, inverse(moved)).clamp(0, 1)
        corners_U4 = place_U4 * seen.sides
        proposals = [corners_U4[at.item_U == image] for image in range(len(seen.proposals))]
        logits, deltas, _ = self._look(seen, proposals)
        boxes_U4 = (self._corners(deltas, corners_U4, at.labels_U) / seen.sides).clamp(0, 1)
        if moved is not None:
            boxes_U4 = moved_boxes(boxes_U4, moved).clamp(0, 1)
        return background_last(logits).float().softmax(-1), boxes_U4


class _LinearPool(torch.autograd.Function):
    """Pooling of maps over boxes, which is linear in the maps: torchvision's own loses what is differentiated forwards.

    Called with a function of maps and boxes, the number of maps, the maps and the boxes.
    """

    @staticmethod
    def forward(pool: Callable[..., Tensor], count: int, *tensors: Tensor) -> Tensor:
        return pool(*tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.pool, ctx.count, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        tensors = [tensor.detach() for tensor in ctx.saved_tensors]
        maps = [tensor.requires_grad_() for tensor in tensors[: ctx.count]]
        with torch.enable_grad():
            found = torch.autograd.grad(ctx.pool(*maps, *tensors[ctx.count :]), maps, above, allow_unused=True)
        return None, None, *found, *[None] * (len(tensors) - ctx.count)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        saved = ctx.saved_tensors
        pairs = zip(tangents[2 : 2 + ctx.count], saved, strict=False)
        maps = [torch.zeros_like(kept) if tangent is None else tangent for tangent, kept in pairs]
        found: Tensor = ctx.pool(*maps, *saved[ctx.count :])
        return found


def _parts(rows: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
    """The rows of each image."""
    parts: tuple[Tensor, ...] = torch.split(rows, sizes)
    return parts


def _by_class(boxes: Tensor) -> Tensor:
    """(P, C + 1, 4), of no proposal, too."""
    return boxes.reshape(len(boxes), boxes.shape[1] // 4, 4)


def _ignoring(label: Tensor, boxes: PixelBoxes, places_A4: Tensor) -> Tensor:
    """Labels in which the background inside ignored boxes counts as nothing."""
    return torch.where((label == 0) & boxes.ignores(places_A4), -1, label)
