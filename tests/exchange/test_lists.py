"""Lists that people give beside a file: which class a number is, which picture."""

from __future__ import annotations

import json

import pytest

from labelwise.errors import DataError, FormatError
from labelwise.exchange.lists import read_images, read_names

NAMES = {0: "cat", 1: "dog"}


def put(tmp_path, name, data):
    path = tmp_path / name
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("classes.txt", "cat\n\ndog\n"),
        ("data.yaml", "path: .\nnames: [cat, dog]\n"),
        ("data.yml", "names:\n  1: dog\n  0: cat\n"),
        ("names.json", ["cat", "dog"]),
        ("names.json", {"0": "cat", "1": "dog"}),
        ("coco.json", {"categories": [{"id": 1, "name": "dog"}, {"id": 0, "name": "cat"}]}),
        ("coco.json", {"categories": [{"id": "a", "name": "x"}, {"id": 1.0, "name": "dog"}, {"id": 0, "name": "cat"}]}),
    ],
)
def test_names_of_numbers(tmp_path, name, data):
    assert read_names(put(tmp_path, name, data)) == NAMES


def test_two_numbers_may_have_one_name(tmp_path):
    """As in files of Roboflow, whose first category is a group called as one of its classes."""
    data = {"categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]}
    assert read_names(put(tmp_path, "coco.json", data)) == {0: "cat", 1: "cat", 2: "dog"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"categories": [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}]}, "category 2: id 1 is given twice"),
        ({"categories": [{"id": 1}]}, "category 1: .* no name"),
        ({"categories": [{"id": [90], "name": "cat"}]}, "category 1: .* no whole number"),
        ({"images": []}, "lists no classes: give a COCO file"),
        ([1, 2], "lists no classes"),
        ({"cat": "dog"}, "lists no classes"),
        ({"cat": 0, "dog": 0}, "two classes one number"),
        ("{", "no valid JSON"),
    ],
)
def test_what_lists_no_classes(tmp_path, data, words):
    with pytest.raises(FormatError, match=words) as caught:
        read_names(put(tmp_path, "names.json", data))
    assert "names.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_numbers_of_images(tmp_path):
    listed = [{"id": 7, "file_name": "a.jpg"}, {"id": "x", "file_name": "b.jpg"}]
    assert read_images(put(tmp_path, "a.json", {"images": listed})) == {7: "a.jpg", "x": "b.jpg"}
    with pytest.raises(DataError, match="a number to two images"):
        read_images(put(tmp_path, "a.json", {"images": [*listed, {"id": 7, "file_name": "c.jpg"}]}))
    for data in ({}, [], {"images": [3]}, {"images": [{"id": 1}]}, {"images": [{"id": [1], "file_name": "a"}]}):
        with pytest.raises(FormatError, match="numbers no images"):
            read_images(put(tmp_path, "a.json", data))
