"""A small encoder-decoder that learns to label pixels on a CPU in minutes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelwise.models.trunks import Trunk


def _block(inputs: int, outputs: int) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def _double(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_block(inputs, outputs), _block(outputs, outputs))


class UNet(nn.Module):
    """Five levels down from full resolution, four up, each way joined by what the encoder saw at that level.

    On a trunk the levels are its maps of strides 2 to 16, and what comes out has half the resolution of the images.

    Args:
        classes: width of the output.
        channels: of the input.
        width: channels at full resolution, doubled at each level; the cost grows with its square.
        dropout: share of channels set to zero at the three coarsest joints.
        trunk: gives the maps of strides 2, 4, 8 and 16; None: levels of its own, from scratch.

    Cost:
        about 0.3 G multiply-adds for 120 x 160 pixels, with levels of its own.

    Reference:
        Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015.
        We differ: narrow; batch norm; padded; bilinear enlargement; dropout around the coarsest level as in Kendall,
        Badrinarayanan and Cipolla, "Bayesian SegNet", BMVC 2017.
    """

    #: the encoder's last map
    map_path = "level4"

    def __init__(
        self, classes: int, channels: int = 3, width: int = 8, dropout: float = 0.2, trunk: Trunk | None = None
    ) -> None:
        super().__init__()
        self.trunk = trunk
        own = [width * 2**level for level in range(5)]
        if trunk is None:
            self.level0 = _double(channels, own[0])
            self.level1 = _double(own[0], own[1])
            self.level2 = _double(own[1], own[2])
            self.level3 = _double(own[2], own[3])
            self.level4 = _double(own[3], own[4])
            self.up0 = _double(own[1] + own[0], own[0])
        else:
            self.map_path = "trunk"
        # what joins a trunk's maps learns from few labels, and is half as deep
        joint, seen = (_double, own) if trunk is None else (_block, [0, *trunk.widths])
        self.dropout4 = nn.Dropout2d(dropout)
        self.up3 = joint(seen[4] + seen[3], own[3])
        self.dropout3 = nn.Dropout2d(dropout)
        self.up2 = joint(own[3] + seen[2], own[2])
        self.dropout2 = nn.Dropout2d(dropout)
        self.up1 = joint(own[2] + seen[1], own[1])
        self.head = nn.Conv2d(own[trunk is not None], classes, 1)

    def _own_maps(self, images: Tensor) -> tuple[Tensor, ...]:
        maps: list[Tensor] = [self.level0(images)]
        for level in (self.level1, self.level2, self.level3, self.level4):
            maps.append(level(F.max_pool2d(maps[-1], 2, ceil_mode=True)))
        return tuple(maps)

    def forward(self, images: Tensor) -> Tensor:
        """(B, classes, H, W) logits; of a network on a trunk (B, classes, H / 2, W / 2)."""
        seen = self._own_maps(images) if self.trunk is None else self.trunk(images)
        *whole, fine, middle, coarse, maps = seen
        maps = self.dropout4(maps)
        maps = self.dropout3(self.up3(_joined(maps, coarse)))
        maps = self.dropout2(self.up2(_joined(maps, middle)))
        maps = self.up1(_joined(maps, fine))
        return self.head(self.up0(_joined(maps, whole[0])) if whole else maps)  # type: ignore[no-any-return]


def _joined(maps: Tensor, finer: Tensor) -> Tensor:
    larger = F.interpolate(maps, size=finer.shape[-2:], mode="bilinear", align_corners=False)
    return torch.cat([larger, finer], dim=1)
