import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from labelwise.data.dataset import from_dataset
from labelwise.errors import DataError


class Listed(Dataset):
    def __init__(self, items):
        self.items = items
        self.reads = 0

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        self.reads += 1
        return self.items[index]


def grey(value):
    return Image.fromarray(np.full((6, 4), value, np.uint8))


@pytest.mark.parametrize(
    ("image", "shape"),
    [
        (grey(3), (6, 4, 1)),
        (Image.new("RGBA", (4, 6)), (6, 4, 3)),
        (np.zeros((6, 4), np.uint8), (6, 4, 1)),
        (np.zeros((6, 4, 3), np.uint8), (6, 4, 3)),
        (torch.zeros(3, 6, 4, dtype=torch.uint8), (6, 4, 3)),
        (torch.zeros(6, 4, dtype=torch.uint8), (6, 4, 1)),
    ],
)
@pytest.mark.parametrize("with_label", [True, False])
def test_images_of_all_kinds(image, shape, with_label):
    source = from_dataset(Listed([(image, 0) if with_label else image]))
    found = source.load("0")
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.uint8
    assert found.shape == shape
    assert bool(source.truth) == with_label


def test_float_tensors_pass_through_untouched():
    images = torch.randn(4, 5, 8, 8)
    source = from_dataset(TensorDataset(images, torch.tensor([0, 1, 0, 1])), classes=["a", "b"])
    assert torch.equal(source.load("2"), images[2])
    assert source.truth == {"0": "a", "1": "b", "2": "a", "3": "b"}
    assert len(set(source.content(source.ids))) == 4


def test_labels_are_read_from_targets_without_reading_images():
    dataset = Listed([(grey(n), n % 2) for n in range(50)])
    dataset.targets = torch.tensor([n % 2 for n in range(50)])
    dataset.classes = ["cat", "dog"]
    source = from_dataset(dataset)
    reads = dataset.reads
    assert dict(source.truth) == {f"{n:02d}": ["cat", "dog"][n % 2] for n in range(50)}
    assert dataset.reads == reads <= 2
    half = from_dataset(Subset(dataset, range(10, 20)), classes=["cat", "dog"])
    assert half.truth["3"] == "dog"
    assert dataset.reads <= reads + 2


def test_labels_are_read_once_when_there_is_no_list():
    dataset = Listed([(grey(n), str(n)) for n in range(5)])
    source = from_dataset(dataset)
    reads = dataset.reads
    assert source.truth["3"] == source.truth["3"] == "3"
    assert dataset.reads == reads + 1
    assert len(source.truth) == 5


def test_unknown_labels_are_missing():
    dataset = Listed([(grey(n), -1) for n in range(3)])
    dataset.targets = [-1, 0, None]
    source = from_dataset(dataset, classes=["a"])
    assert dict(source.truth) == {"1": "a"}
    assert "0" not in source.truth
    assert source.truth.get("2") is None


def test_a_target_transform_makes_the_list_worthless():
    dataset = Listed([(grey(n), "late") for n in range(3)])
    dataset.targets = [0, 1, 2]
    dataset.target_transform = str
    assert from_dataset(dataset).truth["1"] == "late"


def test_test_set_and_own_ids():
    source = from_dataset(
        Listed([(grey(1), 0), (grey(2), 1)]), ids=["b", "a"], test=Listed([(grey(3), 1)]), classes=["x", "y"]
    )
    assert source.ids == ("a", "b", "test/0")
    assert source.roles == {"test/0": "test"}
    assert source.load("a").max() == 2
    assert source.load("test/0").max() == 3
    assert source.truth["test/0"] == "y"
    assert from_dataset(Listed([grey(1)]), test=Listed([grey(2)])).ids == ("test/0", "train/0")


class Endless(IterableDataset):
    def __iter__(self):
        return iter([])


class Random(Listed):
    def __getitem__(self, index):
        return torch.rand(3, 4, 4), 0


@pytest.mark.parametrize(
    ("dataset", "options", "match"),
    [
        (Endless(), {}, "map-style"),
        (Listed([]), {}, "is empty"),
        (Listed([grey(0)]), {"ids": ["a", "b"]}, "2 ids for 1 items"),
        (Listed([grey(0)] * 2), {"ids": ["a", "a"]}, "must be unique"),
        (Random([0]), {}, "random transforms"),
    ],
)
def test_unfit_data_sets_are_refused(dataset, options, match):
    with pytest.raises(DataError, match=match):
        from_dataset(dataset, **options)


@pytest.mark.parametrize(
    ("image", "match"),
    [
        ("a.jpg", "gives a str"),
        (np.zeros((4, 4, 3), np.int64), r"int64 and shape \(4, 4, 3\)"),
        (torch.zeros(4, 4), r"float image of shape \(4, 4\)"),
        (np.zeros((4, 4, 7), np.uint8), r"\(4, 4, 7\)"),
    ],
)
def test_unfit_images_are_named(image, match):
    source = from_dataset(Listed([grey(0), image]))
    with pytest.raises(DataError, match=match) as error:
        source.load("1")
    assert "'1'" in str(error.value)
    assert source.content(["1"]) == [""]


def test_errors_of_the_data_set_are_one_line():
    class Broken(Listed):
        def __getitem__(self, index):
            if index == 1:
                raise OSError("disk\nfell off")
            return grey(0)

    source = from_dataset(Broken([0, 1]))
    with pytest.raises(DataError, match="'1': the data set fails on item 1") as error:
        source.load("1")
    assert "\n" not in str(error.value)


def test_class_number_outside_the_list_is_refused():
    dataset = Listed([(grey(0), 5)])
    with pytest.raises(DataError, match="label 5, but there are 2 classes"):
        from_dataset(dataset, classes=["a", "b"]).truth["0"]


def test_a_damaged_first_item_does_not_lose_the_data_set():
    class Broken(Listed):
        def __getitem__(self, index):
            if index == 0:
                raise OSError("truncated")
            return grey(0), "cat"

    source = from_dataset(Broken([0, 1]))
    assert source.truth["1"] == "cat"
    with pytest.raises(DataError, match="truncated"):
        source.load("0")
