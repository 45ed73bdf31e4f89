import hashlib
import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelwise.data.arrays import ArraySource, EncodedSource, number_ids, read_npz
from labelwise.errors import DataError, FormatError


def images(count=12, shape=(6, 5, 3), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype(np.uint8)


def jpegs(count=4):
    files = []
    for n in range(count):
        buffer = io.BytesIO()
        Image.fromarray(np.full((8, 8, 3), 20 * n, np.uint8)).save(buffer, "JPEG")
        files.append(buffer.getvalue())
    offsets = np.cumsum([0, *map(len, files)])
    return np.frombuffer(b"".join(files), np.uint8), offsets


def test_default_ids_run_in_number_order():
    source = ArraySource(images(12))
    assert source.ids[:3] == ("00", "01", "02")
    assert source.ids[-1] == "11"
    assert number_ids(1) == ["0"]
    assert sorted(number_ids(1000)) == number_ids(1000)


def test_load_and_batch_agree_and_are_copies():
    pixels = images(12)
    source = ArraySource(pixels)
    batch = source.batch(["11", "03", "03"])
    assert batch.shape == (3, 6, 5, 3)
    assert np.array_equal(batch[0], pixels[11])
    assert np.array_equal(source.load("03"), batch[1])
    batch[:] = 0
    source.load("03")[:] = 0
    assert np.array_equal(source.load("03"), pixels[3])
    assert source.batch([]).shape == (0, 6, 5, 3)


def test_read_only_arrays_give_writable_images():
    import torch

    pixels = np.frombuffer(bytes(48), np.uint8).reshape(3, 4, 4)
    source = ArraySource(pixels)
    assert torch.from_numpy(source.load("0")).shape == (4, 4, 1)
    assert torch.from_numpy(source.batch(["0", "2"])).shape == (2, 4, 4, 1)


def test_unsorted_ids_keep_their_images():
    pixels = images(3)
    source = ArraySource(pixels, ["x", "y", "z"], ids=["c", "a", "b"], roles=["test", "pool", "pool"])
    assert source.ids == ("a", "b", "c")
    assert np.array_equal(source.load("a"), pixels[1])
    assert source.truth == {"c": "x", "a": "y", "b": "z"}
    assert source.roles["c"] == "test"


@pytest.mark.parametrize(
    ("labels", "classes", "truth", "names"),
    [
        ([1, 0, -1], ["cat", "dog"], {"0": "dog", "1": "cat"}, ("cat", "dog")),
        ([7, 3, 7], None, {"0": "7", "1": "3", "2": "7"}, ("3", "7")),
        (["b", "", "a"], None, {"0": "b", "2": "a"}, ("a", "b")),
        (["b", None, "a"], ["b", "a"], {"0": "b", "2": "a"}, ("b", "a")),
        (np.array([b"b", b"a", b"a"]), None, {"0": "b", "1": "a", "2": "a"}, ("a", "b")),
        (np.array([True, False, True]), ["no", "yes"], {"0": "yes", "1": "no", "2": "yes"}, ("no", "yes")),
        (np.array([0, 1, 1], np.uint8), ["no", "yes"], {"0": "no", "1": "yes", "2": "yes"}, ("no", "yes")),
    ],
)
def test_labels_become_class_names(labels, classes, truth, names):
    source = ArraySource(images(3), labels, classes=classes)
    assert source.truth == truth
    assert source.classes == names


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((np.zeros((2, 4, 4), np.float32),), "float32.*uint8"),
        ((np.zeros((2, 3, 4, 5), np.uint8),), r"transpose\(0, 2, 3, 1\)"),
        ((np.zeros((2, 4, 4, 4), np.uint8),), r"\(2, 4, 4, 4\)"),
        ((np.zeros((4, 4), np.uint8),), r"\(4, 4\)"),
        ((np.zeros((0, 4, 4), np.uint8),), "at least one"),
        (([[1, 2]],), "list"),
        ((np.zeros((2, 4, 4), np.uint8), [1]), r"\(1,\).*2 images"),
        ((np.zeros((2, 4, 4), np.uint8), [0.5, 1.0]), "float64"),
    ],
)
def test_bad_arrays_are_refused(arguments, match):
    with pytest.raises(DataError, match=match) as error:
        ArraySource(*arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"labels": [0, 5], "classes": ["a", "b"]}, "'1' has label 5, but there are 2 classes"),
        ({"labels": ["a", "bb"], "classes": ["a", "b"]}, "unknown class of image '1' 'bb': did you mean 'b'"),
        ({"labels": [0, 1], "classes": ["a", "a"]}, "named twice"),
        ({"ids": ["a", "a"]}, "'a' is given twice"),
        ({"ids": ["a"]}, "1 ids for 2 images"),
        ({"ids": ["a", ""]}, "empty"),
        ({"roles": ["pool"]}, "1 roles for 2"),
        ({"roles": ["pool", "tset"]}, "did you mean 'test'"),
        ({"roles": {"x": "test"}}, "'x', which is no image"),
    ],
)
def test_bad_options_are_refused(options, match):
    with pytest.raises(DataError, match=match):
        ArraySource(np.zeros((2, 4, 4), np.uint8), **options)


