"""How good multi-label predictions are: average precision and F1, by class and over classes.

Shape letters: N images, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from labelwise.contracts.task import Metrics, Outputs


class MultiLabelMetrics(Metrics):
    """Mean average precision and F1 over the classes that some test image has.

    ``map`` is the mean over classes of the average precision, the sum over ranks of precision times the step in recall,
    as scikit-learn has it; ``map/NAME`` is that of one class. ``macro_f1`` is the mean over classes of F1 at the
    threshold, ``micro_f1`` that of all yes and no together; ``exact`` is the share of images of which every class is
    right. A class that no test image has says nothing of a model: it is left out of means, and
    ``classes_untested`` counts such classes where there are any.

    Args:
        classes: names, in index order.
        threshold: lowest probability of a yes.

    Example:
        >>> import torch
        >>> metrics = MultiLabelMetrics(("cat", "dog", "hen"), 0.5)
        >>> probs_BC = torch.tensor([[0.9, 0.2, 0.1], [0.4, 0.8, 0.1]])
        >>> metrics.update(Outputs.of_images(probs_BC, exclusive=False), [(0,), (1,)])
        >>> found = metrics.compute()
        >>> found["map"], found["macro_f1"], found["exact"], found["classes_untested"], "map/hen" in found
        (1.0, 1.0, 1.0, 1.0, False)
    """

    primary = "map"

    def __init__(self, classes: Sequence[str], threshold: float) -> None:
        self.classes = tuple(classes)
        self.threshold = threshold
        self._probs: list[np.ndarray] = []
        self._yes: list[np.ndarray] = []

    def update(self, outputs: Outputs, targets: Sequence[Any]) -> None:
        """Adds a batch."""
        yes_BC = np.zeros((len(targets), len(self.classes)), dtype=bool)
        for row, target in enumerate(targets):
            yes_BC[row, list(target)] = True
        self._probs.append(outputs.probs_UC.detach().float().cpu().numpy())
        self._yes.append(yes_BC)

    def compute(self) -> dict[str, float]:
        """All metrics; {} when nothing was added, or no image has a class. NaN where the model diverged."""
        from sklearn.metrics import average_precision_score, f1_score

        probs_NC = np.concatenate(self._probs) if self._probs else np.zeros((0, len(self.classes)))
        yes_NC = np.concatenate(self._yes) if self._yes else np.zeros((0, len(self.classes)), dtype=bool)
        tested = np.flatnonzero(yes_NC.any(0))
        if not len(tested):
            return {}
        if not np.isfinite(probs_NC).all():
            return dict.fromkeys(("map", "macro_f1", "micro_f1", "exact"), math.nan)
        said_NC = probs_NC >= self.threshold
        by_class = {c: float(average_precision_score(yes_NC[:, c], probs_NC[:, c])) for c in tested.tolist()}
        true, said = yes_NC[:, tested], said_NC[:, tested]
        found = {
            "map": float(np.mean(list(by_class.values()))),
            "macro_f1": float(np.mean([f1_score(true[:, c], said[:, c], zero_division=0) for c in range(len(tested))])),
            "micro_f1": float(f1_score(true.ravel(), said.ravel(), zero_division=0)),
            "exact": float((yes_NC == said_NC).all(1).mean()),
        }
        if untested := len(self.classes) - len(tested):
            found["classes_untested"] = float(untested)
        return found | {f"map/{self.classes[c]}": value for c, value in by_class.items()}
