"""Labelled sets on frozen features, for benchmarks of advice and of test sets: rows, classes, a pool and a test half.

Read from the folder that ``LABELWISE_DATA`` names (MNIST, Fashion-MNIST, CIFAR-10 as JPEG), and the digits of
scikit-learn. Features are kept in ``--cache`` once they are made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from worlds import read

POOL, TEST = 2500, 1500
AXES = 128


@dataclass(frozen=True)
class FeatureSet:
    """One world: features (N, D) float32 and classes (N,) of the pool and of the test images."""

    name: str
    pool_ND: np.ndarray
    pool_classes_N: np.ndarray
    test_TD: np.ndarray
    test_classes_T: np.ndarray

    @property
    def classes(self) -> int:
        return int(max(self.pool_classes_N.max(), self.test_classes_T.max())) + 1


def _images(source: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    if source == "digits":
        data = load_digits()
        order = np.random.default_rng(0).permutation(len(data.target))
        images, labels = data.images[order].astype(np.float32), data.target[order].astype(np.int64)
        return images[:1200], labels[:1200], images[1200:], labels[1200:]
    return *read(source, "train", POOL), *read(source, "test", TEST)


def _by_pixels(pool: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = [part.reshape(len(part), -1).astype(np.float32) / 255 for part in (pool, test)]
    axes = PCA(min(64, rows[0].shape[1]), random_state=0).fit(rows[0])
    return axes.transform(rows[0]), axes.transform(rows[1])


def _by_lite0(pool: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from labelwise.learners.backbones import backbone

    net = backbone("lite0")
    rows = []
    for part in (pool, test):
        colour = np.repeat(part[..., None], 3, -1) if part.ndim == 3 else part
        with torch.inference_mode():
            blocks = [net(net.input.prepare_batch(colour[i : i + 100])).numpy() for i in range(0, len(colour), 100)]
        rows.append(np.concatenate(blocks))
    axes = PCA(AXES, random_state=0).fit(rows[0])
    return axes.transform(rows[0]), axes.transform(rows[1])


def _tail(world: FeatureSet) -> FeatureSet:
    """Class c keeps 20 ** (-c / (C - 1)) of its pool images: the last a twentieth."""
    rng, keep = np.random.default_rng(1), []
    for c in range(world.classes):
        mine = rng.permutation(np.flatnonzero(world.pool_classes_N == c))
        keep += mine[: max(5, round(len(mine) * 20 ** (-c / (world.classes - 1))))].tolist()
    keep = np.sort(keep)
    return replace(world, pool_ND=world.pool_ND[keep], pool_classes_N=world.pool_classes_N[keep])


def _merged(world: FeatureSet, yes: frozenset[int]) -> FeatureSet:
    """Two classes: these, and all others."""
    pool, test = (np.isin(part, list(yes)).astype(np.int64) for part in (world.pool_classes_N, world.test_classes_T))
    return replace(world, pool_classes_N=pool, test_classes_T=test)


ODD, ANIMALS = frozenset({1, 3, 5, 7, 9}), frozenset({2, 3, 4, 5, 6, 7})
_HOW: dict[str, tuple[str, str, Callable[[FeatureSet], FeatureSet]]] = {
    "digits": ("digits", "pixels", lambda w: w),
    "fashion": ("fashion", "pixels", lambda w: w),
    "cifar-lite0": ("cifar", "lite0", lambda w: w),
    "mnist-parity": ("mnist", "pixels", lambda w: _merged(w, ODD)),
    "fashion-lite0-tail": ("fashion", "lite0", _tail),
    "cifar-animals": ("cifar", "pixels", lambda w: _merged(w, ANIMALS)),
    "mnist": ("mnist", "pixels", lambda w: w),
    "fashion-lite0": ("fashion", "lite0", lambda w: w),
    "cifar": ("cifar", "pixels", lambda w: w),
    "digits-parity": ("digits", "pixels", lambda w: _merged(w, ODD)),
    "cifar-lite0-tail": ("cifar", "lite0", _tail),
    "cifar-lite0-animals": ("cifar", "lite0", lambda w: _merged(w, ANIMALS)),
}
WORLDS = tuple(_HOW)
#: named before anything was measured: these choose what there is to choose, the others judge it
TUNING = WORLDS[:6]
JUDGING = WORLDS[6:]


def load(name: str, cache: Path) -> FeatureSet:
    """A world by name; its features come from the cache where they are there."""
    source, by, change = _HOW[name]
    file = cache / f"{source}-{by}.npz"
    if not file.is_file():
        pool, pool_classes, test, test_classes = _images(source)
        rows = (_by_pixels if by == "pixels" else _by_lite0)(pool, test)
        cache.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(".tmp.npz")
        np.savez(draft, pool=rows[0], pool_classes=pool_classes, test=rows[1], test_classes=test_classes)
        draft.replace(file)
    with np.load(file) as kept:
        parts = [kept[part] for part in ("pool", "pool_classes", "test", "test_classes")]
    return change(FeatureSet(name, *parts))


class Head:
    """A linear head on features as labelwise trains it: normalised, with its usual ridge."""

    def __init__(self, rows_LD: np.ndarray, labels_L: np.ndarray, classes: int) -> None:
        from labelwise.learners.features import fit_linear, usual_strength

        self.mean = rows_LD.mean(0)
        self.scale = max(1e-6, float(np.sqrt(((rows_LD - self.mean) ** 2).mean())))
        x = torch.from_numpy((rows_LD - self.mean) / self.scale)
        weight, bias, _ = fit_linear(x, torch.from_numpy(labels_L), classes, usual_strength(*x.shape))
        self.weight, self.bias = weight.numpy(), bias.numpy()

    def probabilities(self, rows_ND: np.ndarray) -> np.ndarray:
        """(N, C)."""
        logits = (rows_ND - self.mean) / self.scale @ self.weight.T + self.bias
        logits -= logits.max(1, keepdims=True)
        odds = np.exp(logits)
        return odds / odds.sum(1, keepdims=True)