def test_content_depends_on_pixels_and_shape_only():
    pixels = images(4)
    pixels[2] = pixels[0]
    source = ArraySource(pixels)
    digests = source.content(source.ids)
    assert digests[0] == digests[2]
    assert len(set(digests)) == 3
    assert all(len(digest) == 32 for digest in digests)
    assert ArraySource(pixels[::-1]).content(["3"]) == digests[:1]
    assert ArraySource(pixels.reshape(4, 5, 6, 3)).content(["0"]) != digests[:1]
    assert source.stat_key(source.ids) is None


def test_encoded_images_decode_when_asked():
    data, offsets = jpegs()
    source = EncodedSource(data, offsets, [0, 1, 0, 1], classes=["cat", "dog"])
    assert abs(int(source.load("2").mean()) - 40) <= 1
    assert source.truth["1"] == "dog"
    assert source.batch(source.ids) is None
    first = hashlib.blake2b(data[: offsets[1]].tobytes(), digest_size=16).hexdigest()
    assert source.content(["0"]) == [first]


def test_a_damaged_encoded_image_is_named():
    data, offsets = jpegs()
    data = data.copy()
    data[offsets[1] : offsets[2]] = 0
    source = EncodedSource(data, offsets)
    assert source.load("0").shape == (8, 8, 3)
    with pytest.raises(DataError, match="'1': not an image"):
        source.load("1")


@pytest.mark.parametrize("offsets", [[0, 5], [1, 10], [0, 8, 4, 10], [[0, 10]], [0.0, 10.0], [0]])
def test_bad_offsets_are_refused(offsets):
    with pytest.raises(DataError, match="offsets"):
        EncodedSource(np.zeros(10, np.uint8), np.array(offsets))


@pytest.mark.parametrize("names", [("images", "labels"), ("x", "y")])
def test_npz_of_pixels(tmp_path, names):
    pixels = images(5)
    np.savez(tmp_path / "a.npz", **dict(zip(names, (pixels, [0, 1, 0, 1, 1]), strict=True)), classes=["cat", "dog"])
    source = read_npz(tmp_path / "a.npz")
    assert source.truth["1"] == "dog"
    assert np.array_equal(source.batch(source.ids), pixels)
    assert source.roles == {}


@pytest.mark.parametrize("keys", ["x_train y_train x_test y_test", "train_images train_labels test_images test_labels"])
def test_npz_with_a_test_part(tmp_path, keys):
    values = (images(11), np.arange(11) % 2, images(3, seed=1), np.array([0, 1, 1]))
    np.savez_compressed(tmp_path / "a.npz", **dict(zip(keys.split(), values, strict=True)))
    source = read_npz(tmp_path / "a.npz")
    assert source.ids[:2] == ("test/0", "test/1")
    assert source.ids[-1] == "train/10"
    assert source.roles["test/0"] == "test"
    assert source.roles["train/10"] == "pool"
    assert np.array_equal(source.load("test/2"), values[2][2])
    assert source.truth["test/2"] == "1"


