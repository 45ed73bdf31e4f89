"""Several classes of one picture, as tables, lists and exports say them: there and back, and what is refused."""

from __future__ import annotations

import json

import pytest

from labelwise.contracts.format import Hints, Writing
from labelwise.contracts.record import Head
from labelwise.errors import FormatError
from labelwise.exchange.sniffing import choose, named
from labelwise.formats.several import joined, parted
from labelwise.kinds.tags import Tags

CLASSES = ("cat", "dog", "Smith, J.", "none of it")
LABELS = {"a.jpg": ["cat", "dog"], "b/ü.jpg": ["Smith, J."], "c.jpg": [], "d.jpg": ["cat", "dog", "Smith, J."]}
HINTS = Hints("tags", CLASSES)


def _read(path, form, use="answers", hints=HINTS):
    head, records = named(form).read(path, use, hints)
    return head, list(records)


def _said(path, form, use="answers", hints=HINTS):
    head, records = _read(path, form, use, hints)
    names = head.numbers or dict(enumerate(head.classes))
    found = {record.image: [names.get(one.cls, one.cls) for one in record.objects] for record in records}
    return found, {record.image: record.state for record in records}


# ---- there and back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("csv", "a.csv"),
        ("json", "a.json"),
        ("one_hot_csv", "hot.csv"),
        ("label_studio", "ls.json"),
        ("coco", "coco.json"),
        ("cvat", "a.xml"),
    ],
)
def test_labels_go_out_and_come_back(form, name, tmp_path):
    kind = Tags()
    records = [kind.to_record(image, raw, CLASSES) for image, raw in LABELS.items()]
    named(form).write(tmp_path / name, Head(classes=CLASSES), records, Writing("labelled", "tags"))
    assert choose(tmp_path / name, "answers", kind="tags").format.name == form
    found, states = _said(tmp_path / name, form)
    assert {image: sorted(classes) for image, classes in found.items()} == {
        image: sorted(classes) for image, classes in LABELS.items()
    }
    assert states["c.jpg"] == "empty"
    assert states["a.jpg"] == "answered"


def test_a_cell_that_would_be_taken_for_something_else_is_refused():
    for names in (["a;b"], ["a", " "]):
        with pytest.raises(FormatError, match="write JSON"):
            joined(names, "a.csv")
    assert parted(joined(["None"], "x")) == ["None"]
    assert parted(joined([], "x")) == []
    kind = Tags()
    record = kind.to_record("a.jpg", [], ("cat", "None"))
    with pytest.raises(FormatError, match="one is called 'none': write JSON"):
        named("csv").write("/nowhere/a.csv", Head(classes=("cat", "None")), [record], Writing("labelled", "tags"))


def test_label_studio_gets_one_result_with_all_choices_and_an_interface_for_them(tmp_path):
    kind = Tags()
    guess = kind.to_record("a.jpg", {"classes": {"cat": 0.9, "dog": 0.6}}, CLASSES)
    notes = named("label_studio").write(
        tmp_path / "ls.json", Head(classes=CLASSES), [guess], Writing("predictions", "tags")
    )
    [task] = json.loads((tmp_path / "ls.json").read_text())
    [result] = task["predictions"][0]["result"]
    assert result["value"] == {"choices": ["cat", "dog"]}
    assert result["score"] == 0.6
    assert any("choices share one score" in note for note in notes)
    assert 'choice="multiple"' in (tmp_path / "ls.interface.xml").read_text()


# ---- tables ---------------------------------------------------------------------------------------------------------


def test_one_column_says_several_none_and_nothing(tmp_path):
    (tmp_path / "a.csv").write_text(
        "id,label\na.jpg,cat;dog\nb.jpg,cat | dog\nc.jpg,none\nd.jpg,\ne.jpg,skip\nf.jpg,cat;\n"
    )
    found, states = _said(tmp_path / "a.csv", "csv")
    assert found["a.jpg"] == found["b.jpg"] == ["cat", "dog"]
    assert found["f.jpg"] == ["cat"]
    assert [states[f"{n}.jpg"] for n in "abcde"] == ["answered", "answered", "empty", "untouched", "skipped"]
    notes = _read(tmp_path / "a.csv", "csv")[0].notes
    assert any("1 image(s) name no class and are not answered; 1 say 'none', none of the classes" in n for n in notes)


def test_rows_of_one_image_are_taken_together_and_a_class_twice_counts_once(tmp_path):
    (tmp_path / "a.csv").write_text("id,label\na.jpg,cat\nb.jpg,dog;dog\na.jpg,dog\na.jpg,cat\n")
    found, _ = _said(tmp_path / "a.csv", "csv")
    assert found == {"a.jpg": ["cat", "dog"], "b.jpg": ["dog"]}
    notes = _read(tmp_path / "a.csv", "csv")[0].notes
    assert any("1 image(s) stand in several rows, whose classes are taken together" in note for note in notes)
    assert any("2 image(s) name a class twice, which counts once: 'b.jpg', 'a.jpg'" in note for note in notes)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("a.jpg,cat,\na.jpg,none,\n", "row 3: 'a.jpg' has none of the classes here and classes in row 2; keep one"),
        ("a.jpg,cat,\na.jpg,skip,\n", "'a.jpg' has a skip here and classes in row 2"),
        ("a.jpg,cat,train\na.jpg,dog,test\n", "'a.jpg' has the split 'test' here and 'train' in row 2"),
    ],
)
def test_rows_that_contradict_each_other_are_refused(rows, words, tmp_path):
    (tmp_path / "a.csv").write_text(f"id,label,split\n{rows}")
    with pytest.raises(FormatError, match=words):
        _read(tmp_path / "a.csv", "csv")


