"""Dilated residual network DRN-D-22 for segmentation: stride 8 throughout, enlarged by a fixed bilinear kernel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: where the published MC dropout sits: behind the stages of residual blocks, for ``Dropout(after=DROPOUT_AFTER)``
DROPOUT_AFTER = ("layer3", "layer4", "layer5", "layer6")
_STRIDE = 8


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, outputs, stride, dilation)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv(outputs, outputs, 1, dilation)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            narrow = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(narrow, nn.BatchNorm2d(outputs))

    def forward(self, maps: Tensor) -> Tensor:
        past = maps if self.downsample is None else self.downsample(maps)
        maps = self.relu(self.bn1(self.conv1(maps)))
        return self.relu(self.bn2(self.conv2(maps)) + past)  # type: ignore[no-any-return]


def _conv(inputs: int, outputs: int, stride: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)


def _plain(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    conv = _conv(inputs, outputs, stride, dilation)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def _stage(inputs: int, outputs: int, stride: int, dilation: int, dropout: float) -> nn.Sequential:
    blocks: list[nn.Module] = [_Residual(inputs, outputs, stride, dilation), _Residual(outputs, outputs, 1, dilation)]
    return nn.Sequential(*blocks, *([nn.Dropout(dropout)] if dropout else []))


class DRND22(nn.Module):
    """DRN-D-22: a 7 x 7 stem, two plain layers, four stages of two residual blocks, two plain layers, a 1 x 1 head.

    Strides of the layers 1 to 4 are 1, 2, 2, 2, then none; the dilations of 5 to 8 are 2, 4, 2, 1. Logits of stride 8
    are enlarged by a bilinear kernel of 16 x 16 that is not learnt. Names are those of the published ImageNet weights.

    Args:
        classes: width of the output.
        channels: of the input.
        dropout: share of numbers set to zero behind layers 3 to 6 in training, and of channels in the passes of
            ``Dropout()``; zero: no such layers, and passes come from ``Dropout(after=DROPOUT_AFTER)``.

    Cost:
        15.9 M parameters; 16.4 M with the ImageNet classifier, which the published code carries along unused.

    Reference:
        Yu, Koltun and Funkhouser, "Dilated Residual Networks", CVPR 2017.
    """

    map_path = "layer8"

    def __init__(self, classes: int, channels: int = 3, dropout: float = 0.0) -> None:
        super().__init__()
        stem = nn.Conv2d(channels, 16, 7, padding=3, bias=False)
        self.layer0 = nn.Sequential(stem, nn.BatchNorm2d(16), nn.ReLU(inplace=True))
        self.layer1 = _plain(16, 16)
        self.layer2 = _plain(16, 32, stride=2)
        self.layer3 = _stage(32, 64, 2, 1, dropout)
        self.layer4 = _stage(64, 128, 2, 1, dropout)
        self.layer5 = _stage(128, 256, 1, 2, dropout)
        self.layer6 = _stage(256, 512, 1, 4, dropout)
        self.layer7 = _plain(512, 512, dilation=2)
        self.layer8 = _plain(512, 512)
        self.head = nn.Conv2d(512, classes, 1)
        self.register_buffer("kernel", _bilinear(classes), persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """(B, classes, H, W) logits."""
        maps = images
        for number in range(9):
            maps = getattr(self, f"layer{number}")(maps)
        logits: Tensor = self.head(maps)
        kernel = self.get_buffer("kernel").to(logits.dtype)
        enlarged = F.conv_transpose2d(logits, kernel, stride=_STRIDE, padding=_STRIDE // 2, groups=logits.shape[1])
        # where sides are no multiples of eight, the last cell reaches beyond the image
        return enlarged[..., : images.shape[-2], : images.shape[-1]]


def _bilinear(classes: int) -> Tensor:
    """(classes, 1, 16, 16): a tent over two cells to either side."""
    side = 2 * _STRIDE
    tent = 1 - (torch.arange(side) - (side - 1) / 2).abs() / _STRIDE
    return (tent[:, None] * tent).expand(classes, 1, side, side).contiguous()
