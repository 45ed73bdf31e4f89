"""Random changes of images whose boxes move along. Shape letters: B images, C channels, H height, W width."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from labelwise.targets import Boxes, areas

#: share of a box that must stay in view for it to be learnt; one that shows less is neither right nor wrong
VISIBLE = 0.3


def flipped(images: Tensor, targets: Sequence[Boxes], rng: torch.Generator | None) -> tuple[Tensor, list[Boxes]]:
    """Half of the images mirrored, left and right exchanged."""
    mirrored_B = torch.rand(len(images), generator=rng) < 0.5
    images = images.clone()
    images[mirrored_B] = images[mirrored_B].flip(-1)
    turned = [_mirrored(target) if yes else target for target, yes in zip(targets, mirrored_B.tolist(), strict=True)]
    return images, turned


def _mirrored(target: Boxes) -> Boxes:
    x1, y1, x2, y2 = target.corners_G4.unbind(1)
    return target.with_corners(torch.stack([1 - x2, y1, 1 - x1, y2], dim=1))


def rescaled(
    images: Tensor,
    targets: Sequence[Boxes],
    rng: torch.Generator | None,
    *,
    scale: tuple[float, float] = (0.8, 1.25),
    shift: float = 0.1,
) -> tuple[Tensor, list[Boxes]]:
    """Each image larger or smaller by a factor and moved by a share of its sides; what comes in is zero, the mean.

    Boxes are cut at the border; of which less than ``VISIBLE`` stays in view, that is ignored.

    Args:
        images: (B, C, H, W), normalised.
        targets: one for each image.
        rng: draws the changes.
        scale: lowest and highest factor, drawn evenly on a logarithmic scale.
        shift: largest move as a share of a side.
    """
    low, high = (torch.tensor(value).log() for value in scale)
    draws_B3 = torch.rand(len(images), 3, generator=rng)
    factor_B = (low + (high - low) * draws_B3[:, 0]).exp()
    move_B2 = (2 * draws_B3[:, 1:] - 1) * shift
    # affine_grid asks where a pixel comes from, in [-1, 1]
    theta_B23 = torch.zeros(len(images), 2, 3)
    theta_B23[:, 0, 0] = theta_B23[:, 1, 1] = 1 / factor_B
    theta_B23[:, :, 2] = -2 * move_B2 / factor_B[:, None]
    grid = F.affine_grid(theta_B23.to(images), list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    moved = []
    for target, factor, move_2 in zip(targets, factor_B, move_B2, strict=True):
        whole_G4 = (target.corners_G4 - 0.5) * factor + 0.5 + move_2.repeat(2)
        corners_G4 = whole_G4.clamp(0, 1)
        hidden_G = areas(corners_G4) < VISIBLE * areas(whole_G4)
        moved.append(target.with_corners(corners_G4, target.ignore_G | hidden_G | (areas(corners_G4) <= 0)))
    return images, moved


def recoloured(
    images: Tensor, rng: torch.Generator | None, *, contrast: float = 0.2, brightness: float = 0.2
) -> Tensor:
    """Each image with another contrast (factor 1 +- ``contrast``) and brightness (in units of normalised input)."""
    draws_B2 = (2 * torch.rand(len(images), 2, generator=rng) - 1).to(images)
    factor_B = (1 + contrast * draws_B2[:, 0]).view(-1, 1, 1, 1)
    return images * factor_B + (brightness * draws_B2[:, 1]).view(-1, 1, 1, 1)
