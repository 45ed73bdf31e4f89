"""Probabilities of every pixel as arrays: what the axes are, how numbers are stored, and files that are damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from labelwise.contracts.format import Hints
from labelwise.errors import FormatError
from labelwise.formats.maps_npz import Maps

CLASSES = ("road", "sky", "tree")
RNG = np.random.default_rng(0)
PROBS = {name: RNG.dirichlet(np.ones(3), (4, 5)).transpose(2, 0, 1) for name in ("a.png", "b/c.png")}
HINTS = Hints("masks", CLASSES)


def samples(folder: Path) -> list[Path]:
    """One file of all images, and a folder with a file for each."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "maps.npz", classes=np.array(CLASSES), **PROBS)
    for name, probs in PROBS.items():
        file = folder / "each" / Path(name).with_suffix(".npz")
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(file, probabilities=probs[:, None].astype(np.float16), classes=np.array(CLASSES))
    return [folder / "maps.npz", folder / "each"]


def read(path: Path, hints: Hints = HINTS, **options):
    head, records = Maps(**options).read(path, "predictions", hints)
    return head, {record.image: record for record in records}


def test_one_file_and_a_folder_say_the_same(tmp_path):
    one, each = samples(tmp_path / "s")
    head, records = read(one)
    assert head.classes == CLASSES
    assert set(records) == set(PROBS)
    _, by_file = read(each)
    assert set(by_file) == {"a", "b/c"}
    assert all(record.bare for record in by_file.values())
    for name, probs in PROBS.items():
        np.testing.assert_allclose(records[name].maps.read(), probs.transpose(1, 2, 0), rtol=1e-6)
        np.testing.assert_allclose(by_file[name[:-4]].maps.read(), probs.transpose(1, 2, 0), atol=1e-3)
        assert records[name].maps.size == (5, 4)


def test_bytes_are_probabilities_times_255(tmp_path):
    np.savez(tmp_path / "m.npz", **{"a.png": np.full((3, 2, 2), 85, np.uint8)})
    np.testing.assert_allclose(read(tmp_path / "m.npz")[1]["a.png"].maps.read(), 1 / 3, rtol=1e-6)


@pytest.mark.parametrize("order", ["chw", "hwc"])
def test_where_both_orders_fit_one_is_said(order, tmp_path):
    np.savez(tmp_path / "m.npz", **{"a.png": RNG.random((3, 4, 3))})
    with pytest.raises(FormatError, match="say --format maps:order=chw or hwc"):
        read(tmp_path / "m.npz")
    size = read(tmp_path / "m.npz", order=order)[1]["a.png"].maps.size
    assert size == ((3, 4) if order == "chw" else (4, 3))


def test_a_file_of_one_image_needs_one_array(tmp_path):
    (tmp_path / "f").mkdir()
    np.savez(tmp_path / "f" / "a.npz", x=np.zeros((3, 2, 2)), y=np.zeros((3, 2, 2)))
    with pytest.raises(FormatError, match="keep one array, or call it 'probabilities'"):
        read(tmp_path / "f")
