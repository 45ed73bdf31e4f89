"""A small one-level detector that trains on a CPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import generalized_box_iou_loss

from labelwise.models.detectors import Dense, PixelBoxes, TwoSteps, settled
from labelwise.models.trunks import Trunk

STRIDE = 8


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _block(width, width), nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, maps: Tensor) -> Tensor:
        return F.relu(maps + self.body(maps))


class CentreNet(TwoSteps):
    """One map of stride 8: a peak of each class at the centre of an object, and the distances to its four sides.

    The peak's loss is the penalty-reduced focal loss, the sides' loss generalised IoU, weighted by the peak around each
    centre; both are divided by the number of objects.

    Args:
        classes: number of classes.
        channels: of the input.
        width: channels of the finest maps; the cost grows with its square.
        trunk: gives the maps of strides 8, 16 and 32; None: a small one of its own.
        apart: whether classes have a tower of their own, as a second class head needs; else they share that of sides.

    Cost:
        about 0.45 G multiply-adds for 320 x 320 pixels, with a trunk of its own.

    Reference:
        Zhou, Wang, Krähenbühl, "Objects as Points", 2019, equation 1 (peaks); Liu et al., "Training-Time-Friendly
        Network for Real-Time Object Detection", AAAI 2020, section 3 (sides learnt around the centre). We differ:
        stride 8, a smaller trunk, overlap removed as in other detectors instead of keeping local maxima.
    """

    exclusive = False
    predicts = ("peaks", "sides")
    class_head = "peaks"

    def __init__(
        self, classes: int, channels: int = 3, width: int = 16, trunk: Trunk | None = None, *, apart: bool = False
    ) -> None:
        super().__init__()
        self.trunk, self.apart = trunk, apart
        widths = (4 * width, 8 * width, 8 * width) if trunk is None else trunk.widths
        if trunk is None:  # without a prefix, by which saved weights know them
            self.stem = nn.Sequential(_block(channels, width, 2), _block(width, 2 * width, 2))
            self.fine = nn.Sequential(_block(2 * width, 4 * width, 2), _Residual(4 * width))
            self.middle = nn.Sequential(_block(4 * width, 8 * width, 2), _Residual(8 * width))
            self.coarse = nn.Sequential(_block(8 * width, 8 * width, 2), _Residual(8 * width))
        self.from_coarse = nn.Conv2d(widths[2], 4 * width, 1)
        self.from_middle = nn.Conv2d(widths[1], 4 * width, 1)
        self.from_fine = nn.Identity() if trunk is None else nn.Conv2d(widths[0], 4 * width, 1)
        self.neck = _block(4 * width, 4 * width)
        self.dropout = nn.Dropout2d(0.1)
        self.head = _block(4 * width, 4 * width)
        last = nn.Conv2d(4 * width, classes, 1)
        self.peaks = nn.Sequential(_block(4 * width, 4 * width), last) if apart else last
        self.sides = nn.Conv2d(4 * width, 4, 1)
        assert last.bias is not None
        nn.init.constant_(last.bias, -math.log(99))  # rare at first: probability 0.01
        nn.init.normal_(last.weight, std=0.01)

    def _own_maps(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fine = self.fine(self.stem(images))
        middle = self.middle(fine)
        return fine, middle, self.coarse(middle)

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What class heads read, the neck or the tower over it, and the coarsest map of the trunk."""
        fine, middle, coarse = self._own_maps(images) if self.trunk is None else self.trunk(images)
        fine = self.from_fine(fine)
        maps = self.from_middle(middle) + _enlarged(self.from_coarse(coarse), middle)
        neck = self.dropout(self.neck(fine + _enlarged(maps, fine)))
        return neck if self.apart else self.head(neck), coarse

    def class_logits(self, head: nn.Module, maps: Sequence[Tensor]) -> Tensor:
        """(B, A, C) the peaks of a head, with a tower of its own or over the shared one."""
        peaks_BCHW: Tensor = head(maps[0])
        return peaks_BCHW.flatten(2).transpose(1, 2)

    def say(self, maps: Sequence[Tensor], images: Tensor) -> Dense:
        """Peaks and sides at each cell."""
        read, coarse = maps
        objects = self.head(read) if self.apart else read
        height, width = objects.shape[-2:]
        size = (images.shape[-2], images.shape[-1])
        return Dense(
            logits_BAC=self.class_logits(self.peaks, maps),
            deltas_BA4=self.sides(objects).flatten(2).transpose(1, 2),
            quality_BA=None,
            anchors_A4=_cells(height, width, size, images.device),
            levels=((height, width, 1),),
            size=size,
            objects=objects,
            images_BD=torch.cat([coarse.mean((2, 3)), objects.mean((2, 3))], dim=1),
        )

    def decode(self, deltas_U4: Tensor, anchors_U4: Tensor) -> Tensor:
        """Distances from the centre of the cell, in units of two cells."""
        centre = (anchors_U4[:, :2] + anchors_U4[:, 2:]) / 2
        reach = F.softplus(deltas_U4) * (2 * STRIDE)
        return torch.cat([centre - reach[:, :2], centre + reach[:, 2:]], dim=1)

    def box_losses(self, seen: Dense, image: int, boxes: PixelBoxes) -> tuple[Learnt, dict[str, tuple[Tensor, Tensor]]]:
        """Bells around the centres of boxes, and the sides of one image."""
        peak_AG = peaks(boxes.corners_G4, seen.anchors_A4)
        count = seen.anchors_A4.new_tensor(float(len(boxes.corners_G4)))
        sides = seen.deltas_BA4[image].float().sum() * 0
        if len(boxes.corners_G4):
            # where objects overlap, a cell learns the one whose centre is nearer; a sixteenth of a peak is enough
            weight_A, object_A = peak_AG.max(1)
            near = (weight_A > 1 / 16).nonzero().squeeze(1)
            total_G = torch.zeros_like(peak_AG[0]).index_add(0, object_A[near], weight_A[near])
            found = self.decode(seen.deltas_BA4[image][near].float(), seen.anchors_A4[near])
            true = boxes.corners_G4[object_A[near]]
            loss = generalized_box_iou_loss(settled(found, true, 1e-2), true, reduction="none")
            sides = (loss * weight_A[near] / total_G[object_A[near]]).sum() * 2
        target_AC = torch.zeros_like(seen.logits_BAC[image], dtype=torch.float32)
        for number in set(boxes.class_G.tolist()):
            target_AC[:, number] = peak_AG[:, boxes.class_G == number].amax(1)
        here_AC = target_AC == 1
        away_AC = (1 - target_AC) ** 4 * ~(here_AC | boxes.ignores(seen.anchors_A4)[:, None])
        return Learnt(here_AC, away_AC, count), {"sides": (sides, count)}

    def class_losses(self, logits_AC: Tensor, learnt: Learnt) -> dict[str, tuple[Tensor, Tensor]]:
        """Peaks of one image."""
        centre = -(torch.sigmoid(-logits_AC) ** 2 * F.logsigmoid(logits_AC))[learnt.here_AC].sum()
        centre = centre - (learnt.away_AC * torch.sigmoid(logits_AC) ** 2 * F.logsigmoid(-logits_AC)).sum()
        return {"centre": (centre, learnt.count)}


