import gzip
import os
import pickle
import struct
import urllib.request
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from PIL import Image

from labelwise.data.torchvision_sets import default_root, open_torchvision, read_idx
from labelwise.errors import ConfigError, DataError


def idx(array):
    head = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


def write_mnist(folder, *, packed, name="MNIST"):
    rng = np.random.default_rng(0)
    raw = folder / name / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 12), ("t10k", 3)):
        arrays = {
            f"{part}-images-idx3-ubyte": rng.integers(0, 256, (count, 28, 28)).astype(np.uint8),
            f"{part}-labels-idx1-ubyte": (np.arange(count) % 10).astype(np.uint8),
        }
        for file, array in arrays.items():
            if packed:
                (raw / f"{file}.gz").write_bytes(gzip.compress(idx(array)))
            else:
                (raw / file).write_bytes(idx(array))
    return raw


@pytest.fixture
def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise URLError("no network in this test")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(("name", "spelt"), [("MNIST", "mnist"), ("FashionMNIST", "fashion-mnist")])
def test_mnist_family_is_read_as_it_lies(tmp_path, packed, name, spelt):
    raw = write_mnist(tmp_path, packed=packed, name=name)
    before = sorted(raw.iterdir())
    source = open_torchvision(spelt, tmp_path)
    assert sorted(raw.iterdir()) == before
    assert source.ids[:3] == ("test/0", "test/1", "test/2")
    assert source.ids[-1] == "train/11"
    assert source.roles == dict.fromkeys(source.ids[:3], "test")
    assert source.load("train/00").shape == (28, 28, 1)
    assert source.truth["train/11"] == ("1" if name == "MNIST" else "Trouser")
    assert open_torchvision(spelt, raw).ids == source.ids
    assert open_torchvision(spelt, tmp_path / name).ids == source.ids


def test_damaged_and_missing_files_say_what_to_put_where(tmp_path, offline):
    raw = write_mnist(tmp_path, packed=True)
    file = raw / "train-images-idx3-ubyte.gz"
    good = file.read_bytes()
    for bad in (good[:100], b"", gzip.compress(gzip.decompress(good)[:-5]), gzip.compress(b"text")):
        file.write_bytes(bad)
        with pytest.raises(DataError, match=r"damaged .* into .*/MNIST/raw") as error:
            open_torchvision("MNIST", tmp_path)
        assert "\n" not in str(error.value)
    file.unlink()
    for download in (True, False):
        with pytest.raises(DataError, match=r"\{train,t10k\}.* into .*/MNIST/raw, and run"):
            open_torchvision("MNIST", tmp_path, download=download)


@pytest.mark.parametrize("name", ["CIFAR10", "CIFAR100", "SVHN", "SVHNExtra", "STL10", "ImageNet"])
@pytest.mark.parametrize("download", [True, False])
def test_offline_error_names_the_file(tmp_path, offline, name, download):
    with pytest.raises(DataError, match=rf"{name} cannot be read .* Put .*{tmp_path}") as error:
        open_torchvision(name, tmp_path, download=download)
    assert "\n" not in str(error.value)


def test_unknown_set_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'CIFAR10'"):
        open_torchvision("CIFAR11")


def test_default_root_is_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_root() == tmp_path / "labelwise" / "torchvision"


def test_read_idx_checks_its_header(tmp_path):
    (tmp_path / "a").write_bytes(idx(np.arange(6, dtype=np.uint8).reshape(2, 3)))
    assert read_idx(tmp_path / "a").tolist() == [[0, 1, 2], [3, 4, 5]]
    (tmp_path / "a").write_bytes(b"\0\0\x0d\x01" + bytes(8))
    with pytest.raises(ValueError, match="no IDX"):
        read_idx(tmp_path / "a")


def test_cifar10_through_torchvision(tmp_path, monkeypatch):
    import torchvision.datasets.cifar as cifar

    monkeypatch.setattr(cifar, "check_integrity", lambda *args: True)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]:
        data = rng.integers(0, 256, (4, 3072)).astype(np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": data, "labels": [0, 1, 2, 9]}))
    meta = {"label_names": [f"class{n}" for n in range(10)]}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta))
    source = open_torchvision("cifar-10", tmp_path, download=False)
    assert len(source.ids) == 24
    assert source.load("train/00").shape == (32, 32, 3)
    assert source.truth["test/3"] == "class9"
    plane = data.reshape(4, 3, 32, 32)[1, 0]  # the last file written is the test batch; its first plane is red
    assert np.array_equal(source.load("test/1")[..., 0], plane)