def test_npz_with_test_labels_beside_unprefixed_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", images=images(2), test_images=images(2, seed=1), test_labels=["a", "b"])
    source = read_npz(tmp_path / "a.npz")
    assert source.ids == ("0", "1", "test/0", "test/1")
    assert source.truth == {"test/0": "a", "test/1": "b"}


def test_npz_of_encoded_images(tmp_path):
    data, offsets = jpegs()
    np.savez(
        tmp_path / "a.npz",
        **{"train_jpeg": data, "train_offsets": offsets, "train_labels": np.array([0, 1, 0, 1], np.uint8)},
        **{"test_jpeg": data, "test_offsets": offsets, "test_labels": np.array([1, 1, 1, 1], np.uint8)},
        train_index_in_class=np.arange(4),
        classes=["cat", "dog"],
    )
    source = read_npz(tmp_path / "a.npz")
    assert isinstance(source, EncodedSource)
    assert len(source.ids) == 8
    assert source.truth["test/0"] == "dog"
    assert source.load("test/3").shape == (8, 8, 3)


class Trap:
    def __reduce__(self):
        return (os.mkdir, (str(Path(os.environ["TRAP"]) / "sprung"),))


def test_pickles_are_never_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAP", str(tmp_path))
    np.savez(tmp_path / "a.npz", images=images(2), ids=np.array([Trap(), "b"], dtype=object))
    with pytest.raises(FormatError, match="never loaded"):
        read_npz(tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(FormatError, match=r"is no \.npz"):
        read_npz(tmp_path / "b.npz")
    assert not (tmp_path / "sprung").exists()


def test_broken_npz_files_are_one_line(tmp_path):
    good = tmp_path / "good.npz"
    np.savez(good, images=images(3))
    data = good.read_bytes()
    cases = {
        "empty.npz": b"",
        "text.npz": b"hello",
        "cut.npz": data[: len(data) // 2],
        "flipped.npz": data[:200] + bytes(100) + data[300:],
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FormatError) as error:
            read_npz(tmp_path / name)
        assert name in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(FormatError, match="does not exist"):
        read_npz(tmp_path / "gone.npz")


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"foo": np.zeros(3)}, "holds foo: needed is images"),
        ({"images": np.zeros((2, 4, 4))}, "float64"),
        ({"images": images(2), "labels": [1]}, "1 labels for 2 images"),
        ({"jpeg": np.zeros(4, np.uint8)}, "'offsets' is missing"),
        ({"images": images(2), "test_jpeg": np.zeros(4, np.uint8), "test_offsets": [0, 4]}, "one way"),
        ({"images": images(2), "test_images": images(2, (3, 3, 3))}, "different sizes"),
        ({"images": images(2), "labels": ["a", "b"], "test_images": images(1), "test_labels": [3]}, "one kind"),
        ({"images": images(2), "classes": [0.5, 1.5]}, "classes has type float64"),
    ],
)
def test_unfit_npz_files_are_refused(tmp_path, arrays, match):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(FormatError, match=match):
        read_npz(tmp_path / "a.npz")


@pytest.mark.heavy
@pytest.mark.real
def test_cifar10_jpeg_is_read_in_full():
    folder = os.environ.get("LABELWISE_DATA")
    if not folder:
        pytest.skip("LABELWISE_DATA names no folder")
    source = read_npz(Path(folder) / "cifar10_jpeg.npz")
    assert len(source.ids) == 60_000
    assert list(source.roles.values()).count("test") == 10_000
    assert source.classes[3] == "cat"
    assert len(source.truth) == 60_000
    assert source.load("train/00000").shape == (32, 32, 3)
    assert len(set(source.content(source.ids[:2000]))) > 1990
