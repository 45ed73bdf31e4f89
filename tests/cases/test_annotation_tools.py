"""Files of annotation tools all the way to labels: names matched, classes mapped, states counted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from labelwise.exchange.incoming import Incoming, Known, Wishes
from labelwise.exchange.sniffing import required
from labelwise.kinds import KINDS

FORMATS = Path(__file__).parents[1] / "formats" / "data"
SIZES = {
    "day/a.png": (64, 48),
    "day/b ü.png": (60, 40),
    "night/a.png": (50, 40),
    "night/skip.png": (40, 30),
    "night/empty.png": (40, 30),
    "night/untouched.png": (40, 30),
    "turned.jpg": (40, 90),
}


def incoming(path, kind, classes, sizes=SIZES, root="/somewhere/pool", **wishes):
    known = Known(KINDS.create(kind), set(sizes), classes, Path(root), size_of=sizes.__getitem__)
    return Incoming(Path(path), required(Path(path), "answers", kind=kind).format, "answers", known, Wishes(**wishes))


def test_boxes_of_a_real_label_studio():
    door = incoming(FORMATS / "label_studio" / "shapes.json", "boxes", ("car", "bus", "road", "wheel", "sky"))
    rows = list(door.rows())
    door.refuse_unknown()
    assert dict(door.states) == {"answered": 5, "skipped": 1, "empty": 1, "unanswered": 1}
    assert [row.item for row in rows if row.raw is not None] == [
        *("day/a.png", "day/b ü.png", "day/b ü.png", "night/a.png", "night/empty.png", "turned.jpg"),
    ]
    boxes = {thing["class"]: thing["box"] for thing in rows[0].raw["objects"]}
    assert boxes["wheel"] == pytest.approx([14, 16, 26, 24])
    assert boxes["sky"] == [0, 2, 64, 48]
    assert rows[-1].raw["size"] == [40, 90]
    assert any("2 turned box(es)" in note for note in door.notes())


def test_masks_of_a_real_label_studio():
    classes = ("background", "sky", "road", "wheel", "car", "bus")
    door = incoming(FORMATS / "label_studio" / "browser.json", "masks", classes)
    [row] = door.rows()
    kind = KINDS.create("masks")
    assert row.item == "turned.jpg"
    assert kind.objects(row.raw, classes) == ["background", "sky", "road"]


@pytest.mark.parametrize("name", ["classes.json", "classes.min.json", "classes.csv", "classes.tsv"])
def test_classes_of_a_real_label_studio(name):
    sizes = {f"set/{item}": size for item, size in SIZES.items()}
    door = incoming(FORMATS / "label_studio" / name, "classes", ("cat", "dog, small"), sizes)
    rows = [(row.item, row.raw, row.record.annotator is not None) for row in door.rows() if row.raw is not None]
    assert rows == [
        ("set/day/a.png", "cat", True),
        ("set/day/b ü.png", "dog, small", True),
        ("set/night/a.png", "cat", True),
        ("set/night/a.png", "dog, small", True),
    ]
    assert door.states["unanswered"] == 2


def test_half_done_tasks_of_cvat_are_not_empty_pictures():
    sizes = dict.fromkeys(("day/a b.jpg", "day/b.jpg", "c.jpg", "d.jpg"), (200, 100))
    path = FORMATS / "cvat" / "annotations.xml"
    door = incoming(path, "boxes", ("car", "road"), sizes)
    rows = list(door.rows())
    assert [(row.item, len(row.raw["objects"])) for row in rows] == [("day/a b.jpg", 4)]
    assert dict(door.states) == {"answered": 1, "bare": 2, "unanswered": 1}
    notes = " ".join(door.notes())
    assert "2 image(s) without any object may never have been opened" in notes
    assert "1 image(s) hold only what a model drew" in notes
    door = incoming(path, "boxes", ("car", "road"), sizes, untouched="empty")
    assert [row.item for row in door.rows()] == ["day/a b.jpg", "day/b.jpg", "c.jpg"]


def test_frames_of_another_camera_are_refused(tmp_path):
    from labelwise.errors import FormatError

    sizes = {"cam1/0000.jpg": (9, 9), "cam1/0001.jpg": (9, 9)}
    box = '<box label="car" xtl="1" ytl="1" xbr="2" ybr="2"></box>'
    (tmp_path / "a.xml").write_text(
        f'<annotations><image id="0" name="cam2/0000.jpg" width="9" height="9">{box}</image></annotations>'
    )
    folder = tmp_path / "json" / "cam2"
    folder.mkdir(parents=True)
    shape = {"label": "car", "points": [[1, 1], [2, 2]], "shape_type": "rectangle"}
    told = {"shapes": [shape], "imagePath": "0000.jpg", "imageData": None, "imageWidth": 9, "imageHeight": 9}
    (folder / "0000.json").write_text(json.dumps(told))
    task = {"data": {"image": "/data/local-files/?d=set/cam2/0000.jpg"}, "annotations": [{"result": []}]}
    (tmp_path / "tasks.json").write_text(json.dumps([task]))
    for path in (tmp_path / "a.xml", tmp_path / "json", tmp_path / "tasks.json"):
        door = incoming(path, "boxes", ("car",), sizes, "/data/set")
        assert not list(door.rows())
        with pytest.raises(FormatError, match="lies in another folder"):
            door.refuse_unknown()


def test_uploads_that_lost_their_folder_are_matched_by_a_unique_name(tmp_path):
    task = {"file_upload": "ab12cd34-a.png", "data": {"image": "/data/upload/3/ab12cd34-a.png"}}
    choice = {"type": "choices", "from_name": "choice", "to_name": "image", "value": {"choices": ["cat"]}}
    (tmp_path / "tasks.json").write_text(json.dumps([{**task, "annotations": [{"result": [choice]}]}]))
    door = incoming(tmp_path / "tasks.json", "classes", ("cat", "dog"), {"day/a.png": (9, 9), "b.png": (9, 9)})
    assert [row.item for row in door.rows()] == ["day/a.png"]
    twice = incoming(tmp_path / "tasks.json", "classes", ("cat", "dog"), {"day/a.png": (9, 9), "night/a.png": (9, 9)})
    assert not list(twice.rows())


def test_labels_drawn_at_another_size_are_refused(tmp_path):
    from labelwise.errors import FormatError

    shutil.copy(FORMATS / "label_studio" / "shapes.json", tmp_path)
    sizes = {**SIZES, "turned.jpg": (90, 40)}
    door = incoming(tmp_path / "shapes.json", "boxes", ("car", "bus", "road", "wheel", "sky"), sizes)
    with pytest.raises(FormatError, match=r"task 7.*was labelled at 40 x 90 pixels and has 90 x 40 as people see it"):
        list(door.rows())
