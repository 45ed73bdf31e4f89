"""Targets of tasks whose label is more than a number. Shape letters: G objects of one image, H x W pixels of a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

from labelwise.contracts.record import IGNORE


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


@dataclass(frozen=True, eq=False, repr=False)
class Mask:
    """The class of every pixel of one image, or of a window of it: what lies outside the window is ignored.

    A window keeps the label of a small region small: thousands of them are in memory before they are merged.

    Args:
        classes_HW: uint8 class indices, ``IGNORE`` where a pixel has none.
        size: (width, height) of the original image in pixels.
        at: (x, y) of the window's upper left pixel in the image.

    Raises:
        ValueError: a window that leaves the image, or another type.

    Example:
        >>> left = Mask(torch.zeros(2, 2, dtype=torch.uint8), size=(4, 2))
        >>> right = Mask(torch.ones(2, 1, dtype=torch.uint8), size=(4, 2), at=(3, 0))
        >>> Mask.join([left, right]).whole().tolist()
        [[0, 0, 255, 1], [0, 0, 255, 1]]
    """

    classes_HW: Tensor
    size: tuple[int, int]
    at: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if self.classes_HW.dtype != torch.uint8 or self.classes_HW.dim() != 2:
            shape = tuple(self.classes_HW.shape)
            raise ValueError(f"a mask is uint8 of shape (H, W), got {self.classes_HW.dtype} of shape {shape}")
        (height, width), (x, y) = self.classes_HW.shape, self.at
        if x < 0 or y < 0 or x + width > self.size[0] or y + height > self.size[1]:
            raise ValueError(
                f"a window of {width} x {height} pixels at {self.at} leaves the image ({self.size[0]} x {self.size[1]})"
            )

    @classmethod
    def unknown(cls, size: tuple[int, int]) -> Mask:
        """An image of which no pixel is labelled."""
        return cls(torch.empty(0, 0, dtype=torch.uint8), size)

    @classmethod
    def join(cls, parts: Sequence[Mask]) -> Mask:
        """What several partial masks of one image say together; where they contradict, the last one holds.

        Raises:
            ValueError: images of different sizes.
        """
        sizes = sorted({part.size for part in parts})
        if len(sizes) != 1:
            raise ValueError(f"masks of images of sizes {sizes} cannot be joined: give those of one image")
        joined = cls.unknown(sizes[0]).whole()
        for part in parts:
            (x, y), (height, width) = part.at, part.classes_HW.shape
            there = joined[y : y + height, x : x + width]
            joined[y : y + height, x : x + width] = torch.where(part.known, part.classes_HW, there)
        return cls(joined, sizes[0])

    @property
    def known(self) -> Tensor:
        """bool, which pixels of the window have a class."""
        return self.classes_HW != IGNORE

    @property
    def pixels(self) -> int:
        """How many pixels have a class."""
        return int(self.known.sum())

    def whole(self) -> Tensor:
        """uint8 (height, width) of the whole image; itself where the window is the image."""
        width, height = self.size
        if self.classes_HW.shape == (height, width):
            return self.classes_HW
        full = self.classes_HW.new_full((height, width), IGNORE)
        (x, y), (rows, columns) = self.at, self.classes_HW.shape
        full[y : y + rows, x : x + columns] = self.classes_HW
        return full

    def cropped(self) -> Mask:
        """The same mask in the smallest window that holds all pixels with a class."""
        rows = torch.nonzero(self.known.any(1)).flatten()
        if not len(rows):
            return Mask.unknown(self.size)
        columns = torch.nonzero(self.known.any(0)).flatten()
        top, left = int(rows[0]), int(columns[0])
        window = self.classes_HW[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]
        return Mask(window.clone(), self.size, (self.at[0] + left, self.at[1] + top))

    def to(self, device: torch.device | str) -> Mask:
        """The same mask on another device."""
        return replace(self, classes_HW=self.classes_HW.to(device, non_blocking=True))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mask) and self.size == other.size and torch.equal(self.whole(), other.whole())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        # a digest stands for the pixels: it becomes part of cache keys
        pixels = blake2b(self.whole().cpu().numpy().tobytes(), digest_size=16).hexdigest()
        return f"Mask(size={self.size}, pixels={pixels})"


def nearest(values_HW: Tensor, size: tuple[int, int]) -> Tensor:
    """A map at another size: each pixel takes the value of the one that its centre falls into."""
    if tuple(values_HW.shape) == size:
        return values_HW
    rows, columns = (
        ((torch.arange(there, device=values_HW.device) + 0.5) * here / there).long()
        for here, there in zip(values_HW.shape, size, strict=True)
    )
    return values_HW[rows][:, columns]


@dataclass(frozen=True, eq=False, repr=False)
class Pose:
    """The key points of the one subject of an image: what was annotated, or what a model found.

    Args:
        points_K2: float32 x and y in fractions of the image's sides; without meaning where nothing was seen.
        seen_K: int64, 2 visible, 1 hidden at a known place, 0 outside the image or not labelled.
        size: (width, height) of the original image in pixels.
        extent: of the subject, (width, height) of its box in pixels; None: the extent of its points.
        area: of the subject in square pixels; None: that of its extent.
        scores_K: float32 in [0, 1], how sure a model is of each point; None for annotations.
        raw: the label this was read from, for writing it again to the digit; no part of the comparison.
        at: of a subject that was cut out of an image, x and y of the cut in the image, whose size then is ``size``.
        image: of such a subject, the image that it lies in.
        prior: of such a subject, how sure the detector is of its box.

    Example:
        >>> pose = Pose(torch.tensor([[0.5, 0.25], [0.0, 0.0]]), torch.tensor([2, 0]), size=(100, 80))
        >>> pose.pixels_K2.tolist(), pose.known_K.tolist(), len(pose)
        ([[50.0, 20.0], [0.0, 0.0]], [True, False], 2)
    """

    points_K2: Tensor
    seen_K: Tensor
    size: tuple[int, int]
    extent: tuple[float, float] | None = None
    area: float | None = None
    scores_K: Tensor | None = None
    raw: Any = field(default=None)
    at: tuple[int, int] = (0, 0)
    image: str | None = None
    prior: float = 1.0

    def __post_init__(self) -> None:
        count = len(self.seen_K)
        if self.points_K2.shape != (count, 2) or self.seen_K.shape != (count,):
            raise ValueError(
                f"points of shape {tuple(self.points_K2.shape)} for {count} that are seen: give ({count}, 2)"
            )

    @property
    def known_K(self) -> Tensor:
        """bool, which points have a place."""
        return self.seen_K > 0

    @property
    def pixels_K2(self) -> Tensor:
        """float64 places in pixels of the original image."""
        size, at = (self.points_K2.new_tensor(pair, dtype=torch.float64) for pair in (self.size, self.at))
        return self.points_K2.double() * size + at

    @property
    def span(self) -> tuple[float, float]:
        """Width and height of the subject in pixels: of its box, else of its known points; zeros without any."""
        if self.extent is not None:
            return self.extent
        known = self.pixels_K2[self.known_K]
        if not len(known):
            return 0.0, 0.0
        width, height = (known.amax(0) - known.amin(0)).tolist()
        return width, height

    def to(self, device: torch.device | str) -> Pose:
        """The same pose on another device."""
        scores_K = None if self.scores_K is None else self.scores_K.to(device, non_blocking=True)
        points_K2, seen_K = (part.to(device, non_blocking=True) for part in (self.points_K2, self.seen_K))
        return replace(self, points_K2=points_K2, seen_K=seen_K, scores_K=scores_K)

    def __len__(self) -> int:
        return len(self.seen_K)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pose) and self._values() == other._values()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        # whole and exact: it becomes part of cache keys
        return f"Pose{self._values()!r}"

    def _values(self) -> tuple[Any, ...]:
        scores = None if self.scores_K is None else self.scores_K.tolist()
        return self.points_K2.tolist(), self.seen_K.tolist(), tuple(self.size), self.extent, self.area, scores
