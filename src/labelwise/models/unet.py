"""A small encoder-decoder that learns to label pixels on a CPU in minutes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelwise.models.trunks import Trunk


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class UNet(nn.Module):
    """Four levels down, three up, each way joined by what the encoder saw at that level.

    Args:
        classes: width of the output.
        channels: of the input.
        width: channels of the finest level; the cost grows with its square.
        dropout: share of channels set to zero at the three coarsest joints.
        trunk: gives the maps of strides 2, 4, 8 and 16; None: a small one of its own.

    Cost:
        about 0.2 G multiply-adds for 120 x 160 pixels, with a trunk of its own.

    Reference:
        Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015.
        We differ: levels begin at half resolution, strided instead of pooled; batch norm; padded; bilinear enlargement;
        dropout around the coarsest level as in Kendall, Badrinarayanan and Cipolla, "Bayesian SegNet", BMVC 2017.
    """

    #: the encoder's last map
    map_path = "level4"

    def __init__(
        self, classes: int, channels: int = 3, width: int = 16, dropout: float = 0.2, trunk: Trunk | None = None
    ) -> None:
        super().__init__()
        self.trunk = trunk
        widths = (width, 2 * width, 4 * width, 8 * width) if trunk is None else trunk.widths
        if trunk is None:  # without a prefix, by which saved weights know them
            self.level1 = nn.Sequential(_block(channels, width, 2), _block(width, width))
            self.level2 = nn.Sequential(_block(width, 2 * width, 2), _block(2 * width, 2 * width))
            self.level3 = nn.Sequential(_block(2 * width, 4 * width, 2), _block(4 * width, 4 * width))
            self.level4 = nn.Sequential(
                _block(4 * width, 8 * width, 2), _block(8 * width, 8 * width), _block(8 * width, 8 * width)
            )
        else:
            self.map_path = "trunk"
        self.dropout4 = nn.Dropout2d(dropout)
        self.up3 = _block(widths[3] + widths[2], 4 * width)
        self.dropout3 = nn.Dropout2d(dropout)
        self.up2 = _block(4 * width + widths[1], 2 * width)
        self.dropout2 = nn.Dropout2d(dropout)
        self.up1 = _block(2 * width + widths[0], width)
        self.head = nn.Conv2d(width, classes, 1)

    def _own_maps(self, images: Tensor) -> tuple[Tensor, ...]:
        fine = self.level1(images)
        middle = self.level2(fine)
        coarse = self.level3(middle)
        return fine, middle, coarse, self.level4(coarse)

    def forward(self, images: Tensor) -> Tensor:
        """(B, classes, H / 2, W / 2) logits."""
        fine, middle, coarse, maps = self._own_maps(images) if self.trunk is None else self.trunk(images)
        maps = self.dropout4(maps)
        maps = self.dropout3(self.up3(_joined(maps, coarse)))
        maps = self.dropout2(self.up2(_joined(maps, middle)))
        return self.head(self.up1(_joined(maps, fine)))  # type: ignore[no-any-return]


def _joined(maps: Tensor, finer: Tensor) -> Tensor:
    larger = F.interpolate(maps, size=finer.shape[-2:], mode="bilinear", align_corners=False)
    return torch.cat([larger, finer], dim=1)
