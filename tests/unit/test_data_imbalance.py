"""Imbalanced views, and sets that a list file describes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from labelwise.config import RecipeConfig, parse
from labelwise.data import ArraySource, ListedImages, imbalanced, open_source
from labelwise.data.imbalance import class_sizes
from labelwise.errors import ConfigError, DataError, FormatError


def _balanced(per_class=50, classes=4, test=3):
    labels = np.arange(per_class * classes + test) % classes
    roles = ["pool"] * (per_class * classes) + ["test"] * test
    return ArraySource(np.zeros((len(labels), 4, 4), np.uint8), labels, roles=roles)


def _counts(source):
    return Counter(source.truth[item] for item in source.ids if source.roles.get(item, "pool") == "pool")


@pytest.mark.parametrize("ratio", [1, 10, 50, 100])
def test_the_published_profile_line_by_line(ratio):
    """img_max * (factor ** (index / (classes - 1))), truncated."""
    expected = [int(round(5000 * ((1 / ratio) ** (c / 9.0)), 6)) for c in range(10)]
    assert class_sizes(5000, 10, profile="exponential", ratio=ratio) == expected
    assert expected[0] == 5000
    assert expected[-1] == 5000 / ratio


def test_a_long_tail_thins_the_pool_alone():
    view = imbalanced(_balanced(), ratio=10)
    assert _counts(view) == {"0": 50, "1": 23, "2": 10, "3": 5}
    assert sum(role == "test" for role in view.roles.values()) == 3
    assert list(view.native_order()) == list(_balanced().native_order()), "positions are those of the whole set"


def test_a_step():
    assert _counts(imbalanced(_balanced(), profile="step", ratio=5, small=0.25)) == {"0": 50, "1": 50, "2": 50, "3": 10}


def test_seeds_and_nested_ratios():
    weak, strong = (set(imbalanced(_balanced(), ratio=ratio, seed=3).ids) for ratio in (5, 20))
    assert strong < weak
    assert set(imbalanced(_balanced(), ratio=5, seed=3).ids) == weak
    assert set(imbalanced(_balanced(), ratio=5, seed=4).ids) != weak
    orders = {
        tuple(sorted(_counts(imbalanced(_balanced(), ratio=9, order="random", seed=s)).items())) for s in range(5)
    }
    assert len(orders) > 1


def test_small_classes_stay_and_are_never_empty():
    labels = ["a"] * 100 + ["b"] * 3 + [""] * 5
    assert _counts(imbalanced(ArraySource(np.zeros((108, 4, 4), np.uint8), labels), ratio=2)) == {"a": 100, "b": 3}
    assert _counts(imbalanced(_balanced(), ratio=1e6))["3"] == 1


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"ratio": 0.5}, ConfigError, "ratio 0.5"),
        ({"ratio": float("nan")}, ConfigError, "ratio nan"),
        ({"ratio": 2, "profile": "stp"}, ConfigError, "did you mean 'step'"),
        ({"ratio": 2, "profile": "step", "small": 1.0}, ConfigError, "share of 1.0"),
        ({"ratio": 2, "order": "size"}, ConfigError, "unknown order"),
    ],
)
def test_imbalances_that_cannot_be(options, error, words):
    with pytest.raises(error, match=words):
        imbalanced(_balanced(), **options)


def test_an_imbalance_without_labels():
    with pytest.raises(DataError, match="two classes"):
        imbalanced(ArraySource(np.zeros((4, 4, 4), np.uint8)), ratio=2)


def test_in_a_recipe(tmp_path):
    from labelwise.studies.data import open_labelled

    data = {"source": "unused", "imbalance": {"ratio": 10}}
    recipe = parse(RecipeConfig, {"data": data}, where="test")
    assert _counts(open_labelled(recipe, base=tmp_path, source=_balanced())) == {"0": 50, "1": 23, "2": 10, "3": 5}
    with pytest.raises(ConfigError, match="did you mean 'ratio'"):
        parse(RecipeConfig, {"data": {"source": "x", "imbalance": {"ratoi": 10}}}, where="test")


# ---- lists ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path):
    for name in ("train/n01/b.png", "train/n01/a.png", "train/n02/x.png", "train/n03/y.png", "val/n01/v.png"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / "data" / name)
    return tmp_path / "data"


def _list(root, *lines):
    file = root.parent / "list.txt"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_a_list_with_its_validation_folder(root):
    file = _list(root, "train/n03/y.png 2", "train/n01/b.png 0", "train/n01/a.png 0")
    source = open_source(file, root=root)
    assert isinstance(source, ListedImages)
    assert source.native_order() == ["train/n03/y.png", "train/n01/b.png", "train/n01/a.png"]
    assert source.classes == ("n01", "n02", "n03"), "n02 has no line, and keeps its number"
    assert source.roles == {"val/n01/v.png": "test"}
    assert source.truth["train/n03/y.png"] == "n03"
    assert source.load("val/n01/v.png").shape == (4, 4, 1)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["train/n01/a.png 0", "train/n03/y.png 1"], "entry 2: 'train/n03/y.png' has label 1, but its folder 'n03' is"),
        (["train/n01/a.png 0", "train/n01/a.png 0"], "listed twice"),
        (["train/n01/a.png 0", "train/n02/x.png"], "line 2: 'train/n02/x.png' is not"),
        (["train/n01/a.png 0", "../n02/x.png 1"], "no path of an image"),
        (["/n02/x.png 1"], "no path of an image"),
        (["val/n01/v.png 0", "train/n01/a.png 0"], "has label|test image|class"),
    ],
)
def test_lists_that_are_refused(root, lines, words):
    if lines[0].startswith("val"):
        source = ListedImages(_list(root, *lines), root)
        assert source.roles == {}, "a list of validation images is the pool itself"
        return
    with pytest.raises(FormatError, match=words):
        ListedImages(_list(root, *lines), root)


def test_no_root(root):
    with pytest.raises(DataError, match="is no folder"):
        ListedImages(_list(root, "train/n01/a.png 0"), root / "nowhere")
    with pytest.raises(DataError, match=r"'train/n01/a.png', which is not in .*--data-root"):
        open_source(_list(root, "train/n01/a.png 0"))


def test_a_csv_called_txt_is_still_a_csv(root):
    file = root.parent / "table.txt"
    file.write_text("path,label\ntrain/n01/a.png,7\n")
    assert open_source(file, root=root).truth == {"train/n01/a.png": "7"}
