"""What drawing a mask costs: an estimate of how often an annotator would click."""

from __future__ import annotations

import numpy as np

from labelwise.contracts.record import IGNORE


def polygon_clicks(classes_HW: np.ndarray, tolerance: float = 1.0) -> int:
    """Clicks to outline every connected area of one class with a polygon: one for each corner, three at least.

    The outline of an area, as it runs between pixels, loses corners as long as it stays within ``tolerance`` pixels
    (Douglas and Peucker's algorithm). Holes cost nothing: they are areas of other classes. It is an estimate: people
    snap, use brushes, share borders; what they were seen to need goes before it (the cost of an answer).

    Args:
        classes_HW: class indices of the pixels that were drawn; ``IGNORE`` is not outlined.
        tolerance: pixels of the original image.

    Returns:
        0 where no pixel has a class.

    Cost: about 0.1 s for 360 x 480 pixels of a street scene.

    Example:
        >>> square = np.zeros((9, 9), np.uint8)
        >>> square[2:6, 3:8] = 1
        >>> polygon_clicks(square)
        8
    """
    from skimage.measure import label, regionprops

    if not classes_HW.size:
        return 0
    # zero is scikit-image's background: classes move up by one
    numbered = np.where(classes_HW == IGNORE, 0, classes_HW.astype(np.int32) + 1)
    areas = label(numbered, background=0, connectivity=1)
    found: list[int] = [_corners(region.image, tolerance) for region in regionprops(areas)]
    return sum(found)


def _corners(area_HW: np.ndarray, tolerance: float) -> int:
    """Corners of the outer outline of one connected area."""
    from skimage.measure import approximate_polygon, find_contours

    if area_HW.all():  # a rectangle, the most frequent area in small masks
        return 4
    outlines = find_contours(np.pad(area_HW, 1).astype(np.float32), 0.5)
    outer = max(outlines, key=len)
    # the outline ends where it began: that corner counts once
    return max(3, len(approximate_polygon(outer, tolerance)) - 1)
