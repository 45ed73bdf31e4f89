"""How an image becomes model input: size, channels, normalisation. Part of every cache key."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class InputSpec:
    """Deterministic preparation of images, the same at training and at selection.

    Args:
        size: height and width in pixels after resizing.
        channels: 1 (grey) or 3 (RGB).
        mean: per channel, in units of [0, 1].
        std: per channel, in units of [0, 1].
        crop: share of the resized image kept by a central crop, in (0, 1]; 1 squeezes the whole image to ``size``.
    """

    size: tuple[int, int] = (32, 32)
    channels: int = 3
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    crop: float = 1.0

    def prepare(self, image: np.ndarray | Tensor) -> Tensor:
        """One image as a (C, H, W) tensor: uint8 is converted and resized, float tensors pass through as they are.

        Cost: one resize (antialiased, bilinear).
        """
        if isinstance(image, Tensor) and image.is_floating_point():
            return image
        return self.prepare_batch(np.asarray(image)[None])[0]

    def prepare_batch(self, images: np.ndarray) -> Tensor:
        """uint8 images (B, H, W, C) of one size as a uint8 tensor (B, C, h, w)."""
        images_BCHW = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
        images_BCHW = self._convert(images_BCHW)
        height, width = images_BCHW.shape[-2:]
        if (height, width) == self.size and self.crop == 1.0:
            return images_BCHW.contiguous()
        if self.crop < 1.0:
            side = min(height, width)
            keep = max(1, round(side * self.crop))
            top, left = (height - keep) // 2, (width - keep) // 2
            images_BCHW = images_BCHW[..., top : top + keep, left : left + keep]
        return F.interpolate(
            images_BCHW.contiguous(), size=self.size, mode="bilinear", antialias=True, align_corners=False
        )

    def _convert(self, images_BCHW: Tensor) -> Tensor:
        channels = images_BCHW.shape[1]
        if channels == self.channels:
            return images_BCHW
        if channels == 1:
            return images_BCHW.expand(-1, self.channels, -1, -1)
        weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)  # ITU-R 601 luma, as Pillow's "L"
        return (images_BCHW[:, :3].float() * weights).sum(1, keepdim=True).round().to(torch.uint8)

    def normalise(self, images_BCHW: Tensor) -> Tensor:
        """Float32 model input; float tensors pass through unchanged."""
        if images_BCHW.is_floating_point():
            return images_BCHW
        mean = torch.tensor(self.mean, device=images_BCHW.device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=images_BCHW.device).view(1, -1, 1, 1)
        return images_BCHW.float().mul_(1 / 255).sub_(mean).div_(std)
