"""Exports of Label Studio for a project of classes: JSON, JSON_MIN and CSV say which picture is of which class."""

from __future__ import annotations

import json

import pytest

from labelwise.contracts.format import Hints
from labelwise.exchange.matching import Matcher
from labelwise.exchange.sniffing import choose

ADDRESS = "/data/local-files/?d=data/0.jpg"
ANNOTATION = {"result": [{"type": "choices", "value": {"choices": ["cat"]}}]}
FILES = {
    "ls.json": json.dumps([{"id": 1, "data": {"image": ADDRESS}, "annotations": [ANNOTATION]}]),
    "ls_min.csv": f"image,id,choice,annotator\n{ADDRESS},1,cat,1\n",
    "ls_min.json": json.dumps([{"id": 1, "image": ADDRESS, "choice": "cat"}]),
    # others of the kind
    "listing.json": json.dumps({"tasks": [{"id": 1, "data": {"image": ADDRESS}, "annotations": [ANNOTATION]}]}),
    "old.json": json.dumps([{"id": 1, "data": {"image": ADDRESS}, "completions": [ANNOTATION]}]),
    "storage.json": json.dumps({**ANNOTATION, "id": 1, "task": {"id": 1, "data": {"image": ADDRESS}}}),
    "semicolons.csv": f"annotation_id;annotator;choice;image\n7;1;cat;{ADDRESS}\n",
    "tabs.tsv": f"annotation_id\tannotator\tchoice\timage\n7\t1\tcat\t{ADDRESS}\n",
    "list.json": json.dumps([{"id": 1, "image": ADDRESS, "choice": {"choices": ["cat"]}, "annotator": 1}]),
    "upload.json": json.dumps(
        [{"id": 1, "file_upload": "ab12cd34-0.jpg", "data": {"image": "/data/upload/3/ab12cd34-0.jpg"}}
         | {"annotations": [ANNOTATION]}]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("classes", [(), ("cat", "dog")])
def test_the_class_of_the_picture_is_read(tmp_path, name, classes):
    path = tmp_path / name
    path.write_text(FILES[name])
    choice = choose(path, "answers", kind="classes")
    assert choice is not None
    assert choice.format.name == "label_studio"
    _, records = choice.format.read(path, "answers", Hints("classes", classes))
    [record] = records
    assert [seen.cls for seen in record.objects] == ["cat"]
    assert record.state == "answered"
    found = Matcher({"0.jpg", "1.jpg"}, "/somewhere/data").find(record.image)
    assert found is not None
    assert found.item == "0.jpg"
