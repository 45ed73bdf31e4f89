"""Confidence brought down to what is known about accuracy.

Dimension key: N rows of the pool, L labelled, U predictions, C classes, D features.
"""

from __future__ import annotations

import math

import torch
from scipy.optimize import brentq
from torch import Tensor

from labelwise.errors import ConfigError, DataError
from labelwise.selection.arrays import ArrayLike, as_matrix, as_positions, as_tensor, real
from labelwise.selection.neighbours import nearest

# e^7 = 1,100: beyond it any two probabilities are as good as equal
_LONGEST = 7.0


def softened(probs_UC: ArrayLike, temperature: float) -> Tensor:
    """Probabilities at another temperature: ``p_c^(1 / t) / sum_c' p_c'^(1 / t)``, which is ``softmax(logits / t)``.

    Args:
        probs_UC: probabilities of exclusive classes, (U, C).
        temperature: above 0; 1 changes nothing, more makes answers less sure.

    Returns:
        (U, C), float32 or float64.

    Raises:
        ConfigError: a temperature that is not above 0.

    Cost:
        O(U C).

    Example:
        >>> softened([[0.8, 0.2]], 2.0)
        tensor([[0.6667, 0.3333]])

    Reference:
        Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks, ICML 2017.
    """
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ConfigError(f"temperature is {temperature}; allowed is a finite number above 0")
    logits_UC = real(as_matrix(probs_UC, "probabilities"))
    logits_UC = logits_UC.clamp_min(torch.finfo(logits_UC.dtype).tiny).log()
    return torch.softmax(logits_UC / temperature, dim=1)


def temperature_for(probs_UC: ArrayLike, accuracy: float) -> float:
    """The temperature at which predictions are as sure, in the mean, as they are right: ``mean max_c p_c = accuracy``.

    That is calibration with a single bin. A model is never made surer than it is.

    Args:
        probs_UC: probabilities of exclusive classes, (U, C).
        accuracy: share of answers that are right, 0 to 1; below 1 / C counts as 1 / C.

    Returns:
        1 and more; at most e^7, which makes all answers alike.

    Raises:
        ConfigError: an accuracy outside 0 to 1.

    Cost:
        O(U C), some twenty times.

    Example:
        >>> round(temperature_for([[0.9, 0.1], [0.2, 0.8]], 0.7), 2)
        2.1
    """
    if not 0 <= accuracy <= 1:
        raise ConfigError(f"accuracy is {accuracy}; allowed is 0 to 1")
    probs = as_matrix(probs_UC, "probabilities")

    def surplus(log_temperature: float) -> float:
        return float(softened(probs, math.exp(log_temperature)).amax(1).double().mean()) - accuracy

    if not len(probs) or surplus(0.0) <= 0:
        return 1.0
    if surplus(_LONGEST) >= 0:
        return math.exp(_LONGEST)
    return math.exp(brentq(surplus, 0.0, _LONGEST, xtol=1e-4))


def left_out_accuracy(features_ND: ArrayLike, labelled_L: ArrayLike, labels_L: ArrayLike) -> float:
    """Share of labelled rows whose nearest other labelled row has the same label: no row is judged by itself.

    Args:
        features_ND: one row per item; compared by direction.
        labelled_L: labelled positions.
        labels_L: class index of each.

    Returns:
        0 to 1; 0 where fewer than two rows are labelled.

    Raises:
        DataError: rows that are not finite, positions out of range or twice, labels of another length.

    Cost:
        L^2 D operations.

    Example:
        >>> left_out_accuracy([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]], [0, 1, 2, 3], [0, 0, 1, 0])
        0.5
    """
    rows = as_matrix(features_ND)
    labelled = as_positions(labelled_L, len(rows), "labelled", device=rows.device)
    labels = as_tensor(labels_L).to(rows.device)
    if labels.shape != labelled.shape:
        raise DataError(f"got {len(labelled)} labelled positions and labels of shape {tuple(labels.shape)}")
    if len(labelled) < 2:
        return 0.0
    place_N = torch.empty(len(rows), dtype=torch.int64, device=rows.device)
    place_N[labelled] = torch.arange(len(labelled), device=rows.device)
    neighbour_L = place_N[nearest(rows, 1, queries=labelled, among=labelled, unit=True).index_QK[:, 0]]
    return float((labels[neighbour_L] == labels).double().mean())
