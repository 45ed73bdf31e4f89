"""Index files: what is written is read back, what is no selection is refused in one line."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelwise.data import ArraySource, ImageFolder, from_dataset, subset
from labelwise.errors import DataError, FormatError
from labelwise.formats.indices_npy import index_name, read_indices, write_indices

ORDER = ["c", "a", "b", "e", "d"]


def test_round_trip_in_the_order_chosen(tmp_path):
    file = write_indices(tmp_path / "new", ["d", "c", "b"], ORDER, name="accu_kmeans", dataset="cifar10")
    assert file == tmp_path / "new" / "accu_kmeans_cifar10_3.npy"
    raw = np.load(file)
    assert (raw.dtype, raw.tolist()) == (np.int64, [4, 0, 2])
    assert read_indices(file, ORDER) == ["d", "c", "b"]
    assert read_indices(file, ORDER, allowed=["b", "c", "d"]) == ["d", "c", "b"]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64", ">i4"])
def test_any_integer_type_is_read(dtype, tmp_path):
    np.save(tmp_path / "x_2.npy", np.array([3, 1], dtype=dtype))
    assert read_indices(tmp_path / "x_2.npy", ORDER) == ["e", "a"]


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("x_3.npy", [1, 2, 1], "position 1 twice"),
        ("x_2.npy", [1, -1], "position -1; the data set has 0 to 4: positions count from 0"),
        ("x_2.npy", [1, 5], "position 5"),
        ("x_1.npy", np.array([2**64 - 1], np.uint64), "position 18446744073709551615"),
        ("x_2.npy", [1.0, 2.0], "float64"),
        ("x_2.npy", [True, False], "bool"),
        ("x_2.npy", np.array([1 + 0j, 2]), "complex128"),
        ("x_1.npy", [[1]], r"shape \(1, 1\)"),
        ("x_1.npy", 3, r"shape \(\)"),
        ("kmeans_cifar10_4.npy", [1, 2], "holds 2 positions, and its name says 4"),
        ("x_2.npy", [0, 4], "'d', which may not be chosen"),
    ],
)
def test_what_is_no_selection_is_refused(name, array, words, tmp_path):
    np.save(tmp_path / name, np.asarray(array))
    with pytest.raises(FormatError, match=words) as caught:
        read_indices(tmp_path / name, ORDER, allowed=["a", "b", "c"])
    assert "\n" not in str(caught.value)


class _Evil:
    def __reduce__(self):
        return Path.touch, (Path("/tmp/labelwise-index-was-unpickled"),)


def test_nothing_is_unpickled(tmp_path):
    np.save(tmp_path / "x.npy", np.array([_Evil()], dtype=object), allow_pickle=True)
    with pytest.raises(FormatError, match="never loaded"):
        read_indices(tmp_path / "x.npy", ORDER)
    (tmp_path / "y.npy").write_bytes(pickle.dumps(_Evil()))
    with pytest.raises(FormatError, match=r"no \.npy file"):
        read_indices(tmp_path / "y.npy", ORDER)
    assert not Path("/tmp/labelwise-index-was-unpickled").exists()


def test_damaged_and_missing_files(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(5))
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-8])
    with pytest.raises(FormatError, match="cannot be read"):
        read_indices(tmp_path / "x.npy", ORDER)
    with pytest.raises(FormatError, match="does not exist"):
        read_indices(tmp_path / "y.npy", ORDER)
    with pytest.raises(FormatError, match=r"no \.npy file"):
        read_indices(Path(__file__), ORDER)


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(DataError, match="'z' is no training image"):
        write_indices(tmp_path, ["z"], ORDER, name="a", dataset="b")
    with pytest.raises(DataError, match="twice"):
        write_indices(tmp_path, ["a", "a"], ORDER, name="a", dataset="b")
    with pytest.raises(DataError, match="file name"):
        index_name("../x", "b", 1)


# ---- native order ---------------------------------------------------------------------------------------------------


def test_arrays_count_rows_whatever_their_ids():
    images = np.zeros((4, 4, 4), np.uint8)
    source = ArraySource(images, ids=["z", "t", "a", "m"], roles={"t": "test"})
    assert source.ids == ("a", "m", "t", "z")
    assert list(source.native_order()) == ["z", "a", "m"]
    assert list(subset(source, 2, 0).native_order()) == ["z", "a", "m"], "a thinned view keeps the positions"
    assert list(from_dataset([(image, 0) for image in images[:3]], ids=["c", "a", "b"]).native_order()) == [
        "c",
        "a",
        "b",
    ]


@pytest.mark.parametrize("split", [False, True])
def test_folders_are_listed_as_torchvision_does(split, tmp_path):
    """Plain string order of paths would put ``a-b/1.png`` before ``a/1.png``."""
    from torchvision.datasets import ImageFolder as Theirs

    root = tmp_path / "train" if split else tmp_path
    for name in ("a-b/1.png", "a/9.png", "a/10.png", "a/sub/2.png", "a/sub-x/3.png", "b/x.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(root / name)
    if split:
        (tmp_path / "val" / "a").mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / "val" / "a" / "0.png")
    theirs = [Path(path).relative_to(tmp_path).as_posix() for path, _ in Theirs(root).samples]
    ours = ImageFolder(tmp_path, labels="folders").native_order()
    assert ours == theirs
