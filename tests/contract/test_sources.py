"""What every source promises, checked for those of the house and for views of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import painted
import shapes
import tiny
from labelwise.contracts.source import Source
from labelwise.data import (
    EncodedSource,
    ImageFolder,
    from_dataset,
    imbalanced,
    open_source,
    split,
    subset,
    with_noise,
    with_reference,
)
from labelwise.data.regions import Regions
from labelwise.data.remembered import Remembered
from labelwise.data.superpixels import Superpixels
from labelwise.testing.sources import check_source
from labelwise.testing.worlds import Broken


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number, (name, mode) in enumerate((("cat", "RGB"), ("cat", "L"), ("dog", "RGB"), ("dog", "RGBA"))):
        place = tmp_path / "img" / name
        place.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (10 + number, 12, {"L": 1, "RGB": 3, "RGBA": 4}[mode]), np.uint8).squeeze()
        Image.fromarray(pixels, mode).save(place / f"{number}.png")
    (tmp_path / "img" / "dog" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    return tmp_path / "img"


def _floats(count: int = 4) -> list[tuple[object, int]]:
    rng = np.random.default_rng(0)
    import torch

    return [(torch.from_numpy(rng.normal(size=(2, 8, 8)).astype(np.float32)), number % 2) for number in range(count)]


SOURCES = {
    "arrays": lambda: tiny.digits(12, test=3),
    "a data set of float tensors": lambda: from_dataset(_floats(), classes=["a", "b"]),
    "boxes": lambda: shapes.Shapes(10),
    "masks": lambda: painted.Painted(6),
    "regions": lambda: Regions(painted.Painted(3), Superpixels(count=6)),
    "a subset": lambda: subset(tiny.digits(30), 12, 0),
    "a split": lambda: split(tiny.digits(30), 0.2, 0),
    "a reference set": lambda: with_reference(tiny.digits(60), 10, 0),
    "wrong labels": lambda: with_noise(tiny.digits(20), 0.2, 0),
    "imbalanced": lambda: imbalanced(tiny.digits(60), profile="step", ratio=5, seed=0),
    "remembered": lambda: Remembered(tiny.digits(8)),
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_keeps_its_contract(name):
    check_source(SOURCES[name]())


def test_a_folder_keeps_it_too(folder):
    check_source(ImageFolder(folder), broken=["dog/broken.png"])
    check_source(open_source(folder), broken=["dog/broken.png"])


def test_encoded_images_keep_it_too(folder):
    files = [path.read_bytes() for path in sorted(folder.glob("*/?.png"))]
    offsets = np.cumsum([0, *map(len, files)])
    check_source(EncodedSource(np.frombuffer(b"".join(files), np.uint8), offsets, [0, 1, 0, 1], classes=["a", "b"]))


def test_images_that_cannot_be_read_are_part_of_it():
    source = tiny.digits(6)
    check_source(Broken(source, source.ids[2:4]), broken=source.ids[2:4])
    assert isinstance(source, Source)
