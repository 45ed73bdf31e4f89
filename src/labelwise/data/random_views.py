"""Random views of image batches, made on the device where the images lie: each image gets numbers of its own.

The transforms of torchvision draw once for a whole batch; here parameters are drawn for each image, on the CPU from one
named stream, and applied to all images in a few operations.

Dimension key: B images, C channels, H and W pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

#: ITU-R 601 luma, as in ``torchvision.transforms`` and Pillow
_LUMA = (0.2989, 0.587, 0.114)
#: RGB to luma and two axes of colour (YIQ)
_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
#: smaller images are blurred enough by the crop
_BLUR_FROM = 64


@dataclass(frozen=True)
class Augmentation:
    """Crop, mirror, colour jitter, grey and blur, as SimCLR makes its views.

    Args:
        crop: smallest share of the image's area that a crop keeps, in (0, 1]; its sides are between 3:4 and 4:3.
        flip: whether half of the images are mirrored; digits and letters are no longer themselves then.
        jitter: strength of the colour jitter: brightness, contrast and saturation by up to 80 % of it, hue by a
            fifth of it (in turns), four times out of five; 0 for none.
        grey: share of images whose colour is taken away.
        blur: share of images that are blurred, where they are at least 64 pixels wide.

    Reference:
        Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020, appendix A. We
        differ: the four parts of the jitter have one order, and hue turns the colours in YIQ, which keeps the luma.
    """

    crop: float = 0.2
    flip: bool = True
    jitter: float = 0.5
    grey: float = 0.2
    blur: float = 0.5

    def __call__(self, images_BCHW: Tensor, rng: Generator) -> Tensor:
        """One random view of each image; float in [0, 1] in, the same out."""
        images = cropped(images_BCHW, *self._boxes(len(images_BCHW), rng))
        if self.jitter > 0:
            images = self._jittered(images, rng)
        if images.shape[1] == 3 and self.grey > 0:
            chosen_B = _some(len(images), self.grey, rng).to(images.device)
            images = torch.where(chosen_B.view(-1, 1, 1, 1), luma(images), images)
        if self.blur > 0 and min(images.shape[2:]) >= _BLUR_FROM:
            images = self._blurred(images, rng)
        return images

    def moved(self, images_BCHW: Tensor, rng: Generator) -> Tensor:
        """The crop and the mirror image alone: for images whose values are no colours."""
        return cropped(images_BCHW, *self._boxes(len(images_BCHW), rng))

    def _boxes(self, count: int, rng: Generator) -> tuple[Tensor, Tensor]:
        area_B = torch.empty(count).uniform_(self.crop, 1, generator=rng)
        ratio_B = torch.empty(count).uniform_(math.log(3 / 4), math.log(4 / 3), generator=rng).exp()
        half_B2 = torch.stack([(area_B * ratio_B).sqrt(), (area_B / ratio_B).sqrt()], 1).clamp(max=1)
        centre_B2 = (1 - half_B2) * (2 * torch.rand(count, 2, generator=rng) - 1)
        if self.flip:
            half_B2[:, 0] *= 1 - 2 * _some(count, 0.5, rng).float()
        return centre_B2, half_B2

    def _jittered(self, images: Tensor, rng: Generator) -> Tensor:
        count, strength = len(images), 0.8 * self.jitter
        factors_3B = torch.empty(3, count).uniform_(max(0.0, 1 - strength), 1 + strength, generator=rng)
        turn_B = torch.empty(count).uniform_(-0.2 * self.jitter, 0.2 * self.jitter, generator=rng)
        # drawn for all, whether used or not: an image's view does not depend on its neighbours
        left_B = ~_some(count, 0.8, rng)
        factors_3B[:, left_B], turn_B[left_B] = 1.0, 0.0
        bright_B, contrast_B, saturation_B = factors_3B.to(images.device)
        images = contrasted(brightened(images, bright_B), contrast_B)
        if images.shape[1] != 3:
            return images
        return hued(saturated(images, saturation_B), turn_B.to(images.device))

    def _blurred(self, images: Tensor, rng: Generator) -> Tensor:
        from torchvision.transforms.v2.functional import gaussian_blur

        chosen_B = _some(len(images), self.blur, rng)
        sigma = float(torch.empty(()).uniform_(0.1, 2.0, generator=rng))
        if chosen_B.any():
            rows = chosen_B.nonzero()[:, 0].to(images.device)
            side = min(images.shape[2:]) // 10 | 1
            images = images.index_copy(0, rows, gaussian_blur(images[rows], [side, side], [sigma, sigma]))
        return images


#: the usual augmentation of supervised training, ``RandomResizedCrop`` and a mirror image: call ``moved``
CROP_FLIP = Augmentation(crop=0.08, jitter=0, grey=0, blur=0)


def _some(count: int, share: float, rng: Generator) -> Tensor:
    return torch.rand(count, generator=rng) < share


def cropped(images_BCHW: Tensor, centre_B2: Tensor, half_B2: Tensor) -> Tensor:
    """Boxes of the images at full size, bilinear.

    Args:
        images_BCHW: float.
        centre_B2: (x, y) in [-1, 1], where -1 and 1 are the edges of the image.
        half_B2: half width and height in these units; a negative width mirrors.
    """
    theta = torch.zeros(len(images_BCHW), 2, 3)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = half_B2[:, 0], half_B2[:, 1], centre_B2
    theta = theta.to(images_BCHW.device, images_BCHW.dtype)
    grid = F.affine_grid(theta, list(images_BCHW.shape), align_corners=False)
    return F.grid_sample(images_BCHW, grid, padding_mode="border", align_corners=False)


def luma(images_BCHW: Tensor) -> Tensor:
    """(B, 1, H, W): what is left without colour."""
    if images_BCHW.shape[1] == 1:
        return images_BCHW
    red, green, blue = _LUMA
    return (red * images_BCHW[:, 0] + green * images_BCHW[:, 1] + blue * images_BCHW[:, 2])[:, None]


def brightened(images_BCHW: Tensor, factor_B: Tensor) -> Tensor:
    """``clip(f x)``."""
    return (images_BCHW * factor_B.view(-1, 1, 1, 1)).clamp_(0, 1)


def contrasted(images_BCHW: Tensor, factor_B: Tensor) -> Tensor:
    """``clip(f x + (1 - f) mean luma)``."""
    mean = luma(images_BCHW).mean((1, 2, 3), keepdim=True)
    return torch.lerp(mean, images_BCHW, factor_B.view(-1, 1, 1, 1)).clamp_(0, 1)


def saturated(images_BCHW: Tensor, factor_B: Tensor) -> Tensor:
    """``clip(f x + (1 - f) luma)``."""
    return torch.lerp(luma(images_BCHW).expand_as(images_BCHW), images_BCHW, factor_B.view(-1, 1, 1, 1)).clamp_(0, 1)


def hued(images_BCHW: Tensor, turn_B: Tensor) -> Tensor:
    """Colours turned about the grey axis by so many turns; the luma stays."""
    to = torch.tensor(_YIQ, dtype=torch.float64)
    angle_B = turn_B.double().cpu() * (2 * math.pi)
    turned = torch.zeros(len(angle_B), 3, 3, dtype=torch.float64)
    turned[:, 0, 0] = 1
    turned[:, 1, 1] = turned[:, 2, 2] = angle_B.cos()
    turned[:, 1, 2], turned[:, 2, 1] = -angle_B.sin(), angle_B.sin()
    matrix_B33 = (torch.linalg.inv(to) @ turned @ to).to(images_BCHW.device, images_BCHW.dtype)
    return torch.bmm(matrix_B33, images_BCHW.flatten(2)).view_as(images_BCHW).clamp_(0, 1)
