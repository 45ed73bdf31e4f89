"""Labels of images as JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.contracts.format import Hints, Writing
from labelwise.contracts.record import Head, Record, Seen, Where
from labelwise.errors import FormatError
from labelwise.formats.json_labels import JsonLabels

FORM = JsonLabels()
PICKS = {
    **{"format": "labelwise-picks", "version": 1, "labelwise": "0.1.0", "round": 3, "strategy": "margin"},
    "classes": ["cat", "dog"],
    "items": [
        {
            **{"id": "a.png", "path": "/d/a.png", "rank": 0, "score": 0.5, "predicted": "cat", "probability": 0.75},
            **{"label": "dog", "skipped": False, "reason": ""},
        },
        {
            **{"id": "b.png", "path": "/d/b.png", "rank": 1, "score": None, "predicted": None, "probability": None},
            **{"label": "", "skipped": False, "reason": ""},
        },
    ],
}  # fmt: skip


def samples(folder):
    """Small files as people and labelwise write them."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        "list": [{"id": "a.png", "label": "cat", "seconds": 2.5}, {"id": "b.png", "label": "", "skipped": True}],
        "mapping": {"a.png": "cat", "d/é.png": "dog", "c.png": ""},
        "objects": {"a.png": {"label": "cat", "split": "test"}, "b.png": {"label": "dog", "split": "train"}},
        "picks": PICKS,
        "names": [{"file_name": "a.png", "class": "cat"}, {"file_name": "b.png", "class": "dog"}],
    }
    for name, value in values.items():
        (folder / f"{name}.json").write_text(json.dumps(value, indent=1), encoding="utf-8")
    return [folder / f"{name}.json" for name in values]


def read(tmp_path, value, use="answers", **hints):
    path = tmp_path / "l.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    head, records = FORM.read(path, use, Hints(**hints))
    return head, list(records)


def labels(records):
    return {record.image: record.objects[0].cls if record.objects else record.state for record in records}


@pytest.mark.parametrize(
    "value",
    [
        [{"id": "a.png", "label": "cat"}, {"id": "é.png", "label": "dog"}, {"id": "b c.png", "label": ""}],
        {"a.png": "cat", "é.png": "dog", "b c.png": None},
        {"a.png": {"label": "cat", "seconds": 4}, "é.png": {"label": "dog"}, "b c.png": {"label": ""}},
        {"items": [{"ID": "a.png", "Label": " cat "}, {"path": "é.png", "class": "dog"}, {"name": "b c.png"}]},
    ],
)
def test_layouts(tmp_path, value):
    assert labels(read(tmp_path, value)[1]) == {"a.png": "cat", "é.png": "dog", "b c.png": "untouched"}


def test_all_that_can_be_said(tmp_path):
    item = {
        **{"file_name": "a.png", "label": 3, "seconds": 2.5, "clicks": 2, "annotator": "ann", "split": "test"},
        **{"group": "p1", "weather": "sun"},
    }
    head, (first, second, third) = read(
        tmp_path, [item, {"id": "b.png", "skipped": True, "reason": "dark"}, {"id": "c.png#7", "label": "skip"}]
    )
    assert first == Record(
        Where(str(tmp_path / "l.json"), "item", 1),
        "a.png",
        objects=(Seen("3"),),
        seconds=2.5,
        cost={"clicks": 2.0},
        annotator="ann",
        split="test",
        group="p1",
    )
    assert (second.state, second.reason) == ("skipped", "dark")
    assert (third.image, third.region, third.state) == ("c.png", "7", "skipped")
    assert head.notes == (f"'{tmp_path}/l.json': keys that are not read: 'weather'",)
    assert labels(read(tmp_path, [item], names={3: "cat"})[1]) == {"a.png": 3}
    assert labels(read(tmp_path, {"a.png": "skip"}, classes=("skip", "cat"))[1]) == {"a.png": "skip"}
    assert labels(read(tmp_path, {"a.png": "skip"}, use="data")[1]) == {"a.png": "skip"}


def test_files_win_over_numbers_and_it_is_said(tmp_path):
    head, records = read(tmp_path, [{"id": 0, "file_name": "a.jpg", "label": "cat"}])
    assert labels(records) == {"a.jpg": "cat"}
    assert head.notes == (f"'{tmp_path}/l.json': images are named by 'file_name', not by 'id'",)