def test_stl10_adds_its_unlabelled_images(tmp_path, monkeypatch):
    from torchvision.datasets import STL10

    monkeypatch.setattr(STL10, "_check_integrity", lambda self: True)
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, count in (("train", 3), ("test", 2), ("unlabeled", 4)):
        (folder / f"{name}_X.bin").write_bytes(rng.integers(0, 256, (count, 3, 96, 96)).astype(np.uint8).tobytes())
        if name != "unlabeled":
            (folder / f"{name}_y.bin").write_bytes(np.arange(1, count + 1, dtype=np.uint8).tobytes())
    (folder / "class_names.txt").write_text("\n".join(f"c{n}" for n in range(10)))
    source = open_torchvision("STL10", tmp_path, download=False)
    assert [item_id for item_id in source.ids if item_id.startswith("unlabeled/")] == [
        f"unlabeled/{n}" for n in range(4)
    ]
    assert "unlabeled/0" not in source.truth
    assert source.truth["test/1"] == "c1"
    assert len(open_torchvision("STL10", tmp_path, download=False, unlabelled=False).ids) == 5


def test_svhn_through_torchvision(tmp_path, monkeypatch):
    import scipy.io
    from torchvision.datasets import SVHN

    monkeypatch.setattr(SVHN, "_check_integrity", lambda self: True)
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 2)).astype(np.uint8)
    for name in ("train", "test"):
        scipy.io.savemat(tmp_path / f"{name}_32x32.mat", {"X": pixels, "y": np.array([[10], [3]])})
    source = open_torchvision("svhn", tmp_path, download=False)
    assert source.truth == {"train/0": "0", "train/1": "3", "test/0": "0", "test/1": "3"}
    assert np.array_equal(source.load("train/1"), pixels[..., 1])
    with pytest.raises(DataError, match="SVHNExtra cannot be read"):
        open_torchvision("SVHNExtra", tmp_path, download=False)
    scipy.io.savemat(tmp_path / "extra_32x32.mat", {"X": pixels[..., ::-1], "y": np.array([[3], [10]])})
    more = open_torchvision("svhn-extra", tmp_path, download=False)
    assert more.truth == {**source.truth, "extra/0": "3", "extra/1": "0"}
    assert dict(more.roles) == {"test/0": "test", "test/1": "test"}


@pytest.mark.parametrize("inside", ["", "ILSVRC/Data/CLS-LOC"])
def test_imagenet_is_read_as_a_folder(tmp_path, inside):
    for name in ("train/n01/a.JPEG", "train/n02/b.JPEG", "val/n01/c.JPEG", "val/n02/d.JPEG"):
        path = tmp_path / inside / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path, "JPEG")
    source = open_torchvision("imagenet", tmp_path)
    assert source.classes == ("n01", "n02")
    assert source.roles["val/n01/c.JPEG"] == "test"
    assert source.roles["train/n01/a.JPEG"] == "pool"
    assert source.load("val/n02/d.JPEG").shape == (8, 8, 3)


@pytest.mark.heavy
@pytest.mark.real
@pytest.mark.parametrize(("name", "folder"), [("FashionMNIST", "fashion_mnist"), ("MNIST", "mnist")])
def test_real_sets_without_unpacking(name, folder):
    data = os.environ.get("LABELWISE_DATA")
    if not data:
        pytest.skip("LABELWISE_DATA names no folder")
    source = open_torchvision(name, Path(data) / folder, download=False)
    assert len(source.ids) == 70_000
    assert len(source.roles) == 10_000
    counts = np.unique(list(source.truth.values()), return_counts=True)[1]
    assert len(counts) == 10
    if name == "FashionMNIST":
        assert set(counts.tolist()) == {7000}
        assert source.truth["train/00000"] == "Ankle boot"