@dataclass(frozen=True)
class Learnt:
    """What the cells of an image learn of classes.

    Args:
        here_AC: whether the centre of an object is there.
        away_AC: how much it matters that there is none; 0 for cells that may say what they like.
        count: number of objects.
    """

    here_AC: Tensor
    away_AC: Tensor
    count: Tensor


def peaks(corners_G4: Tensor, anchors_A4: Tensor) -> Tensor:
    """(A, G) a bell around the centre of each box, as wide as the box allows, one at the cell of the centre.

    Cost:
        O(A G) memory.
    """
    cell_A2 = (anchors_A4[:, :2] + anchors_A4[:, 2:]) / 2
    centre_G2 = (corners_G4[:, :2] + corners_G4[:, 2:]) / 2
    spread_G2 = (0.54 * (corners_G4[:, 2:] - corners_G4[:, :2]) + STRIDE) / 6
    offset_AG2 = (cell_A2[:, None] - centre_G2) / spread_G2
    peak_AG = torch.exp(-(offset_AG2**2).sum(-1) / 2)
    if len(corners_G4):
        nearest_G = (cell_A2[:, None] - centre_G2).pow(2).sum(-1).argmin(0)
        peak_AG = peak_AG.clamp_max(1 - 1e-3)
        peak_AG[nearest_G, torch.arange(len(corners_G4), device=peak_AG.device)] = 1.0
    return peak_AG


def _enlarged(maps: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(maps, size=like.shape[-2:], mode="nearest")


def _cells(height: int, width: int, size: tuple[int, int], device: torch.device) -> Tensor:
    """(A, 4) corners of the cells in pixels, row by row."""
    step_y, step_x = size[0] / height, size[1] / width
    y, x = torch.meshgrid(
        torch.arange(height, device=device) * step_y, torch.arange(width, device=device) * step_x, indexing="ij"
    )
    return torch.stack([x, y, x + step_x, y + step_y], dim=-1).reshape(-1, 4).float()