def test_picks_that_were_filled_in(tmp_path):
    head, (first, second) = read(tmp_path, PICKS)
    assert head.classes == ("cat", "dog")
    assert head.notes == ()
    assert (first.image, first.objects, first.state) == ("a.png", (Seen("dog"),), "answered")
    assert first.extra == {
        **{"path": "/d/a.png", "rank": 0, "strategy_score": 0.5, "predicted": "cat", "probability": 0.75}
    }
    assert (second.state, second.objects) == ("untouched", ())
    # an id is an id there, whatever it looks like
    changed = {**PICKS, "items": [{**PICKS["items"][0], "id": "7"}]}
    assert labels(read(tmp_path, changed)[1]) == {"7": "dog"}


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ([1], "item 1: 1 is no object"),
        ([{"label": "cat"}], "item 1: no id"),
        ([{"id": " ", "label": "cat"}], "item 1: no id"),
        ([{"id": "a.png"}], "no item has a label"),
        ([{"id": "a.png", "label": ["cat"]}], r"item 1: \['cat'\] is no label"),
        ([{"id": "a.png", "label": True}], "item 1: True is no label"),
        ([{"id": "a.png", "label": 10**400}], "item 1: 1000.* is no label"),
        ([{"id": ["a.png"], "label": "cat"}], r"item 1: \['a.png'\] is no id"),
        ([{"id": "a.png", "Label": "a", "label": "b"}], "item 1: 'label' and 'Label' are one"),
        ([{"id": "a.png", "label": "cat", "skipped": True}], "item 1: both skipped and labelled"),
        ([{"id": "a.png", "label": "cat", "skipped": "perhaps"}], "item 1: skipped is 'perhaps'"),
        ([{"id": "a.png", "label": "cat", "seconds": "x"}], "item 1: seconds is 'x'"),
        ([{"id": "a.png", "label": "cat", "seconds": 10**400}], "item 1: seconds is 1000"),
        ([{"id": "a.png", "label": "cat", "seconds": [1]}], r"item 1: seconds is \[1\]"),
        ([{"id": "a.png", "label": "cat", "seconds": -1}], "item 1: seconds is -1"),
        ('[{"id": "a.png", "id": "b.png", "label": "cat"}]', "stands twice"),
        ('{"a.png": "cat", "a.png": "dog"}', "stands twice"),
        ({**PICKS, "version": 2}, "update labelwise"),
        ({**PICKS, "version": 10**400}, "update labelwise"),
        ("7", "holds 7"),
        ("{", "no valid JSON"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, value, match):
    with pytest.raises(FormatError, match=match) as error:
        read(tmp_path, value)
    assert "\n" not in str(error.value)
    assert "l.json" in str(error.value)
    assert len(str(error.value).replace(str(tmp_path), "")) <= 300


def test_sniff(tmp_path):
    for path in samples(tmp_path / "s"):
        assert FORM.sniff(path, "answers").sure >= 0.8, path.name
        assert FORM.sniff(path, "data").kinds == ("classes",)
    path = tmp_path / "x.json"
    others = [
        {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [], "categories": []},
        {"info": {}, "images": []},
        [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}],
        [{"id": 1, "annotations": [], "data": {"image": "a.png"}}],
        {"version": "5.0", "flags": {}, "shapes": [], "imagePath": "a.png"},
        [{"name": "cat", "class": 0, "confidence": 0.5, "box": {"x1": 1}}],
        [1, 2],
        [],
        {},
        {"labels": [0], "scores": [0.5], "bboxes": [[1, 2, 3, 4]]},
        "text",
        {"name": "something", "version": 3},
        {"IMG_1": "cat"},
    ]
    for value in others:
        path.write_text(json.dumps(value))
        assert FORM.sniff(path, "answers").sure < 0.5, value
    for value in ({"0": "cat", "1": "dog"}, {"IMG_1": "cat", "IMG_2": "cat"}):
        path.write_text(json.dumps(value))
        assert FORM.sniff(path, "answers").sure >= 0.5, value
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0")
    assert FORM.sniff(path, "data").sure == 0
    assert FORM.sniff(tmp_path, "data").sure == 0


def test_root_is_the_folder_of_the_pictures(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"")
    for path in samples(tmp_path):
        assert FORM.root(path) == tmp_path / "images", path.stem
    (tmp_path / "a.png").write_bytes(b"")
    for path in samples(tmp_path):
        assert FORM.root(path) == tmp_path, path.stem


# ---- writing --------------------------------------------------------------------------------------------------------


def anywhere(records):
    return [replace(record, where=Where("x")) for record in records]


def test_picks_are_written_and_come_back_unanswered(tmp_path):
    extra = {
        **{"answered": False, "path": "/d/a.png", "rank": 0, "strategy_score": 0.5, "strategy": "margin"},
        **{"predicted": "cat", "probability": 0.75, "round": 3},
    }
    records = [
        Record(Where("a"), "a.png", state="untouched", extra=extra),
        Record(
            Where("b"), "b.png", region="4", state="untouched", objects=(Seen("dog", score=0.5),), extra={"rank": 1}
        ),
    ]
    path = tmp_path / "p.json"
    assert FORM.write(path, Head(classes=("cat", "dog")), records, Writing("asked", "classes")) == []
    data = json.loads(path.read_text())
    assert (data["format"], data["round"], data["strategy"], data["classes"]) == (
        *("labelwise-picks", 3, "margin", ["cat", "dog"]),
    )
    assert data["items"][0] == {**PICKS["items"][0], "label": "", "round": 3, "strategy": "margin"}
    assert data["items"][1] == {
        **{"id": "b.png#4", "path": "", "rank": 1, "score": None, "predicted": "dog", "probability": 0.5},
        **{"label": "", "skipped": False, "reason": "", "round": None, "strategy": ""},
    }
    _, found = FORM.read(path, "answers", Hints())
    assert [(record.image, record.region, record.state) for record in found] == [
        ("a.png", None, "untouched"),
        ("b.png", "4", "untouched"),
    ]


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8).filter(str.strip),
        st.sampled_from(("cat", "dog", "skip", "7")),
        min_size=1,
        max_size=6,
    )
)
def test_labels_are_read_as_they_were_written(tmp_path_factory, labels):
    path = tmp_path_factory.mktemp("round") / "labels.json"
    records = [
        Record(Where("x"), f"{name}.png", objects=(Seen(cls),), split="val", seconds=1.5)
        for name, cls in labels.items()
    ]
    skipped = Record(Where("x"), "s.jpg", state="skipped", reason="dark")
    assert FORM.write(path, Head(), [*records, skipped], Writing("labelled", "classes")) == []
    _, found = FORM.read(path, "data", Hints())
    assert anywhere(found) == [*records, skipped]
