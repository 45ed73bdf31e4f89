"""Selection against the plain loops and libraries, in one run, as ratios.

Run: ``python benchmarks/speed/selection.py [--rows N] [--width D] [--picks K] [--threads T] [--no-kmeans]``.

Bars: k-center at least 8 times the NumPy loop of one matrix-vector product per pick, with its picks (gaps in the
distance under 1e-5); k-means with an inertia within 2 % of the best of the others. The two sides take turns, and the
fastest turn of each counts, because the machines this runs on are shared. On busy cores run it with one thread less:
torch waits for its slowest thread several hundred times a second, and a core that somebody else has taken halves its
speed while the NumPy loop, bound by memory, hardly notices.

Features are synthetic: unit rows around 100 centres, "loose" (clusters overlap) or "tight", and "relu" (behind a random
rectified layer, mostly mean).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from threadpoolctl import threadpool_limits

from labelwise.selection import k_center, kmeans, plus_plus
from labelwise.selection.clustering import assign

SPREADS = {"loose": 0.7, "tight": 0.3, "relu": 0.3}


def features(kind: str, rows: int, width: int) -> np.ndarray:
    """Unit rows around 100 centres, float32."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(100, width))
    found = centres[rng.integers(0, 100, rows)] + SPREADS[kind] * rng.normal(size=(rows, width))
    if kind == "relu":
        found = np.maximum(found @ rng.normal(size=(width, width)), 0)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def numpy_k_center(rows: np.ndarray, k: int, centres: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """One matrix-vector product per pick."""
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


def numpy_plus_plus(rows: np.ndarray, k: int) -> np.ndarray:
    """One matrix-vector product and one draw per pick."""
    rng = np.random.default_rng(0)
    norms = np.einsum("nd,nd->n", rows, rows)
    picks = [int(rng.integers(len(rows)))]
    nearest2 = np.full(len(rows), np.inf, dtype=np.float32)
    while len(picks) < k:
        np.minimum(nearest2, norms + norms[picks[-1]] - 2 * (rows @ rows[picks[-1]]), out=nearest2)
        nearest2[picks] = 0
        running = np.cumsum(np.maximum(nearest2, 0), dtype=np.float64)
        picks.append(int(np.searchsorted(running, rng.random() * running[-1], side="right")))
    return np.array(picks)


def in_turns(turns: int, *sides: Callable[[], Any]) -> list[tuple[float, Any]]:
    """Fastest seconds and last result of each side, the sides taking turns."""
    best = [(np.inf, None)] * len(sides)
    for _ in range(turns):
        for place, side in enumerate(sides):
            started = time.perf_counter()
            result = side()
            best[place] = (min(best[place][0], time.perf_counter() - started), result)
    return best


def inertia(rows: np.ndarray, centroids: Any) -> float:
    return float(assign(rows, centroids)[1].double().sum())


def machine(rows: np.ndarray) -> None:
    """What the cores and the memory give in this minute."""
    tensor, some = torch.from_numpy(rows), torch.from_numpy(rows[:512])
    (product, _), (vector, _) = in_turns(5, lambda: tensor @ some.T, lambda: rows @ rows[0])
    print(
        f"machine now: matrix product {2e-9 * rows.size * 512 / product:.0f} GFLOP/s, "
        f"matrix-vector {1e-9 * rows.nbytes / vector:.0f} GB/s, {torch.get_num_threads()} threads\n"
    )


def compare_k_center(kind: str, rows: np.ndarray, picks: int, labeled: int, turns: int) -> None:
    centres = np.random.default_rng(1).permutation(len(rows))[:labeled].tolist()

    def ours() -> tuple[np.ndarray, np.ndarray]:
        found, distances = k_center(rows, picks, labeled_L=centres, rng=np.random.default_rng(0))
        return found.numpy(), distances.numpy()

    (fast, mine), (slow, plain) = in_turns(turns, ours, lambda: numpy_k_center(rows, picks, centres))
    gap = np.abs(mine[1] - plain[1]).max()
    same = (mine[0] == plain[0]).mean()
    print(
        f"k-center   {kind:6} L {labeled:<5} {fast:7.3f} s  NumPy loop {slow:7.3f} s  ratio {slow / fast:5.1f}   "
        f"same picks {same:6.1%}, gap {gap:.1e} {'ok' if gap < 1e-5 else 'DIFFERENT'}"
    )


def compare_plus_plus(kind: str, rows: np.ndarray, picks: int, turns: int) -> None:
    (fast, mine), (slow, plain) = in_turns(
        turns,
        lambda: plus_plus(rows, picks, rng=np.random.default_rng(0)).numpy(),
        lambda: numpy_plus_plus(rows, picks),
    )
    print(
        f"k-means++  {kind:6}         {fast:7.3f} s  NumPy loop {slow:7.3f} s  ratio {slow / fast:5.1f}   "
        f"potential {inertia(rows, rows[mine]):.0f} / {inertia(rows, rows[plain]):.0f}"
    )


def compare_kmeans(kind: str, rows: np.ndarray, k: int) -> None:
    def faiss_random() -> np.ndarray:
        size = {"min_points_per_centroid": 1, "max_points_per_centroid": len(rows)}
        clustering = faiss.Kmeans(rows.shape[1], k, niter=25, seed=1, **size)
        clustering.train(rows)
        return clustering.centroids

    sides = {
        "ours": lambda: kmeans(rows, k, rng=np.random.default_rng(0)).centroids_KD,
        "faiss, random start": faiss_random,
        "MiniBatchKMeans": lambda: (
            MiniBatchKMeans(k, n_init=1, batch_size=4096, random_state=0).fit(rows).cluster_centers_
        ),
    }
    for name, side in sides.items():
        [(seconds, centroids)] = in_turns(1, side)
        print(f"k-means    {kind:6} k {k:<5} {seconds:7.2f} s  inertia {inertia(rows, centroids):9.1f}  {name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--picks", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--no-kmeans", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    threadpool_limits(options.threads)  # NumPy, faiss and scikit-learn
    for kind in SPREADS:
        rows = features(kind, options.rows, options.width)
        if kind == "loose":
            machine(rows)
        compare_k_center(kind, rows, options.picks, 1, options.turns)
        compare_k_center(kind, rows, options.picks, 1000, options.turns)
        compare_plus_plus(kind, rows, options.picks, options.turns)
        if not options.no_kmeans:
            compare_kmeans(kind, rows, 100)
            compare_kmeans(kind, rows, options.picks)


if __name__ == "__main__":
    main()
