"""The other side of each comparison: plain loops that follow the paper, scikit-activeml, baal, faiss.

Each returns the positions it picked. Peers are called as their documentation shows.
"""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import torch

# ---- plain loops ----------------------------------------------------------------------------------------------------


def numpy_k_center(rows: np.ndarray, k: int, centres: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """One matrix-vector product per pick; positions and distances."""
    norms = np.einsum("nd,nd->n", rows, rows)
    nearest2 = np.full(len(rows), np.inf, dtype=np.float32)
    for start in range(0, len(centres), 500):
        some = centres[start : start + 500]
        np.minimum(nearest2, (norms[:, None] + norms[some] - 2 * (rows @ rows[some].T)).min(1), out=nearest2)
    nearest2[centres] = -1
    picks, found2 = [], []
    for _ in range(k):
        pick = int(nearest2.argmax())
        picks.append(pick)
        found2.append(nearest2[pick])
        np.minimum(nearest2, norms + norms[pick] - 2 * (rows @ rows[pick]), out=nearest2)
        nearest2[pick] = -1
    return np.array(picks), np.sqrt(np.maximum(found2, 0))


def numpy_badge(embeddings: np.ndarray, probs: np.ndarray, k: int) -> np.ndarray:
    """Factored: two matrix-vector products and one draw per pick."""
    rng = np.random.default_rng(0)
    residuals = probs.copy()
    residuals[np.arange(len(probs)), probs.argmax(1)] -= 1
    norms = np.einsum("nd,nd->n", embeddings, embeddings) * np.einsum("nc,nc->n", residuals, residuals)
    picks = [int(norms.argmax())]
    nearest2 = np.full(len(norms), np.inf, dtype=np.float32)
    while len(picks) < k:
        last = picks[-1]
        inner = (embeddings @ embeddings[last]) * (residuals @ residuals[last])
        np.minimum(nearest2, norms + norms[last] - 2 * inner, out=nearest2)
        nearest2[picks] = 0
        running = np.cumsum(np.maximum(nearest2, 0), dtype=np.float64)
        picks.append(int(np.searchsorted(running, rng.random() * running[-1], side="right")))
    return np.array(picks)


def numpy_entropy(probs: np.ndarray, k: int) -> np.ndarray:
    """As most code writes it."""
    scores = -(probs * np.log(np.maximum(probs, 1e-12))).sum(1)
    return np.argsort(-scores)[:k]


def discriminative_loop(x: np.ndarray, labelled: np.ndarray, k: int, *, seed: int = 0, parts: int = 10) -> np.ndarray:
    """Discriminative active learning as published by SuperAnnotate, its net trained; on tensors that are in memory."""
    draw, rows = torch.Generator().manual_seed(seed), torch.from_numpy(x)
    known = torch.zeros(len(rows), dtype=torch.int64)
    known[torch.from_numpy(labelled)] = 1
    most, picks = 10 * len(labelled), []
    for _ in range(parts):
        free = torch.nonzero(known == 0).flatten()
        free = free[torch.randperm(len(free), generator=draw)][:most]
        both = torch.cat([torch.nonzero(known).flatten(), free])
        share = 1 - len(free) / len(both)
        widths = [rows.shape[1], 256, 256, 256]
        with torch.random.fork_rng():
            torch.manual_seed(seed + len(picks))
            layers = [torch.nn.Sequential(torch.nn.Linear(a, b), torch.nn.ReLU()) for a, b in pairwise(widths)]
            net = torch.nn.Sequential(*layers, torch.nn.Linear(256, 2))
        learner = torch.optim.Adam(net.parameters(), lr=3e-4)
        loss = torch.nn.CrossEntropyLoss(weight=torch.tensor([share, 1 - share]))
        for _ in range(500):
            right = 0
            for part in both[torch.randperm(len(both), generator=draw)].split(128):
                said = net(rows[part])
                learner.zero_grad()
                loss(said, known[part]).backward()
                learner.step()
                right += int((said.argmax(1) == known[part]).sum())
            if right / len(both) >= 0.982:
                break
        with torch.no_grad():
            best = net(rows[free]).softmax(1)[:, 0].topk(k // parts).indices
        picks += free[best].tolist()
        known[free[best]] = 1
    return np.array(picks)


# ---- scikit-activeml ------------------------------------------------------------------------------------------------


def skactiveml(name: str, rows: np.ndarray, k: int, **options: Any) -> np.ndarray:
    """A pool strategy of scikit-activeml that reads features only; nothing labelled."""
    import skactiveml.pool as pool

    labels = np.full(len(rows), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(pool, name)(random_state=0, **options).query(rows, labels, batch_size=k)


def skactiveml_badge(embeddings: np.ndarray, probs: np.ndarray, k: int) -> np.ndarray:
    """Badge of scikit-activeml on given embeddings and probabilities."""
    from skactiveml.base import SkactivemlClassifier
    from skactiveml.pool import Badge

    class Given(SkactivemlClassifier):  # type: ignore[misc]
        """Says what it was told."""

        def __init__(self, classes: Any = None, missing_label: float = np.nan, random_state: Any = None) -> None:
            super().__init__(classes=classes, missing_label=missing_label, random_state=random_state)

        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Given:
            return self

        def predict_proba(self, X: Any, return_embeddings: bool = False) -> Any:
            found = probs if len(X) == len(probs) else probs[: len(X)]
            return (found, X) if return_embeddings else found

    classifier = Given(classes=list(range(probs.shape[1])))
    labels = np.full(len(embeddings), np.nan)
    labels[0] = 0  # it wants one label
    query = Badge(clf_embedding_flag_name="return_embeddings", random_state=0).query
    return query(embeddings, labels, classifier, fit_clf=False, batch_size=k)


# ---- baal, faiss, scikit-learn --------------------------------------------------------------------------------------


def baal_ranks(name: str, predictions: np.ndarray, k: int, **options: Any) -> np.ndarray:
    """The k first of a heuristic of baal; predictions (N, C) or (N, C, T) are probabilities."""
    import baal.active.heuristics as heuristics

    return np.asarray(getattr(heuristics, name)(**options)(predictions))[:k]


def faiss_kmeans(rows: np.ndarray, k: int, iterations: int = 25) -> np.ndarray:
    """Centroids from faiss's own random start, without subsampling."""
    import faiss

    size = {"min_points_per_centroid": 1, "max_points_per_centroid": -(-len(rows) // k)}
    clustering = faiss.Kmeans(rows.shape[1], k, niter=iterations, seed=1, **size)
    clustering.train(rows)
    return clustering.centroids


def minibatch_kmeans(rows: np.ndarray, k: int) -> np.ndarray:
    """Centroids of scikit-learn's mini-batch k-means."""
    from sklearn.cluster import MiniBatchKMeans

    return MiniBatchKMeans(k, n_init=1, batch_size=4096, random_state=0).fit(rows).cluster_centers_