def test_two_annotators_are_two_answers(tmp_path):
    (tmp_path / "a.csv").write_text("id,label,annotator\na.jpg,cat,ann\na.jpg,dog,bob\na.jpg,dog,ann\n")
    _, records = _read(tmp_path / "a.csv", "csv")
    assert [(one.annotator, [seen.cls for seen in one.objects]) for one in records] == [
        ("ann", ["cat", "dog"]),
        ("bob", ["dog"]),
    ]


def test_columns_of_0_and_1_say_all_classes_and_tell_zeros_from_empty_cells(tmp_path):
    (tmp_path / "_classes.csv").write_text("filename,cat,dog\na.jpg,1,1\nb.jpg,0,0\nc.jpg,,\n")
    assert choose(tmp_path / "_classes.csv", "data").kinds == ("tags", "classes")
    found, states = _said(tmp_path / "_classes.csv", "one_hot_csv")
    assert found == {"a.jpg": ["cat", "dog"], "b.jpg": [], "c.jpg": []}
    assert states == {"a.jpg": "answered", "b.jpg": "empty", "c.jpg": "untouched"}
    [note] = _read(tmp_path / "_classes.csv", "one_hot_csv")[0].notes
    assert "1 row(s) have empty cells and are not answered; 1 have 0 in every column, none of the classes" in note


def test_a_class_called_like_a_column_is_not_written_as_one(tmp_path):
    with pytest.raises(FormatError, match="class 'label' is called like a column"):
        named("one_hot_csv").write(tmp_path / "a.csv", Head(classes=("label", "b")), [], Writing("labelled", "tags"))


# ---- lists ----------------------------------------------------------------------------------------------------------


def test_json_says_lists_and_an_empty_one_is_none_of_them(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a.jpg": ["cat", "dog"], "b.jpg": [], "c.jpg": "cat; dog", "d.jpg": null}')
    found, states = _said(path, "json")
    assert found == {"a.jpg": ["cat", "dog"], "b.jpg": [], "c.jpg": ["cat", "dog"], "d.jpg": []}
    assert (states["b.jpg"], states["d.jpg"]) == ("empty", "untouched")
    path.write_text('{"a.jpg": ["cat", "dog"], "b.jpg": []}')
    assert choose(path, "data").kinds == ("tags",)
    path.write_text('[{"id": "a.jpg", "label": ["cat", 3]}]')
    with pytest.raises(FormatError, match=r"item 1: the label \['cat', 3\] is no list of names"):
        _said(path, "json")


def test_a_list_has_all_numbers_behind_a_path(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("a b.jpg 0 2\nc.jpg 1,2\nd.jpg\na b.jpg 1\n")
    (tmp_path / "classes.txt").write_text("cat\ndog\nhen\n")
    assert choose(path, "data").kinds == ("tags",)
    found, states = _said(path, "image_list", "data", Hints("tags"))
    assert found == {"a b.jpg": ["cat", "hen", "dog"], "c.jpg": ["dog", "hen"], "d.jpg": []}
    assert states["d.jpg"] == "empty"
    path.write_text("a.jpg 0 2\nnotes 3 4\n")
    with pytest.raises(FormatError, match=r"line 2: 'notes 3 4' is not 'relative/path number number \.\.\.'"):
        _said(path, "image_list", "data", Hints("tags"))


def test_folders_cannot_say_it(tmp_path):
    (tmp_path / "cat").mkdir()
    with pytest.raises(FormatError, match="folders say one class of each image") as caught:
        _read(tmp_path, "class_folders")
    assert len(str(caught.value)) <= 300 + len(str(tmp_path))


# ---- what tools for boxes say ---------------------------------------------------------------------------------------


def test_the_classes_of_boxes_are_those_of_the_picture(tmp_path):
    thing = {"image_id": 1, "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 0}
    data = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "width": 20, "height": 20} for n in (1, 2)],
        "annotations": [{**thing, "id": n, "category_id": c} for n, c in enumerate((3, 1, 3), 1)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 3, "name": "dog"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(data))
    assert choose(tmp_path / "a.json", "data", kind="tags").format.name == "coco"
    assert choose(tmp_path / "a.json", "data").kinds[0] == "boxes"
    _, records = _read(tmp_path / "a.json", "coco", "data", Hints("tags"))
    from labelwise.contracts.kind import Naming

    naming = Naming(str, ("cat", "dog"), Head(classes=("cat", "dog")))
    assert [Tags().from_record(record, naming, None) for record in records] == [["cat", "dog"], []]


# ---- predictions ----------------------------------------------------------------------------------------------------


def test_probabilities_need_not_sum_to_one(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("id,cat,dog\na.jpg,0.9,0.8\nb.jpg,0.1,0.2\n")
    assert choose(path, "predictions", kind="tags").format.name == "probabilities_csv"
    _, records = _read(path, "probabilities_csv", "predictions", Hints("tags", ("cat", "dog")))
    assert [record.objects[0].probs for record in records] == [(0.9, 0.8), (0.1, 0.2)]
    with pytest.raises(FormatError, match=r"probabilities sum to 1\.7"):
        _read(path, "probabilities_csv", "predictions", Hints("classes", ("cat", "dog")))
