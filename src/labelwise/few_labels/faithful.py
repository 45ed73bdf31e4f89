"""What the preset ``faithful`` does: the k-means and the max-entropy head of the published low-budget system.

Dimension key: N images, L chosen before, D features.

Pourahmadi, Nooralinejad and Pirsiavash, "A Simple Baseline for Low-Budget Active Learning", 2021.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelwise.learners.heads import LinearProtocol
from labelwise.rng import generator
from labelwise.selection import progress as telling
from labelwise.selection.clustering import assign, medoids

#: the published head of max-entropy differs from the one that is measured: no normalisation, a tenth of the rate
FAITHFUL_HEAD = LinearProtocol(lr=1e-3, normalise=False)
# faiss draws the starting points of its n-th restart with this step between seeds
_FAISS_SEED, _FAISS_STEP, _FAISS_RESTARTS, _FAISS_ITERATIONS = 1234, 15486557, 5, 20


def published_kmeans(unit_ND: Tensor, k: int, labelled_L: Tensor) -> Tensor:
    """The published single-batch k-means, and with labels before it the multi-batch one.

    faiss on all rows with 20 iterations, 5 restarts from random rows, seed 1234 and no subsampling; from each cluster
    the unlabelled row nearest its centroid. We differ: float32 throughout, where the published code assigns and
    searches in float16; and clusters that have nothing to give are made up for: there are always ``k`` picks.

    Args:
        unit_ND: rows of unit length.
        k: clusters and picks.
        labelled_L: rows that may not be picked.

    Returns:
        (k,) int64 rows, clusters with many candidates first.

    Cost:
        200 N k D operations.
    """
    import faiss

    rows = unit_ND.float().cpu().contiguous().numpy()
    best: tuple[float, Any] | None = None
    for restart in range(_FAISS_RESTARTS):  # one call each, so that it can be interrupted and heard of
        clustering = faiss.Kmeans(
            rows.shape[1],
            k,
            niter=_FAISS_ITERATIONS,
            seed=_FAISS_SEED + restart * _FAISS_STEP,
            min_points_per_centroid=1,  # the published 39 only warns
            max_points_per_centroid=max(1, 2 * len(rows) // k),
        )
        objective = float(clustering.train(rows))
        if best is None or objective < best[0]:
            best = objective, np.array(clustering.centroids)
        telling.report("clustering", restart + 1, _FAISS_RESTARTS)
    assert best is not None
    assignment_N, distance2_N = assign(rows, best[1])
    free_N = torch.ones(len(rows), dtype=torch.bool)
    free_N[labelled_L] = False
    return medoids(assignment_N, distance2_N, k, candidates_M=free_N.nonzero().squeeze(1), rng=generator(_FAISS_SEED))
