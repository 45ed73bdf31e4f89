"""Random changes of images whose boxes or masks move along. Shape letters: B images, C channels, H height, W width."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from labelwise.contracts.record import IGNORE
from labelwise.contracts.targets import Boxes, areas

#: share of a box that must stay in view for it to be learnt; one that shows less is neither right nor wrong
VISIBLE = 0.3


def flipped(images: Tensor, targets: Sequence[Boxes], rng: torch.Generator | None) -> tuple[Tensor, list[Boxes]]:
    """Half of the images mirrored, left and right exchanged."""
    mirrored_B = _half(len(images), rng)
    turned = [_mirrored(target) if yes else target for target, yes in zip(targets, mirrored_B.tolist(), strict=True)]
    return _turned(images, mirrored_B), turned


def flipped_masks(
    images: Tensor, masks_BHW: Tensor | None, rng: torch.Generator | None
) -> tuple[Tensor, Tensor | None]:
    """As ``flipped``, with the classes of pixels (B, H, W), where there are any."""
    mirrored_B = _half(len(images), rng)
    return _turned(images, mirrored_B), None if masks_BHW is None else _turned(masks_BHW, mirrored_B)


def _half(count: int, rng: torch.Generator | None) -> Tensor:
    return torch.rand(count, generator=rng) < 0.5


def _turned(rows: Tensor, mirrored_B: Tensor) -> Tensor:
    rows = rows.clone()
    rows[mirrored_B] = rows[mirrored_B].flip(-1)
    return rows


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
    factor_B, move_B2 = _placed(len(images), rng, scale, shift)
    images = F.grid_sample(images, _sources(images, factor_B, move_B2), padding_mode="zeros", align_corners=False)
    moved = []
    for target, factor, move_2 in zip(targets, factor_B, move_B2, strict=True):
        whole_G4 = (target.corners_G4 - 0.5) * factor + 0.5 + move_2.repeat(2)
        corners_G4 = whole_G4.clamp(0, 1)
        hidden_G = areas(corners_G4) < VISIBLE * areas(whole_G4)
        moved.append(target.with_corners(corners_G4, target.ignore_G | hidden_G | (areas(corners_G4) <= 0)))
    return images, moved


def rescaled_masks(
    images: Tensor,
    masks_BHW: Tensor | None,
    rng: torch.Generator | None,
    *,
    scale: tuple[float, float] = (0.8, 1.25),
    shift: float = 0.1,
) -> tuple[Tensor, Tensor | None]:
    """As ``rescaled``, with the classes of pixels (B, H, W): each takes that of the nearest, or none from outside."""
    factor_B, move_B2 = _placed(len(images), rng, scale, shift)
    grid = _sources(images, factor_B, move_B2)
    images = F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)
    if masks_BHW is None:
        return images, None
    # zero is what comes in from outside, so classes are counted down from "ignore"
    away_B1HW = (IGNORE - masks_BHW)[:, None].to(images.dtype)
    moved_B1HW = F.grid_sample(away_B1HW, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return images, IGNORE - moved_B1HW[:, 0].to(torch.uint8)


def _placed(count: int, rng: torch.Generator | None, scale: tuple[float, float], shift: float) -> tuple[Tensor, Tensor]:
    """A factor (B,) and a move (B, 2) for each image."""
    low, high = (torch.tensor(value).log() for value in scale)
    draws_B3 = torch.rand(count, 3, generator=rng)
    return (low + (high - low) * draws_B3[:, 0]).exp(), (2 * draws_B3[:, 1:] - 1) * shift


def _sources(images: Tensor, factor_B: Tensor, move_B2: Tensor) -> Tensor:
    """Where each pixel comes from, in [-1, 1], as ``grid_sample`` asks."""
    theta_B23 = torch.zeros(len(images), 2, 3)
    theta_B23[:, 0, 0] = theta_B23[:, 1, 1] = 1 / factor_B
    theta_B23[:, :, 2] = -2 * move_B2 / factor_B[:, None]
    return F.affine_grid(theta_B23.to(images), list(images.shape), align_corners=False)


def laid_back(maps_BCHW: Tensor, moved: Tensor) -> tuple[Tensor, Tensor]:
    """Maps of a changed view on the image that it shows, and (H, W) which pixels of the image it shows.

    Args:
        maps_BCHW: what was said of the pixels of the view.
        moved: (2, 3) as in ``Batch``: where the pixels of the view come from in the image.
    """
    back = torch.linalg.inv(moved[:, :2].double())
    theta_23 = torch.cat([back, -back @ moved[:, 2:].double()], dim=1).to(maps_BCHW)
    grid = F.affine_grid(theta_23.expand(len(maps_BCHW), 2, 3), list(maps_BCHW.shape), align_corners=False)
    # centres of pixels at the border of the view lie half a pixel inside
    edge_2 = 1 - 1 / grid.new_tensor([maps_BCHW.shape[-1], maps_BCHW.shape[-2]])
    shown_HW = (grid[0].abs() <= edge_2 + 1e-4).all(-1)
    return F.grid_sample(maps_BCHW, grid, padding_mode="border", align_corners=False), shown_HW


def recoloured(
    images: Tensor, rng: torch.Generator | None, *, contrast: float = 0.2, brightness: float = 0.2
) -> Tensor:
    """Each image with another contrast (factor 1 +- ``contrast``) and brightness (in units of normalised input)."""
    draws_B2 = (2 * torch.rand(len(images), 2, generator=rng) - 1).to(images)
    factor_B = (1 + contrast * draws_B2[:, 0]).view(-1, 1, 1, 1)
    return images * factor_B + (brightness * draws_B2[:, 1]).view(-1, 1, 1, 1)
