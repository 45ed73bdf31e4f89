"""Families of learning curves: how a loss falls with labels, one shape at a time.

Each member is ``loss(n) = floor + height * fall(n)`` with a floor and a height of at least nothing, so that for a given
shape the fit is linear and has a closed form; the shape (an exponent, a scale) is taken from a grid. A family is thus
fitted to hundreds of resampled curves in one matrix product.

Dimension key: B rounds, S shapes, D draws, L label counts asked about.

Reference: Viering and Loog, The Shape of Learning Curves: A Review, TPAMI 2023, section 2 (which families fit); Mohr et
al., LCDB 1.0, ECML PKDD 2022 (power laws with a floor and MMF before the others). We fit few rounds of one run, so
ours have two linear parameters and one from a grid, and no family of four.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Family:
    """One way in which losses fall.

    Args:
        name: as reports say it.
        shapes: (least labels, most labels) -> (S,) the grid.
        fall: (labels (L,), shapes (S,)) -> (S, L), falling in labels.
        usual: (S,) -> (S,) how many squared standard deviations a shape is away from what is usual.
        believed: weight before any fit, against that of the others.
    """

    name: str
    shapes: Callable[[float, float], FloatArray]
    fall: Callable[[FloatArray, FloatArray], FloatArray]
    usual: Callable[[FloatArray], FloatArray]
    believed: float = 1.0


def _power(labels_L: FloatArray, shapes_S: FloatArray) -> FloatArray:
    return np.asarray(labels_L ** -shapes_S[:, None])


def _exponential(labels_L: FloatArray, shapes_S: FloatArray) -> FloatArray:
    return np.asarray(np.exp(-labels_L / shapes_S[:, None]))


def _inverse(labels_L: FloatArray, shapes_S: FloatArray) -> FloatArray:
    return np.asarray(shapes_S[:, None] / (shapes_S[:, None] + labels_L))


def _logarithmic(labels_L: FloatArray, shapes_S: FloatArray) -> FloatArray:
    # a straight line over log labels, from 1 at a single label to 0 at so many that nothing is left to learn
    return np.asarray(np.clip(1 - np.log(labels_L) / np.log(shapes_S[:, None]), 0, None))


def _scales(least: float, most: float) -> FloatArray:
    return np.geomspace(max(1.0, least) / 2, 8 * most, 24)


def _alike(shapes_S: FloatArray) -> FloatArray:
    return np.zeros(len(shapes_S))


#: natural logarithm of the usual exponent of a power law, and its spread
_EXPONENT, _SPREAD = np.log(0.5), 0.8

FAMILIES = (
    Family(
        "power law",
        lambda least, most: np.geomspace(0.05, 3.0, 32),
        _power,
        lambda shapes_S: ((np.log(shapes_S) - _EXPONENT) / _SPREAD) ** 2,
    ),
    Family("exponential", _scales, _exponential, _alike, believed=0.25),
    Family("inverse", _scales, _inverse, _alike),
    Family("logarithmic", lambda least, most: np.geomspace(2 * most, 1000 * most, 16), _logarithmic, _alike, 0.5),
)


def fitted(fall_SB: FloatArray, loss_DB: FloatArray, weight_B: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Floor and height of every shape by weighted least squares, both at least 0, and what is left.

    Args:
        fall_SB: of each shape.
        loss_DB: curves, one a row.
        weight_B: of each round, one over its variance.

    Returns:
        floor (D, S), height (D, S), and the weighted sum of squares left (D, S).

    Cost: O(D S B).

    Example:
        >>> fall = np.array([[1.0, 0.5, 0.25]])
        >>> floor, height, left = fitted(fall, 0.1 + 0.4 * fall, np.ones(3))
        >>> round(float(floor[0, 0]), 6), round(float(height[0, 0]), 6), round(float(left[0, 0]), 6)
        (0.1, 0.4, 0.0)
    """
    total = weight_B.sum()
    mean_S = fall_SB @ weight_B / total
    centred_SB = fall_SB - mean_S[:, None]
    square_S = (centred_SB**2) @ weight_B
    mean_D = loss_DB @ weight_B / total
    across_DS = (loss_DB * weight_B) @ centred_SB.T
    height_DS = np.maximum(np.divide(across_DS, square_S, out=np.zeros_like(across_DS), where=square_S > 1e-15), 0)
    floor_DS = mean_D[:, None] - height_DS * mean_S
    # a floor below nothing: the line through nothing, which cannot fall in n and rise in loss
    alone_S = (fall_SB**2) @ weight_B
    through_DS = np.divide((loss_DB * weight_B) @ fall_SB.T, alone_S, out=np.zeros_like(across_DS), where=alone_S > 0)
    below = floor_DS < 0
    height_DS = np.where(below, np.maximum(through_DS, 0), height_DS)
    floor_DS = np.where(below, 0, floor_DS)
    square_D = (loss_DB**2) @ weight_B
    left_DS = (
        square_D[:, None]
        - 2 * floor_DS * (mean_D * total)[:, None]
        - 2 * height_DS * ((loss_DB * weight_B) @ fall_SB.T)
        + floor_DS**2 * total
        + 2 * floor_DS * height_DS * (mean_S * total)
        + height_DS**2 * alone_S
    )
    return floor_DS, height_DS, np.maximum(left_DS, 0)
