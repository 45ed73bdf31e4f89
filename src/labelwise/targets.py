"""Targets of tasks whose label is more than a number. Shape letters: G objects of one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Boxes:
    """The objects of one image, as boxes: what was annotated, or what a model found.

    Corners are fractions of the image's sides, so that resizing an image leaves them as they are; the intersection over
    union of two boxes is the same in fractions and in pixels.

    Args:
        corners_G4: float32 (x1, y1, x2, y2) in fractions of width and height, in [0, 1], x1 <= x2 and y1 <= y2.
        class_G: int64 class index of each object.
        ignore_G: bool, objects that are neither right nor wrong (crowds, difficult ones, boxes without area): no loss
            in training, left out of metrics.
        size: (width, height) of the original image in pixels.
        scores_G: float32 in [0, 1] for predictions; None for annotations.
        raw: the label this was read from, for writing it again to the digit; no part of the comparison.

    Example:
        >>> boxes = Boxes.of_pixels([[10, 20, 30, 40]], [1], size=(100, 200))
        >>> boxes.corners_G4, boxes.pixels_G4.round().tolist()
        (tensor([[0.1000, 0.1000, 0.3000, 0.2000]]), [[10.0, 20.0, 30.0, 40.0]])
    """

    corners_G4: Tensor
    class_G: Tensor
    ignore_G: Tensor
    size: tuple[int, int]
    scores_G: Tensor | None = None
    raw: Any = field(default=None)

    def __post_init__(self) -> None:
        count = len(self.corners_G4)
        parts = [self.class_G, self.ignore_G, *([] if self.scores_G is None else [self.scores_G])]
        if self.corners_G4.shape != (count, 4) or any(part.shape != (count,) for part in parts):
            shapes = ", ".join(str(tuple(part.shape)) for part in parts)
            raise ValueError(f"corners have shape {tuple(self.corners_G4.shape)}, the rest {shapes}: give (G, 4) and G")

    @classmethod
    def of_pixels(
        cls,
        corners: Sequence[Sequence[float]] | Tensor,
        classes: Sequence[int] | Tensor,
        *,
        size: tuple[int, int],
        ignore: Sequence[bool] | Tensor | None = None,
        scores: Sequence[float] | Tensor | None = None,
    ) -> Boxes:
        """Boxes from corners in pixels of an image of ``size`` (width, height); what lies outside is cut off.

        A box without area, before or after that, is kept and ignored.
        """
        # through float64: a corner at the border must come out as exactly one
        corners_G4 = torch.as_tensor(corners, dtype=torch.float64).reshape(-1, 4)
        sides = torch.tensor([*size, *size], dtype=torch.float64, device=corners_G4.device)
        corners_G4 = (corners_G4 / sides).clamp(0, 1).to(torch.float32)
        device, count = corners_G4.device, len(corners_G4)
        ignore_G = torch.zeros(count, dtype=torch.bool, device=device)
        if ignore is not None:
            ignore_G = torch.as_tensor(ignore, dtype=torch.bool, device=device)
        return cls(
            corners_G4,
            torch.as_tensor(classes, dtype=torch.int64, device=device).reshape(-1),
            ignore_G | (areas(corners_G4) <= 0),
            size,
            None if scores is None else torch.as_tensor(scores, dtype=torch.float32, device=device).reshape(-1),
        )

    @classmethod
    def none(cls, size: tuple[int, int]) -> Boxes:
        """An image without any object."""
        return cls.of_pixels([], [], size=size)

    @classmethod
    def join(cls, parts: Sequence[Boxes]) -> Boxes:
        """All objects of several targets of one image, in order.

        Raises:
            ValueError: images of different sizes, or scores on some only.
        """
        sizes = sorted({part.size for part in parts})
        if len(sizes) != 1:
            raise ValueError(f"boxes of images of sizes {sizes} cannot be joined: give those of one image")
        scores = [part.scores_G for part in parts if part.scores_G is not None]
        if len(scores) not in (0, len(parts)):
            raise ValueError("boxes with scores and boxes without cannot be joined")
        return cls(
            torch.cat([part.corners_G4 for part in parts]),
            torch.cat([part.class_G for part in parts]),
            torch.cat([part.ignore_G for part in parts]),
            sizes[0],
            torch.cat(scores) if scores else None,
        )

    @property
    def pixels_G4(self) -> Tensor:
        """float64 corners in pixels of the original image."""
        return self.corners_G4.double() * self.corners_G4.new_tensor([*self.size, *self.size], dtype=torch.float64)

    def take(self, rows: Tensor) -> Boxes:
        """The objects of these rows (indices, or a mask)."""
        scores_G = None if self.scores_G is None else self.scores_G[rows]
        return Boxes(self.corners_G4[rows], self.class_G[rows], self.ignore_G[rows], self.size, scores_G)

    def with_corners(self, corners_G4: Tensor, ignore_G: Tensor | None = None) -> Boxes:
        """The same objects elsewhere."""
        ignore_G = self.ignore_G if ignore_G is None else ignore_G
        return replace(self, corners_G4=corners_G4, ignore_G=ignore_G, raw=None)

    def resized(self, size: tuple[int, int]) -> Boxes:
        """The same boxes on an image of another size: fractions stay as they are."""
        return replace(self, size=size, raw=None)

    def to(self, device: torch.device | str) -> Boxes:
        """The same boxes on another device."""
        scores_G = None if self.scores_G is None else self.scores_G.to(device, non_blocking=True)
        corners_G4, class_G, ignore_G = (
            part.to(device, non_blocking=True) for part in (self.corners_G4, self.class_G, self.ignore_G)
        )
        return Boxes(corners_G4, class_G, ignore_G, self.size, scores_G, self.raw)

    def __len__(self) -> int:
        return len(self.corners_G4)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Boxes) and self._values() == other._values()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        # whole and exact: it becomes part of cache keys
        return f"Boxes{self._values()!r}"

    def _values(self) -> tuple[Any, ...]:
        scores = None if self.scores_G is None else self.scores_G.tolist()
        return self.corners_G4.tolist(), self.class_G.tolist(), self.ignore_G.tolist(), tuple(self.size), scores


def areas(corners_G4: Tensor) -> Tensor:
    """(G,) areas; boxes with swapped corners have none."""
    return (corners_G4[:, 2] - corners_G4[:, 0]).clamp_min(0) * (corners_G4[:, 3] - corners_G4[:, 1]).clamp_min(0)
